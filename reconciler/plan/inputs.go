// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"maps"
	"reflect"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/espalier-dev/espalier/render/desired"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
)

const claimKind = "PersistentVolumeClaim"

// inputsOf indexes what a state holds beside Workspaces and pools.
func inputsOf(s desired.State) map[string]desired.Document {
	index := map[string]desired.Document{}
	for _, d := range s.Documents {
		if d.Input != nil && !d.Collides {
			index[objectOf(d)] = d
		}
	}
	return index
}

// inputs compares what Git holds beside Workspaces and pools: for what the API
// server refuses to change, and for what head no longer has.
func (c *comparer) inputs() {
	before, after := c.inputsBefore, c.inputsAfter
	for _, d := range c.head.State.Documents {
		from, ok := before[objectOf(d)]
		if d.Input == nil || d.Collides || !ok {
			continue
		}
		if why := inputRefusal(from.Input, d.Input); why != "" {
			c.immutable(d, "", "the API server refuses it: %s; give the new one another name", why)
		}
	}
	generated, missed := generatedIn(before, after), c.missed()
	for _, name := range slices.Sorted(maps.Keys(before)) {
		from := before[name]
		if _, is := after[name]; is || c.broken(from) || generated[stem(from)] && len(missed[name]) == 0 {
			continue
		}
		c.inputDropped(from, missed[name])
	}
}

// stem is what a generated object is called, whatever it holds; "" of another.
func stem(d desired.Document) string {
	if name := desired.Stem(d.ObjectName()); name != d.ObjectName() && d.Kind() != claimKind {
		return d.Kind() + "/" + d.Namespace() + "/" + name
	}
	return ""
}

// generatedIn are the stems of what is generated with another hash in head.
func generatedIn(before, after map[string]desired.Document) map[string]bool {
	stems := map[string]bool{}
	for name, d := range after {
		if _, was := before[name]; !was && stem(d) != "" {
			stems[stem(d)] = true
		}
	}
	return stems
}

// droppedInput is a kind of input, and what becomes of those that head no longer has.
type droppedInput struct {
	kind   string
	effect EffectKind
}

// droppedInputs counts them, in words of the summary.
func (c *comparer) droppedInputs() []string {
	var parts []string
	for _, e := range ofDropped {
		for _, kind := range []string{claimKind, "Secret", "ConfigMap"} {
			if n := c.dropped[droppedInput{kind, e.kind}]; n > 0 {
				parts = append(parts, counted(n, kind, kind+"s")+" "+e.words)
			}
		}
	}
	return parts
}

// inputDropped says what becomes of an input that head no longer has. It alarms
// where something is lost, or missed: what nobody names is a note.
func (c *comparer) inputDropped(d desired.Document, by []string) {
	effect := c.fates.of(d)
	c.dropped[droppedInput{d.Kind(), effect.Kind}]++
	c.plan.Summary.InputsDropped++
	what := d.Kind() + " " + d.ObjectName()
	if effect.Kind == Kept {
		c.keptInputs = append(c.keptInputs, what+": "+effect.Message)
		return
	}
	ends := inputLoss(d) + missedBy(by)
	switch {
	case ends == "":
		c.quietInputs = append(c.quietInputs, what)
	case effect.Kind == Held:
		c.warn(InputDeleted, d, "", "%s: deleting is held until a person approves it; then it is deleted%s", what, ends)
	default:
		c.warn(InputDeleted, d, "", "%s is deleted%s", what, ends)
	}
}

// inputLoss is what goes with an input and is in no commit.
func inputLoss(d desired.Document) string {
	if d.Kind() != claimKind {
		return ""
	}
	return " as soon as no pod mounts it, and with it all that is on its volume where the reclaim policy is Delete, which it is unless somebody chose another: annotate it with " +
		repolayout.AnnotationPrune + ": disabled first to keep it"
}

// claimFate says what becomes of what is on a claim: one that Git never held stays.
func (c *comparer) claimFate(namespace, name string) string {
	object := claimKind + "/" + namespace + "/" + name
	from, was := c.inputsBefore[object]
	if _, is := c.inputsAfter[object]; was && !is && c.fates.of(from).Kind == Deleted {
		return " goes with it, which this change drops too"
	}
	return " stays"
}

// missed are the Workspaces of head by what they name and it does not hold.
func (c *comparer) missed() map[string][]string {
	index := map[string][]string{}
	for _, w := range c.head.State.Workspaces {
		for _, m := range w.Missing {
			kind, name, _ := strings.Cut(m, "/")
			object := kind + "/" + w.Workspace.Namespace + "/" + name
			index[object] = append(index[object], w.Workspace.Name)
		}
	}
	return index
}

func missedBy(names []string) string {
	switch len(names) {
	case 0:
		return ""
	case 1:
		return "; " + names[0] + " still names it, and its next pods wait for it"
	}
	return "; " + joined(names) + " still name it, and their next pods wait for it"
}

// noteInputs tells of dropped inputs that alarm nobody.
func (c *comparer) noteInputs(note func(code, format string, args ...any)) {
	if len(c.quietInputs) > 0 {
		note(InputDeleted, "Whether something else uses what is dropped here, and no Workspace of head names: %s.", joined(c.quietInputs))
	}
	if len(c.keptInputs) > 0 {
		note(InputKept, "Dropped, and in the cluster all the same: %s.", strings.Join(c.keptInputs, "; "))
	}
}

func inputRefusal(was, is *unstructured.Unstructured) string {
	kind, name := is.GetKind(), is.GetName()
	if kind == claimKind {
		return readClaim(was).refusal(name, readClaim(is))
	}
	if kind == "Secret" && !reflect.DeepEqual(was.Object["type"], is.Object["type"]) {
		return "the type of Secret " + name + " cannot be changed"
	}
	if frozen, _ := was.Object["immutable"].(bool); !frozen {
		return ""
	}
	for _, part := range []string{"data", "stringData", "binaryData", "immutable"} {
		if !reflect.DeepEqual(was.Object[part], is.Object[part]) {
			return kind + " " + name + " is immutable"
		}
	}
	return ""
}
