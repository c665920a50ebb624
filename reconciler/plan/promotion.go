// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"github.com/espalier-dev/espalier/render/desired"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// awaited says that a new service waits for an adapter that another Workspace of
// head trains, "" where it does not.
func (c *comparer) awaited(to *desired.Workspace) string {
	service := to.Workspace
	if service.Spec.Suspend {
		return ""
	}
	for i := range c.head.State.Workspaces {
		tuning := c.head.State.Workspaces[i].Workspace
		if tuning.Namespace != service.Namespace {
			continue
		}
		for _, a := range repolayout.PromotedAdapters(tuning, service) {
			if !repolayout.Pinned(service.Spec.Inference.Adapters[a].Image) {
				return "it waits until the adapter that " + tuning.Name + " trains is in Git by digest, and no node is bought before; then "
			}
		}
	}
	return ""
}

// proposing says what becomes of an adapter when it is published.
func proposing(t *v1alpha1.TuningSpec) string {
	if t.Promote == nil {
		return ""
	}
	return ", from where a pull request proposes it to " + t.Promote.To
}
