// SPDX-License-Identifier: Apache-2.0

package source

import "context"

// looks are those of one request: one is under way, and one comes after it.
type looks struct{ next *flight }

// flight is a look at a server. What it found is there once done is closed.
type flight struct {
	ctx    context.Context // of whoever asked first, without its end: the others stay
	req    Request
	done   chan struct{}
	commit *Commit
	err    error
}

// join is a look that begins from now on. Whoever comes while one is under way waits
// for the next, together with all that come until then: the one under way may have
// asked for the references before the push that this one was told of.
func (s *Store) join(ctx context.Context, req Request) *flight {
	f := &flight{ctx: context.WithoutCancel(ctx), req: req, done: make(chan struct{})}
	key := keyOf(req)
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.looks[key]
	switch {
	case l == nil:
		s.looks[key] = &looks{}
		go s.fly(key, f)
	case l.next == nil:
		l.next = f
	default:
		f = l.next
	}
	return f
}

// fly looks, and looks again while somebody waits for the next look.
func (s *Store) fly(key string, f *flight) {
	for f != nil {
		f.commit, f.err = s.look(f.ctx, key, f.req)
		close(f.done)
		f = s.landed(key)
	}
}

func (s *Store) landed(key string) *flight {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := s.looks[key].next
	if next == nil {
		delete(s.looks, key)
		return nil
	}
	s.looks[key].next = nil
	return next
}
