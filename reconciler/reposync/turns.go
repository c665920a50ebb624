// SPDX-License-Identifier: Apache-2.0

package reposync

import (
	"context"
	"sync"
	"time"
)

// turns let one after the other do something to what has a name. The zero value is
// ready. A name is forgotten when nobody has its turn or waits for it.
type turns struct {
	mu  sync.Mutex
	all map[string]*turn
}

type turn struct {
	held  chan struct{} // full while somebody has the turn
	users int           // who have it or wait
}

// take waits for the turn, no longer than it is told; done gives it back.
func (t *turns) take(ctx context.Context, name string, patience time.Duration) (done func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	mine := t.enter(name)
	select {
	case mine.held <- struct{}{}:
		return func() { <-mine.held; t.leave(name) }, nil
	case <-ctx.Done():
		t.leave(name)
		return nil, ctx.Err()
	}
}

func (t *turns) enter(name string) *turn {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.all == nil {
		t.all = map[string]*turn{}
	}
	if t.all[name] == nil {
		t.all[name] = &turn{held: make(chan struct{}, 1)}
	}
	t.all[name].users++
	return t.all[name]
}

func (t *turns) leave(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.all[name].users--; t.all[name].users == 0 {
		delete(t.all, name)
	}
}
