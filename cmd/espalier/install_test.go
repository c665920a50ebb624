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
		talk   string
	}{
		"Nothing": {
			reason: "What is missing is said at once.",
			err:    []string{"--export is required", "--image is required"},
		},
		"Existing": {
			reason: "An image is enough; that without a name nothing is reported is said where the manifests do not go.",
			args:   []string{"--export", "--image=registry.example.com/espalier:1", "--arg=--start-limit=1h"},
			out:    []string{"kind: CustomResourceDefinition", "kind: Namespace", "image: registry.example.com/espalier:1", "- --start-limit=1h", "PROVIDER: existing"},
			talk:   "--cluster-name is empty",
		},
		"AKSWithoutCluster": {
			reason: "The controller would not start.",
			args:   []string{"--export", "--image=a", "--provider=aks", "--azure-cluster-name=c"},
			err:    []string{"--azure-client-id"},
		},
		"NoSuchProvider": {reason: "There are three.", args: []string{"--export", "--image=a", "--provider=gke"}, err: []string{`--provider "gke"`}},
		"ReviewUnnamed":  {reason: "Comments have the cluster's name.", args: []string{"--export", "--image=a", "--review"}, err: []string{"--cluster-name"}},
		"NoFlag":         {reason: "An argument that is no flag ends the controller.", args: []string{"--export", "--image=a", "--arg=start-limit=1h"}, err: []string{"--arg=--start-limit=1h"}},
		"Misspelt": {
			reason: "The controller would end at once, again and again.",
			args:   []string{"--export", "--image=a", "--arg=--strat-limit=1h"},
			err:    []string{`--arg "--strat-limit=1h": `, "no flag --strat-limit: did you mean --start-limit?"},
		},
		"NoSuchFlag": {reason: "Nothing is near.", args: []string{"--export", "--image=a", "--arg=--qqqqqqqqqq"}, err: []string{"docs/flags.md"}},
		"Help":       {reason: "A controller that prints its help ends.", args: []string{"--export", "--image=a", "--arg=--help"}, err: []string{"no flag --help"}},
		"NoValue":    {reason: "Nor does it start.", args: []string{"--export", "--image=a", "--arg=--start-limit"}, err: []string{`--arg "--start-limit": flag needs an argument`}},
		"NotParsed": {
			reason: "Nor with a value that is none.",
			args:   []string{"--export", "--image=a", "--arg=--start-limit=1hour", "--arg=--kube-api-burst=many"},
			err:    []string{`--arg "--start-limit=1hour": invalid argument`, `--arg "--kube-api-burst=many": invalid argument`},
		},
		"Review": {
			reason: "Both Deployments run the image.",
			args:   []string{"--export", "--image=a", "--cluster-name=prod", "--review"},
			out:    []string{"name: espalier-review-secrets", "CLUSTER_NAME: prod"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			root := newRootCommand()
			var out, talk bytes.Buffer
			root.SetOut(&out)
			root.SetErr(&talk)
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
			if !strings.Contains(talk.String(), c.talk) || c.talk == "" && talk.Len() > 0 {
				t.Errorf("%s Said %q, want %q", c.reason, talk.String(), c.talk)
			}
			for _, part := range c.out {
				if !strings.Contains(out.String(), part) {
					t.Errorf("%s %q is missing", c.reason, part)
				}
			}
		})
	}
}
