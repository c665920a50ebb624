// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/espalier-dev/espalier/cmd/espalier/adapter"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
)

func newAdapterJudgeCommand() *cobra.Command {
	var e adapter.Evaluation
	var termination string
	var index int
	var before bool
	command := &cobra.Command{
		Use:   "judge --evaluation FILE --from DIR",
		Short: "Say what a run has measured, and publish nothing",
		Long: "Reads the losses of the newest checkpoint in DIR and the results of the tasks, and leaves them as\n" +
			"{\"evaluation\":{…}} in the termination message of the container. With --before it looks, while nothing is trained\n" +
			"yet, whether every task has the metric that counts.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if index > 0 {
				fmt.Fprintf(c.ErrOrStderr(), "espalier: pod %d of the run: pod 0 says what was measured\n", index)
				return nil
			}
			m := messageFile{termination, c.Flags().Changed("termination-log")}
			if before {
				return m.conclude(c, repolayout.Left{}, adapter.Known(e))
			}
			got, _, err := measure(c, e)
			return m.conclude(c, repolayout.Left{Evaluation: got}, err)
		},
	}
	fs := command.Flags()
	fs.StringVar(&e.From, "from", "", "Folder that the trainer wrote the adapter and its checkpoints to")
	fs.StringVar(&e.Spec, "evaluation", "", "File with spec.tuning.evaluation as JSON (required)")
	fs.StringVar(&e.Measured, "measured", "", "Folder that the tasks of the evaluation left their results in")
	fs.BoolVar(&before, "before", false, "Only look whether every task has the metric that counts")
	fs.IntVar(&index, "index", 0, "Index of this pod among those of the run: only 0 judges")
	fs.StringVar(&termination, "termination-log", terminationLog, "File for the termination message; the default is written only where it exists")
	cobra.CheckErr(command.MarkFlagRequired("evaluation"))
	return command
}
