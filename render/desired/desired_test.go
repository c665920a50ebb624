// SPDX-License-Identifier: Apache-2.0

package desired_test

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/espalier-dev/espalier/render"
	"github.com/espalier-dev/espalier/render/build"
	"github.com/espalier-dev/espalier/render/desired"
	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

const serving = `apiVersion: espalier.dev/v1alpha1
kind: Workspace
metadata:
  name: NAME
spec:
  resource:
    instanceType: Standard_NC24ads_A100_v4
  inference:
    preset: phi-4-mini-instruct
    revision: 0123456789abcdef0123456789abcdef01234567
`

const retired = `# A comment moves every line.
apiVersion: espalier.dev/v1alpha1
kind: Workspace
metadata:
  name: old
spec:
  resource:
    instanceType: Standard_NC6s_v3
  inference:
    preset: phi-4-mini-instruct
    revision: 0123456789abcdef0123456789abcdef01234567
`

func file(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }

func named(name string) *fstest.MapFile { return file(strings.ReplaceAll(serving, "NAME", name)) }

func locked(name, lock string) *fstest.MapFile {
	text := strings.ReplaceAll(serving, "preset: phi-4-mini-instruct", "model: {id: someone/Model-8B, lock: "+lock+"}")
	text = strings.ReplaceAll(text, "    revision: 0123456789abcdef0123456789abcdef01234567\n", "")
	return file(strings.ReplaceAll(text, "NAME", name))
}

func state(t *testing.T, judge *desired.Judge, sync *v1alpha1.RepoSync, tree fstest.MapFS) desired.State {
	t.Helper()
	units, err := build.Build(t.Context(), tree, ".", build.DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	documents, findings := desired.Units(sync, units)
	return judge.State(documents, findings)
}

func newJudge() *desired.Judge {
	return &desired.Judge{Region: "eastus", Render: render.Options{Provider: v1alpha1.ProviderAKS, HelperImage: "espalier"}}
}

func team(change func(*v1alpha1.RepoSync)) *v1alpha1.RepoSync {
	s := &v1alpha1.RepoSync{ObjectMeta: metav1.ObjectMeta{Namespace: "models", Name: "team"}}
	change(s)
	return s
}

func TestState(t *testing.T) {
	for name, c := range map[string]struct {
		reason     string
		sync       *v1alpha1.RepoSync
		tree       fstest.MapFS
		workspaces []string // namespace/name, with * where it collides and ! where it is refused
		findings   []string // code file:line
		says       string   // a part of a finding
	}{
		"LockedAfterItsFile": {
			reason: "A model outside the catalogue is judged by the lock file of the same revision; without one it is refused.",
			tree: fstest.MapFS{
				"a.yaml": locked("a", "here"), "b.yaml": locked("b", "nowhere"),
				"l.yaml": file("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: here}\ndata:\n  model.lock.yaml: '{id: someone/Model-8B, revision: 0123456789abcdef0123456789abcdef01234567, weights: {gib: 15}, shape: {layers: 32, hidden: 4096, heads: 32, kvHeads: 8, headDim: 128, maxContext: 8192}}'\n"),
			},
			workspaces: []string{"default/a", "default/b!"},
			findings:   []string{"InputMissing b.yaml:9"},
		},
		"Plain": {
			reason:     "Without a RepoSync a Workspace goes where kubectl would put it.",
			tree:       fstest.MapFS{"a.yaml": named("a")},
			workspaces: []string{"default/a"},
		},
		"Moved": {
			reason: "A RepoSync decides the namespace and moves retired sizes.",
			sync: team(func(s *v1alpha1.RepoSync) {
				s.Spec.Substitutions = map[string]string{"Standard_NC6s_v3": "Standard_NC24ads_A100_v4"}
			}),
			tree:       fstest.MapFS{"old.yaml": file(retired)},
			workspaces: []string{"models/old"},
		},
		"Substituted": {
			reason: "A variable of the RepoSync stands in a base, below an overlay; one that is not set is found there.",
			sync: team(func(s *v1alpha1.RepoSync) {
				s.Spec.PostBuild = &v1alpha1.PostBuild{Substitute: map[string]v1alpha1.VariableValue{"SIZE": "Standard_NC24ads_A100_v4"}}
			}),
			tree: fstest.MapFS{
				"kustomization.yaml":      file("namePrefix: eu-\nresources: [base]\n"),
				"base/kustomization.yaml": file("resources: [a.yaml, b.yaml]\n"),
				"base/a.yaml":             file(strings.NewReplacer("NAME", "a", "Standard_NC24ads_A100_v4", "${SIZE}").Replace(serving)),
				"base/b.yaml":             file(strings.NewReplacer("NAME", "b", "Standard_NC24ads_A100_v4", "${REGION}").Replace(serving)),
			},
			workspaces: []string{"models/eu-a"},
			findings:   []string{"VariableUnset base/b.yaml:7"},
		},
		"Retired": {
			reason:     "A finding stands at the line of its own file although the verdict may be shared.",
			tree:       fstest.MapFS{"old.yaml": file(retired)},
			workspaces: []string{"default/old!"},
			findings:   []string{"InstanceTypeRetired old.yaml:8"},
		},
		"Twins": {
			reason:     "Nobody can say which of two was meant.",
			tree:       fstest.MapFS{"a.yaml": named("twin"), "b.yaml": named("twin")},
			workspaces: []string{"default/twin*"},
			findings:   []string{"NameCollision b.yaml:4"},
		},
		"OtherNamespace": {
			reason:   "A tenant reaches no other namespace.",
			sync:     team(func(*v1alpha1.RepoSync) {}),
			tree:     fstest.MapFS{"a.yaml": file(strings.Replace(serving, "NAME", "a\n  namespace: kube-system", 1))},
			findings: []string{"NamespaceNotAllowed a.yaml:5"},
		},
		"ConfigNotInGit": {
			reason:     "The cluster may hold the ConfigMap: that is a warning and no refusal.",
			tree:       fstest.MapFS{"a.yaml": file(strings.ReplaceAll(serving, "NAME", "a") + "    config: elsewhere\n")},
			workspaces: []string{"default/a"},
			findings:   []string{"InputNotInGit a.yaml:11"},
		},
		"ConfigMisspelt": {
			reason: "The name that was meant is in the same tree.",
			tree: fstest.MapFS{
				"a.yaml": file(strings.ReplaceAll(serving, "NAME", "a") + "    config: phi-4-mini-confg\n"),
				"b.yaml": file("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: other}\n"), "c.yaml": file("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: phi-4-mini-config}\n"),
			},
			workspaces: []string{"default/a"},
			findings:   []string{"InputNotInGit a.yaml:11"},
			says:       "spec.inference.config: ConfigMap phi-4-mini-confg is not in this tree: judged with the defaults; did you mean phi-4-mini-config?",
		},
		"GeneratedMisspelt": {
			reason: "A Workspace names a generated ConfigMap without the hash that Kustomize puts behind it.",
			tree: fstest.MapFS{
				"a.yaml": file(strings.ReplaceAll(serving, "NAME", "a") + "    config: phi-4-mini-confg\n"), "c.txt": file("a"),
				"kustomization.yaml": file("resources: [a.yaml]\nconfigMapGenerator:\n- name: phi-4-mini-config\n  files: [c.txt]\n"),
			},
			workspaces: []string{"default/a"},
			findings:   []string{"InputNotInGit a.yaml:11"},
			says:       "judged with the defaults; did you mean phi-4-mini-config?",
		},
		"SubstitutedByNothing": {
			reason: "The line of the Workspace says another size, which is right: the RepoSync has the mistake.",
			sync: team(func(s *v1alpha1.RepoSync) {
				s.Spec.Substitutions = map[string]string{"Standard_NC6s_v3": "Standard_NC4as_T4"}
			}),
			tree: fstest.MapFS{
				"a.yaml": file(strings.NewReplacer("NAME", "a", "Standard_NC24ads_A100_v4", "Standard_NC4as_T4").Replace(serving)),
				"b.yaml": file(retired),
			},
			workspaces: []string{"models/a!", "models/old!"},
			findings:   []string{"UnknownInstanceType a.yaml:7", "UnknownInstanceType b.yaml:8"},
			says:       `"Standard_NC4as_T4" is not in the catalogue, and spec.substitutions of the RepoSync puts it in the place of Standard_NC6s_v3, which this line says: did you mean Standard_NC4as_T4_v3?`,
		},
		"PatchRefused": {
			reason:     "What a tenant may not patch is refused before it is merged.",
			tree:       fstest.MapFS{"a.yaml": file(strings.ReplaceAll(serving, "NAME", "a") + "  patches:\n  - patch: |\n      apiVersion: apps/v1\n      kind: Deployment\n      metadata: {name: a}\n      spec: {template: {spec: {hostNetwork: true}}}\n")},
			workspaces: []string{"default/a!"},
			findings:   []string{"RenderRefused a.yaml:12"},
		},
		"PatchIdle": {
			reason: "Kustomize passes over a target that selects nothing in silence: a misspelt kind, or a name that is not the whole of one.",
			tree: fstest.MapFS{"a.yaml": file(strings.ReplaceAll(serving, "NAME", "a") + "  patches:\n" +
				"  - target: {kind: Deployment}\n    patch: '- {op: add, path: /spec/minReadySeconds, value: 5}'\n" +
				"  - target: {kind: Deploymnt}\n    patch: '- {op: add, path: /spec/minReadySeconds, value: 5}'\n" +
				"  - target: {name: 'b?'}\n    patch: '- {op: add, path: /metadata/annotations, value: {a: b}}'\n")},
			workspaces: []string{"default/a"},
			findings:   []string{"PatchIdle a.yaml:14", "PatchIdle a.yaml:16"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := state(t, newJudge(), c.sync, c.tree)
			var workspaces, findings []string
			for _, w := range s.Workspaces {
				mark := ""
				if w.Collides {
					mark += "*"
				}
				if w.Assessment.Refused() {
					mark += "!"
				}
				workspaces = append(workspaces, w.Workspace.Namespace+"/"+w.Workspace.Name+mark)
			}
			said := false
			for _, f := range s.All() {
				findings = append(findings, f.Code+" "+location(f))
				said = said || strings.Contains(f.Message, c.says)
			}
			if c.says != "" && !said {
				t.Errorf("%s\nno finding says %q: %v", c.reason, c.says, s.All())
			}
			if diff := cmp.Diff(c.workspaces, workspaces); diff != "" {
				t.Errorf("%s\nworkspaces (-want +got):\n%s", c.reason, diff)
			}
			if diff := cmp.Diff(c.findings, findings); diff != "" {
				t.Errorf("%s\nfindings (-want +got):\n%s", c.reason, diff)
			}
		})
	}
}

func location(f v1alpha1.Finding) string { return finding.Location(f.File, f.Line) }

// TestShared: two revisions are judged by one Judge, and what is the same in both
// has one key and renders to the same, also where its lines have moved.
func TestShared(t *testing.T) {
	judge := newJudge()
	base := state(t, judge, nil, fstest.MapFS{"a.yaml": named("a"), "b.yaml": named("b")})
	head := state(t, judge, nil, fstest.MapFS{"a.yaml": file("# moved\n" + strings.ReplaceAll(serving, "NAME", "a")), "b.yaml": file(strings.ReplaceAll(serving, "NAME", "b") + "    contextLength: 4096\n")})
	if base.Workspaces[0].Key != head.Workspaces[0].Key || base.Workspaces[1].Key == head.Workspaces[1].Key {
		t.Fatal("a key is of what is asked for, and not of where it is written")
	}
	one, err := base.Workspaces[0].Render()
	if err != nil {
		t.Fatal(err)
	}
	other, err := head.Workspaces[0].Render()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(one, other); diff != "" {
		t.Errorf("one key renders to one thing (-base +head):\n%s", diff)
	}
}

// TestConfigAdded: what is near to a name that is not there follows the tree, although
// the Workspace itself is judged once.
func TestConfigAdded(t *testing.T) {
	judge := newJudge()
	tree := fstest.MapFS{"a.yaml": file(strings.ReplaceAll(serving, "NAME", "a") + "    config: phi-4-mini-confg\n")}
	for _, step := range []struct{ reason, add, want string }{
		{"Nothing is near.", "", "judged with the defaults"},
		{"Another file brings a name that is.", "phi-4-mini-config", "judged with the defaults; did you mean phi-4-mini-config?"},
	} {
		if step.add != "" {
			tree["c.yaml"] = file("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: " + step.add + "}\n")
		}
		all := state(t, judge, nil, tree).All()
		if len(all) != 1 || !strings.HasSuffix(all[0].Message, step.want) {
			t.Errorf("%s\n%v, want %q", step.reason, all, step.want)
		}
	}
}

func TestMissing(t *testing.T) {
	s := state(t, newJudge(), nil, fstest.MapFS{
		"push.yaml": file("apiVersion: v1\nkind: Secret\nmetadata: {name: push}\ntype: kubernetes.io/dockerconfigjson\n"),
		"tune.yaml": file(`apiVersion: espalier.dev/v1alpha1
kind: Workspace
metadata: {name: tune}
spec:
  resource: {instanceType: Standard_NC24ads_A100_v4}
  tuning:
    preset: phi-4-mini-instruct
    accessSecret: token
    method: qlora
    input: {claim: data}
    output: {image: 'registry.example.com/a/b:1', pushSecret: push}
`),
	})
	if diff := cmp.Diff([]string{"Secret/token", "PersistentVolumeClaim/data"}, s.Workspaces[0].Missing); diff != "" {
		t.Errorf("what Git does not hold (-want +got):\n%s", diff)
	}
}
