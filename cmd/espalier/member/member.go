// SPDX-License-Identifier: Apache-2.0

// Package member is one of several pods that serve one copy of a model, or train
// one adapter. The processes of vLLM and of PyTorch on several nodes neither find
// each other again after one of them died nor notice in time that it did, so this
// program stands before each: it starts the process when all members are there,
// and ends with its pod's container when one of them is lost or has started anew,
// so that all start together.
//
// The member of rank 0 leads: it says who belongs to the group. Nothing is
// decided in common, no member writes anything anywhere, and what members tell
// each other is no secret: who they are and what they wait for.
package member

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"
)

// Options say what a member is.
type Options struct {
	// Rank of the member; 0 leads. Size is the number of members.
	Rank, Size int
	// Group is what all members must have in common: the digest of their inputs.
	// Members of two versions of a service never work together.
	Group string
	// Peer is the address of a member, host:port, with %d for its rank.
	Peer string
	// Listen is the address that the members and the kubelet ask.
	Listen string
	// Server is the URL that answers 200 when the model can be used; "" for a run
	// that serves nothing.
	Server string
	// Done is set for a run that comes to an end: the file, on a volume that all
	// members share, that the leader writes when its command has succeeded. Where it
	// is there already nothing is run.
	Done string
	// Command is what to run; WorkerArgs are appended to it on ranks above 0.
	Command, WorkerArgs []string
	// StartWithin is how long the model may take to load once all members are
	// there, JoinWithin how long they may take to be there (0: any time), Patience
	// how long one may be out of reach, Poll how often they are asked, Drain how
	// long a worker lets the leader end its requests.
	StartWithin, JoinWithin, Patience, Poll, Drain time.Duration
	// Output and Log are for what the command and the member say.
	Output, Log io.Writer
}

// Defaults of the durations, and the port that members listen on.
const (
	DefaultPort     = 8470
	DefaultPatience = 30 * time.Second
	DefaultPoll     = 2 * time.Second
	DefaultDrain    = 130 * time.Second
	DefaultStart    = 30 * time.Minute
)

// ErrLost is why a member ends when its group is no longer whole.
var ErrLost = errors.New("the group is no longer whole")

// errLeaving is why a leader ends its requests.
var errLeaving = errors.New("a worker is asked to end")

// Validate says what is wrong with the options.
func (o Options) Validate() error {
	switch {
	case o.Size < 2 || o.Rank < 0 || o.Rank >= o.Size:
		return fmt.Errorf("rank %d of %d members: want two or more, counted from 0", o.Rank, o.Size)
	case strings.Count(o.Peer, "%d") != 1 || strings.Count(o.Peer, "%") != 1:
		return fmt.Errorf("peer %q: want an address with one %%d for the rank", o.Peer)
	case len(o.Command) == 0:
		return errors.New("there is no command to run")
	case o.Poll <= 0 || o.Patience < o.Poll:
		return fmt.Errorf("polling every %s with a patience of %s: want more patience", o.Poll, o.Patience)
	}
	return nil
}

// member is one under way.
type member struct {
	Options
	client *http.Client

	mu   sync.Mutex
	self State
	// healthy says that the model has answered since it was started.
	healthy bool
	seen    map[int]time.Time // when a peer was last in reach
}

// Run serves until the command ends, the group is no longer whole, or ctx does.
// It returns the exit code of the command.
func Run(ctx context.Context, o Options) (int, error) {
	if err := o.Validate(); err != nil {
		return 1, err
	}
	m := &member{Options: o, client: &http.Client{Timeout: max(o.Poll, time.Second)}, seen: map[int]time.Time{}}
	m.self = State{ID: newID(), Group: o.Group}
	if o.Done != "" && exists(o.Done) {
		m.say("the run has succeeded before: there is nothing to do")
		return 0, nil
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", o.Listen)
	if err != nil {
		return 1, fmt.Errorf("listening for the other members: %w", err)
	}
	server := &http.Server{Handler: m.handler(), ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = server.Serve(listener) }() // ends with Close
	defer func() { _ = server.Close() }()
	if err := m.form(ctx); err != nil {
		switch {
		case !errors.Is(err, context.Canceled):
		case o.Done != "":
			return 1, fmt.Errorf("%w: this member was asked to end before the others were there", ErrLost)
		default:
			return 0, nil // asked to end before anything was started
		}
		return 1, err
	}
	return m.work(ctx)
}

// newID tells this start of the member from every other.
func newID() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails: it ends the program instead
	return hex.EncodeToString(b[:])
}

func (m *member) say(format string, args ...any) {
	fmt.Fprintf(m.Log, "espalier: member %d of %d: %s\n", m.Rank, m.Size, fmt.Sprintf(format, args...))
}

// state is what this member tells of itself.
func (m *member) state() State {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.self
}

func (m *member) update(change func(*State)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	change(&m.self)
}

// form waits until all members are there.
func (m *member) form(ctx context.Context) error {
	m.say("waiting for the others")
	began := time.Now()
	return m.every(ctx, func() (bool, error) {
		peers := m.ask(ctx)
		step := Form(m.Rank, m.Size, m.state(), peers)
		m.update(func(s *State) { s.Joined, s.Roster = step.Joined, step.Roster })
		if !step.Start && m.JoinWithin > 0 && time.Since(began) > m.JoinWithin {
			return false, fmt.Errorf("the others were not there within %s: see whether their pods run, and whether a NetworkPolicy lets pods of this run reach each other", m.JoinWithin)
		}
		return step.Start, nil
	})
}

// every calls f now and after each Poll, until it is done.
func (m *member) every(ctx context.Context, f func() (done bool, err error)) error {
	tick := time.NewTicker(m.Poll)
	defer tick.Stop()
	for {
		if done, err := f(); done || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// handler answers the other members and the kubelet.
func (m *member) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /member", func(w http.ResponseWriter, _ *http.Request) { m.state().write(w) })
	mux.HandleFunc("GET /ready", func(w http.ResponseWriter, r *http.Request) { m.answer(w, m.ready(r.Context())) })
	mux.HandleFunc("GET /live", func(w http.ResponseWriter, r *http.Request) { m.answer(w, m.live(r.Context())) })
	return mux
}

func (m *member) answer(w http.ResponseWriter, err error) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
	}
}

// ready is for the Service, which reaches the leader only. A worker is ready
// when it is there: a rollout must not wait for a model that needs all members.
func (m *member) ready(ctx context.Context) error {
	if m.Rank > 0 || m.Server == "" {
		return nil
	}
	return m.healthOf(ctx)
}

// live never fails while the model loads.
func (m *member) live(ctx context.Context) error {
	m.mu.Lock()
	loading := m.Rank > 0 || m.Server == "" || !m.healthy
	m.mu.Unlock()
	if loading {
		return nil
	}
	return m.healthOf(ctx)
}

func (m *member) healthOf(ctx context.Context) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, m.Server, http.NoBody)
	if err != nil {
		return fmt.Errorf("asking the model: %w", err)
	}
	response, err := m.client.Do(request)
	if err != nil {
		return fmt.Errorf("asking the model: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("the model answers %s", response.Status)
	}
	return nil
}

// Install copies this program to a folder, for containers of other images.
func Install(folder string) error {
	from, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding this program: %w", err)
	}
	return copyProgram(from, folder)
}
