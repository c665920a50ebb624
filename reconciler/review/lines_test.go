// SPDX-License-Identifier: Apache-2.0

package review

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/text"

	"github.com/espalier-dev/espalier/reconciler/forge"
	"github.com/espalier-dev/espalier/reconciler/plan"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// at is a finding on a line of a.yaml, with the line that mends it.
func at(line int, message string, fix ...string) plan.Finding {
	f := plan.Finding{Finding: v1alpha1.Finding{Severity: "error", Code: "Code", File: "a.yaml", Line: line, Message: message}}
	if len(fix) == 2 {
		f.Fix = &v1alpha1.Fix{Old: fix[0], New: fix[1]}
	}
	return f
}

// there is a finding that the base has too.
func there(f plan.Finding) plan.Finding { f.InBase = true; return f }

func file(content string) fstest.MapFS { return fstest.MapFS{"a.yaml": {Data: []byte(content)}} }

// TestOnLines: what is said on lines, and on which.
func TestOnLines(t *testing.T) {
	base := "a: 1\nb: 2\nc: 3\nd: 4\ne: 5\nf: 6\n"
	head := "a: x\nb: 2\nc: 3\nd: 4\ne: 5\nf: 6\n" // of which a to d show
	for name, tc := range map[string]struct {
		reason   string
		mode     v1alpha1.LineComments
		provider v1alpha1.ForgeProvider
		head     string
		finding  plan.Finding
		want     string // file:new/old text
		standing int
	}{
		"Fix":          {"a line that the pull request wrote, with a button", v1alpha1.FixLineComments, v1alpha1.GitHub, head, at(1, "no", "a: x", "a: y"), "a.yaml:1/0 ❌ no (Code)\n\n```suggestion\na: y\n```\n", 1},
		"GitLab":       {"it names the lines that it replaces", v1alpha1.FixLineComments, v1alpha1.GitLab, head, at(1, "no", "a: x", "a: y"), "a.yaml:1/0 ❌ no (Code)\n\n```suggestion:-0+0\na: y\n```\n", 1},
		"Gitea":        {"it has no button, so that both lines are shown", v1alpha1.FixLineComments, v1alpha1.Gitea, head, at(1, "no", "a: x", "a: y"), "a.yaml:1/0 ❌ no (Code)\n\n```diff\n-a: x\n+a: y\n```\n", 1},
		"Near":         {"a line that the diff shows around a change, where what is wrong is new", v1alpha1.FindingLineComments, v1alpha1.GitHub, head, at(4, "no"), "a.yaml:4/4 ❌ no (Code)\n", 1},
		"Outside":      {"no forge takes a comment there; the finding stands all the same", v1alpha1.FindingLineComments, v1alpha1.GitHub, head, at(5, "no"), "", 1},
		"ThereBefore":  {"who changes a line need not answer for its neighbour", v1alpha1.FindingLineComments, v1alpha1.GitHub, head, there(at(2, "no")), "", 1},
		"WrittenAgain": {"what is wrong in a line that was written anew is the writer's", v1alpha1.FindingLineComments, v1alpha1.GitHub, head, there(at(1, "no")), "a.yaml:1/0 ❌ no (Code) *(there before)*\n", 1},
		"NoFix":        {"only what one line mends was asked for; what was said before that stands all the same", v1alpha1.FixLineComments, v1alpha1.GitHub, head, at(1, "no"), "", 1},
		"NoLine":       {"a finding on the whole", v1alpha1.FindingLineComments, v1alpha1.GitHub, head, at(0, "no"), "", 0},
		"OtherLine":    {"the line is not what the finding saw: a button would lose it", v1alpha1.FixLineComments, v1alpha1.GitHub, head, at(1, "no", "a: z", "a: y"), "a.yaml:1/0 ❌ no (Code)\n", 1},
		"WindowsEnd":   {"a button would write an end of its own", v1alpha1.FixLineComments, v1alpha1.GitHub, strings.ReplaceAll(head, "\n", "\r\n"), at(1, "no", "a: x", "a: y"), "a.yaml:1/0 ❌ no (Code)\n", 1},
		"Fence":        {"what could end the block is in none", v1alpha1.FixLineComments, v1alpha1.GitHub, "```: x\n" + base, at(1, "no", "```: x", "```: y"), "a.yaml:1/0 ❌ no (Code)\n", 1},
		"NoFile":       {"a file that is not there", v1alpha1.FindingLineComments, v1alpha1.GitHub, "", plan.Finding{Finding: v1alpha1.Finding{File: "../b.yaml", Line: 1}}, "", 1},
		"PastTheEnd":   {"a line that is not there", v1alpha1.FindingLineComments, v1alpha1.GitHub, head, at(70, "no"), "", 1},
	} {
		t.Run(name, func(t *testing.T) {
			r := v1alpha1.Review{Provider: tc.provider, LineComments: tc.mode}
			l := OnLines(plan.Plan{Findings: []plan.Finding{tc.finding}}, r, Files{Base: file(base), Head: file(tc.head)})
			got := ""
			for _, o := range l.Offered {
				got += fmt.Sprintf("%s:%d/%d %s", o.Line.File, o.Line.New, o.Line.Old, o.Text)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" || len(l.Standing) != tc.standing {
				t.Errorf("%s: %d findings stand; -want +got:\n%s", tc.reason, len(l.Standing), diff)
			}
			for _, none := range []v1alpha1.LineComments{"", v1alpha1.NoLineComments} {
				r.LineComments = none
				if l := OnLines(plan.Plan{Findings: []plan.Finding{tc.finding}}, r, Files{Base: file(base), Head: file(tc.head)}); l != nil {
					t.Errorf("nobody asked, and got %+v", l)
				}
			}
		})
	}
}

// TestOnLinesKeys: a finding is the same on whatever line and of whatever object, and
// another one where it says or mends something else.
func TestOnLinesKeys(t *testing.T) {
	of := keyOf(at(1, "no", "a", "b"))
	moved := at(9, "no", "a", "b")
	moved.Object = "Workspace/a/b"
	if keyOf(moved) != of {
		t.Error("a finding that moves is said again")
	}
	for what, other := range map[string]plan.Finding{"message": at(1, "nein", "a", "b"), "line": at(1, "no", "a # c", "b # c"), "fix": at(1, "no")} {
		if keyOf(other) == of {
			t.Errorf("another %s is the same finding", what)
		}
	}
	two := plan.Plan{Findings: []plan.Finding{at(1, "no"), moved, moved}}
	l := OnLines(two, v1alpha1.Review{LineComments: v1alpha1.FindingLineComments}, Files{Base: file(""), Head: file("a: b\n")})
	if len(l.Standing) != 2 || l.Findings != 2 {
		t.Errorf("got %+v: a base of two Workspaces has its findings once", l)
	}
}

// TestOnLinesShuffled: files whose lines stand in another order take the longest to
// compare. What they take in all is bounded, and the plan has its findings all the same.
func TestOnLinesShuffled(t *testing.T) {
	base, head, p := fstest.MapFS{}, fstest.MapFS{}, plan.Plan{}
	var up, down strings.Builder
	for i := range 4000 {
		fmt.Fprintf(&up, "k%d: v\n", i)
		fmt.Fprintf(&down, "k%d: v\n", 4000-i)
	}
	for i := range maxOffered {
		name := fmt.Sprint(i, ".yaml")
		base[name], head[name] = &fstest.MapFile{Data: []byte(up.String())}, &fstest.MapFile{Data: []byte(down.String())}
		p.Findings = append(p.Findings, plan.Finding{Finding: v1alpha1.Finding{Code: "Code", File: name, Line: 1, Message: "no"}})
	}
	l := OnLines(p, v1alpha1.Review{LineComments: v1alpha1.FindingLineComments}, Files{Base: base, Head: head})
	if len(l.Offered) != maxPairs/(4000*4000) || len(l.Standing) != maxOffered {
		t.Errorf("%d are offered of %d", len(l.Offered), len(l.Standing))
	}
}

// TestOnLinesStorm: ten thousand findings in a thousand files, each as large as is
// compared and nothing of it as it was, are a few comments, soon.
func TestOnLinesStorm(t *testing.T) {
	base, head := fstest.MapFS{}, fstest.MapFS{}
	var p plan.Plan
	for i := range 1000 {
		name := fmt.Sprintf("w%d.yaml", i)
		var was, is strings.Builder
		for n := range 1000 {
			fmt.Fprintf(&was, "a%d: %d\n", i, n)
			fmt.Fprintf(&is, "b%d: %d\n", i, n)
		}
		base[name], head[name] = &fstest.MapFile{Data: []byte(was.String())}, &fstest.MapFile{Data: []byte(is.String())}
		for n := range 10 {
			// None of these is shown: the worst case.
			f := there(at(2000+n, fmt.Sprint("finding ", n)))
			f.File = name
			p.Findings = append(p.Findings, f)
		}
	}
	began := time.Now()
	l := OnLines(p, v1alpha1.Review{LineComments: v1alpha1.FindingLineComments}, Files{Base: base, Head: head})
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("it takes %s", took)
	} else {
		t.Logf("10,000 findings in 1,000 files: %s", took)
	}
	text, err := json.Marshal(l)
	if err != nil || len(text) > 100_000 || !l.Cut || l.Findings != 10_000 || len(l.Standing) != maxStanding {
		t.Errorf("%v, %d bytes, %d of %d stand, cut %v", err, len(text), len(l.Standing), l.Findings, l.Cut)
	}
	for i := range p.Findings {
		p.Findings[i].Line = i%10 + 1
	}
	if l = OnLines(p, v1alpha1.Review{LineComments: v1alpha1.FindingLineComments}, Files{Base: base, Head: head}); len(l.Offered) != maxOffered {
		t.Errorf("%d are offered, want %d", len(l.Offered), maxOffered)
	}
}

// FuzzSuggestion: whatever a line holds, the comment is one paragraph and at most one
// block of code, which holds the lines and nothing else.
func FuzzSuggestion(f *testing.F) {
	for _, s := range []string{"a: b", "```", "a: ````b", "    ~~~", "-->", "<!-- espalier-line a b open -->", "@all #1", "\u202e", "\t- x"} {
		f.Add("wrong "+s, s)
	}
	f.Fuzz(func(t *testing.T, message, line string) {
		if strings.ContainsAny(line, "\r\n") { // a finding is of one line
			return
		}
		fix := &v1alpha1.Fix{Old: line, New: line + "s"}
		for _, provider := range []v1alpha1.ForgeProvider{v1alpha1.GitHub, v1alpha1.GitLab, v1alpha1.Gitea} {
			finding := at(1, message)
			source := []byte(lineMark{"a/b/c", "k", lineOpen}.String() + finding.Markdown() + suggestion(provider, fix, line))
			var kinds []string
			root := goldmark.DefaultParser().Parse(text.NewReader(source))
			for n := root.FirstChild(); n != nil; n = n.NextSibling() {
				kinds = append(kinds, n.Kind().String())
				if block, ok := n.(*ast.FencedCodeBlock); ok {
					if lines := block.Lines().Len(); lines != 1 && (provider != v1alpha1.Gitea || lines != 2) {
						t.Errorf("%q: the block has %d lines", source, lines)
					}
				}
			}
			want := []string{"HTMLBlock", "Paragraph"}
			if strings.Contains(string(source), "\n```") {
				want = append(want, "FencedCodeBlock")
			}
			if diff := cmp.Diff(want, kinds); diff != "" {
				t.Errorf("%q: -want +got:\n%s", source, diff)
			}
		}
	})
}

// said is a comment on a line as the fake keeps it.
type said struct {
	forge.LineComment
	at forge.Line
}

func (s *stage) OnLines(context.Context, int64) ([]forge.LineComment, error) {
	s.read++
	var list []forge.LineComment
	for _, c := range s.lines {
		list = append(list, c.LineComment)
	}
	return list, nil
}

func (s *stage) WriteOnLine(_ context.Context, pr forge.PullRequest, at forge.Line, body string) error {
	if s.tried++; at.File == "bad" && s.badLine != nil {
		return s.badLine
	}
	if pr.Head != s.plans[len(s.plans)-1] {
		s.t.Errorf("a comment on %s, and %s was planned", pr.Head, s.plans)
	}
	s.lines = append(s.lines, said{LineComment: forge.LineComment{ID: fmt.Sprint(len(s.lines)), Body: body}, at: at})
	if s.wrote != nil {
		s.wrote()
	}
	return nil
}

func (s *stage) SettleOnLine(_ context.Context, _ int64, c forge.LineComment, body string) error {
	if s.badSettle != nil {
		return s.badSettle
	}
	s.settledAs = body
	i := slices.IndexFunc(s.lines, func(is said) bool { return is.ID == c.ID })
	s.lines[i].Settled = true
	return nil
}

// TestComment: the whole life of comments on lines, on a forge in memory.
func TestComment(t *testing.T) {
	s := newStage(t)
	s.sync.Spec.Review.LineComments = v1alpha1.FixLineComments
	s.connect()
	offer := func(keys ...string) {
		plain := s.planned
		s.planned = func(q Question) (Verdict, error) {
			v, err := plain(q)
			v.Lines = &Lines{Standing: keys, Findings: len(keys)}
			for i, key := range keys {
				v.Lines.Offered = append(v.Lines.Offered, OnLine{Key: key, Line: forge.Line{File: "a.yaml", New: i + 1}, Text: "❌ " + key + "\n"})
			}
			return v, err
		}
	}
	next := func(content string) {
		t.Helper()
		p := s.pulls[7]
		p.Head = s.push("feature", content)
		s.pulls[7] = p
		s.mustPass(s.controller())
	}
	open := func() string {
		var texts []string
		for _, c := range s.lines {
			if m, _ := readLineMark(c.LineComment); m.state == lineOpen {
				texts = append(texts, m.key)
			}
		}
		return strings.Join(texts, " ")
	}
	offer("a", "b")
	s.mustPass(s.controller())
	if open() != "a b" || !strings.Contains(s.said[7][0].Body, "On lines of the diff: 2 of 2 findings; at most") {
		t.Fatalf("on lines %q, in the comment %q", open(), s.said[7][0].Body)
	}
	if !strings.HasPrefix(s.lines[0].Body, "<!-- espalier-line prod/team/models a open -->\n❌ a") || s.lines[0].at.New != 1 {
		t.Errorf("%+v", s.lines[0])
	}
	next("the same findings")
	if open() != "a b" || len(s.lines) != 2 {
		t.Errorf("a second push repeats what is there: %q of %d", open(), len(s.lines))
	}
	offer("a", "c")
	next("b is mended")
	if open() != "a c" || !s.lines[1].Settled {
		t.Errorf("open %q, %+v", open(), s.lines[1])
	}
	offer("a", "b", "c")
	next("b is back")
	if open() != "a c b" || len(s.lines) != 4 {
		t.Errorf("open %q of %d: what is settled is said anew where it comes back", open(), len(s.lines))
	}
	s.planned = func(Question) (Verdict, error) { return Verdict{}, &Undone{Why: "planning it takes too long"} }
	next("no plan")
	if open() != "a c b" {
		t.Errorf("open %q: without a plan nothing is known to be settled", open())
	}
}

// TestCommentBounds: how much is ever said on lines.
func TestCommentBounds(t *testing.T) {
	s := newStage(t)
	round := 0
	s.planned = func(Question) (Verdict, error) {
		v := Verdict{Markdown: "a plan", Lines: &Lines{Findings: 1000}}
		for i := range maxOffered {
			key := fmt.Sprintf("k%d-%d", round, i)
			v.Lines.Standing = append(v.Lines.Standing, key)
			v.Lines.Offered = append(v.Lines.Offered, OnLine{Key: key, Line: forge.Line{File: "a.yaml", New: i + 1}, Text: "x"})
		}
		return v, nil
	}
	r := s.controller()
	for round = range 12 {
		p := s.pulls[7]
		p.Head = s.push("feature", fmt.Sprint(round))
		s.pulls[7] = p
		s.mustPass(r)
		open := 0
		for _, c := range s.lines {
			if !c.Settled {
				open++
			}
		}
		if open > maxOpenLines || len(s.lines) > maxLines {
			t.Fatalf("push %d: %d stand, %d were made", round, open, len(s.lines))
		}
	}
	if len(s.lines) != maxLines {
		t.Errorf("%d were made in all, want %d", len(s.lines), maxLines)
	}
	if body := s.said[7][0].Body; strings.Contains(body, "On lines of") {
		t.Errorf("none stands there any more: %q", body)
	}
}

// TestOnLinesRenamed: a file that the pull request renames is compared with what it was:
// what shows is around what was edited, with the number and the name that it had there.
func TestOnLinesRenamed(t *testing.T) {
	base := fstest.MapFS{"old.yaml": {Data: []byte("a: 1\nb: 2\nc: 3\nd: 4\ne: 5\nf: 6\n")}}
	head := fstest.MapFS{"a.yaml": {Data: []byte("new: x\na: 1\nb: 2\nc: 3\nd: 4\ne: 5\nf: 6\n")}}
	asked := 0
	files := Files{Base: base, Head: head, Renamed: func() map[string]string { asked++; return map[string]string{"a.yaml": "old.yaml"} }}
	p := plan.Plan{Findings: []plan.Finding{at(1, "written"), at(3, "near"), there(at(4, "before")), at(6, "outside")}}
	var got []forge.Line
	for _, o := range OnLines(p, v1alpha1.Review{LineComments: v1alpha1.FindingLineComments}, files).Offered {
		got = append(got, o.Line)
	}
	want := []forge.Line{{File: "a.yaml", OldFile: "old.yaml", New: 1}, {File: "a.yaml", OldFile: "old.yaml", New: 3, Old: 2}}
	if diff := cmp.Diff(want, got); diff != "" || asked != 1 {
		t.Errorf("asked %d times; -want +got:\n%s", asked, diff)
	}
	head["a.yaml"] = base["old.yaml"]
	if l := OnLines(p, v1alpha1.Review{LineComments: v1alpha1.FindingLineComments}, files); len(l.Offered) != 0 || len(l.Standing) != 4 {
		t.Errorf("a file that was moved and not changed shows no line: %+v", l)
	}
}

// TestCommentTroubles: what goes wrong on lines keeps the plan from nobody.
func TestCommentTroubles(t *testing.T) {
	for name, tc := range map[string]struct {
		reason  string
		err     error
		written int
		fails   bool
	}{
		"OffDiff":   {"The forge shows another diff: the next one is tried.", &forge.Error{Status: 422}, 1, false},
		"Forbidden": {"Nothing else will do better; somebody is told.", &forge.Error{Status: 403}, 0, true},
		"Down":      {"Nor here.", &forge.Error{Status: 502}, 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t)
			plain := s.planned
			s.planned = func(q Question) (Verdict, error) {
				v, err := plain(q)
				v.Lines = &Lines{Standing: []string{"a", "b"}, Findings: 2, Offered: []OnLine{{Key: "a", Line: forge.Line{File: "bad"}}, {Key: "b", Line: forge.Line{File: "good"}}}}
				return v, err
			}
			s.badLine = tc.err
			err := s.pass(s.controller())
			if (err != nil) != tc.fails || len(s.lines) != tc.written || len(s.said[7]) != 1 {
				t.Errorf("%s: %v, %d on lines, %d comments", tc.reason, err, len(s.lines), len(s.said[7]))
			}
		})
	}
}

// TestCommentOfOthers: two RepoSyncs of one account say a thing once, and settle what is
// their own.
func TestCommentOfOthers(t *testing.T) {
	s := newStage(t)
	other := func(key, state string) said {
		return said{LineComment: forge.LineComment{ID: key, Body: lineMark{"prod/team/others", key, state}.String() + "❌"}}
	}
	s.lines = []said{other("a", lineOpen), other("b", lineSettled), other("gone", lineOpen), {LineComment: forge.LineComment{ID: "x", Body: "by hand"}}}
	plain := s.planned
	s.planned = func(q Question) (Verdict, error) {
		v, err := plain(q)
		v.Lines = &Lines{Standing: []string{"a", "b"}, Findings: 2, Offered: []OnLine{{Key: "a"}, {Key: "b"}}}
		return v, err
	}
	s.mustPass(s.controller())
	if len(s.lines) != 5 || !strings.Contains(s.lines[4].Body, "prod/team/models b open") {
		t.Errorf("want b alone to be said: %+v", s.lines)
	}
	for _, c := range s.lines {
		if c.Settled {
			t.Errorf("%+v is another's", c)
		}
	}
}
