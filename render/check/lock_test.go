// SPDX-License-Identifier: Apache-2.0

package check_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/espalier-dev/espalier/render/check"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

const wholeLock = `id: someone/Model-8B
revision: 0123456789abcdef0123456789abcdef01234567
weights: {bytes: 16060522496}
shape: {kind: dense, layers: 32, hidden: 4096, intermediate: 14336, vocabulary: 128256, embeddings: 2, heads: 32, kvHeads: 8, headDim: 128, maxContext: 131072}
`

// locked names a model by lock file in the place of a preset.
func locked(id string) func(*v1alpha1.Workspace) {
	return func(w *v1alpha1.Workspace) {
		m := w.Spec.Model()
		m.Preset, m.Revision, m.Model = "", "", &v1alpha1.LockedModel{ID: id, Lock: "l"}
	}
}

func lockFacts(text string) check.Facts {
	return check.Facts{ConfigMaps: map[string]map[string]string{"l": {repolayout.LockFile: text}}}
}

func TestLocked(t *testing.T) {
	served := serving("Standard_NC24ads_A100_v4", locked("someone/Model-8B"))
	tuned := tuning("Standard_NC24ads_A100_v4", locked("someone/Model-8B"))
	for name, tc := range map[string]struct {
		reason    string
		workspace *v1alpha1.Workspace
		facts     check.Facts
		findings  []string // "severity code"
		says      []string // parts of the messages
	}{
		"Serves": {reason: "a whole lock file is as good as the catalogue", workspace: served, facts: lockFacts(wholeLock)},
		"Tunes":  {reason: "and for tuning too", workspace: tuned, facts: lockFacts(wholeLock)},
		"TooSmall": {
			reason: "what the catalogue's models are refused for, it is refused for", workspace: serving("Standard_NC4as_T4_v3", locked("someone/Model-8B")), facts: lockFacts(wholeLock),
			findings: []string{"error DoesNotFit"}, says: []string{"the cheapest size that works is"},
		},
		"Unpinned": {
			reason: "a lock file without a revision pins nothing", workspace: served,
			facts:    lockFacts(strings.Replace(wholeLock, "revision: 0123456789abcdef0123456789abcdef01234567\n", "", 1)),
			findings: []string{"warning ModelRevisionUnpinned"}, says: []string{"neither here nor in its lock file"},
		},
		"Missing": {
			reason: "nothing is known of the model: one finding, and no guess", workspace: served,
			findings: []string{"error InputMissing"}, says: []string{`spec.inference.model.lock: ConfigMap "l" is not there`, "configMapGenerator"},
		},
		"OtherKey": {
			reason: "a generator names keys by files", workspace: tuned, facts: check.Facts{ConfigMaps: map[string]map[string]string{"l": {"phi.yaml": wholeLock}}},
			findings: []string{"error LockInvalid"}, says: []string{`spec.tuning.model.lock: ConfigMap "l" has no key model.lock.yaml`},
		},
		"OtherModel": {
			reason: "a copied lock file would size one model and download another", workspace: served, facts: lockFacts(strings.Replace(wholeLock, "Model-8B", "Model-70B", 1)),
			findings: []string{"error LockInvalid"}, says: []string{"someone/Model-70B and model.id is someone/Model-8B", "espalier presets lock someone/Model-8B"},
		},
		"NoYAML": {
			reason: "the message is one line", workspace: served, facts: lockFacts("\t{"),
			findings: []string{"error LockInvalid"}, says: []string{"decoding a model file"},
		},
		"UnknownField": {
			reason: "a field that is ignored would be a pretence", workspace: served, facts: lockFacts(wholeLock + "tokenizer: x\n"),
			findings: []string{"error LockInvalid"}, says: []string{"field tokenizer not found"},
		},
		"Arguments": {
			reason: "arguments that a configuration refuses must not come by another way", workspace: served, facts: lockFacts(wholeLock + "serving: {args: {trust-remote-code: ''}}\n"),
			findings: []string{"error LockInvalid"}, says: []string{"serving.args"},
		},
		"TooBig": {
			reason: "a ConfigMap holds a MiB, a lock file never", workspace: served, facts: lockFacts(wholeLock + strings.Repeat("# more\n", 10_000)),
			findings: []string{"error LockInvalid"}, says: []string{"larger than 64 KiB"},
		},
		"NoSize": {
			reason: "a lock file without the size of the weights gets the command that adds it", workspace: served, facts: lockFacts(strings.Replace(wholeLock, "weights: {bytes: 16060522496}\n", "", 1)),
			findings: []string{"error FitUnknown"}, says: []string{"does not say weights, so", "espalier presets lock someone/Model-8B --from config.json --index"},
		},
		"ServedOnly": {
			reason: "serving needs less than tuning", workspace: served, facts: lockFacts(strings.Replace(wholeLock, "embeddings: 2, ", "", 1)),
		},
		"NotForTuning": {
			reason: "tuning needs to know whether embeddings are shared", workspace: tuned, facts: lockFacts(strings.Replace(wholeLock, "embeddings: 2, ", "", 1)),
			findings: []string{"error FitUnknown"}, says: []string{"spec.tuning.model.lock", "does not say embeddings"},
		},
		"Mixture": {
			reason: "no formula here covers tuning it", workspace: tuned, facts: lockFacts(strings.Replace(wholeLock, "dense", "moe", 1)),
			findings: []string{"error NotTunable"}, says: []string{"mixture of experts"},
		},
		"Gated": {
			reason: "a lock file says that a token is needed", workspace: served, facts: lockFacts(wholeLock + "gated: true\n"),
			findings: []string{"error ModelGated"}, says: []string{"HF_TOKEN"},
		},
		"InCatalogue": {
			reason:    "a lock file leaves out what the catalogue tells the runtime, and takes no licence away",
			workspace: serving("Standard_NC24ads_A100_v4", locked("meta-llama/Llama-3.1-8B-Instruct")),
			facts:     lockFacts(strings.Replace(wholeLock, "someone/Model-8B", "meta-llama/Llama-3.1-8B-Instruct", 1)),
			findings:  []string{"error ModelGated", "warning ModelInCatalogue"}, says: []string{"preset: llama-3.1-8b-instruct needs no lock file"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := check.Workspace(tc.workspace, tc.facts, nil)
			var got []string
			var messages strings.Builder
			for _, f := range a.Findings {
				got = append(got, f.Severity+" "+f.Code)
				messages.WriteString(f.Message + "\n")
			}
			if diff := cmp.Diff(tc.findings, got); diff != "" {
				t.Errorf("%s: findings (-want +got):\n%s%s", tc.reason, diff, messages.String())
			}
			for _, s := range tc.says {
				if !strings.Contains(messages.String(), s) {
					t.Errorf("%s: no message says %q:\n%s", tc.reason, s, messages.String())
				}
			}
			if strings.Count(messages.String(), "\n") != len(a.Findings) || strings.Contains(messages.String(), "…") {
				t.Errorf("each message is one line, and whole:\n%s", messages.String())
			}
		})
	}
}

// A locked model resolves to what the lock file says, under the name that
// requests use.
func TestLockedResolves(t *testing.T) {
	a := check.Workspace(serving("Standard_NC24ads_A100_v4", locked("someone/Model-8B")), lockFacts(wholeLock), nil)
	if a.Preset.Name() != "model-8b" || a.Resolved.Preset != "someone/Model-8B" || a.Resolved.ModelRevision != "0123456789abcdef0123456789abcdef01234567" {
		t.Errorf("name %q, resolved %+v", a.Preset.Name(), a.Resolved)
	}
	w := serving("Standard_NC24ads_A100_v4", locked("someone/Model-8B"))
	w.Spec.Inference.Revision = strings.Repeat("ab", 20)
	if a := check.Workspace(w, lockFacts(wholeLock), nil); a.Resolved.ModelRevision != w.Spec.Inference.Revision {
		t.Errorf("the Workspace's own revision goes before: %+v", a.Resolved)
	}
}

// TestLockedDigest: what a lock file says counts, and how it is written does not.
func TestLockedDigest(t *testing.T) {
	w := serving("Standard_NC24ads_A100_v4", locked("someone/Model-8B"))
	digest := func(text string) string { return check.Digest(w, lockFacts(text).ConfigMaps) }
	for name, tc := range map[string]struct {
		reason, text string
		same         bool
	}{
		"Comment":   {"a note for readers restarts no pod", "# read again in November\n" + wholeLock, true},
		"OtherSize": {"other weights are another model", strings.Replace(wholeLock, "16060522496", "16060522497", 1), false},
		"Unread":    {"what cannot be read is itself", "- " + wholeLock[:9], false},
	} {
		t.Run(name, func(t *testing.T) {
			if same := digest(tc.text) == digest(wholeLock); same != tc.same {
				t.Errorf("%s: same %t, want %t", tc.reason, same, tc.same)
			}
		})
	}
}
