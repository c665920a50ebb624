// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"k8s.io/utils/ptr"

	"github.com/espalier-dev/espalier/gpu/price"
	"github.com/espalier-dev/espalier/render/desired"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// transition is a Workspace on its way from one revision to the other.
type transition struct {
	from, to *desired.Workspace
	was, is  rendered
}

// effect reads off the rendered objects what becomes of what runs. The first
// that applies decides.
func (t transition) effect() Effect {
	for _, look := range []func() (Effect, bool){
		t.refused, t.suspension, t.run, t.nodes, t.copiesOverNodes, t.pods, t.autoscaling, t.scale,
	} {
		if e, ok := look(); ok {
			return t.because(e)
		}
	}
	if sameObjects(t.was, t.is) {
		return Effect{Kind: None, Message: "nothing that runs changes"}
	}
	return Effect{Kind: Configured, Message: "updated in place: " + joined(t.changedObjects()) + "; nothing restarts"}
}

// refused is what the API server does not take.
func (t transition) refused() (Effect, bool) {
	if t.was.job() != t.is.job() {
		return Effect{Kind: Refused, Message: "the API server refuses to turn inference into tuning or back: give the new task a Workspace of its own; what runs, runs on"}, true
	}
	if list := refusals(t.was, t.is); len(list) > 0 {
		return Effect{Kind: Refused, Message: "the API server refuses it: " + strings.Join(list, "; ") + "; what runs, runs on"}, true
	}
	return Effect{}, false
}

// suspension compares spec.suspend, at which the controller gives nodes back.
func (t transition) suspension() (Effect, bool) {
	from, to := t.from.Workspace.Spec.Suspend, t.to.Workspace.Spec.Suspend
	switch {
	case !from && to && !t.is.job():
		return Effect{Kind: Stops, Downtime: true, Message: "the pods go and the nodes are given back; requests fail until it is resumed"}, true
	case !from && to:
		return Effect{Kind: Stops, Message: "the pod goes and the nodes are given back; the run " + t.goesOn() + " when it is resumed"}, true
	case from && !to:
		return Effect{Kind: Starts, Message: t.is.nodesWanted() + t.resumes()}, true
	case from && to:
		return Effect{Kind: None, Message: "suspended before and after: nothing runs"}, true
	}
	return Effect{}, false
}

func (t transition) resumes() string {
	if !t.is.job() {
		return ", then it serves again"
	}
	if t.was.name != t.is.name {
		return ", then a run of the new inputs begins"
	}
	return ", then the run " + t.goesOn()
}

// goesOn says what becomes of a run that is under way when its pod goes.
func (t transition) goesOn() string { return repolayout.GoesOn(t.to.Workspace.Spec) }

// interrupted is the effect on a run whose inputs stay and whose pod goes.
func (t transition) interrupted(message string) Effect {
	if t.to.Workspace.Spec.Resumes() {
		return Effect{Kind: Resumes, Message: message}
	}
	return Effect{Kind: Restarted, Message: message}
}

// nodesWanted says which nodes are bought.
func (r rendered) nodesWanted() string {
	if r.pool == nil || len(r.pool.candidates) == 0 {
		return "no nodes are bought, it shares a pool"
	}
	if r.pool.provider == string(v1alpha1.ProviderExisting) {
		return "no nodes are bought, it uses nodes that exist"
	}
	bought := are(r.pool.replicas) + " bought"
	if r.pool.between != "" {
		bought = "are bought, as pods need them: " + r.pool.autoscaler + " decides"
	}
	return r.pool.nodes() + " of " + r.pool.candidates[0].String() + " " + bought
}

func are(n int64) string {
	if n == 1 {
		return "is"
	}
	return "are"
}

// replaced says that the nodes in use are of a candidate that is no longer listed.
// Of several candidates Git does not know which was obtained: the first is assumed.
func (t transition) replaced() (old, now candidate, yes bool) {
	was, is := t.pools()
	if was == nil || is == nil || is.provider == string(v1alpha1.ProviderExisting) || len(was.candidates) == 0 || len(is.candidates) == 0 {
		return candidate{}, candidate{}, false
	}
	old = was.candidates[0]
	return old, is.candidates[0], slices.Contains(was.dropped(is), old)
}

// pools are the node pools before and after: the Workspace's own, or the one it
// shares where that stays the same.
func (t transition) pools() (was, is *pool) {
	if t.from == nil || t.was.pool != nil || t.is.pool != nil {
		return t.was.pool, t.is.pool
	}
	a, b := t.from.Assessment.Pool, t.to.Assessment.Pool
	if a == nil || b == nil || t.from.Workspace.Spec.Resource.NodePool != t.to.Workspace.Spec.Resource.NodePool {
		return nil, nil
	}
	return readSpec(a), readSpec(b)
}

// run is the effect on a tuning run, which is a Job that is never rewritten.
func (t transition) run() (Effect, bool) {
	if !t.is.job() {
		return Effect{}, false
	}
	old, now, moved := t.replaced()
	switch {
	case t.was.name != t.is.name:
		return Effect{Kind: Reruns, Message: fmt.Sprintf("Job %s takes the place of %s: the earlier run is removed with what it has not published, and what it has cost is lost; the new one starts from the base model", t.is.name, t.was.name)}, true
	case moved:
		return t.interrupted(fmt.Sprintf("the nodes of %s are given back, then %s is requested; a run that is under way %s there, one that is finished is not repeated", old, now, t.goesOn())), true
	case t.from.Workspace.Spec.Queue != t.to.Workspace.Spec.Queue:
		return t.interrupted("a run that is under way " + t.leaves() + queueing(t.to.Workspace.Spec.Queue) + "; one that is finished is not repeated"), true
	case t.was.pods == 1 && t.is.pods > 1:
		return Effect{Kind: Resumes, Message: fmt.Sprintf("%d nodes train together instead of one, on a volume that all of them mount: a run that has begun has one for a single node, and is refused until that claim is deleted, which loses its checkpoints; one that is finished is not repeated", t.is.pods)}, true
	case t.was.pods != t.is.pods:
		return t.interrupted(fmt.Sprintf("%s instead of %d: a run that is under way %s in a new Job, one that is finished is not repeated", trainers(t.is.pods), t.was.pods, t.goesOn())), true
	case t.was.on != t.is.on:
		return t.interrupted(t.toPool()), true
	case t.was.gpus != t.is.gpus:
		return t.interrupted(fmt.Sprintf("a pod takes %d GPUs instead of %d: a run that is under way %s in a new Job, one that is finished is not repeated", t.is.gpus, t.was.gpus, t.goesOn())), true
	}
	return Effect{Kind: None, Message: "the inputs of the run are the same: one that has started goes on" + t.kept() + ", one that is finished is not repeated"}, true
}

// toPool says how a run gets to the nodes of another pool.
func (t transition) toPool() string {
	if queue := t.to.Workspace.Spec.Queue; queue != "" {
		return "a run that is under way " + t.leaves() + queueing(queue) + "; one that is finished is not repeated"
	}
	given := ""
	if t.was.pool != nil {
		given = ", after which its own nodes are given back"
	}
	return fmt.Sprintf("%s; a run that is under way stays where it is until its new nodes are ready, and %s there in a new Job%s; one that is finished is not repeated", t.is.nodesWanted(), t.goesOn(), given)
}

func trainers(pods int64) string {
	if pods == 1 {
		return "one node trains"
	}
	return fmt.Sprintf("%d nodes train together", pods)
}

// leaves says how a run leaves its place before it goes where queueing says.
func (t transition) leaves() string {
	if t.to.Workspace.Spec.Resumes() {
		return "saves a checkpoint and goes"
	}
	return "loses what it has trained, as KAITO's trainer keeps no checkpoint, and goes"
}

// queueing says where a run goes on.
func queueing(queue string) string {
	if queue == "" {
		return " on without a queue"
	}
	return " to wait in queue " + queue + "; its nodes are given back, and bought again when Kueue admits it"
}

// kept says what becomes of the volume of a run that goes on.
func (t transition) kept() string {
	a, b := t.from.Workspace.Spec.Tuning.Kept(), t.to.Workspace.Spec.Tuning.Kept()
	switch {
	case a.StorageClass != b.StorageClass && repolayout.Defaulted(t.to.Workspace, repolayout.DefaultedClass):
		return " on the volume it has, since a claim keeps its class: the default is for the next one"
	case a.StorageClass != b.StorageClass:
		return " on the volume it has, since a claim keeps its class, which the next run is refused with"
	case a.SaveSteps != b.SaveSteps || a.Keep != b.Keep:
		return ", and its next pod keeps checkpoints in the new way"
	}
	if was, is := t.from.Workspace.Spec.MaxUSD(), t.to.Workspace.Spec.MaxUSD(); was != is {
		return t.newBudget(was, is)
	}
	if was, is := t.from.Workspace.Spec.Tuning.Evaluation, t.to.Workspace.Spec.Tuning.Evaluation; !reflect.DeepEqual(was, is) {
		return " and is held to the new thresholds, one whose adapter was withheld and meets them now publishes it from its last checkpoint, without training again"
	}
	if limitOf(t.from.Workspace.Spec.Tuning) != limitOf(t.to.Workspace.Spec.Tuning) || !ptr.Equal(t.from.Workspace.Spec.Tuning.Retries, t.to.Workspace.Spec.Tuning.Retries) {
		return " within its new limits"
	}
	return " as it is"
}

// newBudget is what another budget does to a run: more money lets one go on that
// was stopped.
func (t transition) newBudget(was, is string) string {
	before, limited := price.Amount(was)
	after, limits := price.Amount(is)
	switch {
	case !limits:
		return " without a limit to its money, and one that had spent it " + t.goesOn()
	case limited && after > before:
		return " until it has spent $" + is + ", and one that had spent $" + was + " " + t.goesOn()
	}
	if !t.to.Workspace.Spec.Resumes() {
		return " until it has spent $" + is + ": one that has, is stopped and loses what it has trained, as KAITO's trainer keeps no checkpoint"
	}
	return " until it has spent $" + is + ": one that has, is stopped after a checkpoint and gives its nodes back"
}

// nodes is the effect of other nodes on a service.
func (t transition) nodes() (Effect, bool) {
	old, now, moved := t.replaced()
	down := t.was.replicas > 0
	switch {
	case moved:
		return Effect{Kind: Replaced, Downtime: down, Message: fmt.Sprintf("the nodes of %s are given back first, then %s is requested: requests fail until the model is loaded there, and where it cannot be had there is nothing to go back to", old, now)}, true
	case (t.was.pool == nil) != (t.is.pool == nil):
		return Effect{Kind: Replaced, Downtime: down, Message: fmt.Sprintf("it moves to other nodes: %s; requests fail until the model is loaded there", t.is.nodesWanted())}, true
	}
	return Effect{}, false
}

// copiesOverNodes is the effect on copies that are StatefulSets. All are written at
// once, and a copy loads the model when its last pod is new.
func (t transition) copiesOverNodes() (Effect, bool) {
	down := t.was.replicas > 0
	if t.was.kind != t.is.kind {
		return Effect{Kind: Restarted, Downtime: down, Message: "the pods go before those of another shape come: requests fail until the model is loaded again"}, true
	}
	for name, spec := range t.was.sets {
		if now, ok := t.is.sets[name]; ok && !reflect.DeepEqual(spec, now) {
			return Effect{Kind: Restarted, Downtime: down, Message: "every copy starts anew on its nodes: requests fail until the model is loaded again"}, true
		}
	}
	return Effect{}, false
}

// pods is the effect of another pod template on a service.
func (t transition) pods() (Effect, bool) {
	if reflect.DeepEqual(t.was.template, t.is.template) {
		return Effect{}, false
	}
	r := t.is.roll
	// Kubernetes takes no old pod away that it needs for this many to be ready.
	up := min(int(t.was.replicas), int(t.is.replicas)-r.unavailable)
	switch {
	case t.scalesFromZero():
		return Effect{Kind: Restarted, Downtime: true, Message: "a copy that runs goes before the next one comes: requests fail until the model is loaded again; where none runs, nothing changes"}, true
	case t.was.replicas == 0 && t.is.replicas == 0:
		return Effect{Kind: None, Message: "no pod runs, before or after"}, true
	case t.was.replicas == 0:
		return Effect{Kind: Starts, Message: t.is.copies() + " with the new settings"}, true
	case t.is.replicas == 0:
		return Effect{Kind: Scales, Downtime: true, Message: "scaled to no copy: requests fail"}, true
	case r.recreate || up <= 0:
		return Effect{Kind: Restarted, Downtime: true, Message: "the pods go before new ones come: requests fail until the model is loaded again"}, true
	}
	return Effect{Kind: Rolls, Message: fmt.Sprintf("the pods are replaced one after another; meanwhile at least %d of %d answer", up, t.is.replicas)}, true
}

func (r rendered) copies() string { return counted(int(r.replicas), "copy starts", "copies start") }

// scale is a change of numbers alone.
func (t transition) scale() (Effect, bool) {
	nodes := ""
	if t.was.pool != nil && t.is.pool != nil && t.was.pool.replicas != t.is.pool.replicas {
		nodes = fmt.Sprintf("%d → %s", t.was.pool.replicas, counted(int(t.is.pool.replicas), "node", "nodes"))
	}
	if t.was.replicas == t.is.replicas && nodes == "" {
		return Effect{}, false
	}
	parts := []string{}
	if t.was.replicas != t.is.replicas {
		parts = append(parts, fmt.Sprintf("%d → %s", t.was.replicas, counted(int(t.is.replicas), "copy", "copies")))
	}
	if nodes != "" {
		parts = append(parts, nodes)
	}
	down := t.is.replicas == 0 && t.was.replicas > 0
	end := ", nothing restarts"
	if down {
		end = ": requests fail"
	}
	return Effect{Kind: Scales, Downtime: down, Message: joined(parts) + end}, true
}

// changedObjects names the objects that differ, as kind and name.
func (t transition) changedObjects() []string {
	before := map[string]any{}
	for _, o := range t.was.objects {
		before[o.GetKind()+" "+o.GetName()] = o.Object
	}
	var names []string
	for _, o := range t.is.objects {
		name := o.GetKind() + " " + o.GetName()
		if !reflect.DeepEqual(before[name], any(o.Object)) {
			names = append(names, name)
		}
	}
	return names
}

// stuck says that a rolling update needs GPUs beside the ones in use.
func (t transition) stuck() string {
	c, ok := chosen(t.to)
	r := t.is.roll
	if !ok || t.is.pool == nil || r.recreate || r.unavailable > 0 || t.is.kind != "Deployment" {
		return ""
	}
	have := t.is.pool.replicas * int64(c.Instance.GPUs)
	need := (t.is.replicas + int64(r.surge)) * t.is.gpus
	if need <= have {
		return ""
	}
	return fmt.Sprintf("the rolling update starts %s before an old one goes, which takes %d GPUs, and the pool has %d: it waits for ever; set maxUnavailable to 1, or raise spec.resource.count", counted(r.surge, "pod", "pods"), need, have)
}
