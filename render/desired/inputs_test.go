// SPDX-License-Identifier: Apache-2.0

package desired_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

// shared is a pool of one node with one GPU; more is indented below its spec.
func shared(more ...string) *fstest.MapFile {
	text := "apiVersion: espalier.dev/v1alpha1\nkind: GPUNodePool\nmetadata: {name: shared-a100}\nspec:\n" +
		"  provider: aks\n  candidates: [{instanceType: Standard_NC24ads_A100_v4}]\n"
	return file(strings.NewReplacer(more...).Replace(text + "  replicas: 1\n"))
}

// onShared is a service on that pool, of so many copies.
func onShared(name string, copies int, edits ...string) *fstest.MapFile {
	text := strings.NewReplacer("NAME", name, "instanceType: Standard_NC24ads_A100_v4", "nodePool: shared-a100").Replace(serving)
	return file(strings.NewReplacer(edits...).Replace(text + fmt.Sprintf("    replicas: %d\n", copies)))
}

// TestPoolAbsent: of a pool that a Workspace names and that cannot be used it is said why.
func TestPoolAbsent(t *testing.T) {
	for name, c := range map[string]struct {
		reason string
		tree   fstest.MapFS
		want   []string
	}{
		"Misread": {
			"It is there: what is wrong with it is said once, where it is.",
			fstest.MapFS{"a.yaml": onShared("a", 1), "pool.yaml": shared("replicas: 1", "idle: {after: 30min}")},
			[]string{
				`a.yaml:7 spec.resource.nodePool: GPUNodePool "shared-a100" cannot be used: pool.yaml:7 says why`,
				"pool.yaml:7 spec.idle.after: want a duration such as 90s, 20m or 1h30m, found text",
			},
		},
		"Misspelt": {
			"A name that is nearly one.",
			fstest.MapFS{"a.yaml": onShared("a", 1, "shared-a100", "shared-a10"), "pool.yaml": shared()},
			[]string{`a.yaml:7 spec.resource.nodePool: GPUNodePool "shared-a10" is not there: did you mean shared-a100?`},
		},
		"MisspeltAndMisread": {
			"One after the other is mended.",
			fstest.MapFS{"a.yaml": onShared("a", 1, "shared-a100", "shared-a10"), "pool.yaml": shared("replicas: 1", "replcas: 1")},
			[]string{
				`a.yaml:7 spec.resource.nodePool: GPUNodePool "shared-a10" is not there: did you mean shared-a100?`,
				"pool.yaml:7 spec.replcas: no such field; did you mean replicas?",
			},
		},
		"Another": {
			"No pool has a name like it.",
			fstest.MapFS{"a.yaml": onShared("a", 1, "shared-a100", "rack-7"), "pool.yaml": shared()},
			[]string{`a.yaml:7 spec.resource.nodePool: GPUNodePool "rack-7" is not there`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, f := range state(t, newJudge(), nil, c.tree).All() {
				got = append(got, location(f)+" "+f.Message)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("%s\n-want +got:\n%s", c.reason, diff)
			}
		})
	}
}
