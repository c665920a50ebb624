// SPDX-License-Identifier: Apache-2.0

package report

import (
	"bytes"
	"fmt"
	"math/big"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/espalier-dev/espalier/reconciler/markdown"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// maxFindings bounds the list of findings.
const maxFindings = 50

// writeReadme is the README of a report whose Workspaces are remembered.
func (d *Draft) writeReadme() []byte {
	var b bytes.Buffer
	s := d.of
	fmt.Fprintf(&b, "# Model workspaces\n\nCluster %s · RepoSync %s · revision %s\n\n",
		markdown.Code(s.Cluster), markdown.Code(s.Namespace+"/"+s.Name), markdown.Code(shortRevision(s.Revision)))
	if s.Stopped != "" {
		fmt.Fprintf(&b, "**Not applied.** %s\n\n", markdown.Text(s.Stopped))
	}
	d.writeTable(&b)
	d.writeCost(&b)
	d.writeReasons(&b)
	writeHeld(&b, s)
	writeFindings(&b, s.Findings)
	b.WriteString("---\n\nEspalier writes these files: do not edit them, the next report replaces what you change.")
	if len(s.Workspaces) > 0 {
		b.WriteString(" Each Workspace has a file of its own under [`workspaces/`](workspaces) for programs to read, and under [`badges/`](badges) a picture of its state to show elsewhere.")
	}
	b.WriteString("\n")
	return b.Bytes()
}

func (d *Draft) writeTable(b *bytes.Buffer) {
	if len(d.files) == 0 {
		b.WriteString("No Workspaces.\n\n")
		return
	}
	b.WriteString(d.counted())
	b.WriteString("| Workspace | What | Revision | State | Instance | USD/h | Endpoint or adapter | Since |\n")
	b.WriteString("|---|---|---|---|---|--:|---|---|\n")
	for _, i := range d.listed() {
		known := d.files[i]
		if known.row == "" {
			known.row = row(d.of, d.of.Workspaces[i], known.says.state)
		}
		b.WriteString(known.row)
	}
	b.WriteString("\n")
}

// row is the line of the table for a Workspace.
func row(s Snapshot, w *v1alpha1.Workspace, state State) string {
	cells := []string{
		"[" + markdown.Cell(nameIn(s, w)) + "](" + repolayout.StatusFile(w.Namespace, w.Name) + ")",
		what(w), markdown.Cell(shortHash(w.Status.Revision)), "[" + glyphs[state] + " " + string(state) + "](" + repolayout.StatusBadge(w.Namespace, w.Name) + ")",
		instance(w), price(w), result(w), since(w),
	}
	return "| " + strings.Join(cells, " | ") + " |\n"
}

// nameIn leaves the namespace out where it is that of the RepoSync.
func nameIn(s Snapshot, w *v1alpha1.Workspace) string {
	if w.Namespace == s.Namespace {
		return w.Name
	}
	return w.Namespace + "/" + w.Name
}

func what(w *v1alpha1.Workspace) string {
	if task(w) == "" {
		return markdown.None
	}
	if w.Spec.Inference != nil && w.Spec.Inference.Template != nil {
		return "a pod of its own"
	}
	return task(w) + " " + markdown.Cell(preset(w))
}

func instance(w *v1alpha1.Workspace) string {
	if s := w.Status.Sizing; s != nil && s.Nodes > 1 && w.Status.Instance != "" {
		return fmt.Sprintf("%d × %s", s.Nodes, markdown.Cell(w.Status.Instance))
	}
	return markdown.Cell(w.Status.Instance)
}

func price(w *v1alpha1.Workspace) string {
	if usd, ok := hourly(w); ok {
		return dollars(usd)
	}
	return markdown.None
}

func result(w *v1alpha1.Workspace) string {
	switch {
	case w.Status.Inference != nil && w.Spec.Inference != nil:
		return markdown.Cell(w.Status.Inference.Endpoint)
	case w.Status.Tuning != nil:
		return trained(w.Status.Tuning)
	}
	return markdown.None
}

// trained is the adapter and what was measured of it, as far as it is there.
func trained(t *v1alpha1.TuningStatus) string {
	measured := strings.Join(repolayout.Measured(t.Evaluation), "; ")
	switch {
	case measured == "":
		return markdown.Cell(shortDigest(t.Adapter))
	case t.Adapter == "":
		return markdown.Cell(measured)
	}
	return markdown.Cell(shortDigest(t.Adapter)) + " " + markdown.Cell(measured)
}

func evaluationOf(e *v1alpha1.EvaluationStatus) *evaluation {
	if e == nil {
		return nil
	}
	out := &evaluation{LossBefore: plain(e.LossBefore), LossAfter: plain(e.LossAfter), Withheld: e.Withheld}
	for _, t := range e.Tasks {
		out.Tasks = append(out.Tasks, score{plain(t.Name), plain(t.Metric), plain(t.Before), plain(t.After)})
	}
	return out
}

func since(w *v1alpha1.Workspace) string {
	c := meta.FindStatusCondition(w.Status.Conditions, v1alpha1.ConditionReady)
	if c == nil || c.LastTransitionTime.IsZero() {
		return markdown.None
	}
	return c.LastTransitionTime.UTC().Format("2006-01-02 15:04 UTC")
}

// hourly is the list price of the nodes a Workspace holds now, in USD; not ok
// where it holds none or the price is not known.
func hourly(w *v1alpha1.Workspace) (*big.Rat, bool) {
	if !holdsNodes(w) || w.Status.Sizing == nil {
		return nil, false
	}
	return Price(w.Status.Sizing.USDPerHour)
}

// Price reads a price in USD. Of a cluster that is not trusted it may be anything, and an
// exponent makes it as long as memory is.
func Price(text string) (*big.Rat, bool) {
	const digits = 20
	if text == "" || len(text) > digits || strings.Trim(text, "0123456789.") != "" {
		return nil, false
	}
	return new(big.Rat).SetString(text)
}

// Hourly is the list price of the nodes that a Workspace holds now, such as 0.526
// for USD 0.526 an hour; "" where it pays for none or the price is not known.
func Hourly(w *v1alpha1.Workspace) string {
	if usd, ok := hourly(w); ok && usd.Sign() > 0 {
		return dollars(usd)
	}
	return ""
}

// dollars prints cents, and up to four places where there are any.
func dollars(usd *big.Rat) string {
	s := usd.FloatString(4)
	for range 2 {
		s = strings.TrimSuffix(s, "0")
	}
	return s
}

// paidFor is the sum of what Workspaces pay for together: a node pool, or the nodes of
// one without.
func paidFor(w *v1alpha1.Workspace) uint64 {
	if w.Status.NodePool == "" {
		return sumOf("workspace", w.Namespace, w.Name)
	}
	return sumOf("pool", w.Namespace, w.Status.NodePool)
}

// paid are the prices of the pools that are held now, what a shared one says itself or else the
// highest that is said of each, and how many there are of which none is known.
func (d *Draft) paid() (pools map[uint64]*big.Rat, unknown int) {
	pools = make(map[uint64]*big.Rat, len(d.files))
	for _, known := range d.files {
		if !known.pays {
			continue
		}
		before, seen := pools[known.pool]
		if !seen || known.usd != nil && (before == nil || before != known.usd && known.usd.Cmp(before) > 0) {
			pools[known.pool] = known.usd
		}
	}
	for pool, usd := range pools {
		if said := d.shared[pool]; said != nil {
			pools[pool], usd = said, said
		}
		if usd == nil {
			unknown++
			delete(pools, pool)
		}
	}
	return pools, unknown
}

// writeCost adds up what is paid now. Workspaces that share a pool pay for it
// once; a price that is not known is said to be missing, not counted as nothing.
func (d *Draft) writeCost(b *bytes.Buffer) {
	pools, unknown := d.paid()
	times := map[*big.Rat]int64{}
	for _, usd := range pools {
		times[usd]++
	}
	sum := new(big.Rat)
	for usd, n := range times {
		sum.Add(sum, new(big.Rat).Mul(usd, new(big.Rat).SetInt64(n)))
	}
	switch {
	case len(pools) == 0 && unknown == 0:
		b.WriteString("**Now:** no GPU node is held.\n\n")
	case unknown > 0:
		fmt.Fprintf(b, "**Now:** %s USD/h at list price, and the price of %s is not known.\n\n", dollars(sum), plural(unknown, "node pool"))
	default:
		fmt.Fprintf(b, "**Now:** %s USD/h at list price, for %s.\n\n", dollars(sum), plural(len(pools), "node pool"))
	}
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// writeReasons says why what is not ready is not.
func (d *Draft) writeReasons(b *bytes.Buffer) {
	if lines := d.reasons(); len(lines) > 0 {
		b.WriteString("## Not ready\n\n" + strings.Join(lines, "\n") + "\n\n")
	}
}

// hasReason says whether there is anything to say of why a Workspace is not ready.
func hasReason(w *v1alpha1.Workspace) bool {
	c := meta.FindStatusCondition(w.Status.Conditions, v1alpha1.ConditionReady)
	if c == nil || StateOf(w) == Ready {
		return false
	}
	if c.Status == metav1.ConditionTrue {
		return w.DeletionTimestamp.IsZero()
	}
	return c.Message != ""
}

// reason is why a Workspace is not ready, where there is anything to say.
func reason(w *v1alpha1.Workspace) string {
	c := meta.FindStatusCondition(w.Status.Conditions, v1alpha1.ConditionReady)
	if c.Status == metav1.ConditionTrue {
		return "its last change has not been looked at yet"
	}
	return markdown.Text(c.Message) + " (" + markdown.Text(c.Reason) + ")"
}

func writeHeld(b *bytes.Buffer, s Snapshot) {
	if s.Held == "" {
		return
	}
	fmt.Fprintf(b, "## Deleting is held\n\n%s\n\nTo approve these deletions at this revision, and no others:\n\n", markdown.Text(s.Held))
	fmt.Fprintf(b, "```sh\nkubectl annotate --overwrite --namespace %s reposync %s %s=%s\n```\n\n",
		markdown.Clean(s.Namespace, markdown.MaxText), markdown.Clean(s.Name, markdown.MaxText), repolayout.AnnotationApprovePrune, markdown.Clean(s.Approval, markdown.MaxText))
}

func writeFindings(b *bytes.Buffer, findings []v1alpha1.Finding) {
	if len(findings) == 0 {
		return
	}
	b.WriteString("## Findings\n\n")
	for i, f := range findings {
		if i == maxFindings {
			fmt.Fprintf(b, "- and %d more: `espalier validate` lists them all\n", len(findings)-maxFindings)
			break
		}
		place := f.Object
		switch {
		case f.File != "" && f.Line > 0:
			place = fmt.Sprintf("%s:%d", f.File, f.Line)
		case f.File != "":
			place = f.File
		}
		fmt.Fprintf(b, "- %s: %s: %s (%s)\n", markdown.Code(place), markdown.Text(f.Severity), markdown.Text(f.Message), markdown.Text(f.Code))
	}
	b.WriteString("\n")
}

// hash is the commit of a revision.
func hash(revision string) string { return revision[strings.LastIndexByte(revision, ':')+1:] }

func shortHash(revision string) string {
	h := hash(revision)
	return h[:min(7, len(h))]
}

// shortRevision is main@1a2b3c4 for main@sha1:1a2b3c4…
func shortRevision(revision string) string {
	if name, _, found := strings.Cut(revision, "@sha1:"); found {
		return name + "@" + shortHash(revision)
	}
	return shortHash(revision)
}

// shortDigest cuts the digest of an image to twelve digits.
func shortDigest(image string) string {
	name, digest, found := strings.Cut(image, "@sha256:")
	if !found || len(digest) <= 12 {
		return image
	}
	return name + "@sha256:" + digest[:12]
}
