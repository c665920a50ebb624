// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/espalier-dev/espalier/gpu/price"
	"github.com/espalier-dev/espalier/reconciler/markdown"
	"github.com/espalier-dev/espalier/repo-layout/finding"
)

// JSON is the plan for programs.
func (p Plan) JSON() ([]byte, error) {
	text, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("writing the plan as JSON: %w", err)
	}
	return append(text, '\n'), nil
}

// YAML is the same as YAML.
func (p Plan) YAML() ([]byte, error) {
	text, err := yaml.Marshal(p)
	if err != nil {
		return nil, fmt.Errorf("writing the plan as YAML: %w", err)
	}
	return text, nil
}

// signs of effects in the terminal.
var signs = map[EffectKind]string{
	Created: "+", Deleted: "-", Held: "-", Kept: "-", Refused: "!", None: "=",
}

// Text writes the plan for a terminal: the summary first, the rendered diff only
// where it is asked for.
func (p Plan) Text(out io.Writer, withDiff bool) error {
	var b strings.Builder
	b.WriteString(p.Summary.Line + "\n")
	fmt.Fprintf(&b, "%s\n", plain(p.compared()))
	for _, ch := range p.Changes {
		b.WriteString("\n")
		ch.text(&b)
	}
	if len(p.Findings) > 0 {
		b.WriteString("\nFindings\n")
	}
	listed, rest := p.listed()
	for _, f := range listed {
		fmt.Fprintf(&b, "  %s%s: %s (%s)%s\n", place(f), f.Severity, plain(f.Message), plain(f.Code), before(f.InBase))
	}
	if rest > 0 {
		fmt.Fprintf(&b, "  %s\n", oldWarnings(rest))
	}
	if len(p.NotChecked) > 0 {
		b.WriteString("\nNot checked\n")
	}
	for _, n := range p.NotChecked {
		fmt.Fprintf(&b, "  %s (%s)\n", plain(n.Message), plain(n.Code))
	}
	for _, ch := range p.Changes {
		if withDiff && ch.Diff != "" {
			fmt.Fprintf(&b, "\nRendered objects of %s\n%s", plain(ch.Namespace+"/"+ch.Name), printable(ch.Diff))
		}
	}
	_, err := io.WriteString(out, b.String())
	return err
}

// listed are the findings that people are shown, and how many others there are:
// warnings that were there before, on files that the change leaves alone.
func (p Plan) listed() (list []Finding, rest int) {
	touched := map[string]bool{}
	for _, ch := range p.Changes {
		touched[ch.File] = true
	}
	for _, f := range p.Findings {
		if f.InBase && f.Severity == finding.Warning && !touched[f.File] {
			rest++
			continue
		}
		list = append(list, f)
	}
	return list, rest
}

func oldWarnings(n int) string {
	return counted(n, "warning that was", "warnings that were") + " there before, on what does not change"
}

func place(f Finding) string {
	if f.File == "" {
		return ""
	}
	return plain(finding.Location(f.File, f.Line)) + ": "
}

func before(inBase bool) string {
	if inBase {
		return " [there before]"
	}
	return ""
}

// plain makes one line of what a repository says: no control character of it
// reaches the terminal.
func plain(s string) string { return markdown.Clean(s, 4*markdown.MaxText) }

// printable drops control characters from several lines.
func printable(s string) string {
	var b strings.Builder
	for line := range strings.Lines(s) {
		indent := line[:len(line)-len(strings.TrimLeft(line, " +-@"))]
		b.WriteString(indent + strings.Map(shown, strings.TrimRight(line[len(indent):], "\r\n")) + "\n")
	}
	return b.String()
}

func (p Plan) compared() string {
	text := revision(p.Base) + " → " + revision(p.Head)
	if p.RepoSync != "" {
		text += ", RepoSync " + p.RepoSync
	}
	if p.Path != "" {
		text += " of " + p.Path
	}
	return text
}

func revision(r Revision) string {
	switch r.Commit {
	case "":
		return r.Name
	case r.Name:
		return short(r.Commit)
	}
	return r.Name + " (" + short(r.Commit) + ")"
}

func (ch Change) text(b *strings.Builder) {
	sign := signs[ch.Effect.Kind]
	if sign == "" {
		sign = "~"
	}
	fmt.Fprintf(b, "%s %s %s  %s\n", sign, ch.Kind, plain(ch.Namespace+"/"+ch.Name), plain(finding.Location(ch.File, ch.Line)))
	row := func(name, value string) {
		if value != "" {
			fmt.Fprintf(b, "    %-7s %s\n", name, plain(value))
		}
	}
	row("change", strings.Join(ch.Words, "; "))
	row("effect", ch.Effect.String())
	if ch.Fit != nil {
		row("fit", ch.Fit.String())
	}
	row("price", ch.Price.String())
	row("driver", ch.Driver)
	row("quota", ch.Quota.Message)
}

// String is the effect in a sentence.
func (e Effect) String() string {
	down := ""
	if e.Downtime && e.Kind != Deleted {
		down = " with downtime"
	}
	if e.Message == "" {
		return string(e.Kind) + down
	}
	return string(e.Kind) + down + ": " + e.Message
}

// String is the verdict with its sum.
func (f Fit) String() string {
	text := string(f.Verdict)
	if f.InstanceType != "" {
		text += " " + f.InstanceType
	}
	if f.MaxNodes > 0 {
		text = fmt.Sprintf("%s, %d to %s", text, f.Nodes, counted(f.MaxNodes, "node", "nodes"))
	} else if f.Nodes > 1 {
		text = fmt.Sprintf("%s, %d nodes", text, f.Nodes)
	}
	if f.Candidates > 1 {
		text = fmt.Sprintf("%s, first of %d that work", text, f.Candidates)
	}
	if f.Sum != "" {
		text += ": " + f.Sum
	}
	return text
}

// String is the price before and after.
func (p Price) String() string {
	text := ""
	switch {
	case p.Before == nil && p.After == nil:
		return ""
	case p.Before == nil:
		text = p.After.String()
	case p.After == nil:
		text = p.Before.String() + " → nothing"
	case *p.Before == *p.After:
		text = p.After.String() + ", as before"
	default:
		text = p.Before.amount() + " → " + p.After.String()
	}
	if p.Run != "" {
		text += "; the run: " + p.Run
	}
	return text
}

// amount is the price alone: per month of what stands, per hour of a run.
func (a Amount) amount() string {
	switch {
	case !a.Known:
		return "an unknown price"
	case a.Scales:
		return wholeUSD(a.LeastUSDPerMonth) + " to " + a.atMost() + wholeUSD(a.USDPerMonth) + "/month"
	case a.USDPerMonth > 0:
		return a.atMost() + wholeUSD(a.USDPerMonth) + "/month"
	}
	return a.atMost() + price.USD(a.USDPerHour) + "/h"
}

func (a Amount) atMost() string {
	if a.AtMost {
		return "at most "
	}
	return ""
}

// String is the amount and where it is from.
func (a Amount) String() string {
	switch {
	case !a.Known:
		return a.Text
	case a.USDPerMonth > 0:
		return a.amount() + " (" + a.Text + ")"
	}
	return a.atMost() + a.Text
}
