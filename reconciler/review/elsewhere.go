// SPDX-License-Identifier: Apache-2.0

package review

import (
	"bytes"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/espalier-dev/espalier/reconciler/spoke"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// proposalsADay bounds the pull requests for the adapters of one run in another cluster,
// beside one an interval: whoever has that cluster chooses when it trains what.
const proposalsADay = 5

// elsewhere is what was last told of Workspaces in another cluster.
type elsewhere struct {
	list     []byte // that a pass was made for
	unpacked []byte // that byName is of
	byName   map[string]*v1alpha1.Workspace
	crowded  bool           // there are too many, and that was said
	runs     map[string]run // by namespace/name
}

// run is when adapters of one were proposed.
type run struct {
	asked   time.Time   // when one was last thought of
	made    []time.Time // branches, of the last day
	pending string      // a branch whose pull request is not made yet
}

// elsewhere are the Workspaces of a RepoSync in another cluster, as its status tells of
// them: this process has nothing to look there with. A list is unpacked once.
func (k *kept) elsewhere(s *v1alpha1.RepoSync) (byName map[string]*v1alpha1.Workspace, all bool, err error) {
	is := s.Status.Spoke
	if is == nil {
		return nil, false, nil // nothing was told yet
	}
	if k.spoke.byName != nil && bytes.Equal(is.List, k.spoke.unpacked) {
		return k.spoke.byName, is.All, nil
	}
	told, err := spoke.Workspaces(is)
	if err != nil {
		return nil, false, err
	}
	byName = make(map[string]*v1alpha1.Workspace, len(told))
	for i := range told {
		byName[told[i].Namespace+"/"+told[i].Name] = &told[i]
	}
	k.spoke.byName, k.spoke.unpacked = byName, is.List
	return byName, is.All, nil
}

// news says whether the status tells of Workspaces in another cluster what it did not
// at the last pass: no event of theirs comes here.
func (k *kept) news(s *v1alpha1.RepoSync) bool {
	if s.Spec.KubeConfig == nil || s.Status.Spoke == nil || bytes.Equal(s.Status.Spoke.List, k.spoke.list) {
		return false
	}
	k.spoke.list = s.Status.Spoke.List
	return true
}

// crowded says whether nothing can be told of Workspaces in another cluster, because they
// are too many, and makes an event of it when it is new. It is no error: what can be tried
// again is.
func (r *Reconciler) crowded(s *v1alpha1.RepoSync, k *kept) bool {
	is := s.Status.Spoke
	if s.Spec.KubeConfig == nil || is == nil || is.Workspaces == 0 || len(is.List) > 0 {
		k.spoke.crowded = false
		return false
	}
	if !k.spoke.crowded {
		r.Events.Eventf(s, nil, corev1.EventTypeWarning, ReasonTooManyWorkspaces, "Review", "RepoSync %s/%s has %d Workspaces in the cluster of spec.kubeConfig, and %s: "+
			"merged pull requests are not followed and adapters not promoted; divide it among several RepoSyncs, one a folder", s.Namespace, s.Name, is.Workspaces, spoke.ErrTooMany)
	}
	k.spoke.crowded = true
	return true
}

// mayPropose says whether it is time for a pull request of a run. One of this cluster may
// always; what another cluster publishes is looked at once an interval.
func (k *kept) mayPropose(p promotion, branch string, now time.Time, every time.Duration) bool {
	if p.by == nil {
		return true
	}
	if k.spoke.runs == nil {
		k.spoke.runs = map[string]run{}
	}
	key := p.namespace + "/" + p.tuning
	is := k.spoke.runs[key]
	is.made = slices.DeleteFunc(is.made, func(at time.Time) bool { return !now.Before(at.Add(24 * time.Hour)) })
	k.spoke.runs[key] = is
	return branch == is.pending || !now.Before(is.asked.Add(every)) && len(is.made) < proposalsADay
}

// asks notes that an adapter of a run was thought of, and whether its branch was pushed.
func (k *kept) asks(p promotion, branch string, pushed bool, now time.Time) {
	if p.by == nil {
		return
	}
	key := p.namespace + "/" + p.tuning
	is := k.spoke.runs[key]
	is.asked = now
	if pushed && branch != is.pending {
		is.made, is.pending = append(is.made, now), branch
	}
	k.spoke.runs[key] = is
}

// made notes that the pull request is there.
func (k *kept) made(p promotion) {
	if p.by == nil {
		return
	}
	key := p.namespace + "/" + p.tuning
	is := k.spoke.runs[key]
	is.pending = ""
	k.spoke.runs[key] = is
}
