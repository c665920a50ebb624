// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/gpu/price"
	"github.com/espalier-dev/espalier/reconciler/condition"
	"github.com/espalier-dev/espalier/reconciler/report"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

func newStatusCommand() *cobra.Command {
	options := statusOptions{}
	command := &cobra.Command{
		Use:   "status",
		Short: "Show the Workspaces of the cluster and what they wait for",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			config, err := ctrl.GetConfig()
			if err != nil {
				return fmt.Errorf("finding a cluster: %w", err)
			}
			reader, err := client.New(config, client.Options{Scheme: newScheme()})
			if err != nil {
				return fmt.Errorf("connecting to the cluster: %w", err)
			}
			options.now = time.Now()
			return printStatus(c, reader, options)
		},
	}
	command.Flags().StringVarP(&options.namespace, "namespace", "n", "", "Namespace to show; empty: all")
	return command
}

// statusOptions are what to show, and when it is.
type statusOptions struct {
	namespace string
	now       time.Time
}

func printStatus(command *cobra.Command, reader client.Reader, o statusOptions) error {
	list := &v1alpha1.WorkspaceList{}
	if err := reader.List(command.Context(), list, client.InNamespace(o.namespace)); err != nil {
		return fmt.Errorf("listing Workspaces: %w", err)
	}
	if len(list.Items) == 0 {
		fmt.Fprintln(command.ErrOrStderr(), "no Workspaces: apply a RepoSync, or see espalier init")
		return nil
	}
	table := tabwriter.NewWriter(command.OutOrStdout(), 0, 4, 3, ' ', 0)
	fmt.Fprintln(table, "NAMESPACE\tNAME\tINSTANCE\tPROGRESS\tSPENT\tREADY\tREASON\tMESSAGE")
	for i := range list.Items {
		w := &list.Items[i]
		ready, reason, message := "–", "–", "–"
		if c := condition.Get(w, v1alpha1.ConditionReady); c != nil {
			ready, reason, message = string(c.Status), c.Reason, c.Message
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n",
			w.Namespace, w.Name, orDash(w.Status.Instance), orDash(progressOf(w)), spent(w, o.now), ready, reason, message)
	}
	return table.Flush()
}

// progressWidth is the number of columns of a run that is done.
const progressWidth = 10

// progressOf is how far a tuning run is, while it trains.
func progressOf(w *v1alpha1.Workspace) string {
	t := w.Status.Tuning
	if t == nil || t.Progress == nil || t.FinishedAt != nil {
		return ""
	}
	p := t.Progress
	done := int(p.Percent) * progressWidth / 100
	text := fmt.Sprintf("%s%s %d%%", strings.Repeat("█", done), strings.Repeat("░", progressWidth-done), p.Percent)
	if p.Loss != "" {
		text += " loss " + p.Loss
	}
	if left := report.Remaining(p); left != "" {
		text += ", " + left + " left"
	}
	return text
}

// spent is what a tuning run has cost so far.
func spent(w *v1alpha1.Workspace, now time.Time) string {
	if w.Status.Spending == nil {
		return orDash("")
	}
	return price.USD(price.Spent(w.Status.Spending, now))
}

func orDash(s string) string {
	if s == "" {
		return "–"
	}
	return s
}
