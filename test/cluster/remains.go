// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// records is where each node of this machine leaves its folder's name, under a lock
// that ends with its process: a record without a lock is of a node that was killed.
const records = "/run/espalier-nodes"

// remains is what a node leaves on this machine beyond its own processes: shims and
// the containers below them, mounts, cgroups, a bridge.
type remains struct {
	id  string // of its cgroup
	dir string
}

// newRemains removes what dead nodes left, and records a new one until unlock.
func newRemains(dir string) (r remains, unlock func(), err error) {
	if err := os.MkdirAll(records, 0o755); err != nil {
		return remains{}, nil, err
	}
	if err := sweep(); err != nil {
		return remains{}, nil, err
	}
	r = remains{id: "espalier-" + strings.ToLower(rand.Text()[:8]), dir: dir}
	record := filepath.Join(records, r.id)
	if err := os.WriteFile(record, []byte(dir), 0o644); err != nil {
		return remains{}, nil, err
	}
	release, free, err := tryLock(record)
	if err != nil || !free {
		return remains{}, nil, errors.Join(err, fmt.Errorf("%s is locked by somebody else", record))
	}
	return r, func() {
		_ = os.Remove(record)
		release()
	}, nil
}

// sweep removes what nodes left whose processes are gone.
func sweep() error {
	entries, err := os.ReadDir(records)
	if err != nil {
		return err
	}
	var problems []error
	for _, e := range entries {
		record := filepath.Join(records, e.Name())
		release, free, err := tryLock(record)
		if err != nil || !free {
			continue // a living node, or a record that went meanwhile
		}
		if dir, err := os.ReadFile(record); err == nil && len(dir) > 0 {
			dead := remains{id: e.Name(), dir: string(dir)}
			err := dead.remove(context.Background())
			problems = append(problems, err)
			if err == nil {
				_ = os.Remove(record)
				_ = os.RemoveAll(dead.dir)
			}
		}
		release()
	}
	return errors.Join(problems...)
}

// bridge is the interface that the node's pods hang on: 15 letters at most.
func (r remains) bridge() string { return "esp" + strings.TrimPrefix(r.id, "espalier-") }

// networkAttempts bounds the search for addresses that nobody uses.
const networkAttempts = 20

// network makes the bridge, and returns this machine's address on it.
func (r remains) network(ctx context.Context) (string, error) {
	for range networkAttempts {
		var b [2]byte
		_, _ = rand.Read(b[:]) // never fails
		address := fmt.Sprintf("10.%d.%d.1", 128+b[0]%96, b[1])
		taken, err := output(ctx, "ip", "-oneline", "route", "get", address)
		if err == nil && (strings.Contains(taken, "local "+address) || !strings.Contains(taken, " via ")) {
			continue // this machine has it, or a network that it is on
		}
		for _, args := range [][]string{
			{"link", "add", r.bridge(), "type", "bridge"},
			{"address", "add", address + "/24", "dev", r.bridge()},
			{"link", "set", r.bridge(), "up"},
		} {
			if _, err := output(ctx, "ip", args...); err != nil {
				return "", fmt.Errorf("making the network of the pods: %w", err)
			}
		}
		return address, nil
	}
	return "", errors.New("making the network of the pods: found no addresses that nobody uses")
}

// remove ends what still runs and takes away what is left. What is gone already is
// no error.
func (r remains) remove(ctx context.Context) error {
	problems := []error{r.killShims(), r.killContained(), r.unmount(), r.removeCgroups()}
	if out, err := output(ctx, "ip", "link", "delete", r.bridge()); err != nil && !strings.Contains(err.Error(), "Cannot find device") {
		problems = append(problems, fmt.Errorf("removing the network of the pods: %w: %s", err, out))
	}
	return errors.Join(problems...)
}

// output runs a program; its error carries what it said.
func output(ctx context.Context, program string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	var out, talk bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &talk
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%s %s: %w: %s", filepath.Base(program), strings.Join(args, " "), err, strings.TrimSpace(talk.String()))
	}
	return out.String(), nil
}
