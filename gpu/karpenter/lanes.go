// SPDX-License-Identifier: Apache-2.0

package karpenter

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/gpu/pool"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// NodePools that Karpenter fills by itself, one a candidate (pool.Lane): what they
// are, what is read of them, and the one write that is due next.

// topWeight is the weight of the first candidate; each after it has one less. Karpenter
// takes 1 to 100 and fills the heaviest first.
const topWeight = 100

// emptyFor is how long a node stands empty where the spec names no time.
const emptyFor = 5 * time.Minute

// limitNodes bounds nodes, whatever they offer: Karpenter counts the GPUs of a node by
// what its kubelet reports. Version 1.14 keeps it exactly, older ones may go over it.
const limitNodes = "nodes"

// laneName is the NodePool of a candidate. It follows from what the candidate is, not
// from its place: another order of preference moves no node.
func laneName(t pool.Target, c v1alpha1.Candidate) string {
	sum := sha256.Sum256([]byte(written(c)))
	return t.PoolName + "-" + hex.EncodeToString(sum[:3])
}

// gpusOf is how many GPUs Karpenter counts for a node of a candidate.
func (p *Provider) gpusOf(c v1alpha1.Candidate) int64 {
	if s, ok := p.cfg.Sizes(c.InstanceType); ok && s.GPUs > 0 {
		return int64(s.GPUs)
	}
	return 1
}

// laneObject is the NodePool of a lane. What Karpenter does with its nodes is bounded:
// it takes away those that are empty, and replaces none on which something runs, for
// drift or to save money, because that may be a run of a day.
func (p *Provider) laneObject(t pool.Target, l pool.Lane, class v1alpha1.NodeClassReference, version string) *unstructured.Unstructured {
	t.Candidate = l.Candidate
	o := marked(NodePool, version, laneName(t, l.Candidate), t)
	weight := topWeight - max(slices.IndexFunc(t.Candidates, func(c v1alpha1.Candidate) bool { return written(c) == written(l.Candidate) }), 0)
	after := emptyFor
	if t.Karpenter != nil && t.Karpenter.ConsolidateAfter != nil {
		after = t.Karpenter.ConsolidateAfter.Duration
	}
	o.Object["spec"] = object{
		"weight": int64(weight),
		"limits": object{
			string(pool.ResourceGPU): strconv.FormatInt(int64(l.Limit)*p.gpusOf(l.Candidate), 10),
			limitNodes:               strconv.Itoa(int(l.Limit)), // nodes whose device plugin is gone offer no GPU, and are paid for
		},
		"template": object{
			"metadata": object{
				"labels":      texts(nodeLabels(t)),
				"annotations": object{annotationPool: t.Namespace + "/" + t.Name, annotationCandidate: written(l.Candidate)},
			},
			"spec": object{
				"nodeClassRef": object{"group": class.Group, "kind": class.Kind, "name": class.Name},
				"taints":       taints(t),
				"requirements": requirements(t, p.cfg.Region),
				"expireAfter":  "Never",
			},
		},
		"disruption": object{
			"consolidationPolicy": "WhenEmpty", "consolidateAfter": fmt.Sprintf("%ds", int(after.Seconds())),
			"budgets": []any{
				object{"nodes": "0", "reasons": []any{"Drifted", "Underutilized"}},
				object{"nodes": "100%", "reasons": []any{"Empty"}},
			},
		},
	}
	return o
}

// laneSeen is a NodePool that is there, with what Karpenter made of it.
type laneSeen struct {
	pool.Lane
	nodePoolSeen
	whole *unstructured.Unstructured
}

// lanes are the NodePools of an attempt, by name.
func (p *Provider) lanes(mine things, said []corev1.Event) []laneSeen {
	var out []laneSeen
	for _, n := range mine.pools {
		l := laneSeen{nodePoolSeen: n, whole: n.whole}
		l.Lane = pool.Lane{Candidate: candidate(n.candidate), Limit: p.limitOf(n), Ready: n.ready.isTrue(), Detail: things{pools: []nodePoolSeen{n}}.detail(), Going: n.deleting}
		var launched time.Time
		for _, c := range mine.claims {
			if c.labels[labelNodePool] != n.name {
				continue
			}
			l.Nodes++
			if c.launched.isTrue() && c.created.After(launched) {
				launched = c.created
			}
			if c.live() && !c.launched.isTrue() && l.Failure == nil {
				l.Failure = c.failure("")
			}
		}
		if l.Failure == nil {
			l.Failure = p.refused(n, said, launched)
		}
		out = append(out, l)
	}
	return out
}

// limitOf is how many nodes a NodePool may have. Karpenter makes none of one that is
// being deleted.
func (p *Provider) limitOf(n nodePoolSeen) int32 {
	if n.deleting {
		return 0
	}
	text, _, _ := unstructured.NestedFieldNoCopy(n.whole.Object, "spec", "limits", string(pool.ResourceGPU))
	q, err := resource.ParseQuantity(fmt.Sprint(text))
	if err != nil {
		return math.MaxInt32 // none: somebody has taken it away
	}
	return pool.Bounded(q.Value() / p.gpusOf(candidate(n.candidate)))
}

// believed is how long an Event speaks of now: Karpenter repeats it while a pod waits.
const believed = 5 * time.Minute

// refused is what Karpenter said last of a NodePool of which it could make no node,
// unless it has launched one since.
func (p *Provider) refused(n nodePoolSeen, said []corev1.Event, launched time.Time) *pool.Failure {
	var mine []corev1.Event
	for _, e := range said {
		of, at := e.InvolvedObject, happened(e)
		claim := of.Kind == NodeClaim.Kind && strings.HasPrefix(of.Name, n.name+"-")
		own := of.Kind == NodePool.Kind && of.Name == n.name
		if (claim || own) && at.After(launched) && p.cfg.Clock().Sub(at) < believed {
			mine = append(mine, e)
		}
	}
	if text := cause(mine); text != "" {
		return Classify(text)
	}
	return nil
}

func happened(e corev1.Event) time.Time {
	if e.LastTimestamp.IsZero() {
		return e.EventTime.Time
	}
	return e.LastTimestamp.Time
}

// warnings reads what Karpenter says of NodePools and NodeClaims. It is asked only
// while somebody waits for a node.
func (p *Provider) warnings(ctx context.Context, t pool.Target, mine things) ([]corev1.Event, error) {
	under := slices.ContainsFunc(mine.claims, func(c claim) bool { return c.live() && !c.launched.isTrue() })
	if !t.Waiting && !under {
		return nil, nil
	}
	var found corev1.EventList
	err := p.cfg.Live.List(ctx, &found, client.InNamespace(metav1.NamespaceDefault), client.MatchingFields{"type": corev1.EventTypeWarning})
	if err != nil {
		return nil, fmt.Errorf("listing the Events of NodePools and NodeClaims: %w", err)
	}
	return found.Items, nil
}

// judgeLanes is judge for a pool of lanes.
func (p *Provider) judgeLanes(ctx context.Context, o *pool.Observation, t pool.Target, mine things) error {
	said, err := p.warnings(ctx, t, mine)
	if err != nil {
		return err
	}
	o.State = pool.StateSucceeded
	class, _, classErr := p.class(t)
	for _, l := range p.lanes(mine, said) {
		o.Lanes = append(o.Lanes, l.Lane)
		o.Count += l.Nodes
		if l.deleting {
			o.State = pool.StateDeleting
		}
		if classErr == nil && !l.deleting && !covers(l.whole.Object, p.laneObject(t, l.Lane, class, l.version).Object) {
			o.Behind = append(o.Behind, "NodePool "+l.name)
		}
	}
	o.Detail = mine.detail()
	o.Drift = things{classes: mine.classes}.drift(t, class)
	return nil
}

// lanesOf is Ensure for a pool of lanes.
func (w work) lanesOf(ctx context.Context) (pool.Step, error) {
	var err error
	if w.all, err = w.Provider.gather(ctx, w.Provider.cfg.Live, w.t); err != nil {
		return pool.StepNone, err
	}
	w.mine = w.all.of(w.t.Attempt)
	w.class, w.own, err = w.Provider.class(w.t)
	if has, found := w.mine.classSeen(); err != nil && found && len(w.t.Lanes) == 0 {
		w.class, w.own, err = has, false, nil
	}
	if err != nil {
		return pool.StepNone, err
	}
	w.plain = w.class.Group == groupKAITO
	return w.ensureLanes(ctx)
}

// ensureLanes makes the one write that is due next: limits are lowered before others
// are raised, so that together they never allow more nodes than the spec does.
func (w work) ensureLanes(ctx context.Context) (pool.Step, error) {
	p, t := w.Provider, w.t
	version, err := p.version(NodePool)
	if err != nil {
		return pool.StepNone, err
	}
	if version == "" || w.plain {
		return pool.StepNone, &pool.Failure{Class: pool.ClassPrerequisite, Text: "karpenter.mode NodePools needs Karpenter, whose kind NodePool (karpenter.sh) this cluster lacks, or names a node class of gpu-provisioner"}
	}
	if w.own && len(w.mine.classes) == 0 && len(t.Lanes) > 0 {
		return w.makeClass(ctx)
	}
	there := p.lanes(w.mine, nil)
	if done, err := w.lowerLanes(ctx, there); done || err != nil {
		return pool.StepPartial, err
	}
	return w.raiseLanes(ctx, there, version)
}

// lowerLanes lowers one limit, or deletes one NodePool that is no longer wanted and has
// no node; false: there is none to lower.
func (w work) lowerLanes(ctx context.Context, there []laneSeen) (bool, error) {
	for i := range there {
		l := &there[i]
		want := pool.Lane{Candidate: l.Candidate}
		at := slices.IndexFunc(w.t.Lanes, func(x pool.Lane) bool { return written(x.Candidate) == written(l.Candidate) })
		if at >= 0 {
			want = w.t.Lanes[at]
		}
		switch {
		case l.deleting:
		case want.Limit < l.Limit:
			return true, w.applyLane(ctx, want, l)
		case at < 0 && l.Nodes == 0:
			return true, w.Provider.remove(ctx, NodePool, l.name, l.identity)
		}
	}
	return false, nil
}

// classSeen is the node class that NodePools have, where the one that they should have
// is not to be found out: what is closed and deleted needs no other.
func (a things) classSeen() (ref v1alpha1.NodeClassReference, found bool) {
	for _, n := range a.pools {
		m, ok, _ := unstructured.NestedMap(n.whole.Object, "spec", "template", "spec", "nodeClassRef")
		if ok && runtime.DefaultUnstructuredConverter.FromUnstructured(m, &ref) == nil {
			return ref, true
		}
	}
	return ref, false
}

// raiseLanes makes what is missing and what may grow.
func (w work) raiseLanes(ctx context.Context, there []laneSeen, version string) (pool.Step, error) {
	for _, want := range w.t.Lanes {
		room := w.t.Karpenter.MaxNodes
		var has *laneSeen
		for i, l := range there {
			if written(l.Candidate) == written(want.Candidate) {
				has = &there[i]
				continue
			}
			room -= max(l.Limit, l.Nodes)
		}
		want.Limit = min(want.Limit, max(room, 0))
		if has != nil && (has.deleting || covers(has.whole.Object, w.Provider.laneObject(w.t, want, w.class, version).Object)) {
			continue
		}
		if why := refusal(pool.Target{Candidate: want.Candidate}, false, w.Provider.cfg.Region); why != "" {
			return pool.StepNone, &pool.Failure{Class: pool.ClassSpec, Text: why}
		}
		return pool.StepPartial, w.applyLane(ctx, want, has)
	}
	return pool.StepNone, nil
}

// applyLane writes a NodePool by server-side apply, without force, as it was read: one
// that is new to us must not be there, and one that changed meanwhile is left alone.
func (w work) applyLane(ctx context.Context, l pool.Lane, has *laneSeen) error {
	p, t := w.Provider, w.t
	version, err := p.version(NodePool)
	if err != nil {
		return err
	}
	o := p.laneObject(t, l, w.class, version)
	if has == nil {
		found, err := p.get(ctx, p.cfg.Live, NodePool, o.GetName())
		if err != nil {
			return err
		}
		if found != nil && foreign(found, t) != "" {
			return &pool.Failure{Class: pool.ClassOwnership, Text: fmt.Sprintf("NodePool %s: %s", o.GetName(), foreign(found, t))}
		}
	} else {
		o.SetUID(has.uid)
		o.SetResourceVersion(has.identity.version)
	}
	err = p.cfg.Client.Apply(ctx, client.ApplyConfigurationFromUnstructured(o), client.FieldOwner(repolayout.FieldManager))
	return applied(o.GetName(), err)
}

// applied says what came of writing a NodePool.
func applied(name string, err error) error {
	switch {
	case err == nil:
		return nil
	case apierrors.IsConflict(err) && fieldsOf(err) != "":
		return &pool.Failure{Class: pool.ClassConflict, Text: fmt.Sprintf("NodePool %s: set by another manager: %s", name, fieldsOf(err))}
	case apierrors.IsConflict(err):
		return &pool.Failure{Class: pool.ClassPrecondition, Text: fmt.Sprintf("NodePool %s has changed since it was read", name)}
	case apierrors.IsInvalid(err), apierrors.IsBadRequest(err):
		return &pool.Failure{Class: pool.ClassSpec, Text: line(fmt.Sprintf("the API server refuses NodePool %s: %v", name, err))}
	case apierrors.IsForbidden(err):
		return &pool.Failure{Class: pool.ClassAuth, Text: line(fmt.Sprintf("writing NodePool %s: %v", name, err))}
	}
	return fmt.Errorf("writing NodePool %s: %w", name, err)
}

// fieldsOf names the fields that another manager owns; empty: it is another conflict.
func fieldsOf(err error) string {
	var status apierrors.APIStatus
	if !errors.As(err, &status) || status.Status().Details == nil {
		return ""
	}
	var fields []string
	for _, c := range status.Status().Details.Causes {
		if c.Type == metav1.CauseTypeFieldManagerConflict {
			fields = append(fields, c.Field)
		}
	}
	return strings.Join(fields, ", ")
}

// covers says whether an object has everything that another wants of it: what the API
// server, Karpenter or a person added does not count.
func covers(has, want any) bool {
	switch want := want.(type) {
	case object:
		m, ok := has.(object)
		if !ok {
			return false
		}
		for k, v := range want {
			if k != "apiVersion" && !covers(m[k], v) {
				return false
			}
		}
		return true
	case []any:
		list, ok := has.([]any)
		return ok && len(list) == len(want) && !slices.ContainsFunc(want, func(w any) bool {
			return !slices.ContainsFunc(list, func(h any) bool { return covers(h, w) })
		})
	}
	return fmt.Sprint(has) == fmt.Sprint(want)
}

// makeClass makes the pool's own node class.
func (w work) makeClass(ctx context.Context) (pool.Step, error) {
	version, err := w.Provider.version(AKSNodeClass)
	if err != nil {
		return pool.StepNone, err
	}
	return pool.StepPartial, w.Provider.create(ctx, aksNodeClass(w.t, version), w.t)
}
