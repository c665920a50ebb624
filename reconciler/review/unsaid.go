// SPDX-License-Identifier: Apache-2.0

package review

import (
	"context"
	"errors"
	"fmt"

	ctrl "sigs.k8s.io/controller-runtime"
)

// maxLineTries bounds how often it is tried to say on lines what is left of one plan,
// the first time counted. Eight take some minutes where the forge refuses each.
const maxLineTries = 8

// unsaid is what is left to be said, or settled, on the lines of a pull request whose
// plan is told already. A controller that is started anew does not know of it.
type unsaid struct {
	about subject
	lines *Lines
	body  body   // of the comment with the plan, without what it says of lines
	note  string // what it says of them
	tries int
}

// leave notes what is left after a try, if anything.
func (k *kept) leave(t task, u *unsaid, note string, left bool) {
	if !left {
		delete(k.unsaid, t.pr.Number)
		return
	}
	u.note, u.tries = note, u.tries+1
	k.unsaid[t.pr.Number] = u
}

// again tries to say on the lines what could not be said there when the head was
// planned, and puts it right in the comment.
func (r *Reconciler) again(ctx context.Context, k *kept, t task) (subject, error) {
	u := k.unsaid[t.pr.Number]
	if u == nil || u.about != t.mark.about || u.tries >= maxLineTries {
		return t.mark.about, nil
	}
	note, left, err := t.comment(ctx, u.lines)
	if errors.Is(err, context.Canceled) || errors.Is(err, errMoved) {
		return r.answered(k, t, err)
	}
	if note != u.note {
		if err := t.write(ctx, u.body, note); err != nil {
			return subject{}, err
		}
	}
	k.leave(t, u, note, left)
	ctrl.LoggerFrom(ctx).Info("tried again to comment on lines", "number", t.pr.Number, "head", t.pr.Head, "left", left)
	return r.answered(k, t, err)
}

// write writes the comment with the plan.
func (t task) write(ctx context.Context, b body, note string) error {
	b.plan += note
	if _, err := t.forge.Write(ctx, t.pr.Number, t.said.ID, b.text(t.forge.CommentLimit)); err != nil {
		return fmt.Errorf("writing the comment: %w", err)
	}
	return nil
}
