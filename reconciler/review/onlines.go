// SPDX-License-Identifier: Apache-2.0

package review

import (
	"context"
	"fmt"
	"slices"
	"strings"

	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/espalier-dev/espalier/reconciler/forge"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// lineMark is the first line of a comment on a line: whose it is, which finding it is
// about, and whether that is settled.
type lineMark struct {
	owner, key, state string
}

const (
	lineFormat   = "<!-- espalier-line %s %s %s -->\n"
	lineOpen     = "open"
	lineSettled  = "settled"
	settledWords = "✅ Settled: the newest plan does not find this any more.\n"
	offWords     = "✅ Settled: comments on lines are switched off. The comment with the plan has what is found.\n"
	notePrefix   = "\n*On lines of the diff: "
	// noteRoom is what a comment says of the lines at most, in bytes.
	noteRoom = 200
)

func (m lineMark) String() string { return fmt.Sprintf(lineFormat, m.owner, m.key, m.state) }

// readLineMark reads the mark of a comment.
func readLineMark(c forge.LineComment) (m lineMark, ok bool) {
	line, _, _ := strings.Cut(c.Body, "\n")
	n, err := fmt.Sscanf(strings.TrimSuffix(line, "\r")+"\n", lineFormat, &m.owner, &m.key, &m.state)
	if c.Settled {
		m.state = lineSettled
	}
	return m, err == nil && n == 3
}

// standing are the comments on the lines of a pull request.
type standing struct {
	ours    map[string]forge.LineComment // of this RepoSync, those that are open, by key
	others  map[string]bool              // keys of another RepoSync's
	written int                          // how many this RepoSync has made, with those that are settled
}

func readLines(comments []forge.LineComment, owner string) standing {
	is := standing{ours: map[string]forge.LineComment{}, others: map[string]bool{}}
	for _, c := range comments {
		m, ok := readLineMark(c)
		switch {
		case !ok:
		case m.owner != owner:
			is.others[m.key] = is.others[m.key] || m.state != lineSettled
		default:
			is.written++
			if m.state != lineSettled {
				is.ours[m.key] = c
			}
		}
	}
	return is
}

// settled are the comments whose finding is gone, by key, in order.
func (is standing) settled(l *Lines) []string {
	var gone []string
	for key := range is.ours {
		if !l.Cut && !slices.Contains(l.Standing, key) {
			gone = append(gone, key)
		}
	}
	slices.Sort(gone)
	return gone
}

// missing are the comments to be made: those that neither this RepoSync nor another
// has made.
func (is standing) missing(l *Lines) []OnLine {
	var list []OnLine
	for _, o := range l.Offered {
		if _, said := is.ours[o.Key]; !said && !is.others[o.Key] {
			list = append(list, o)
		}
	}
	return list
}

// lines is what is to be said on the lines of a pull request, nil for nothing. Where
// comments on lines are switched off, those that may be there are settled.
func (t task) lines(v Verdict) *Lines {
	mode := t.sync.Spec.Review.LineComments
	on := v.Lines != nil || mode != "" && mode != v1alpha1.NoLineComments
	if on || !strings.Contains(t.said.Body, notePrefix) {
		return v.Lines
	}
	return &Lines{off: true}
}

// comment says on the lines what is to be said there, and settles what is gone. It
// returns the sentence about it for the comment with the plan, and whether something is
// left that the forge may take another time. What people answered, and what they
// resolved, stays as it is.
func (t task) comment(ctx context.Context, l *Lines) (note string, left bool, err error) {
	if l == nil || t.forge.Lines == nil {
		return "", false, nil
	}
	comments, err := t.forge.Lines.OnLines(ctx, t.pr.Number)
	if err != nil {
		return l.unlisted(), true, fmt.Errorf("listing the comments on lines: %w", err)
	}
	is := readLines(comments, t.mark.owner)
	if err := t.settle(ctx, l, is); err != nil {
		return l.note(len(is.ours)), true, err
	}
	said := len(is.ours)
	for _, o := range is.missing(l) {
		if said >= maxOpenLines || is.written >= maxLines {
			break
		}
		if err := t.still(ctx); err != nil {
			return l.note(said), true, err
		}
		err := t.forge.Lines.WriteOnLine(ctx, t.pr, o.Line, lineMark{t.mark.owner, o.Key, lineOpen}.String()+o.Text)
		if forge.OffDiff(err) {
			ctrl.LoggerFrom(ctx).Info("the forge takes no comment on a line", "number", t.pr.Number, "file", o.Line.File, "line", o.Line.New, "why", err.Error())
			left = left || forge.Passing(err)
			continue
		}
		if err != nil {
			return l.note(said), true, fmt.Errorf("commenting on %s: %w", o.Line.File, err)
		}
		said, is.written = said+1, is.written+1
	}
	return l.note(said), left, nil
}

// settle settles the comments whose finding is gone, and takes them out of ours.
func (t task) settle(ctx context.Context, l *Lines, is standing) error {
	words := settledWords
	if l.off {
		words = offWords
	}
	for _, key := range is.settled(l) {
		body := lineMark{t.mark.owner, key, lineSettled}.String() + words
		if err := t.forge.Lines.SettleOnLine(ctx, t.pr.Number, is.ours[key], body); err != nil && !forge.Unknown(err) {
			return fmt.Errorf("settling a comment on a line: %w", err)
		}
		delete(is.ours, key)
	}
	return nil
}

// still is errMoved where the pull request has gone on: some forges take the number of a
// line for that of the newest head, and the button would then change another line.
func (t task) still(ctx context.Context) error {
	now, err := t.forge.Get(ctx, t.pr.Number)
	if err != nil {
		return err
	}
	if now.Head != t.pr.Head || now.MergeBase != t.pr.MergeBase || !now.Open {
		return errMoved
	}
	return nil
}

// note says how many findings stand on their lines too; empty where none does.
// unlisted is what is said where nobody knows what stands on the lines: as long as it is
// to be settled, the comment says so.
func (l *Lines) unlisted() string {
	if l.off {
		return notePrefix + "some may not be settled yet.*\n"
	}
	return ""
}

func (l *Lines) note(said int) string {
	switch {
	case said == 0:
		return ""
	case l.off:
		return fmt.Sprintf(notePrefix+"%d that are not settled yet.*\n", said)
	}
	return fmt.Sprintf(notePrefix+"%d of %d findings; at most %d at a time.*\n", said, l.Findings, maxOpenLines)
}
