// SPDX-License-Identifier: Apache-2.0

package member

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// How long the failure of a run is told: so many polls of the others, and no less.
const (
	polls     = 3
	leastTold = time.Second
)

// ended is what comes after the end of the command. A service has none that is
// good; a run has succeeded when the leader says so, and is tried again as a
// whole otherwise.
func (m *member) ended(ctx context.Context, err error) (int, error) {
	code, err := exitCode(err)
	switch {
	case m.Done == "":
		m.update(func(s *State) { s.Ended = true })
		return code, err
	case code != 0 || err != nil:
		return m.failed(ctx, code, err)
	}
	if m.Rank == 0 {
		if err := mark(m.Done); err != nil {
			return m.failed(ctx, 1, err)
		}
	}
	m.update(func(s *State) { s.Ended, s.Done = true, true })
	if m.Rank == 0 {
		return 0, m.tellWorkers(ctx)
	}
	return m.hearLeader(ctx)
}

// failed is the end of a run whose command has failed. The processes of a group
// die of each other, and one failure is one try: it counts where it came first, and
// there is told for as long as the others need to hear it. Who goes for this
// member's sake afterwards changes nothing.
func (m *member) failed(ctx context.Context, code int, err error) (int, error) {
	if why := Before(m.Rank, m.Size, m.state(), m.askAll(ctx)); why != "" {
		m.update(func(s *State) { s.Ended, s.Lost = true, true })
		return 1, fmt.Errorf("%w: %s", ErrLost, why)
	}
	m.update(func(s *State) { s.Ended = true })
	m.say("the command has failed: telling the others")
	told, cancel := context.WithTimeout(ctx, max(polls*m.Poll, leastTold))
	defer cancel()
	yields := false
	_ = m.every(told, func() (bool, error) { // ends when all have gone, or could have heard it
		peers := m.askAll(told)
		yields = Yields(m.Rank, peers)
		return yields || len(peers) == 0, nil
	})
	if yields {
		m.update(func(s *State) { s.Lost = true })
		return 1, fmt.Errorf("%w: another member has failed too, and its failure counts", ErrLost)
	}
	return code, err
}

// tellWorkers lets the workers see that the run has succeeded, and waits until they
// are gone. One that does not see it is started again, and finds the file.
func (m *member) tellWorkers(ctx context.Context) error {
	m.say("the run has succeeded")
	ctx, cancel := context.WithTimeout(ctx, m.Patience)
	defer cancel()
	err := m.every(ctx, func() (bool, error) {
		peers := m.ask(ctx)
		for rank := 1; rank < m.Size; rank++ {
			if peer, ok := peers[rank]; ok && peer.ID == m.state().Roster[rank] {
				return false, nil
			}
		}
		return true, nil
	})
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return nil
	}
	return err
}

// hearLeader waits until the leader has succeeded too: until then the run may
// still have to be done again, by all.
func (m *member) hearLeader(ctx context.Context) (int, error) {
	m.say("done: waiting for the leader to save")
	m.saw(0)
	err := m.every(ctx, func() (bool, error) {
		peers := m.ask(ctx)
		if leader, ok := peers[0]; ok && leader.ID == m.state().Joined && leader.Done {
			return true, nil
		}
		if why := Whole(m.Rank, m.state(), peers, m.lost()); why != "" {
			return false, fmt.Errorf("%w: %s", ErrLost, why)
		}
		return false, nil
	})
	if errors.Is(err, context.Canceled) {
		return 1, fmt.Errorf("%w: this member is asked to end", ErrLost)
	}
	if err != nil {
		return 1, err
	}
	return 0, nil
}

// leave ends the command of a leader one of whose workers is about to go. The
// end of a run that is for that is no failure of it.
func (m *member) leave(ctx context.Context, command *exec.Cmd, ended chan error) (int, error) {
	m.say("ending the command, because %s", errLeaving)
	if m.Done == "" {
		return m.end(command, ended)
	}
	code, err := m.end(command, ended)
	if code == 0 && err == nil {
		return m.ended(ctx, nil)
	}
	return 1, fmt.Errorf("%w: %w", ErrLost, errLeaving)
}

// mark writes the file that says that the run has succeeded.
func mark(file string) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return fmt.Errorf("noting that the run has succeeded: %w", err)
	}
	if err := os.WriteFile(file, []byte(time.Now().UTC().Format(time.RFC3339)+"\n"), 0o644); err != nil {
		return fmt.Errorf("noting that the run has succeeded: %w", err)
	}
	return nil
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}
