package port_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/espalier-dev/espalier/test/port"
)

const asked = 40 // ports that each of the askers below asks for

// TestFree asks from several goroutines and from another process at once: a port
// is given once, can be listened on, and is none that the kernel gives away.
func TestFree(t *testing.T) {
	if os.Getenv("PORT_TEST_CHILD") != "" {
		for range asked {
			a, err := port.FreeAddress()
			if err != nil {
				t.Fatal(err)
			}
			fmt.Println("port", a)
		}
		_, _ = os.Stdin.Read(make([]byte, 1)) // runs on until the parent has its own
		return
	}
	child := exec.Command(os.Args[0], "-test.run=TestFree$")
	child.Env = append(os.Environ(), "PORT_TEST_CHILD=1")
	var out strings.Builder
	child.Stdout = &out
	hold, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	var lock sync.Mutex
	given := map[string]int{}
	var askers sync.WaitGroup
	for range 4 {
		askers.Go(func() {
			for range asked {
				a, err := port.FreeAddress()
				if err != nil {
					t.Error(err)
					return
				}
				lock.Lock()
				given[a]++
				lock.Unlock()
			}
		})
	}
	askers.Wait()
	if err := hold.Close(); err != nil {
		t.Fatal(err)
	}
	if err := child.Wait(); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	for line := range strings.Lines(out.String()) {
		if a, ok := strings.CutPrefix(strings.TrimSpace(line), "port "); ok {
			given[a]++
		}
	}
	if len(given) != 5*asked {
		t.Errorf("%d ports were given for %d asked", len(given), 5*asked)
	}
	for a := range given {
		l, err := net.Listen("tcp", a)
		if err != nil {
			t.Errorf("a port that was given must be free: %v", err)
			continue
		}
		_, p, _ := net.SplitHostPort(a)
		if p >= "30000" {
			t.Errorf("%s is one of the kernel's or of a NodePort", a)
		}
		_ = l.Close()
	}
}
