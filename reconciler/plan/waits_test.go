// SPDX-License-Identifier: Apache-2.0

package plan_test

import (
	"testing"
)

// configured is a service a that names its configuration.
func configured(config string) string { return service("a") + "    config: " + config + "\n" }

// engine and trainer are configurations.
var (
	engine  = configMap("a-config", "inference_config.yaml", "vllm:\n  max-num-seqs: 8")
	trainer = configMap("t-config", "training_config.yaml", "training_config:\n  LoraConfig:\n    r: 32")
)

// TestWaits: with an input that is not there nothing is applied.
func TestWaits(t *testing.T) {
	for name, c := range map[string]effectCase{
		"ConfigMisspelt": {
			reason:  "No pod starts without it, and what runs is left alone: nothing is known of what it holds.",
			base:    files{"a.yaml": configured("a-config"), "c.yaml": engine},
			head:    files{"a.yaml": configured("a-confg"), "c.yaml": engine},
			effects: []string{"a: waits"},
			words:   []string{"a: config a-config → a-confg"},
			codes:   []string{"InputNotInGit"},
			says:    []string{"a: InputMissing until ConfigMap a-confg is there, which Git does not hold; what runs, runs on"},
			found:   "did you mean a-config?",
		},
		"ConfigDropped": {
			reason:  "The ConfigMap goes, and the Workspace that names it waits for another.",
			base:    files{"a.yaml": configured("a-config"), "b.yaml": service("b"), "c.yaml": engine},
			head:    files{"a.yaml": configured("a-config"), "b.yaml": service("b")},
			effects: []string{"a: waits"},
			words:   []string{"a: config a-config is no longer in Git"},
			codes:   []string{"InputDeleted", "InputNotInGit"},
			says:    []string{"a: InputMissing until ConfigMap a-config is there"},
		},
		"ConfigFound": {
			reason:  "What the one before held, Git does not know.",
			base:    files{"a.yaml": configured("a-confg"), "c.yaml": engine},
			head:    files{"a.yaml": configured("a-config"), "c.yaml": engine},
			effects: []string{"a: restarted+"},
			words:   []string{"a: config a-confg → a-config"},
		},
		"ConfigElsewhere": {
			reason:  "One that is in the cluster alone before and after holds what it held.",
			base:    files{"a.yaml": configured("a-config")},
			head:    files{"a.yaml": configured("a-config") + "    contextLength: 4096\n"},
			effects: []string{"a: restarted+"},
			words:   []string{"a: context the longest that fits → 4,096"},
		},
		"NewWithoutConfig": {
			reason:  "No node is bought before a pod could start.",
			base:    files{},
			head:    files{"a.yaml": configured("a-confg")},
			effects: []string{"a: created"},
			codes:   []string{"InputNotInGit"},
			says:    []string{"a: it waits (InputMissing) until ConfigMap a-confg is there, which Git does not hold, and no node is bought before; then 1 node of"},
		},
		"RunMisspelt": {
			reason:  "A run that is under way goes on, and none begins.",
			base:    files{"t.yaml": run("t", dataURL, "claim: data", "method: qlora", "method: qlora\n    config: t-config"), "c.yaml": trainer},
			head:    files{"t.yaml": run("t", dataURL, "claim: data", "method: qlora", "method: qlora\n    config: t-confg"), "c.yaml": trainer},
			effects: []string{"t: waits"},
			words:   []string{"t: config t-config → t-confg"},
			codes:   []string{"InputNotInGit"},
			says:    []string{"t: InputMissing until ConfigMap t-confg is there, which Git does not hold; what runs, runs on"},
		},
		"SuspendedWithout": {
			reason:  "Where nothing runs before and after, nothing waits.",
			base:    files{"a.yaml": configured("a-config") + "  suspend: true\n", "c.yaml": engine},
			head:    files{"a.yaml": configured("a-confg") + "  suspend: true\n", "c.yaml": engine},
			effects: []string{"a: none"},
			codes:   []string{"InputNotInGit"},
		},
		"OtherSecret": {
			reason:  "A Secret is mostly not in Git on purpose: it is taken to be there, and said what happens where it is not.",
			base:    files{"a.yaml": service("a", "replicas: 1", "replicas: 1\n    accessSecret: one")},
			head:    files{"a.yaml": service("a", "replicas: 1", "replicas: 1\n    accessSecret: two")},
			effects: []string{"a: restarted+"},
			notes:   "the plan is partial: Secret two. While one of them is missing, what names it waits (InputMissing), and what runs, runs on.",
		},
		"SecretDroppedInUse": {
			reason:  "A Secret that a Workspace names is missed when its pods start again.",
			base:    files{"s.yaml": token("hf_before"), "a.yaml": service("a", "replicas: 1", "replicas: 1\n    accessSecret: token")},
			head:    files{"a.yaml": service("a", "replicas: 1", "replicas: 1\n    accessSecret: token")},
			effects: []string{"a: waits"},
			codes:   []string{"InputDeleted"},
			says:    []string{"a: InputMissing until Secret token is there, which Git does not hold; what runs, runs on"},
			found:   "Secret token is deleted; a still names it",
		},
	} {
		t.Run(name, c.check)
	}
}
