// SPDX-License-Identifier: Apache-2.0

package member

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"
)

// maxState bounds what a peer may answer.
const maxState = 64 << 10

// ask reads the states of the peers that a member follows: those in reach.
func (m *member) ask(ctx context.Context) map[int]State { return m.askEach(ctx, asks(m.Rank, m.Size)) }

// askAll reads the states of all other members in reach.
func (m *member) askAll(ctx context.Context) map[int]State {
	return m.askEach(ctx, others(m.Rank, m.Size))
}

// askEach reads the states of members, all at once.
func (m *member) askEach(ctx context.Context, ranks []int) map[int]State {
	var wait sync.WaitGroup
	var mu sync.Mutex
	peers := map[int]State{}
	for _, rank := range ranks {
		wait.Go(func() {
			state, err := m.stateOf(ctx, rank)
			if err != nil {
				return // out of reach: Patience decides what that means
			}
			m.saw(rank)
			mu.Lock()
			defer mu.Unlock()
			peers[rank] = state
		})
	}
	wait.Wait()
	return peers
}

// saw notes that a peer is in reach.
func (m *member) saw(rank int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.seen[rank] = time.Now()
}

func (m *member) stateOf(ctx context.Context, rank int) (State, error) {
	address := "http://" + fmt.Sprintf(m.Peer, rank) + "/member"
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return State{}, fmt.Errorf("asking member %d: %w", rank, err)
	}
	response, err := m.client.Do(request)
	if err != nil {
		return State{}, fmt.Errorf("asking member %d: %w", rank, err)
	}
	defer func() { _ = response.Body.Close() }()
	var state State
	if response.StatusCode != http.StatusOK {
		return state, fmt.Errorf("member %d answers %s", rank, response.Status)
	}
	if err := json.NewDecoder(io.LimitReader(response.Body, maxState)).Decode(&state); err != nil {
		return State{}, fmt.Errorf("reading member %d: %w", rank, err)
	}
	return state, nil
}

// work runs the command until it ends, or the group is no longer whole.
func (m *member) work(ctx context.Context) (int, error) {
	m.say("all members are there: starting")
	args := m.Command
	if m.Rank > 0 {
		args = slices.Concat(m.Command, m.WorkerArgs)
	}
	command := exec.Command(args[0], args[1:]...) //nolint:noctx // the command line of the pod; it is ended with care below
	command.Stdout, command.Stderr = m.Output, m.Output
	if err := command.Start(); err != nil {
		return 1, fmt.Errorf("starting %s: %w", args[0], err)
	}
	ended := make(chan error, 1)
	go func() { ended <- command.Wait() }()
	watched, stop := context.WithCancel(ctx)
	defer stop()
	broken := make(chan error, 1)
	go func() { broken <- m.watch(watched, time.Now().Add(m.StartWithin)) }()
	for {
		select {
		case err := <-ended:
			return m.ended(ctx, err)
		case err := <-broken:
			switch {
			case errors.Is(err, context.Canceled):
				broken = nil // asked to end: ctx.Done is next
			case errors.Is(err, errLeaving):
				return m.leave(ctx, command, ended)
			default:
				// In a pod the end of this process is the end of all of them.
				_ = command.Process.Kill()
				<-ended
				return 1, err
			}
		case <-ctx.Done():
			m.letLeaderEnd(ended)
			return m.end(command, ended)
		}
	}
}

// end asks the command to end and waits for it.
func (m *member) end(command *exec.Cmd, ended chan error) (int, error) {
	_ = command.Process.Signal(syscall.SIGTERM) // it may have ended
	err := <-ended
	m.update(func(s *State) { s.Ended = true })
	return exitCode(err)
}

// letLeaderEnd keeps a worker at work while the leader, which is asked to end at
// the same time, answers its last requests.
func (m *member) letLeaderEnd(ended chan error) {
	if m.Rank == 0 {
		return
	}
	m.say("waiting for the leader to end its requests")
	m.update(func(s *State) { s.Leaving = true })
	ctx, cancel := context.WithTimeout(context.Background(), m.Drain)
	defer cancel()
	joined := m.state().Joined
	_ = m.every(ctx, func() (bool, error) { // ends with the leader, or with Drain
		select {
		case err := <-ended:
			ended <- err
			return true, nil
		default:
		}
		leader := m.ask(ctx)[0] // out of reach: the zero State, of no leader
		return leader.ID != joined || leader.Ended, nil
	})
}

// watch returns when the group is no longer whole, or the model does not become
// healthy in time.
func (m *member) watch(ctx context.Context, deadline time.Time) error {
	for _, rank := range asks(m.Rank, m.Size) {
		m.saw(rank)
	}
	return m.every(ctx, func() (bool, error) {
		peers := m.ask(ctx)
		if ctx.Err() != nil {
			return false, ctx.Err()
		}
		if why := Whole(m.Rank, m.state(), peers, m.lost()); why != "" {
			return true, fmt.Errorf("%w: %s", ErrLost, why)
		}
		if m.Rank == 0 && Leaves(peers) {
			return true, errLeaving
		}
		return false, m.loaded(ctx, deadline)
	})
}

// lost lists the peers that have been out of reach for longer than Patience.
func (m *member) lost() []int {
	m.mu.Lock()
	defer m.mu.Unlock()
	var ranks []int
	for _, rank := range asks(m.Rank, m.Size) {
		if time.Since(m.seen[rank]) > m.Patience {
			ranks = append(ranks, rank)
		}
	}
	return ranks
}

// loaded notes on the leader that the model answers, and gives up when it does
// not in time: the workers follow.
func (m *member) loaded(ctx context.Context, deadline time.Time) error {
	m.mu.Lock()
	done := m.Rank > 0 || m.Server == "" || m.healthy
	m.mu.Unlock()
	if done {
		return nil
	}
	if m.healthOf(ctx) == nil {
		m.say("the model answers")
		m.mu.Lock()
		m.healthy = true
		m.mu.Unlock()
		return nil
	}
	if time.Now().After(deadline) {
		return fmt.Errorf("the model does not answer %s after its start", m.StartWithin)
	}
	return nil
}

// exitCode of a command that has ended.
func exitCode(err error) (int, error) {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0, nil
	case errors.As(err, &exit) && exit.ExitCode() > 0:
		return exit.ExitCode(), nil
	case errors.As(err, &exit): // by a signal: as shells count
		if status, ok := exit.Sys().(syscall.WaitStatus); ok {
			return 128 + int(status.Signal()), nil
		}
	}
	return 1, fmt.Errorf("running the command: %w", err)
}

// copyProgram writes a program beside its name and moves it there, so that a
// half-written one is never run.
func copyProgram(from, folder string) error {
	source, err := os.Open(from)
	if err != nil {
		return fmt.Errorf("reading this program: %w", err)
	}
	defer func() { _ = source.Close() }()
	temporary, err := os.CreateTemp(folder, ".espalier-")
	if err != nil {
		return fmt.Errorf("writing to %s: %w", folder, err)
	}
	_, err = io.Copy(temporary, source)
	err = errors.Join(err, temporary.Chmod(0o755), temporary.Close())
	if err == nil {
		err = os.Rename(temporary.Name(), filepath.Join(folder, "espalier"))
	}
	if err != nil {
		return fmt.Errorf("writing to %s: %w", folder, err)
	}
	return nil
}
