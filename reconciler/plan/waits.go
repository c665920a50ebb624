// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"slices"
	"strings"

	"github.com/espalier-dev/espalier/render/desired"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// waits is the effect on a Workspace whose inputs are not there. The controller reads
// them before anything else: it leaves alone what runs, also what is to be suspended.
func (c *comparer) waits(from, to *desired.Workspace) (Effect, bool) {
	names := c.awaitedInputs(from, to)
	if len(names) == 0 || from.Workspace.Spec.Suspend && to.Workspace.Spec.Suspend {
		return Effect{}, false
	}
	return Effect{Kind: Waits, Message: v1alpha1.ReasonInputMissing + " until " + areThere(names) + ", which Git does not hold; what runs, runs on"}, true
}

// withoutInputs says that a new Workspace buys no node before its inputs are there.
func (c *comparer) withoutInputs(to *desired.Workspace) string {
	names := c.awaitedInputs(nil, to)
	if len(names) == 0 || to.Workspace.Spec.Suspend {
		return ""
	}
	return "it waits (" + v1alpha1.ReasonInputMissing + ") until " + areThere(names) + ", which Git does not hold, and no node is bought before; then "
}

// awaitedInputs are the inputs that the cluster has not, as far as Git can tell: what
// head drops, and a ConfigMap that head names anew and nobody has seen. Secrets and
// claims are mostly made in the cluster, and taken to be there.
func (c *comparer) awaitedInputs(from, to *desired.Workspace) []string {
	var names []string
	for _, m := range to.Missing {
		kind, name, _ := strings.Cut(m, "/")
		before, was := c.inputsBefore[kind+"/"+to.Workspace.Namespace+"/"+name]
		switch {
		case kind == claimKind: // it stays while a pod mounts it
		case was && c.fates.of(before).Kind == Deleted, !was && kind == "ConfigMap" && (from == nil || !slices.Contains(from.Missing, m)):
			names = append(names, kind+" "+name)
		}
	}
	return names
}

func areThere(names []string) string {
	if len(names) == 1 {
		return names[0] + " is there"
	}
	return joined(names) + " are there"
}
