// SPDX-License-Identifier: Apache-2.0

package plan_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/espalier-dev/espalier/reconciler/plan"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// fourGPUs makes a node of four GPUs of the one that a service names.
var fourGPUs = []string{"Standard_NC24ads_A100_v4", "Standard_NC96ads_A100_v4"}

// overNodes makes a copy of two nodes of the one that a service names.
var overNodes = []string{"phi-4-mini-instruct", "llama-3.3-70b-instruct", "replicas: 1", "replicas: 1\n    accessSecret: hf", "instanceType: Standard_NC24ads_A100_v4", "instanceType: Standard_NC40ads_H100_v5\n    count: 2"}

// patched gives a service a strategy of the user's.
func patched(strategy string, edits ...string) string {
	return service("a", edits...) + "  patches:\n  - patch: |\n      apiVersion: apps/v1\n      kind: Deployment\n      metadata: {name: a}\n      spec: {strategy: " + strategy + "}\n"
}

func token(value string) string {
	return "apiVersion: v1\nkind: Secret\nmetadata:\n  name: token\nstringData:\n  HF_TOKEN: " + value + "\n"
}

func claim(size string) string {
	return "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata:\n  name: data\nspec:\n  accessModes: [ReadWriteOnce]\n  resources:\n    requests:\n      storage: " + size + "\n"
}

// generated lists a ConfigMap that is named after its text.
const generated = "resources: [a.yaml]\nconfigMapGenerator:\n- name: c\n  files: [c.txt]\n"

func annotated(text, annotation string) string {
	return strings.Replace(text, "metadata:\n", "metadata:\n  annotations:\n    "+annotation+"\n", 1)
}

// effectCase is a change and what the plan says of it.
type effectCase struct {
	reason     string
	base, head files
	effects    []string                 // name: kind, + where there is downtime
	codes      []string                 // of findings that base does not have
	says       []string                 // name: a part of what its effect says
	words      []string                 // name: what changes
	sync       func(*v1alpha1.RepoSync) // of head
	line       string                   // a part of the summary
	found      string                   // a part of a finding
	notes      string                   // a part of a note
}

func (c effectCase) check(t *testing.T) {
	s := scenario{base: c.base, head: c.head}
	if c.sync != nil {
		s.baseSync, s.sync = team(), team(c.sync)
	}
	p := s.plan(t)
	var effects, codes []string
	for _, ch := range p.Changes {
		down := ""
		if ch.Effect.Downtime {
			down = "+"
		}
		effects = append(effects, ch.Name+": "+string(ch.Effect.Kind)+down)
		if len(ch.Words) == 0 {
			t.Errorf("%s: %s changes, and no word says how", c.reason, ch.Name)
		}
	}
	for _, f := range p.Findings {
		if !f.InBase {
			codes = append(codes, f.Code)
		}
	}
	for _, part := range c.words {
		name, part, _ := strings.Cut(part, ": ")
		if !slices.ContainsFunc(p.Changes, func(ch plan.Change) bool { return ch.Name == name && strings.Join(ch.Words, "; ") == part }) {
			t.Errorf("%s\nnot all that changes of %s is %q:\n%s", c.reason, name, part, p.Markdown(0))
		}
	}
	for _, part := range c.says {
		name, part, _ := strings.Cut(part, ": ")
		if !slices.ContainsFunc(p.Changes, func(ch plan.Change) bool { return ch.Name == name && strings.Contains(ch.Effect.Message, part) }) {
			t.Errorf("%s\nthe effect on %s does not say %q:\n%s", c.reason, name, part, p.Markdown(0))
		}
	}
	if !strings.Contains(p.Summary.Line, c.line) {
		t.Errorf("%s\n%s\nwant %q", c.reason, p.Summary.Line, c.line)
	}
	if !slices.ContainsFunc(p.Findings, func(f plan.Finding) bool { return strings.Contains(f.Message, c.found) }) && c.found != "" {
		t.Errorf("%s\nno finding says %q: %+v", c.reason, c.found, p.Findings)
	}
	if !slices.ContainsFunc(p.NotChecked, func(n plan.Note) bool { return strings.Contains(n.Message, c.notes) }) && c.notes != "" {
		t.Errorf("%s\nno note says %q: %+v", c.reason, c.notes, p.NotChecked)
	}
	slices.Sort(effects)
	slices.Sort(codes)
	if diff := cmp.Diff(c.effects, effects); diff != "" {
		t.Errorf("%s\neffects (-want +got):\n%s%s", c.reason, diff, p.Markdown(0))
	}
	if diff := cmp.Diff(c.codes, codes); diff != "" {
		t.Errorf("%s\nfindings (-want +got):\n%s%v", c.reason, diff, p.Findings)
	}
}

// TestEffects: what happens is read off the rendered objects.
func TestEffects(t *testing.T) {
	for name, c := range map[string]effectCase{
		"RollsWithRoom": {
			reason: "A node with a spare GPU takes the next copy before the old one goes.",
			base:   files{"a.yaml": service("a", fourGPUs...)},
			head:   files{"a.yaml": service("a", fourGPUs...) + "    contextLength: 4096\n"},
			// The service has one copy on four GPUs.
			effects: []string{"a: rolls"},
		},
		"WaitsForItsAdapter": {
			reason: "No node is bought before the adapter that is trained beside it is in Git by digest.",
			base:   files{},
			head: files{
				"a.yaml": service("a", "replicas: 1", "replicas: 1\n    adapters: [{name: dolly, image: 'registry.example.com/models/b:1'}]"),
				"b.yaml": run("b", "phi-3-mini-128k-instruct", "phi-4-mini-instruct", "method: qlora", "method: qlora\n    promote: {to: a}"),
			},
			effects: []string{"a: created", "b: created"},
			codes:   []string{"URLCredentials"}, // of the run's data
			says:    []string{"a: it waits until the adapter that b trains is in Git by digest, and no node is bought before; then ", "b: from where a pull request proposes it to a"},
		},
		"RestartsWithoutRoom": {
			reason:  "The only copy goes before the next one can come.",
			base:    files{"a.yaml": service("a")},
			head:    files{"a.yaml": service("a") + "    contextLength: 4096\n"},
			effects: []string{"a: restarted+"},
		},
		"SeveralNodes": {
			reason:  "A copy over several nodes loads the model anew as a whole.",
			base:    files{"a.yaml": service("a", overNodes...)},
			head:    files{"a.yaml": service("a", overNodes...) + "    contextLength: 4096\n"},
			effects: []string{"a: restarted+"},
		},
		"ToSeveralNodes": {
			reason:  "From a Deployment to StatefulSets the old pods go first; it is the same task.",
			base:    files{"a.yaml": service("a", "phi-4-mini-instruct", "llama-3.3-70b-instruct", "replicas: 1", "replicas: 1\n    accessSecret: hf", "Standard_NC24ads_A100_v4", "Standard_NC80adis_H100_v5")},
			head:    files{"a.yaml": service("a", overNodes...)},
			effects: []string{"a: replaced+"},
			codes:   []string{"NodesReplaced"},
		},
		"DriverSaid": {
			reason:  "The image for it runs, and the only copy goes before the next one can come.",
			base:    files{"a.yaml": service("a", onRack("")...)},
			head:    files{"a.yaml": service("a", onRack("580")...)},
			effects: []string{"a: restarted+"},
		},
		"DriverOfRun": {
			reason:  "A run is no other with another image.",
			base:    files{"a.yaml": run("a", onRack("")...)},
			head:    files{"a.yaml": run("a", onRack("580")...)},
			effects: []string{"a: none"},
		},
		"DriverTooOld": {
			reason:  "What does not start is not tried.",
			base:    files{"a.yaml": run("a", onRack("580")...)},
			head:    files{"a.yaml": run("a", onRack("570")...)},
			effects: []string{"a: refused"},
			codes:   []string{"DoesNotFit"},
			found:   "bring it to 580 or newer and say so in spec.resource.driver",
		},
		"RollsThreeCopies": {
			reason:  "One of three may go at a time: two answer meanwhile.",
			base:    files{"a.yaml": service("a", "replicas: 1", "replicas: 3")},
			head:    files{"a.yaml": service("a", "replicas: 1", "replicas: 3") + "    contextLength: 4096\n"},
			effects: []string{"a: rolls"},
		},
		"RollStuck": {
			reason:  "A patch asks for a copy more than the pool has GPUs for.",
			base:    files{"a.yaml": patched("{rollingUpdate: {maxSurge: 1, maxUnavailable: 0}}")},
			head:    files{"a.yaml": patched("{rollingUpdate: {maxSurge: 1, maxUnavailable: 0}}", "replicas: 1", "replicas: 1\n    contextLength: 4096")},
			effects: []string{"a: rolls"},
			codes:   []string{"RollStuck"},
		},
		"Recreate": {
			reason:  "A strategy of the user's decides.",
			base:    files{"a.yaml": patched("{type: Recreate, rollingUpdate: null}", "replicas: 1", "replicas: 3")},
			head:    files{"a.yaml": patched("{type: Recreate, rollingUpdate: null}", "replicas: 1", "replicas: 3\n    contextLength: 4096")},
			effects: []string{"a: restarted+"},
		},
		"ToNoCopy": {
			reason:  "No copy, no answer.",
			base:    files{"a.yaml": service("a")},
			head:    files{"a.yaml": service("a", "replicas: 1", "replicas: 0")},
			effects: []string{"a: scales+"},
		},
		"FromNoCopy": {
			reason:  "Nothing ran, so nothing restarts.",
			base:    files{"a.yaml": service("a", "replicas: 1", "replicas: 0")},
			head:    files{"a.yaml": service("a", "replicas: 1", "replicas: 1\n    contextLength: 4096")},
			effects: []string{"a: starts"},
		},
		"Resumed": {
			reason:  "Nodes are bought again.",
			base:    files{"a.yaml": service("a") + "  suspend: true\n"},
			head:    files{"a.yaml": service("a")},
			effects: []string{"a: starts"},
		},
		"ToSharedPool": {
			reason:  "Moving to other nodes is downtime, whoever pays for them.",
			base:    files{"a.yaml": service("a"), "pool.yaml": sharedPool},
			head:    files{"a.yaml": service("a", "instanceType: Standard_NC24ads_A100_v4", "nodePool: shared"), "pool.yaml": sharedPool},
			effects: []string{"a: replaced+"},
			codes:   []string{"NodesReplaced"},
		},
		"CandidateAdded": {
			reason: "A pool keeps the nodes of a candidate that is still listed.",
			base:   files{"a.yaml": service("a")},
			head: files{"a.yaml": service("a", "instanceType: Standard_NC24ads_A100_v4",
				"candidates:\n    - {instanceType: Standard_NC40ads_H100_v5}\n    - {instanceType: Standard_NC24ads_A100_v4}")},
			effects: []string{"a: configured"},
		},
		"SecretRotated": {
			reason:  "A rotated credential reaches the pods, and nothing of it is shown.",
			base:    files{"s.yaml": token("hf_before"), "a.yaml": service("a", "replicas: 1", "replicas: 1\n    accessSecret: token")},
			head:    files{"s.yaml": token("hf_after"), "a.yaml": service("a", "replicas: 1", "replicas: 1\n    accessSecret: token")},
			effects: []string{"a: restarted+"},
		},
		"NodeLabels": {
			reason:  "AKS cannot label nodes that exist: the new pods would wait for ever.",
			base:    files{"a.yaml": service("a")},
			head:    files{"a.yaml": service("a", "_A100_v4", "_A100_v4\n    labelSelector: {matchLabels: {team: b}}")},
			effects: []string{"a: restarted+"},
			codes:   []string{"ImmutableChanged"},
		},
		"ClaimStays": {
			reason:  "The claim of checkpoints never shrinks with the model.",
			base:    files{"t.yaml": run("t", "phi-3-mini-128k-instruct", "qwen2.5-coder-32b-instruct", "Standard_NC4as_T4_v3", "Standard_NC24ads_A100_v4")},
			head:    files{"t.yaml": run("t", "Standard_NC4as_T4_v3", "Standard_NC24ads_A100_v4")},
			effects: []string{"t: reruns"},
			codes:   []string{"OutputTagReused", "Rerun"},
		},
		"ClaimGrows": {
			reason:  "A larger model needs a larger claim, which not every storage class gives.",
			base:    files{"t.yaml": run("t", "Standard_NC4as_T4_v3", "Standard_NC24ads_A100_v4")},
			head:    files{"t.yaml": run("t", "phi-3-mini-128k-instruct", "qwen2.5-coder-32b-instruct", "Standard_NC4as_T4_v3", "Standard_NC24ads_A100_v4")},
			effects: []string{"t: reruns"},
			codes:   []string{"ClaimGrows", "OutputTagReused", "Rerun"},
		},
		"RunMoreGPUs": {
			reason:  "The same inputs on more GPUs go on from the last checkpoint.",
			base:    files{"t.yaml": run("t", "Standard_NC4as_T4_v3", "Standard_NC24ads_A100_v4")},
			head:    files{"t.yaml": run("t", "Standard_NC4as_T4_v3", "Standard_NC96ads_A100_v4")},
			effects: []string{"t: resumes"},
			codes:   []string{"NodesReplaced"},
		},
		"RunCredential": {
			reason:  "With whose credentials a run publishes is no other run.",
			base:    files{"t.yaml": run("t")},
			head:    files{"t.yaml": run("t", "pushSecret: push", "pushSecret: other")},
			effects: []string{"t: none"},
		},
		"RunIdentity": {
			reason:  "Nor is as whom it does.",
			base:    files{"t.yaml": run("t", "registry.example.com/models/NAME", "contoso.azurecr.io/models/t")},
			head:    files{"t.yaml": run("t", "registry.example.com/models/NAME", "contoso.azurecr.io/models/t", "      pushSecret: push\n", "", "spec:\n", "spec:\n  serviceAccountName: pusher\n")},
			effects: []string{"t: none"},
		},
		"RunToOwnNodes": {
			reason:  "A run that leaves a shared pool is on it until its own nodes are there, and no longer.",
			base:    files{"pool.yaml": sharedPool, "t.yaml": run("t", "instanceType: Standard_NC4as_T4_v3", "nodePool: shared")},
			head:    files{"pool.yaml": sharedPool, "t.yaml": run("t", "Standard_NC4as_T4_v3", "Standard_NC24ads_A100_v4")},
			effects: []string{"t: resumes"},
			codes:   []string{"NodesReplaced"},
			says:    []string{"t: 1 node of Standard_NC24ads_A100_v4 is bought; a run that is under way stays where it is until its new nodes are ready, and goes on from its last checkpoint there in a new Job; one that is finished is not repeated"},
		},
		"RunToOtherPool": {
			reason:  "So it is with one that goes from one shared pool to another.",
			base:    files{"pool.yaml": sharedPool, "other.yaml": strings.Replace(sharedPool, "name: shared", "name: other", 1), "t.yaml": run("t", "instanceType: Standard_NC4as_T4_v3", "nodePool: shared")},
			head:    files{"pool.yaml": sharedPool, "other.yaml": strings.Replace(sharedPool, "name: shared", "name: other", 1), "t.yaml": run("t", "instanceType: Standard_NC4as_T4_v3", "nodePool: other")},
			effects: []string{"t: resumes"},
			codes:   []string{"NodesReplaced"},
			says:    []string{"t: no nodes are bought, it shares a pool; a run that is under way stays where it is until its new nodes are ready"},
		},
		"RunToSharedPool": {
			reason:  "And its own nodes are paid for until it has left them.",
			base:    files{"pool.yaml": sharedPool, "t.yaml": run("t", "Standard_NC4as_T4_v3", "Standard_NC24ads_A100_v4")},
			head:    files{"pool.yaml": sharedPool, "t.yaml": run("t", "instanceType: Standard_NC4as_T4_v3", "nodePool: shared")},
			effects: []string{"t: resumes"},
			codes:   []string{"NodesReplaced"},
			says:    []string{"t: no nodes are bought, it shares a pool; a run that is under way stays where it is until its new nodes are ready, and goes on from its last checkpoint there in a new Job, after which its own nodes are given back; one that is finished"},
		},
		"RunToOwnNodesAnew": {
			reason:  "KAITO's trainer keeps no checkpoint to go on from.",
			base:    files{"pool.yaml": sharedPool, "t.yaml": run("t", "instanceType: Standard_NC4as_T4_v3", "nodePool: shared") + onKaito},
			head:    files{"pool.yaml": sharedPool, "t.yaml": run("t", "Standard_NC4as_T4_v3", "Standard_NC24ads_A100_v4") + onKaito},
			effects: []string{"t: restarted"},
			codes:   []string{"NodesReplaced"},
			says:    []string{"t: 1 node of Standard_NC24ads_A100_v4 is bought; a run that is under way stays where it is until its new nodes are ready, and begins again from the base model there in a new Job"},
		},
		"RunInAQueueToOwnNodes": {
			reason:  "Kueue decides when nodes are bought, and so it goes at once.",
			base:    files{"pool.yaml": sharedPool, "t.yaml": run("t", "instanceType: Standard_NC4as_T4_v3", "nodePool: shared") + "  queue: team-a\n"},
			head:    files{"pool.yaml": sharedPool, "t.yaml": run("t", "Standard_NC4as_T4_v3", "Standard_NC24ads_A100_v4") + "  queue: team-a\n"},
			effects: []string{"t: resumes"},
			codes:   []string{"NodesReplaced"},
			says:    []string{"t: a run that is under way saves a checkpoint and goes to wait in queue team-a"},
		},
		"NewTag": {
			reason:  "A new tag overwrites nothing; the output is part of what identifies a run.",
			base:    files{"t.yaml": run("t")},
			head:    files{"t.yaml": run("t", "models/NAME:1", "models/t:2")},
			effects: []string{"t: reruns"},
			codes:   []string{"Rerun"},
		},
		"OneTagForTwo": {
			reason:  "Two runs that push to one tag overwrite each other.",
			base:    files{"t.yaml": run("t")},
			head:    files{"t.yaml": run("t"), "u.yaml": run("u", "models/NAME", "models/t")},
			effects: []string{"u: created"},
			codes:   []string{"OutputTagReused", "URLCredentials"},
		},
		"KeptByAnnotation": {
			reason:  "An annotation keeps what Git drops.",
			base:    files{"a.yaml": annotated(service("a"), "espalier.dev/prune: disabled"), "b.yaml": service("b")},
			head:    files{"b.yaml": service("b")},
			effects: []string{"a: kept"},
		},
		"TooMuchToPrune": {
			reason: "More than two, and more than a quarter, is held.",
			base:   files{"a.yaml": service("a"), "b.yaml": service("b"), "c.yaml": service("c"), "d.yaml": service("d")},
			head:   files{"d.yaml": service("d")},
			effects: []string{
				"a: held", "b: held", "c: held",
			},
			codes: []string{"PruneHeld"},
		},
		"Twins": {
			reason:  "Of two documents of one name neither is applied, and what runs, runs on.",
			base:    files{"a.yaml": service("a")},
			head:    files{"a.yaml": service("a"), "b.yaml": service("a")},
			effects: []string{"a: refused"},
			codes:   []string{"NameCollision"},
		},
		"PoolDeleted": {
			reason:  "Who still names the pool loses its nodes.",
			base:    files{"pool.yaml": sharedPool, "b.yaml": service("b")},
			head:    files{"b.yaml": service("b")},
			effects: []string{"shared: deleted"},
			codes:   []string{"PoolDeleted"},
		},
		"FrozenConfigMap": {
			reason:  "The API server does not change an immutable ConfigMap.",
			base:    files{"c.yaml": configMap("c", "k", "a") + "immutable: true\n"},
			head:    files{"c.yaml": configMap("c", "k", "b") + "immutable: true\n"},
			effects: nil,
			codes:   []string{"ImmutableChanged"},
		},
		"ClaimInGit": {
			reason: "A claim in Git cannot shrink either.",
			base:   files{"c.yaml": claim("20Gi")},
			head:   files{"c.yaml": claim("10Gi")},
			codes:  []string{"ImmutableChanged"},
		},
		"ClaimInGitGrows": {
			reason: "But it can grow.",
			base:   files{"c.yaml": claim("10Gi")},
			head:   files{"c.yaml": claim("20Gi")},
		},
		"ClaimDropped": {
			reason: "What is on a disk goes with its claim, and no later commit brings it back.",
			base:   files{"a.yaml": service("a"), "c.yaml": claim("20Gi")},
			head:   files{"a.yaml": service("a")},
			codes:  []string{"InputDeleted"},
			line:   "1 PersistentVolumeClaim deleted · no workspace changes: 1 stays as it is",
			found:  "PersistentVolumeClaim data is deleted as soon as no pod mounts it, and with it all that is on its volume where the reclaim policy is Delete, which it is unless somebody chose another",
		},
		"ClaimDroppedInUse": {
			reason:  "Who names it is said.",
			base:    files{"t.yaml": run("t", dataURL, "claim: data"), "c.yaml": claim("20Gi")},
			head:    files{"t.yaml": run("t", dataURL, "claim: data", "models/NAME:1", "models/t:2")},
			effects: []string{"t: reruns"},
			codes:   []string{"InputDeleted", "Rerun"},
			found:   "; t still names it, and its next pods wait for it",
		},
		"ClaimDroppedKept": {
			reason: "An annotation keeps a claim, too.",
			base:   files{"a.yaml": service("a"), "c.yaml": annotated(claim("20Gi"), "espalier.dev/prune: disabled")},
			head:   files{"a.yaml": service("a")},
			line:   "1 PersistentVolumeClaim dropped and kept · no workspace changes: 1 stays as it is",
			notes:  "PersistentVolumeClaim data: its annotation espalier.dev/prune keeps it in the cluster",
		},
		"ClaimDroppedHeld": {
			reason:  "What is held waits for a person, a claim as everything else.",
			base:    files{"a.yaml": service("a"), "b.yaml": service("b"), "c.yaml": claim("20Gi"), "d.yaml": service("d")},
			head:    files{"d.yaml": service("d")},
			effects: []string{"a: held", "b: held"},
			codes:   []string{"InputDeleted", "PruneHeld"},
			line:    "1 PersistentVolumeClaim dropped, deleting held",
			found:   "PersistentVolumeClaim data: deleting is held until a person approves it; then it is deleted as soon",
		},
		"OutputClaimDropped": {
			reason:  "A run and the claim that it wrote to, in one change.",
			base:    files{"t.yaml": run("t", "image: registry.example.com/models/NAME:1\n      pushSecret: push", "claim: data"), "c.yaml": claim("20Gi"), "a.yaml": service("a")},
			head:    files{"a.yaml": service("a")},
			effects: []string{"t: deleted"},
			codes:   []string{"InputDeleted", "WorkspaceDeleted"},
			says:    []string{"t: what is written to claim data goes with it, which this change drops too"},
		},
		"OutputClaimStays": {
			reason:  "A claim that head still holds, or that Git never held, stays.",
			base:    files{"t.yaml": run("t", "image: registry.example.com/models/NAME:1\n      pushSecret: push", "claim: data"), "c.yaml": claim("20Gi"), "a.yaml": service("a")},
			head:    files{"a.yaml": service("a"), "c.yaml": claim("20Gi")},
			effects: []string{"t: deleted"},
			codes:   []string{"WorkspaceDeleted"},
			says:    []string{"t: what is written to claim data stays"},
		},
		"ConfigMapDropped": {
			reason: "What no Workspace names alarms nobody, and is told.",
			base:   files{"a.yaml": service("a"), "c.yaml": configMap("c", "k", "a")},
			head:   files{"a.yaml": service("a")},
			line:   "1 ConfigMap deleted · no workspace changes: 1 stays as it is",
			notes:  "no Workspace of head names: ConfigMap c",
		},
		"GeneratedAnew": {
			reason: "A generator's ConfigMap goes whenever its text changes: another has taken its place.",
			base:   files{"a.yaml": service("a"), "c.txt": "a", "kustomization.yaml": generated},
			head:   files{"a.yaml": service("a"), "c.txt": "b", "kustomization.yaml": generated},
			line:   "nothing changes: 1 workspace stays as it is",
		},
	} {
		t.Run(name, c.check)
	}
}

// TestNothingLeaks: neither the content of a Secret nor the query of an address
// is in any form of a plan.
func TestNothingLeaks(t *testing.T) {
	p := scenario{
		base: files{"s.yaml": token("hf_before"), "a.yaml": service("a", "replicas: 1", "replicas: 1\n    accessSecret: token")},
		head: files{"s.yaml": token("hf_after"), "a.yaml": service("a", "replicas: 1", "replicas: 1\n    accessSecret: token"), "t.yaml": run("t")},
	}.plan(t)
	json, err := p.JSON()
	if err != nil {
		t.Fatal(err)
	}
	for _, form := range []string{string(json), p.Markdown(0)} {
		for _, hidden := range []string{"hf_", "hidden"} {
			if strings.Contains(form, hidden) {
				t.Errorf("%q is shown:\n%s", hidden, form)
			}
		}
	}
}

// TestDeterministic: equal revisions give equal bytes.
func TestDeterministic(t *testing.T) {
	first := scenarios["BrokenHead"].plan(t).Markdown(0)
	for range 5 {
		if again := scenarios["BrokenHead"].plan(t).Markdown(0); again != first {
			t.Fatalf("two plans differ:\n%s", cmp.Diff(first, again))
		}
	}
}

// TestPricesAddUp: before and change are after, and the rows are the sum.
func TestPricesAddUp(t *testing.T) {
	for name, s := range scenarios {
		p := s.plan(t)
		m := p.Summary.Monthly
		if diff := m.Before + m.Delta - m.After; diff > 0.01 || diff < -0.01 {
			t.Errorf("%s: %v", name, m)
		}
		delta := 0.0
		for _, ch := range p.Changes {
			if ch.Price.Before != nil {
				delta -= ch.Price.Before.USDPerMonth
			}
			if ch.Price.After != nil {
				delta += ch.Price.After.USDPerMonth
			}
			if ch.Kind == v1alpha1.WorkspaceKind && ch.Effect.Message == "" {
				t.Errorf("%s: %s has no effect in words", name, ch.Name)
			}
		}
		if diff := delta - m.Delta; diff > 0.01 || diff < -0.01 {
			t.Errorf("%s: the rows add up to %v, the summary says %v", name, delta, m.Delta)
		}
	}
}
