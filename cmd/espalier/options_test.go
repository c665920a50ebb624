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
