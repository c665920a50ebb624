// Package port gives a test TCP ports of loopback for the programs that it starts.
// It decides which port is nobody else's; it never listens.
package port

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
)

// Ports are given from below those that the kernel gives to outgoing connections
// (32768 and up) and to Services of type NodePort (30000 and up): a port that the
// kernel also gives can be taken by any connection between now and the program's
// start, or while the program is restarted.
const (
	first = 20000
	last  = 29999
)

// kept holds the locks of the ports that this process has been given.
var kept struct {
	sync.Mutex
	locks []*os.File
}

// Free returns a port that nothing listens on and that no other test process is
// given while this one runs.
func Free() (int, error) {
	dir := filepath.Join(os.TempDir(), "espalier-ports")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return 0, fmt.Errorf("finding a free port: %w", err)
	}
	for range 100 {
		n := first + rand.IntN(last-first+1)
		lock, err := reserve(filepath.Join(dir, strconv.Itoa(n)))
		if errors.Is(err, syscall.EWOULDBLOCK) {
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("finding a free port: %w", err)
		}
		listener, err := net.Listen("tcp", address(n))
		if err != nil { // someone else's program
			_ = lock.Close()
			continue
		}
		kept.Lock()
		defer kept.Unlock()
		kept.locks = append(kept.locks, lock)
		return n, listener.Close()
	}
	return 0, fmt.Errorf("finding a free port: none of 100 from %d to %d is free", first, last)
}

// FreeAddress is Free as host and port of loopback.
func FreeAddress() (string, error) {
	n, err := Free()
	return address(n), err
}

func address(n int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(n)) }

// reserve locks the file of a port; EWOULDBLOCK where it is locked already. The
// kernel lets go of the lock when this process ends, however it ends.
func reserve(file string) (*os.File, error) {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}
