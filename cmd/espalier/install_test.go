// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestInstall(t *testing.T) {
	for name, c := range map[string]struct {
		reason string
		args   []string
		err    []string // parts of the error; none: it works
		out    []string
	}{
		"Nothing": {
			reason: "What is missing is said at once.",
			err:    []string{"--export is required", "--image is required"},
		},
		"Existing": {
			reason: "An image is enough.",
			args:   []string{"--export", "--image=registry.example.com/espalier:1", "--arg=--start-limit=1h"},
			out:    []string{"kind: CustomResourceDefinition", "kind: Namespace", "image: registry.example.com/espalier:1", "- --start-limit=1h", "PROVIDER: existing"},
		},
		"AKSWithoutCluster": {
			reason: "The controller would not start.",
			args:   []string{"--export", "--image=a", "--provider=aks", "--azure-cluster-name=c"},
			err:    []string{"--azure-client-id"},
		},
		"NoSuchProvider": {reason: "There are three.", args: []string{"--export", "--image=a", "--provider=gke"}, err: []string{`--provider "gke"`}},
		"ReviewUnnamed":  {reason: "Comments have the cluster's name.", args: []string{"--export", "--image=a", "--review"}, err: []string{"--cluster-name"}},
		"NoFlag":         {reason: "An argument that is no flag ends the controller.", args: []string{"--export", "--image=a", "--arg=start-limit=1h"}, err: []string{"--arg=--start-limit=1h"}},
		"Review": {
			reason: "Both Deployments run the image.",
			args:   []string{"--export", "--image=a", "--cluster-name=prod", "--review"},
			out:    []string{"name: espalier-review-secrets", "CLUSTER_NAME: prod"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			root := newRootCommand()
			var out bytes.Buffer
			root.SetOut(&out)
			root.SetArgs(append([]string{"install"}, c.args...))
			err := root.Execute()
			if (err == nil) != (len(c.err) == 0) {
				t.Fatalf("%s Got %v", c.reason, err)
			}
			for _, part := range c.err {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%s Got %v, want %q", c.reason, err, part)
				}
			}
			for _, part := range c.out {
				if !strings.Contains(out.String(), part) {
					t.Errorf("%s %q is missing", c.reason, part)
				}
			}
		})
	}
}
