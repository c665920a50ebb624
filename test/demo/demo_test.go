// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

// TestDemo plays the whole demo, fast, and looks for its milestones in order.
func TestDemo(t *testing.T) {
	var out bytes.Buffer
	err := run(t.Context(), options{deadline: 5 * time.Minute, pace: pace{
		createPool: 500 * time.Millisecond, gpus: 300 * time.Millisecond, deletePool: 300 * time.Millisecond,
		podStart: 200 * time.Millisecond, job: time.Second, look: 200 * time.Millisecond,
	}}, &out)
	if err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	rest := out.String()
	for _, milestone := range []string{
		"Simulated nodes run no container",
		"reposync.espalier.dev/models created",
		"Refused: ",
		"Standard_NC6s_v3 was retired",
		"No node was asked for it",
		"+  substitutions: {Standard_NC6s_v3: Standard_NC4as_T4_v3}",
		"nvidia.com/gpu: 1 allocatable",
		"TuningSucceeded True",
		"gone, and so is its agent pool",
		"phi-4-mini               Standard_NC24ads_A100_v4   True            True             True ",
		"workspace-tuning-phi-3   Standard_NC4as_T4_v3       True                             True ",
		" files changed",
		"1 workspace changes · 1 deleted",
		"context 32,768 → 16,384",
		"workspace-tuning-phi-3: removed",
		"6. What Git says of it",
		"| [✅ Ready](",
		"Seen whole in ",
		"make demo ARGS=--keep leaves it up",
	} {
		_, after, found := strings.Cut(rest, milestone)
		if !found {
			t.Fatalf("the demo does not show %q where it should:\n%s", milestone, out.String())
		}
		rest = after
	}
	if strings.Contains(out.String(), "export KUBECONFIG=") {
		t.Error("it says how to go on with what is gone by then")
	}
}
