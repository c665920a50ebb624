// SPDX-License-Identifier: Apache-2.0

package review

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/espalier-dev/espalier/reconciler/forge"
	"github.com/espalier-dev/espalier/reconciler/markdown"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// How remarks are heard.
const (
	// hearWithin is how old a command may be when it is first seen.
	hearWithin = 24 * time.Hour
	// maxCommands bounds how many of one pull request are looked at in one go, the newest.
	maxCommands = 20
	// settled is how long ago the last change of a pull request must be for it to be
	// heard to the end: forges tell times by the second.
	settled = 5 * time.Second
)

// Commands, as the second word of a remark's first line.
const (
	commandWord = "/espalier"
	commandPlan = "plan"
	commandHelp = "help"
)

// command reads the first line of a remark: what it asks for, "" for nothing. A
// quotation, or a command further down, is talk about commands.
func command(body string) (what string, is bool) {
	line, _, _ := strings.Cut(strings.TrimSpace(body), "\n")
	words := strings.Fields(line)
	if len(words) == 0 || words[0] != commandWord {
		return "", false
	}
	return strings.Join(words[1:], " "), true
}

// heard is what is known of the remarks on pull requests. It is a cache: without
// it they are read again, and the comments of the account tell what was answered.
type heard struct {
	until  map[int64]time.Time // by number: the last change that was heard
	strays map[int64]bool      // remarks by people who may not write
	// answered are the remarks that this process has answered, with the number of
	// their pull request: a forge lists so many comments and no more, and the answer
	// need not be among them.
	answered map[int64]int64
	planned  map[int64]int64 // by number: the newest remark that a plan was an answer to
}

// maxStrays bounds what is kept of people who may not write.
const maxStrays = 1000

// forget lets go of the pull requests that are not open any more.
func (h heard) forget(open []forge.PullRequest) {
	closed := func(number int64) bool {
		return !slices.ContainsFunc(open, func(p forge.PullRequest) bool { return p.Number == number })
	}
	maps.DeleteFunc(h.until, func(number int64, _ time.Time) bool { return closed(number) })
	maps.DeleteFunc(h.planned, func(number, _ int64) bool { return closed(number) })
	maps.DeleteFunc(h.answered, func(_, number int64) bool { return closed(number) })
	if len(h.strays) > maxStrays {
		clear(h.strays)
	}
}

// hear reads what people ask for on a pull request, answers what can be answered
// at once, and returns the newest remark that asks for a plan, 0 for none.
func (r *Reconciler) hear(ctx context.Context, s *v1alpha1.RepoSync, k *kept, pr forge.PullRequest) (int64, error) {
	if !s.Spec.Review.Commands || !pr.Updated.IsZero() && k.heard.until[pr.Number].Equal(pr.Updated) {
		return 0, nil
	}
	since := r.Clock().Add(-hearWithin)
	remarks, err := k.forge.Others(ctx, pr.Number, since)
	if err != nil {
		return 0, err
	}
	remarks = slices.DeleteFunc(remarks, func(m forge.Remark) bool {
		_, is := command(m.Body)
		_, answered := k.heard.answered[m.ID]
		return !is || answered || k.heard.strays[m.ID]
	})
	if len(remarks) == 0 {
		r.heardAll(k, pr)
		return 0, nil
	}
	own, err := k.forge.Own(ctx, pr.Number, since) // an answer is newer than what it answers
	if err != nil {
		return 0, err
	}
	remarks = unanswered(remarks, own, r.owner(s), k.heard.planned[pr.Number])
	later := max(len(remarks)-maxCommands, 0) // those before are looked at in the next pass
	asked, err := r.obey(ctx, k, pr, remarks[later:])
	if err == nil && asked == 0 && later == 0 {
		r.heardAll(k, pr)
	}
	return asked, err
}

// heardAll notes that a pull request need not be read again until it changes.
func (r *Reconciler) heardAll(k *kept, pr forge.PullRequest) {
	if r.Clock().Sub(pr.Updated) > settled {
		k.heard.until[pr.Number] = pr.Updated
	}
}

// unanswered leaves out the remarks that were answered, by this process or by
// another before it. planned is the newest that this process has planned for: a forge
// need not list a comment that was edited since.
func unanswered(remarks []forge.Remark, own []forge.Comment, owner string, planned int64) []forge.Remark {
	helped := map[int64]bool{}
	for _, c := range own {
		var id int64
		if n, err := fmt.Sscanf(c.Body, helpFormat, &id); err == nil && n == 1 {
			helped[id] = true
		}
		if b, ok := readBody(c.Body); ok && b.mark.owner == owner {
			planned = max(planned, b.asked)
		}
	}
	return slices.DeleteFunc(remarks, func(m forge.Remark) bool {
		what, _ := command(m.Body)
		return helped[m.ID] || what == commandPlan && m.ID <= planned
	})
}

// obey answers the remarks of those who may write to the repository. Nobody else is
// told anything: a stranger must not make the account talk.
func (r *Reconciler) obey(ctx context.Context, k *kept, pr forge.PullRequest, remarks []forge.Remark) (asked int64, err error) {
	for _, m := range remarks {
		may, err := k.forge.MayWrite(ctx, m)
		if err != nil {
			return 0, fmt.Errorf("asking whether the author of a command may write to the repository: %w", err)
		}
		what, _ := command(m.Body)
		switch {
		case !may:
			k.heard.strays[m.ID] = true
		case what == commandPlan:
			asked = max(asked, m.ID)
		default:
			if _, err := k.forge.Write(ctx, pr.Number, 0, help(m.ID, what)); err != nil {
				return 0, fmt.Errorf("answering a command: %w", err)
			}
			k.heard.answered[m.ID] = pr.Number
		}
	}
	return asked, nil
}

// helpFormat is the first line of a comment that answers a remark.
const helpFormat = "<!-- espalier-help %d -->\n"

// help is what a remark is answered with that asks for it, or for something that
// is not there.
func help(id int64, what string) string {
	text := fmt.Sprintf(helpFormat, id)
	if what != commandHelp && what != "" {
		text += "There is no command " + markdown.Code(markdown.Clean(what, 60)) + ".\n\n"
	}
	return text + "| comment | does |\n|---|---|\n" +
		"| `/espalier plan` | plans this pull request again; one from a fork too, as it is now |\n" +
		"| `/espalier help` | says this |\n\n" +
		"Commands stand in the first line of a new comment by somebody who may write to this repository.\n"
}
