// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/espalier-dev/espalier/render"
	"github.com/espalier-dev/espalier/render/desired"
	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
)

// maxRendered bounds the Workspaces that are rendered on both sides: a change of
// more is not read one by one, and takes some 30 ms each.
const maxRendered = 500

// comparer is one comparison under way.
type comparer struct {
	base, head Side
	plan       Plan
	fates      fates
	dangers    []v1alpha1.Finding // what the change does
	notes      []Note
	most       int      // Workspaces that are rendered
	rendered   int      // so far
	skipped    int      // beyond them
	unsure     []string // Workspaces of which Git does not know the candidate

	inputsBefore, inputsAfter map[string]desired.Document

	dropped     map[droppedInput]int
	quietInputs []string // that head drops and no Workspace of it names
	keptInputs  []string // that it drops and that stay, and why
}

// Compare plans the way from base to head. The notes say what the caller could
// not check.
func Compare(base, head Side, notes ...Note) Plan { return compare(base, head, maxRendered, notes) }

func compare(base, head Side, most int, notes []Note) Plan {
	c := &comparer{base: base, head: head, most: most, notes: notes, dropped: map[droppedInput]int{}}
	c.inputsBefore, c.inputsAfter = inputsOf(base.State), inputsOf(head.State)
	c.plan = Plan{
		APIVersion: Version, Kind: "Plan",
		Base: Revision{base.Name, base.Commit}, Head: Revision{head.Name, head.Commit},
		Changes: []Change{}, Findings: []Finding{}, NotChecked: []Note{},
	}
	if head.Sync != nil {
		c.plan.RepoSync, c.plan.Path = syncName(head.Sync), head.Sync.Spec.Path
	}
	c.fates = c.decideFates()
	c.workspaces()
	c.pools()
	c.quotas()
	c.inputs()
	c.sameOutputs()
	c.syncDeleted()
	c.findings()
	c.limits()
	slices.SortStableFunc(c.plan.Changes, func(a, b Change) int {
		return cmp.Or(
			slices.Index(gravity, a.Effect.Kind)-slices.Index(gravity, b.Effect.Kind),
			cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Kind, b.Kind))
	})
	c.plan.Summary.Line = c.plan.line(append(c.syncWords(), c.droppedInputs()...))
	return c.plan
}

func syncName(s *v1alpha1.RepoSync) string {
	if s.Namespace == "" {
		return s.Name
	}
	return s.Namespace + "/" + s.Name
}

// byName indexes what is wanted: of documents that collide none is.
func byName(state desired.State) map[string]*desired.Workspace {
	index := map[string]*desired.Workspace{}
	for i := range state.Workspaces {
		if w := &state.Workspaces[i]; !w.Collides {
			index[w.Workspace.Namespace+"/"+w.Workspace.Name] = w
		}
	}
	return index
}

func (c *comparer) workspaces() {
	before, after := byName(c.base.State), byName(c.head.State)
	for _, name := range union(before, after) {
		from, to := before[name], after[name]
		change, listed := c.workspace(from, to)
		if listed {
			c.plan.Changes = append(c.plan.Changes, change)
		}
		c.plan.Summary.count(change, from, to, listed)
		c.plan.Summary.Monthly.add(change.Price.Before, change.Price.After, listed)
	}
}

// workspace is the change of one Workspace, and whether there is any.
func (c *comparer) workspace(from, to *desired.Workspace) (Change, bool) {
	shown := to
	if to == nil {
		shown = from
	}
	ch := Change{
		Kind: v1alpha1.WorkspaceKind, Namespace: shown.Workspace.Namespace, Name: shown.Workspace.Name,
		Task: task(&shown.Workspace.Spec), Words: []string{},
		Price: Price{Before: amount(from, c.base.State), After: amount(to, c.head.State)},
		Quota: noQuota,
	}
	ch.File, ch.Line = at(shown.Document, "")
	if from != nil && to != nil && from.Key == to.Key {
		if ch.Words = c.describe(from, to); len(ch.Words) == 0 {
			return ch, false
		}
	}
	switch {
	case to == nil:
		c.deleted(&ch, from)
		return ch, true
	case from == nil:
		ch.Words = introduce(*to)
		c.created(&ch, to)
	default:
		ch.Words = c.describe(from, to)
		c.changed(&ch, from, to)
	}
	ch.fit(to)
	if ch.Effect.Kind == Created || ch.Effect.Kind == Reruns {
		ch.Price.Run, _ = runPrice(to)
	}
	return ch, true
}

// fit shows the verdict on the candidate that is rendered.
func (ch *Change) fit(w *desired.Workspace) {
	a := w.Assessment
	status := a.Status(-1)
	if c := a.Candidates; a.Refused() && len(c) > 0 {
		status.Message = c[0].Fit.Sum() // why it is refused is a finding
	}
	ch.Fit = &Fit{
		Verdict: status.Verdict, Sum: status.Message, InstanceType: status.InstanceType,
		Nodes: int(status.Nodes), MaxNodes: int(status.MaxNodes), Candidates: len(a.Usable()),
	}
	if c, ok := chosen(w); ok {
		if a.Pod != nil {
			ch.Driver = ownDriver(c.Instance.Driver)
			return
		}
		ch.Driver = driver(c.Instance.Driver, a.Runtime.Requires.MinDriver, a.Runtime.Name+" "+a.Runtime.Version)
	}
}

func driver(has string, needs int, runtime string) string {
	if has == "" {
		return fmt.Sprintf("not known; %s needs %d", runtime, needs)
	}
	return fmt.Sprintf("%s runs %s (needs %d)", has, runtime, needs)
}

// renderedOf renders a Workspace that is not refused.
func renderedOf(w *desired.Workspace) (rendered, render.Output, error) { return renderedOn(w, "") }

// renderedOn is renderedOf where nodes of a provider are there, which they stay with.
func renderedOn(w *desired.Workspace, kept v1alpha1.Provider) (rendered, render.Output, error) {
	out, err := w.RenderOn(kept)
	if err != nil {
		return rendered{}, out, err
	}
	return read(out), out, nil
}

// tooMany says, beyond what is rendered, that a change is not looked into.
func (c *comparer) tooMany(ch *Change, to *desired.Workspace) bool {
	if c.rendered++; c.rendered <= c.most || to.Assessment.Refused() {
		return false
	}
	c.skipped++
	ch.Effect = Effect{Kind: NotRendered, Message: "too much changes at once to say"}
	return true
}

func (c *comparer) created(ch *Change, to *desired.Workspace) {
	if c.tooMany(ch, to) {
		return
	}
	is, out, err := renderedOf(to)
	if err != nil {
		ch.Effect = Effect{Kind: Refused, Message: "no node is requested"}
		ch.Price.After = nil
		return
	}
	ch.Diff = diff(nil, out.Objects())
	ch.Effect = Effect{Kind: Created, Message: c.withoutInputs(to) + c.awaited(to) + is.begins(to)}
}

// begins says what a new Workspace sets off.
func (r rendered) begins(w *desired.Workspace) string {
	spec := w.Workspace.Spec
	switch {
	case spec.Suspend:
		return "suspended: no node is bought before it is resumed"
	case spec.Queue != "":
		return "it waits in queue " + spec.Queue + ", and no node is bought before Kueue admits it; then " + r.nodesWanted() + ", the run begins, and the adapter goes to " +
			spec.Tuning.Output.Image + claimOf(spec.Tuning.Output.Claim) + proposing(spec.Tuning) + "; the nodes are given back when it is done, or taken out"
	case spec.Tuning != nil:
		return r.nodesWanted() + ", the run begins, and the adapter goes to " + spec.Tuning.Output.Image + claimOf(spec.Tuning.Output.Claim) + proposing(spec.Tuning) + "; the nodes are given back when it is done"
	}
	return r.upTo(w) + ", and " + endpoint(w) + answersWhen(w)
}

func endpoint(w *desired.Workspace) string {
	if s := w.Workspace.Spec.Inference; s != nil && s.Template != nil {
		return "http://" + w.Workspace.Name + "." + w.Workspace.Namespace + ".svc"
	}
	return "http://" + w.Workspace.Name + "." + w.Workspace.Namespace + ".svc/v1"
}

func (c *comparer) changed(ch *Change, from, to *desired.Workspace) {
	if c.tooMany(ch, to) {
		return
	}
	kept := c.providerKept(ch, from, to)
	is, out, err := renderedOn(to, kept)
	if err != nil {
		ch.Effect = Effect{Kind: Refused, Message: "nothing of the change is applied; what runs, runs on"}
		ch.Price.After = ch.Price.Before
		return
	}
	was, before, err := renderedOf(from)
	if err != nil {
		ch.Diff = diff(nil, out.Objects())
		ch.Effect = Effect{Kind: Created, Message: "refused until now: " + c.withoutInputs(to) + is.begins(to)}
		return
	}
	t := transition{from: from, to: to, was: was, is: is}
	if ch.Effect = t.effect(); ch.Effect.Kind == Refused {
		ch.Price.After = ch.Price.Before
	} else if e, waits := c.waits(from, to); waits {
		ch.Effect, ch.Price.After = e, ch.Price.Before
		return
	}
	ch.Diff = diff(before.Objects(), out.Objects())
	c.danger(t, ch)
}

// providerKept is the provider that the nodes of a Workspace stay with where the
// change names another one; "" where it does not, or there are no nodes.
func (c *comparer) providerKept(ch *Change, from, to *desired.Workspace) v1alpha1.Provider {
	was, is := c.base.State.ProviderOf(from.Workspace), c.head.State.ProviderOf(to.Workspace)
	a, b := &from.Workspace.Spec, &to.Workspace.Spec
	if was == is || a.Suspend || a.Resource.NodePool != "" || b.Resource.NodePool != "" || from.Assessment.Refused() {
		return ""
	}
	c.warn(ProviderKept, to.Document, "spec.resource.provider", "%s keeps nodes that are there, which come from %s: %s makes those that are asked for next, for example when it is suspended and resumed", ch.Name, was, is)
	if ch.Price.After = amountOn(to, was); ch.Price.After != nil && !ch.Price.After.Known && sameNodes(from, to) {
		ch.Price.After = ch.Price.Before // no price is read of nodes that exist, and these are not
	}
	return was
}

func sameNodes(from, to *desired.Workspace) bool {
	a, _ := chosen(from)
	b, _ := chosen(to)
	return instances(from.Workspace.Spec.Resource) == instances(to.Workspace.Spec.Resource) && a.Nodes == b.Nodes
}

// deleted says what is lost with a Workspace that head no longer has.
func (c *comparer) deleted(ch *Change, from *desired.Workspace) {
	ch.Words, ch.Effect = []string{"removed"}, c.fates.of(from.Document)
	if c.broken(from.Document) {
		ch.Words = []string{"cannot be read"}
		ch.Effect = Effect{Kind: Refused, Message: "its document has errors: nothing of it is applied; what runs, runs on"}
	}
	if ch.Effect.Kind != Deleted {
		ch.Price.After = ch.Price.Before
		return
	}
	if c.rendered++; c.rendered > c.most {
		c.skipped++
	} else if _, out, err := renderedOf(from); err == nil {
		ch.Diff = diff(out.Objects(), nil)
	}
	lost := c.losses(from)
	ch.Effect.Message = lost
	ch.Effect.Downtime = from.Workspace.Spec.Inference != nil
	c.warn(WorkspaceDeleted, from.Document, "", "%s is deleted with %s", ch.Name, belongings(from))
}

// belongings names what goes with a Workspace, in a word.
func belongings(w *desired.Workspace) string {
	if w.Workspace.Spec.Tuning != nil {
		if w.Workspace.Spec.Tuning.Kept().Retain == v1alpha1.RetainAlways {
			return "a run that is under way"
		}
		return "a run that is under way, and its checkpoints where they were published"
	}
	return "its endpoint " + endpoint(w)
}

// broken says that head has the document and cannot read it.
func (c *comparer) broken(d desired.Document) bool {
	file := fileOf(d)
	return slices.ContainsFunc(c.head.State.Findings, func(f v1alpha1.Finding) bool {
		return f.Severity == finding.Error && (f.Object == objectOf(d) || f.Object == d.Kind()+"/"+d.ObjectName() || f.File == file && f.Object == "")
	})
}

// losses is what goes with a Workspace: the order is that of its finalizer.
func (c *comparer) losses(w *desired.Workspace) string {
	t := w.Workspace.Spec.Tuning
	if t == nil {
		return endpoint(w) + " no longer answers; the pods go, then the nodes are given back"
	}
	kept := "the published adapter stays at " + t.Output.Image
	if t.Output.Claim != "" {
		kept = "what is written to claim " + t.Output.Claim + c.claimFate(w.Workspace.Namespace, t.Output.Claim)
	}
	what := "checkpoints (claim " + repolayout.WorkClaimName(w.Workspace.Name) + ") are"
	if !w.Workspace.Spec.Resumes() {
		what = "volume (claim " + repolayout.WorkClaimName(w.Workspace.Name) + ") is"
	}
	fate := " kept where nothing was published yet and deleted otherwise"
	if t.Kept().Retain == v1alpha1.RetainAlways {
		fate = " kept"
	}
	return "a run that is under way ends; its " + what + fate + "; " + kept
}

// warn adds a finding on what the change does, at a field of a document.
func (c *comparer) warn(code string, d desired.Document, fieldPath, format string, args ...any) {
	c.dangers = append(c.dangers, finding.Warningf(code, "", format, args...).At(placeOf(d, fieldPath), objectOf(d)))
}

// immutable adds the error that the API server, or the cloud, does not take a change.
func (c *comparer) immutable(d desired.Document, fieldPath, format string, args ...any) {
	c.dangers = append(c.dangers, finding.Errorf(ImmutableChanged, "", format, args...).At(placeOf(d, fieldPath), objectOf(d)))
}

// fixedPlace is one place, so that a message need not lead with a field.
type fixedPlace struct {
	file string
	line int
}

// At returns the place for every field.
func (p fixedPlace) At(string) (string, int) { return p.file, p.line }

func placeOf(d desired.Document, fieldPath string) finding.Position {
	file, line := at(d, fieldPath)
	return fixedPlace{file, line}
}

func objectOf(d desired.Document) string {
	if ns := d.Namespace(); ns != "" {
		return d.Kind() + "/" + ns + "/" + d.ObjectName()
	}
	return d.Kind() + "/" + d.ObjectName()
}
