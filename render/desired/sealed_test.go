// SPDX-License-Identifier: Apache-2.0

package desired_test

import (
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/espalier-dev/espalier/render/build"
	"github.com/espalier-dev/espalier/render/desired"
	"github.com/espalier-dev/espalier/render/sops"
	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/sealed"
)

const credential = "apiVersion: v1\nkind: Secret\nmetadata:\n  name: hf\n  annotations:\n    example.com/of: ${TEAM}\nstringData:\n  token: hunter2-${TEAM}-hunter2\n"

// sealing makes a key, and encrypts with it.
func sealing(t *testing.T) (k *sops.Keys, yaml, binary func(string) *fstest.MapFile) {
	t.Helper()
	key, err := sealed.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	k, err = sops.KeysOf(map[string][]byte{"a.agekey": []byte(key.Private())})
	if err != nil {
		t.Fatal(err)
	}
	with := func(encrypt func(string, ...sealed.Key) (string, error)) func(string) *fstest.MapFile {
		return func(text string) *fstest.MapFile {
			out, err := encrypt(text, key)
			if err != nil {
				t.Fatal(err)
			}
			return file(out)
		}
	}
	return k, with(sealed.YAML), with(sealed.Binary)
}

// TestSealed: what a plan, which has no key, and the controller, which has one, make of
// the same files.
func TestSealed(t *testing.T) {
	k, yaml, binary := sealing(t)
	decrypts := team(func(s *v1alpha1.RepoSync) {
		s.Spec.Decryption = &v1alpha1.Decryption{Provider: v1alpha1.DecryptionSOPS, SecretRef: &v1alpha1.LocalObjectReference{Name: "keys"}}
		s.Spec.PostBuild = &v1alpha1.PostBuild{Substitute: map[string]v1alpha1.VariableValue{"TEAM": "a"}}
	})
	for name, c := range map[string]struct {
		reason   string
		sync     *v1alpha1.RepoSync
		tree     fstest.MapFS
		planned  []string // findings without the key
		applied  []string // findings with it
		contents []string // of the Secrets, with it
	}{
		"Secret": {
			reason:   "A plan says that it does not know; the controller applies what was encrypted, its dollar signs too, and says nothing of who can read it.",
			sync:     decrypts,
			tree:     fstest.MapFS{"hf.yaml": yaml(credential), "w.yaml": named("w")},
			planned:  []string{"NotDecrypted hf.yaml:1"},
			contents: []string{"hunter2-${TEAM}-hunter2"},
		},
		"NoDecryption": {
			reason:  "A RepoSync without a key would never read it.",
			sync:    team(func(*v1alpha1.RepoSync) {}),
			tree:    fstest.MapFS{"hf.yaml": yaml(credential), "w.yaml": named("w")},
			planned: []string{"EncryptedSecret hf.yaml:1"},
			applied: nil, contents: []string{"hunter2-${TEAM}-hunter2"},
		},
		"NoSync": {
			reason:  "Without a RepoSync nobody knows.",
			tree:    fstest.MapFS{"hf.yaml": yaml(credential)},
			planned: []string{"NotDecrypted hf.yaml:1"}, contents: []string{"hunter2-${TEAM}-hunter2"},
		},
		"Generated": {
			reason: "A file of a generator, of any kind.",
			sync:   decrypts,
			tree: fstest.MapFS{
				"kustomization.yaml": file("secretGenerator:\n- name: ssh\n  files: [identity=id.enc]\n"),
				"id.enc":             binary("hunter2\nhunter2"),
			},
			planned:  []string{"NotDecrypted kustomization.yaml:2"},
			contents: []string{"aHVudGVyMgpodW50ZXIy"},
		},
		"Workspace": {
			reason:  "What a Workspace says is shown.",
			sync:    decrypts,
			tree:    fstest.MapFS{"w.yaml": yaml(strings.NewReplacer("v1\nkind: Secret", "espalier.dev/v1alpha1\nkind: Workspace").Replace(credential))},
			planned: []string{"EncryptedField w.yaml:9"}, applied: []string{"EncryptedField w.yaml:1"},
		},
		"ConfigMap": {
			reason:  "So is a ConfigMap.",
			sync:    decrypts,
			tree:    fstest.MapFS{"c.yaml": yaml(strings.NewReplacer("kind: Secret", "kind: ConfigMap", "stringData", "data").Replace(credential))},
			planned: []string{"EncryptedField c.yaml:9"}, applied: []string{"EncryptedField c.yaml:1"},
		},
		"GeneratedConfigMap": {
			reason: "And one of a generator.",
			sync:   decrypts,
			tree: fstest.MapFS{
				"kustomization.yaml": file("configMapGenerator:\n- name: ssh\n  files: [id.enc]\n"),
				"id.enc":             binary("hunter2"),
			},
			planned: []string{"EncryptedField kustomization.yaml:3"}, applied: []string{"EncryptedField kustomization.yaml:3"},
		},
		"Replacements": {
			reason: "A replacement would write a password into a Workspace, and so into a status and a report.",
			sync:   decrypts,
			tree: fstest.MapFS{
				"kustomization.yaml": file("resources: [hf.yaml, w.yaml]\nreplacements:\n- source: {kind: Secret, name: hf, fieldPath: stringData.token}\n" +
					"  targets:\n  - select: {kind: Workspace}\n    fieldPaths: [spec.inference.preset]\n"),
				"hf.yaml": yaml(credential), "w.yaml": named("w"),
			},
			planned: []string{"EncryptedField kustomization.yaml:3"}, applied: []string{"EncryptedField kustomization.yaml:3"},
		},
		"KindChanged": {
			reason: "A Secret that becomes a Workspace would tell its password in a message on its preset.",
			sync:   decrypts,
			tree: fstest.MapFS{
				"kustomization.yaml": file("resources: [hf.yaml]\npatches:\n- target: {kind: Secret}\n  patch: |\n    - {op: remove, path: /sops}\n" +
					"    - {op: replace, path: /kind, value: ConfigMap}\n"),
				"hf.yaml": yaml(credential),
			},
			planned: []string{"EncryptedField kustomization.yaml:3"}, applied: []string{"EncryptedField kustomization.yaml:3"},
		},
		"KindChangeAllowed": {
			reason: "The same by a patch that is merged.",
			sync:   decrypts,
			tree: fstest.MapFS{
				"kustomization.yaml": file("resources: [hf.yaml]\npatches:\n- target: {kind: Secret}\n  options: {allowKindChange: true}\n  patch: '{apiVersion: v1, kind: ConfigMap, metadata: {name: hf}}'\n"),
				"hf.yaml":            yaml(credential),
			},
			planned: []string{"EncryptedField kustomization.yaml:3"}, applied: []string{"EncryptedField kustomization.yaml:3"},
		},
		"Moved": {
			reason: "So would a patch of a Workspace that is encrypted, with another that moves what it brought.",
			sync:   decrypts,
			tree: fstest.MapFS{
				"kustomization.yaml": file("resources: [w.yaml]\npatches:\n- path: token.yaml\n  target: {kind: Workspace}\n- target: {kind: Workspace}\n" +
					"  patch: '[{op: move, from: /stringData/token, path: /spec/inference/preset}]'\n"),
				"w.yaml": named("w"), "token.yaml": yaml(credential),
			},
			planned: []string{"EncryptedField kustomization.yaml:3", "EncryptedField kustomization.yaml:5"},
			applied: []string{"EncryptedField kustomization.yaml:3", "EncryptedField kustomization.yaml:5"},
		},
		"Aliased": {
			reason: "What a path is may stand elsewhere.",
			sync:   decrypts,
			tree: fstest.MapFS{
				"kustomization.yaml": file("resources: [hf.yaml]\npatches:\n- target: {kind: Secret}\n  patch: |\n    - {op: add, path: &a /kind, value: Secret}\n    - {op: replace, path: *a, value: ConfigMap}\n"),
				"hf.yaml":            yaml(credential),
			},
			planned: []string{"EncryptedField kustomization.yaml:3"}, applied: []string{"EncryptedField kustomization.yaml:3"},
		},
		"Patched": {
			reason: "A patch of a Secret is encrypted as the Secret is.",
			sync:   decrypts,
			tree: fstest.MapFS{
				"kustomization.yaml": file("resources: [hf.yaml]\npatches:\n- path: token.yaml\n"),
				"hf.yaml":            file("apiVersion: v1\nkind: Secret\nmetadata: {name: hf}\n"),
				"token.yaml":         yaml(credential),
			},
			planned:  []string{"NotDecrypted hf.yaml:1"},
			contents: []string{"hunter2-${TEAM}-hunter2"},
		},
		"Quoted": {
			reason: "Kustomize quotes what it does not like, and must not be listened to.",
			sync:   decrypts,
			tree: fstest.MapFS{
				"kustomization.yaml": file("resources: [hf.yaml]\nnamePrefix: a-\npatches:\n- target: {kind: Secret}\n  patch: '[{op: test, path: /stringData/token, value: other}]'\n"),
				"hf.yaml":            yaml(credential),
			},
			planned: []string{"BuildFailed kustomization.yaml"}, applied: []string{"BuildFailed kustomization.yaml"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, planned := unitsOf(t, c.sync, c.tree, nil)
			if diff := cmp.Diff(c.planned, planned); diff != "" {
				t.Errorf("%s\nwithout the key (-want +got):\n%s", c.reason, diff)
			}
			documents, applied := unitsOf(t, c.sync, c.tree, k)
			if diff := cmp.Diff(c.applied, applied); diff != "" {
				t.Errorf("%s\nwith the key (-want +got):\n%s", c.reason, diff)
			}
			var contents []string
			for _, d := range documents {
				if d.Kind() != "Secret" {
					continue
				}
				if _, there := d.Input.Object["sops"]; there {
					t.Error("the API server would refuse the key sops")
				}
				for _, field := range []string{"data", "stringData"} {
					values, _ := d.Input.Object[field].(map[string]any)
					for _, v := range values {
						contents = append(contents, v.(string))
					}
				}
			}
			if diff := cmp.Diff(c.contents, contents); diff != "" {
				t.Errorf("%s\nSecrets (-want +got):\n%s", c.reason, diff)
			}
		})
	}
}

// unitsOf builds and assembles, and sees that no message holds what was encrypted.
func unitsOf(t *testing.T, sync *v1alpha1.RepoSync, tree fstest.MapFS, k *sops.Keys) ([]desired.Document, []string) {
	t.Helper()
	var units []build.Unit
	var err error
	if k == nil {
		units, err = build.Build(t.Context(), tree, ".", build.DefaultLimits())
	} else {
		units, err = build.Build(t.Context(), k.Tree(tree), ".", build.DefaultLimits())
	}
	if err != nil {
		t.Fatal(err)
	}
	documents, findings := desired.Units(sync, units)
	var codes []string
	for _, f := range findings {
		if strings.Contains(f.Message, "hunter2") || strings.Contains(f.Message, "ENC[") {
			t.Errorf("a message tells: %s", f.Message)
		}
		if f.Code != finding.InputNotInGit {
			codes = append(codes, f.Code+" "+location(f))
		}
	}
	slices.Sort(codes)
	return documents, codes
}
