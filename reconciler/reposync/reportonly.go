// SPDX-License-Identifier: Apache-2.0

package reposync

import (
	"context"
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/espalier-dev/espalier/reconciler/condition"
	"github.com/espalier-dev/espalier/reconciler/report"
	"github.com/espalier-dev/espalier/render/desired"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// runReport is run for mode ReportOnly: the commit is read, so that the report
// says what it is about, and nothing is built, applied or pruned.
func (r *Reconciler) runReport(ctx context.Context, p *pass) error {
	p.failed = v1alpha1.ConditionSourceReady
	if err := r.source(ctx, p); err != nil {
		return err
	}
	p.failed = v1alpha1.ConditionReady
	if err := r.connect(ctx, p); err != nil { // what it applied to another cluster is not handed over here
		return err
	}
	if err := r.mayTarget(p.sync); err != nil {
		return err
	}
	if err := r.handOver(ctx, p); err != nil {
		return err
	}
	var err error
	if p.lag, err = r.lagging(ctx, p); err != nil {
		return err
	}
	p.failed = ""
	return p.sourceAway()
}

// selectorOf is the selector of a RepoSync that only reports; the API server has
// judged it, and one that cannot be read selects nothing.
func selectorOf(s *v1alpha1.RepoSync) labels.Selector {
	if s.Spec.WorkspaceSelector == nil {
		return labels.Nothing()
	}
	selector, err := metav1.LabelSelectorAsSelector(s.Spec.WorkspaceSelector)
	if err != nil {
		return labels.Nothing()
	}
	return selector
}

// selected is what a RepoSync that only reports may list. The controller may read
// every namespace, and whoever writes a RepoSync reads what it reports: of one that
// nobody has allowed nothing is told.
func (r *Reconciler) selected(s *v1alpha1.RepoSync) ([]client.ListOption, error) {
	if err := r.mayTarget(s); err != nil {
		return nil, err
	}
	return []client.ListOption{client.InNamespace(desired.Target(s)), client.MatchingLabelsSelector{Selector: selectorOf(s)}}, nil
}

// indexReport finds the RepoSyncs that report on Workspaces of a namespace which
// others apply.
const indexReport = "spec.workspaceSelector"

func (r *Reconciler) addReportIndex(ctx context.Context, mgr ctrl.Manager) error {
	if err := mgr.GetFieldIndexer().IndexField(ctx, &v1alpha1.RepoSync{}, indexReport, r.reportedNamespace); err != nil {
		return fmt.Errorf("indexing RepoSyncs by what they report on: %w", err)
	}
	return nil
}

func (r *Reconciler) reportedNamespace(o client.Object) []string {
	if s := o.(*v1alpha1.RepoSync); s.ReportsOnly() && r.mayTarget(s) == nil {
		return []string{desired.Target(s)}
	}
	return nil
}

// reportedBy maps a Workspace to the RepoSyncs that only report on it.
func (r *Reconciler) reportedBy(ctx context.Context, o client.Object) []reconcile.Request {
	list := &v1alpha1.RepoSyncList{}
	if err := r.Client.List(ctx, list, client.MatchingFields{indexReport: o.GetNamespace()}); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "listing the RepoSyncs that report on a Workspace", "name", o.GetName())
		return nil
	}
	var requests []reconcile.Request
	for i := range list.Items {
		if selectorOf(&list.Items[i]).Matches(labels.Set(o.GetLabels())) {
			requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&list.Items[i])})
		}
	}
	return requests
}

// concludeSelected is conclude for mode ReportOnly: the conditions of a RepoSync
// that applies nothing say how the Workspaces are.
func (p *pass) concludeSelected(stepErr error) {
	s := p.sync
	condition.Remove(s, v1alpha1.ConditionBuilt, v1alpha1.ConditionApplied, v1alpha1.ConditionFieldConflict, v1alpha1.ConditionPruneHeld)
	s.Status.Findings = nil
	if stepErr != nil {
		p.concludeError(stepErr)
		return
	}
	if p.workspaces == nil {
		return // they could not be read: the pass ends in that error
	}
	v := judgeSelected(s, p.workspaces)
	switch {
	case p.lag != "":
		condition.Progressing(s, v1alpha1.ReasonWaitingForFlux, p.lag)
		return
	case v.reason == v1alpha1.ReasonSucceeded:
		condition.Ready(s, v.reason, v.message)
	case v.reason == v1alpha1.ReasonWorkspacesFailed:
		condition.Stalled(s, v.reason, v.message)
	default:
		condition.Progressing(s, v.reason, v.message)
	}
	s.Status.LastAppliedRevision = s.Status.LastAttemptedRevision
}

// verdict on all Workspaces together.
type verdict struct{ reason, message string }

// judgeSelected sums up the Workspaces that are reported on: one that failed is
// said first, then those that are on their way. One that is suspended holds up
// nothing.
func judgeSelected(s *v1alpha1.RepoSync, workspaces []*v1alpha1.Workspace) verdict {
	if len(workspaces) == 0 {
		return verdict{v1alpha1.ReasonNothingSelected, fmt.Sprintf("No Workspace of namespace %s has the labels of spec.workspaceSelector: %s", desired.Target(s), selectorOf(s))}
	}
	var failed, waiting []string
	suspended := 0
	for _, w := range workspaces {
		switch report.StateOf(w) {
		case report.Ready:
		case report.Suspended:
			suspended++
		case report.Failed, report.Refused:
			failed = append(failed, w.Name+": "+condition.Get(w, v1alpha1.ConditionReady).Message)
		default:
			waiting = append(waiting, w.Name)
		}
	}
	ready := fmt.Sprintf("%d of %d Workspaces are ready", len(workspaces)-len(failed)-len(waiting)-suspended, len(workspaces))
	if suspended > 0 {
		ready += fmt.Sprintf(", %d suspended", suspended)
	}
	switch {
	case len(failed) > 0:
		return verdict{v1alpha1.ReasonWorkspacesFailed, ready + "; " + strings.Join(failed, "; ")}
	case len(waiting) > 0:
		return verdict{v1alpha1.ReasonWaitingForWorkspaces, ready + "; on their way: " + strings.Join(waiting, ", ")}
	}
	return verdict{v1alpha1.ReasonSucceeded, ready}
}
