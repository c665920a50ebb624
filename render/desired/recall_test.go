// SPDX-License-Identifier: Apache-2.0

package desired_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/espalier-dev/espalier/render/build"
	"github.com/espalier-dev/espalier/render/desired"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// telling is all that a state says, to compare.
func telling(s desired.State) string {
	var b strings.Builder
	for _, d := range s.Documents {
		fmt.Fprintf(&b, "%s %s in %s, collides %t\n", d.Kind(), d.ObjectName(), d.Unit, d.Collides)
	}
	for _, w := range s.Workspaces {
		fmt.Fprintf(&b, "%s/%s %s missing %v, config %v, %+v\n", w.Workspace.Namespace, w.Workspace.Name, w.Key, w.Missing, w.ConfigMaps, w.Workspace.Spec.Resource)
	}
	for _, f := range s.All() {
		fmt.Fprintf(&b, "%+v\n", f)
	}
	return b.String()
}

const tuning = `apiVersion: espalier.dev/v1alpha1
kind: Workspace
metadata: {name: tune}
spec:
  resource: {instanceType: Standard_NC24ads_A100_v4}
  tuning:
    preset: phi-4-mini-instruct
    method: qlora
    input: {urls: ["https://example.com/data.parquet"]}
    output: {image: "registry.example.com/tune:1", pushSecret: registry}
    promote: {to: TO}
`

// byTag is of a service that names by its tag what tuning pushes.
const byTag = "    adapters: [{name: tuned, image: \"registry.example.com/tune:1\"}]\n"

// ofKAITO stands for the object of a Workspace of ours of that name, which no build sees.
const ofKAITO = `apiVersion: kaito.sh/v1beta1
kind: Workspace
metadata: {name: NAME}
resource: {instanceType: Standard_NC24ads_A100_v4, labelSelector: {matchLabels: {apps: NAME}}}
inference: {preset: {name: phi-4-mini-instruct}}
`

// unpromoted is a tuning run that proposes nothing.
func unpromoted(text string) string { before, _, _ := strings.Cut(text, "    promote:"); return before }

// TestMakeKeeps: of what a revision says, no more is held decoded than is compared.
func TestMakeKeeps(t *testing.T) {
	service := func(name string) string { return strings.ReplaceAll(serving, "NAME", name) }
	run, kaito := strings.ReplaceAll(tuning, "TO", "b"), strings.ReplaceAll(ofKAITO, "NAME", "c")
	for name, c := range map[string]struct {
		reason string
		files  map[string]string // beside three services
		gone   string            // a file that goes then
		want   string
	}{
		"Apart":         {"Nothing says anything of another.", map[string]string{"tune.yaml": unpromoted(run)}, "", ""},
		"Promotion":     {"A run is compared with whom it promotes to.", map[string]string{"tune.yaml": run}, "", "b tune"},
		"PromotionGone": {"Then there is nothing to compare.", map[string]string{"tune.yaml": run}, "tune.yaml", ""},
		"NameTwice":     {"Who has one name is compared.", map[string]string{"z.yaml": kaito}, "", "c c"},
		"NameOnceAgain": {"One of them went.", map[string]string{"z.yaml": kaito}, "z.yaml", ""},
		"ByTag":         {"A service that names what a run pushes is compared with it.", map[string]string{"tune.yaml": unpromoted(run), "z.yaml": service("z") + byTag}, "", "tune z"},
		"OtherTag":      {"Nobody pushes what a service names.", map[string]string{"z.yaml": service("z") + byTag}, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			tree, cache := fstest.MapFS{}, build.NewCache(build.CacheLimits{})
			for _, n := range []string{"a", "b", "c"} {
				tree[n+".yaml"] = file(service(n))
			}
			for n, text := range c.files {
				tree[n] = file(text)
			}
			var memory desired.Memory
			for range 3 {
				units, err := cache.Build(t.Context(), tree, ".", build.DefaultLimits())
				if err != nil {
					t.Fatal(err)
				}
				memory.Make(team(func(*v1alpha1.RepoSync) {}), units, func(desired.Document) any { return nil })
				delete(tree, c.gone)
			}
			decoded := desired.Decoded(&memory)
			slices.Sort(decoded)
			if got := strings.Join(decoded, " "); got != c.want {
				t.Errorf("%s\ndecoded are %q, want %q", c.reason, got, c.want)
			}
		})
	}
}

// TestRemembering: over a random history a Memory and a Judge that remember the
// revision before say what new ones say, also when what a Workspace names changes
// and the Workspace does not, and when the RepoSync does.
func TestRemembering(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	pick := func(from ...string) string { return from[random.IntN(len(from))] }
	tree, cache, judge := fstest.MapFS{}, build.NewCache(build.CacheLimits{}), newJudge()
	var memory, light desired.Memory
	for step := range 120 {
		switch random.IntN(8) {
		case 0:
			text := strings.ReplaceAll(serving, "NAME", pick("a", "b", "old"))
			if random.IntN(3) == 0 {
				text += byTag
			}
			tree[pick("a.yaml", "b.yaml")] = file(strings.Replace(text, "preset:", "config: "+pick("one", "two")+"\n    preset:", 1))
		case 1:
			tree[pick("one.yaml", "other.yaml")] = file("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: " + pick("one", "two") +
				"}\ndata:\n  inference_config.yaml: |\n    vllm: {max-num-seqs: " + pick("16", "32", "none") + "}\n")
		case 2:
			tree["pool.yaml"] = file("apiVersion: espalier.dev/v1alpha1\nkind: GPUNodePool\nmetadata: {name: " + pick("shared", "shares") + "}\nspec:\n  provider: aks\n  candidates: [{instanceType: " +
				pick("Standard_NC24ads_A100_v4", "Standard_NC48ads_A100_v4") + "}]\n  replicas: " + pick("1", "2", "none") + "\n")
		case 3:
			tree["c.yaml"] = file(strings.Replace(strings.ReplaceAll(serving, "NAME", "c"), "instanceType: Standard_NC24ads_A100_v4", "nodePool: shared", 1) + "    replicas: " + pick("1", "2", "3") + "\n")
		case 4:
			tree["old.yaml"] = file(pick(retired, strings.ReplaceAll(ofKAITO, "NAME", "a")))
		case 5:
			text := strings.ReplaceAll(tuning, "TO", pick("a", "b", "c"))
			if random.IntN(2) == 0 {
				text = unpromoted(text)
			}
			tree["tune.yaml"] = file(text)
		case 6:
			tree[pick("0.yaml", "m.yaml", "z.yaml")] = tree[pick("a.yaml", "b.yaml", "other.yaml")]
			maps.DeleteFunc(tree, func(_ string, f *fstest.MapFile) bool { return f == nil })
		case 7:
			for name := range maps.Keys(maps.Clone(tree)) {
				if random.IntN(4) == 0 {
					delete(tree, name)
				}
			}
		}
		sync := team(func(s *v1alpha1.RepoSync) {
			if step%7 == 0 {
				s.Spec.Substitutions = map[string]string{"Standard_NC6s_v3": "Standard_NC4as_T4_v3"}
			}
		})
		units, err := cache.Build(t.Context(), tree, ".", build.DefaultLimits())
		if err != nil {
			t.Fatal(err)
		}
		documents, findings := memory.Units(sync, units)
		checkMade(t, step, documents, findings, func(of func(desired.Document) any) ([]any, []v1alpha1.Finding) { return light.Make(sync, units, of) })
		got := telling(judge.State(documents, findings))
		if diff := cmp.Diff(telling(state(t, newJudge(), sync, tree)), got); diff != "" {
			t.Fatalf("step %d: what is remembered is not what is there (-fresh +remembered):\n%s", step, diff)
		}
	}
}

// checkMade: a Memory that drops documents says what one that keeps them says, and has what
// was made of each that does not collide, of none twice.
func checkMade(t *testing.T, step int, documents []desired.Document, found []v1alpha1.Finding, light func(of func(desired.Document) any) ([]any, []v1alpha1.Finding)) {
	t.Helper()
	var want, got []string
	for _, d := range documents {
		if !d.Collides {
			want = append(want, what(d))
		}
	}
	seen := map[string]bool{}
	made, findings := light(func(d desired.Document) any {
		if d.Key != "" && seen[d.Key] {
			t.Errorf("step %d: of %s something is made twice", step, d.Name)
		}
		seen[d.Key] = true
		return what(d)
	})
	for _, m := range made {
		got = append(got, m.(string))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("step %d: documents (-whole +light):\n%s", step, diff)
	}
	if diff := cmp.Diff(fmt.Sprintf("%+v", found), fmt.Sprintf("%+v", findings)); diff != "" {
		t.Fatalf("step %d: findings (-whole +light):\n%s", step, diff)
	}
}

// what a document says, of what is made of it.
func what(d desired.Document) string {
	text, err := json.Marshal(d.Decoded)
	if err != nil {
		panic(err)
	}
	file, line := d.Position.At("metadata.name")
	return fmt.Sprintf("%s %s %s %s %s:%d", d.Unit, d.Name, d.Key, text, file, line)
}
