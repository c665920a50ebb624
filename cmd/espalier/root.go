// SPDX-License-Identifier: Apache-2.0

package main

import (
	"github.com/spf13/cobra"

	"github.com/espalier-dev/espalier/cmd/espalier/version"
)

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "espalier",
		Short:         "GitOps for GPU model work",
		Long:          "Espalier turns a Git repository of model workspaces into running GPU work, and tells Git what became of it.",
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       version.Current().String(),
	}
	root.AddCommand(
		newControllerCommand(),
		newValidateCommand(),
		newRenderCommand(),
		newPlanCommand(),
		newConvertCommand(),
		newSchemaCommand(),
		newInitCommand(),
		newInstallCommand(),
		newFitCommand(),
		newPresetsCommand(),
		newSKUsCommand(),
		newStatusCommand(),
		newPoolsCommand(),
		newDataCommand(),
		newAdapterCommand(),
		newMemberCommand(),
		newReviewHeadCommand(),
		newVersionCommand(),
	)
	return root
}
