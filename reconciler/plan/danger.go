// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/espalier-dev/espalier/render/desired"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// danger adds the findings on a change that somebody should stop at.
func (c *comparer) danger(t transition, ch *Change) {
	to := t.to.Document
	field := "spec." + ch.Task
	if ch.Effect.Kind == Refused {
		c.immutable(to, field, "%s: %s", ch.Name, ch.Effect.Message)
		return
	}
	if why := t.stranded(); why != "" {
		c.immutable(to, "spec.resource.labelSelector", "%s: %s", ch.Name, why)
	}
	if why := growing(t.was, t.is); why != "" {
		c.warn(ClaimGrows, to, field, "%s: %s: where its storage class lets no claim grow, it stops and says ClaimTooSmall", ch.Name, why)
	}
	if !t.was.job() {
		c.service(t, ch)
	}
	if ch.Effect.Kind == Reruns {
		c.rerun(t, ch)
	}
	if ch.Effect.Kind == Replaced || t.is.job() && (ch.Effect.Kind == Resumes || ch.Effect.Kind == Restarted) && t.was.pods == t.is.pods {
		c.warn(NodesReplaced, to, resourceField(t.to), "%s moves to other nodes%s", ch.Name, t.meanwhile())
	}
	if t.dropsCandidates() {
		c.unsure = append(c.unsure, ch.Name)
	}
}

// dropsCandidates says whether the nodes may be of a candidate that is not
// there afterwards: which one was obtained, Git does not know.
func (t transition) dropsCandidates() bool {
	was, is := t.was.pool, t.is.pool
	return was != nil && is != nil && len(was.candidates) > 1 && len(was.dropped(is)) > 0
}

func resourceField(w *desired.Workspace) string {
	switch r := w.Workspace.Spec.Resource; {
	case r.NodePool != "":
		return "spec.resource.nodePool"
	case r.InstanceType != "":
		return "spec.resource.instanceType"
	}
	return "spec.resource.candidates"
}

// service judges a change of a live service.
func (c *comparer) service(t transition, ch *Change) {
	a, b := t.from.Workspace.Spec.Inference, t.to.Workspace.Spec.Inference
	if t.was.replicas > 0 && a != nil && b != nil {
		before, after := t.from.Assessment, t.to.Assessment
		switch {
		case (before.Pod == nil) != (after.Pod == nil):
			c.warn(ModelChanged, t.to.Document, "spec.inference", "%s is answered by another program afterwards, a pod of your own or the model: requests that name the old model, or its paths, may fail", ch.Name)
		case before.Pod != nil: // what it answers as, nobody here knows
		case before.Preset.ID != after.Preset.ID:
			c.warn(ModelChanged, t.to.Document, modelField(b), "%s answers as %s instead of %s afterwards: requests that name the old one fail",
				ch.Name, after.Preset.Name(), before.Preset.Name())
		case before.Resolved.ModelRevision != after.Resolved.ModelRevision:
			c.warn(ModelChanged, t.to.Document, "spec.inference.revision", "%s serves other weights of %s afterwards", ch.Name, after.Preset.Name())
		}
	}
	if ch.Effect.Kind == Rolls {
		if why := t.stuck(); why != "" {
			c.warn(RollStuck, t.to.Document, "spec.patches", "%s: %s", ch.Name, why)
		}
	}
}

func modelField(s *v1alpha1.InferenceSpec) string {
	if s.Model != nil {
		return "spec.inference.model"
	}
	return "spec.inference.preset"
}

// rerun judges a run whose inputs changed.
func (c *comparer) rerun(t transition, ch *Change) {
	cost, _ := runPrice(t.to)
	if cost == "" {
		cost = "its price is not known"
	}
	if ch.Price.After != nil && ch.Price.After.Known {
		cost += ", at " + ch.Price.After.Text
	}
	c.warn(Rerun, t.to.Document, "spec.tuning", "%s runs again from the base model: %s", ch.Name, cost)
	image := t.to.Workspace.Spec.Tuning.Output.Image
	if image != "" && image == t.from.Workspace.Spec.Tuning.Output.Image && !strings.Contains(image, "@") {
		c.warn(OutputTagReused, t.to.Document, "spec.tuning.output.image", "%s pushes to %s, where the earlier run has pushed: whoever uses that tag gets the new adapter; raise the tag to keep the old one", ch.Name, image)
	}
}

// meanwhile says what moving to other nodes does to what runs.
func (t transition) meanwhile() string {
	if !t.is.job() {
		return ": the old ones go first, and requests fail meanwhile"
	}
	return ": a run that is under way is interrupted and " + t.goesOn()
}

// sameOutputs finds two runs of head that push to one tag.
func (c *comparer) sameOutputs() {
	first := map[string]*desired.Workspace{}
	for i := range c.head.State.Workspaces {
		w := &c.head.State.Workspaces[i]
		t := w.Workspace.Spec.Tuning
		if t == nil || t.Output.Image == "" || w.Collides {
			continue
		}
		other, taken := first[t.Output.Image]
		if !taken {
			first[t.Output.Image] = w
			continue
		}
		c.warn(OutputTagReused, w.Document, "spec.tuning.output.image", "%s pushes to %s, and so does %s: the later run overwrites the tag of the earlier; give each its own", w.Workspace.Name, t.Output.Image, other.Workspace.Name)
	}
}

// stranded says that pods ask for node labels that no cloud puts on nodes that
// exist: they would wait for ever.
func (t transition) stranded() string {
	was, is := t.was.pool, t.is.pool
	_, _, moved := t.replaced()
	if was == nil || is == nil || moved || !bought(is.provider) || reflect.DeepEqual(was.labels, is.labels) {
		return ""
	}
	if t.from.Workspace.Spec.Suspend || t.to.Workspace.Spec.Suspend {
		return "" // the nodes are given back in between
	}
	before, _ := was.labels.(map[string]any)
	after, _ := is.labels.(map[string]any)
	for _, key := range union(before, after) {
		if v, ok := after[key]; ok && !reflect.DeepEqual(v, before[key]) {
			return fmt.Sprintf("node label %s=%v cannot be put on nodes that exist, and the new pods would wait for it for ever: suspend the Workspace first, or give it another name", key, v)
		}
	}
	return ""
}
