// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// TestNodeLostAfter: machines are not deleted before Kubernetes has told the pods of a node
// to go, and the cloud has had the time to mend it.
func TestNodeLostAfter(t *testing.T) {
	for name, c := range map[string]struct {
		reason  string
		args    []string
		refused bool
	}{
		"Default":   {"It is long enough.", nil, false},
		"Least":     {"So is this.", []string{"--node-lost-after=10m"}, false},
		"Never":     {"Somebody else sees to it.", []string{"--node-lost-after=0"}, false},
		"Short":     {"The pods of the node have not been told to go.", []string{"--node-lost-after=1m"}, true},
		"Negative":  {"There is no such time.", []string{"--node-lost-after=-1h"}, true},
		"Simulated": {"Nothing but a simulation is lost.", []string{"--node-lost-after=10s", "--simulated-node-lost-least=0s"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			o := &controllerOptions{}
			fs := pflag.NewFlagSet("", pflag.ContinueOnError)
			o.BindFlags(fs)
			if err := fs.Parse(append([]string{"--helper-image=a", "--provider=existing"}, c.args...)); err != nil {
				t.Fatal(err)
			}
			err := o.Validate()
			if refused := err != nil && strings.Contains(err.Error(), "at least 10m0s, or 0"); refused != c.refused || !c.refused && err != nil {
				t.Errorf("%s refused %t, want %t: %v", c.reason, refused, c.refused, err)
			}
		})
	}
}

// TestIntervalJitter: the limits and the default of Flux's flag of the same name, for the
// process that answers pull requests too.
func TestIntervalJitter(t *testing.T) {
	for name, c := range map[string]struct {
		reason  string
		args    []string
		want    int
		refused bool
	}{
		"Default":  {"Flux's.", nil, 5, false},
		"Off":      {"Nothing is spread.", []string{"--interval-jitter-percentage=0"}, 0, false},
		"Most":     {"Less than 100.", []string{"--interval-jitter-percentage=99"}, 99, false},
		"All":      {"An interval could be over at once.", []string{"--interval-jitter-percentage=100"}, 100, true},
		"Negative": {"It cannot be negative.", []string{"--interval-jitter-percentage=-1"}, -1, true},
	} {
		for _, controllers := range []string{mainControllers, reviewController} {
			t.Run(name+"/"+controllers, func(t *testing.T) {
				o := &controllerOptions{}
				fs := pflag.NewFlagSet("", pflag.ContinueOnError)
				o.BindFlags(fs)
				if err := fs.Parse(append([]string{"--helper-image=a", "--provider=existing", "--cluster-name=a", "--controllers=" + controllers}, c.args...)); err != nil {
					t.Fatal(err)
				}
				err := o.Validate()
				if refused := err != nil && strings.Contains(err.Error(), "--interval-jitter-percentage"); refused != c.refused || !c.refused && err != nil || int(o.IntervalJitter) != c.want {
					t.Errorf("%s got %d, refused %t, want %t: %v", c.reason, o.IntervalJitter, refused, c.refused, err)
				}
			})
		}
	}
}
