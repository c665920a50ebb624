// SPDX-License-Identifier: Apache-2.0

package karpenter

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/espalier-dev/espalier/gpu/pool"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// things are the objects of one GPUNodePool, of all attempts or of one.
type things struct {
	claims  []claim
	pools   []nodePoolSeen
	classes []unstructured.Unstructured
}

// claim is what matters of a NodeClaim.
type claim struct {
	identity
	name       string
	labels     map[string]string
	node       string // empty: it has not joined
	class      v1alpha1.NodeClassReference
	candidate  string
	deleted    time.Time // zero: it is not being deleted
	held       bool      // by our finalizer
	waits      bool      // for finalizers of others
	created    time.Time
	launched   condition
	registered condition
	drained    condition
}

// nodePoolSeen is what matters of a NodePool.
type nodePoolSeen struct {
	identity
	name, version string // version of the API
	attempt       string
	candidate     string
	deleting      bool
	ready         condition
	whole         *unstructured.Unstructured
}

// condition is one of a NodeClaim or NodePool; the zero value: not there yet.
type condition struct {
	Type, Status, Reason, Message string
}

func (c condition) isTrue() bool { return c.Status == string(metav1.ConditionTrue) }

// says is the reason and message of a condition that is not True, where
// Karpenter has written any.
func (c condition) says() string {
	switch {
	case c.isTrue(), c.Reason == "", c.Reason == "AwaitingReconciliation":
		return ""
	case c.Message == "" || c.Message == c.Reason:
		return c.Reason
	}
	return c.Reason + ": " + line(c.Message)
}

func readClaim(o *unstructured.Unstructured) claim {
	c := claim{
		identity: identify(o), name: o.GetName(), labels: o.GetLabels(), candidate: o.GetAnnotations()[annotationCandidate],
		created: o.GetCreationTimestamp().Time, launched: conditionOf(o, "Launched"), registered: conditionOf(o, "Registered"), drained: conditionOf(o, "Drained"),
	}
	if at := o.GetDeletionTimestamp(); at != nil {
		c.deleted = at.Time
	}
	for _, f := range o.GetFinalizers() {
		c.held = c.held || f == repolayout.Finalizer
		c.waits = c.waits || f != repolayout.Finalizer
	}
	c.node, _, _ = unstructured.NestedString(o.Object, "status", "nodeName")
	ref, _, _ := unstructured.NestedMap(o.Object, "spec", "nodeClassRef")
	_ = runtime.DefaultUnstructuredConverter.FromUnstructured(ref, &c.class) // what is no reference stays empty, and is no drift
	return c
}

func readNodePool(o *unstructured.Unstructured) nodePoolSeen {
	return nodePoolSeen{
		identity: identify(o), candidate: o.GetAnnotations()[annotationCandidate], name: o.GetName(), version: o.GroupVersionKind().Version, attempt: o.GetLabels()[LabelAttempt],
		deleting: o.GetDeletionTimestamp() != nil, ready: conditionOf(o, "Ready"), whole: o,
	}
}

// conditionOf finds a condition of an object.
func conditionOf(o *unstructured.Unstructured, kind string) condition {
	list, _, _ := unstructured.NestedSlice(o.Object, "status", "conditions")
	for _, entry := range list {
		m, _ := entry.(object)
		if m["type"] == kind {
			text := func(key string) string { s, _ := m[key].(string); return s }
			return condition{Type: kind, Status: text("status"), Reason: text("reason"), Message: text("message")}
		}
	}
	return condition{Type: kind}
}

func (a things) empty() bool { return len(a.claims)+len(a.pools)+len(a.classes) == 0 }

// held says that a NodeClaim keeps our finalizer.
func (a things) held() bool {
	return slices.ContainsFunc(a.claims, func(c claim) bool { return c.held })
}

// of are the things of one attempt.
func (a things) of(attempt int32) things {
	want := strconv.Itoa(int(attempt))
	var out things
	for _, c := range a.claims {
		if c.labels[LabelAttempt] == want {
			out.claims = append(out.claims, c)
		}
	}
	for _, n := range a.pools {
		if n.attempt == want {
			out.pools = append(out.pools, n)
		}
	}
	for i := range a.classes {
		if a.classes[i].GetLabels()[LabelAttempt] == want {
			out.classes = append(out.classes, a.classes[i])
		}
	}
	return out
}

// attempts are the attempts that have left something, in order.
func (a things) attempts() []int32 {
	var all []int32
	add := func(label string) {
		if n, err := strconv.ParseInt(label, 10, 32); err == nil && n > 0 {
			all = append(all, int32(n))
		}
	}
	for _, c := range a.claims {
		add(c.labels[LabelAttempt])
	}
	for _, n := range a.pools {
		add(n.attempt)
	}
	for i := range a.classes {
		add(a.classes[i].GetLabels()[LabelAttempt])
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// leftovers are the other attempts of the target's pool.
func (a things) leftovers(t pool.Target) []pool.Leftover {
	var out []pool.Leftover
	for _, n := range a.attempts() {
		if n == t.Attempt && t.PoolName != "" {
			continue
		}
		mine := a.of(n)
		l := pool.Leftover{
			Name: pool.Name(t.Installation, t.UID, n), Attempt: n, State: pool.StateSucceeded,
			NodeSelector: selector(t.UID, n), Candidate: mine.candidate(),
		}
		if mine.doomed() {
			l.State = pool.StateFailed // not one to go on with; what is left is deleted
		}
		out = append(out, l)
	}
	return out
}

// doomed says that what is there is on its way out.
func (a things) doomed() bool {
	return slices.ContainsFunc(a.pools, func(n nodePoolSeen) bool { return n.deleting }) ||
		slices.ContainsFunc(a.claims, func(c claim) bool { return !c.deleted.IsZero() }) ||
		len(a.claims)+len(a.pools) == 0
}

// candidate is what the attempt was made for.
func (a things) candidate() v1alpha1.Candidate {
	switch {
	case len(a.pools) > 0:
		return candidate(a.pools[0].candidate)
	case len(a.claims) > 0:
		return candidate(a.claims[0].candidate)
	}
	return v1alpha1.Candidate{}
}

// Kinds of claims by how far they are.
func (c claim) live() bool    { return c.deleted.IsZero() }
func (c claim) leaving() bool { return !c.live() && c.waits }  // Karpenter has not let go of it
func (c claim) dead() bool    { return !c.live() && !c.waits } // only our finalizer keeps it

// retryPause is how long a NodeClaim that failed is kept before its node is
// ordered again on nodes that were Ready once.
const retryPause = 2 * time.Minute

// judge says what the objects of one attempt come to. events has what was said
// of NodeClaims that were given up, by UID.
func (a things) judge(o *pool.Observation, t pool.Target, events map[string]string, now time.Time) {
	var n tally
	for _, c := range a.claims {
		f := c.failure(events[string(c.uid)])
		if f != nil && o.Failure == nil {
			o.Failure = f
		}
		n.fresh = n.fresh || f != nil && now.Sub(c.deleted) < retryPause
		n.count(c)
	}
	o.Count = n.live
	o.Detail = a.detail()
	o.State = a.state(o.Failure != nil, n)
	o.Short = o.State != pool.StateDeleting && !a.unready() && !n.fresh && (n.dead || n.live+n.leaving < t.Replicas)
}

// tally is how many of the NodeClaims of an attempt are how far.
type tally struct {
	live, leaving, launched int32
	dead                    bool // there is one to let go
	fresh                   bool // a failure is too young to be tried again
}

func (n *tally) count(c claim) {
	switch {
	case c.live() && c.launched.isTrue():
		n.live++
		n.launched++
	case c.live():
		n.live++
	case c.leaving():
		n.leaving++
	default:
		n.dead = true
	}
}

// unready says that the NodePool cannot be used, or not yet.
func (a things) unready() bool {
	return slices.ContainsFunc(a.pools, func(n nodePoolSeen) bool { return !n.ready.isTrue() })
}

func (a things) state(failed bool, n tally) pool.State {
	deleting := slices.ContainsFunc(a.pools, func(n nodePoolSeen) bool { return n.deleting })
	switch {
	case failed:
		return pool.StateFailed
	case deleting, n.live == 0 && n.leaving > 0:
		return pool.StateDeleting
	case int(n.live) < len(a.claims), n.launched < n.live, a.unready():
		return pool.StateRunning
	}
	return pool.StateSucceeded
}

// failure is why a NodeClaim never became a node; nil: it did, or may yet.
func (c claim) failure(event string) *pool.Failure {
	switch {
	case c.live() && (c.launched.isTrue() || c.launched.says() == ""):
		return nil
	case c.live(): // it is tried again by whoever makes nodes of it; some of what it says no retry mends
		if f := Classify(c.launched.says()); !f.Class.KeepsCandidate() {
			return f
		}
		return nil
	case c.registered.isTrue():
		return nil
	case event != "":
		return Classify(event)
	case !c.launched.isTrue() && c.launched.says() != "":
		return Classify(c.launched.says())
	case c.launched.isTrue():
		return &pool.Failure{Class: pool.ClassProvisionTimeout, Text: fmt.Sprintf("the machine of NodeClaim %s was launched and did not join the cluster", c.name)}
	}
	return &pool.Failure{Class: pool.ClassFailed, Text: fmt.Sprintf("NodeClaim %s was deleted before a machine was launched, and no Event says why", c.name)}
}

// detail is what an operation under way waits for.
func (a things) detail() string {
	for _, n := range a.pools {
		switch {
		case n.ready.isTrue():
		case n.ready.says() == "":
			return fmt.Sprintf("Karpenter has not looked at NodePool %s yet", n.name)
		default:
			return fmt.Sprintf("NodePool %s is not Ready: %s", n.name, n.ready.says())
		}
	}
	for _, c := range a.claims {
		switch {
		case c.leaving() && c.drained.says() != "":
			return fmt.Sprintf("NodeClaim %s is being drained: %s", c.name, c.drained.says())
		case c.leaving():
			return fmt.Sprintf("NodeClaim %s is being terminated", c.name)
		case c.dead():
		case !c.launched.isTrue():
			return waits(c.name, c.launched)
		case !c.registered.isTrue():
			return waits(c.name, c.registered)
		}
	}
	return ""
}

func waits(name string, c condition) string {
	text := fmt.Sprintf("NodeClaim %s is not %s yet", name, c.Type)
	if says := c.says(); says != "" {
		text += ": " + says
	}
	return text
}
