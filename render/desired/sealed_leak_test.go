// SPDX-License-Identifier: Apache-2.0

package desired_test

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/espalier-dev/espalier/render/build"
	"github.com/espalier-dev/espalier/render/desired"
	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// becomes makes a ConfigMap of a Secret, by the permission that Kustomize reads on the
// patch itself.
const becomes = `{apiVersion: v1, kind: ConfigMap, metadata: {name: hf, annotations: {internal.config.kubernetes.io/allowKindChange: enabled}}, type: null, sops: null}`

// TestSealedStaysSecret: nothing that a kustomization can say makes what was encrypted
// readable, with the key and without.
func TestSealedStaysSecret(t *testing.T) {
	k, yaml, binary := sealing(t)
	sync := team(func(s *v1alpha1.RepoSync) {
		s.Spec.Decryption = &v1alpha1.Decryption{Provider: v1alpha1.DecryptionSOPS, SecretRef: &v1alpha1.LocalObjectReference{Name: "keys"}}
	})
	generator := "secretGenerator: [{name: hf, files: [model.lock.yaml=id.enc], options: {disableNameSuffixHash: true}}]\n"
	for name, c := range map[string]struct {
		reason string
		tree   fstest.MapFS
		want   string
	}{
		"Generated": {
			reason: "What a generator makes may not become a ConfigMap, whose lock file is quoted.",
			tree: fstest.MapFS{
				"kustomization.yaml": file("resources: [w.yaml]\n" + generator + "patches: [{target: {kind: Secret}, patch: '" + strings.ReplaceAll(becomes, "sops: null", "immutable: null") + "'}]\n"),
				"id.enc":             binary("hunter2-hunter2-hunter2"), "w.yaml": locked("w", "hf"),
			},
			want: "EncryptedField kustomization.yaml:3",
		},
		"Resource": {
			reason: "Nor may a Secret that is encrypted itself.",
			tree: fstest.MapFS{
				"kustomization.yaml": file("resources: [hf.yaml]\npatches: [{patch: '" + strings.ReplaceAll(becomes, "kind: ConfigMap", "kind: Secret") + "'}]\n"),
				"hf.yaml":            yaml(credential),
			},
			want: "EncryptedField kustomization.yaml:2",
		},
		"FileOfPatches": {
			reason: "Nor with the patch in a file.",
			tree: fstest.MapFS{
				"kustomization.yaml": file(generator + "patches: [{target: {name: hf}, path: p.yaml}]\n"),
				"id.enc":             binary("hunter2-hunter2-hunter2"),
				"p.yaml":             file("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: hf\n  annotations:\n    internal.config.kubernetes.io/allowKindChange: enabled\n"),
			},
			want: "EncryptedField p.yaml:6",
		},
		"Escaped": {
			reason: "A patch is read as YAML reads it.",
			tree: fstest.MapFS{
				"kustomization.yaml": file(generator + "patches:\n- target: {name: hf}\n  patch: |\n    {apiVersion: v1, kind: Secret, metadata: {name: hf, annotations: {\"internal.config.kubernetes\\u002eio/allowKindChange\": enabled}}}\n"),
				"id.enc":             binary("hunter2-hunter2-hunter2"),
			},
			want: "EncryptedField kustomization.yaml:3",
		},
		"OptionOfGenerator": {
			reason: "A generator puts annotations on what it makes.",
			tree: fstest.MapFS{
				"kustomization.yaml": file("generatorOptions:\n  annotations:\n    internal.config.kubernetes.io/previousKinds: ConfigMap\n" + generator),
				"id.enc":             binary("hunter2-hunter2-hunter2"),
			},
			want: "EncryptedField kustomization.yaml:3",
		},
		"Operation": {
			reason: "A JSON patch can put one there too.",
			tree: fstest.MapFS{
				"kustomization.yaml": file(generator + "patches:\n- target: {kind: Secret}\n  patch: '[{op: add, path: /metadata/annotations/config.kubernetes.io~1origin, value: a}]'\n"),
				"id.enc":             binary("hunter2-hunter2-hunter2"),
			},
			want: "EncryptedField kustomization.yaml:4",
		},
		"OtherKind": {
			reason: "A patch is of the kind of its target.",
			tree: fstest.MapFS{
				"kustomization.yaml": file(generator + "patches:\n- target: {kind: Secret}\n  patch: '{apiVersion: v1, kind: ConfigMap, metadata: {name: hf}}'\n"),
				"id.enc":             binary("hunter2-hunter2-hunter2"),
			},
			want: "EncryptedField kustomization.yaml:3",
		},
		"MarkTakenAway": {
			reason: "Without its mark a Secret would have its dollar signs replaced.",
			tree: fstest.MapFS{
				"kustomization.yaml": file("resources: [hf.yaml]\npatches:\n- patch: '{apiVersion: v1, kind: Secret, metadata: {name: hf}, sops: null}'\n"),
				"hf.yaml":            yaml(credential),
			},
			want: "EncryptedField kustomization.yaml:3",
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, planned := unitsOf(t, sync, c.tree, nil)
			documents, applied := unitsOf(t, sync, c.tree, k)
			for how, got := range map[string][]string{"without the key": planned, "with the key": applied} {
				if len(got) == 0 || got[0] != c.want {
					t.Errorf("%s\n%s: want %s, got %v", c.reason, how, c.want, got)
				}
			}
			for _, d := range documents {
				if d.Kind() == "ConfigMap" {
					t.Errorf("%s: there is a ConfigMap", c.reason)
				}
			}
		})
	}
}

// TestSealedUnit: what is plain beside what is encrypted.
func TestSealedUnit(t *testing.T) {
	k, yaml, _ := sealing(t)
	sync := team(func(s *v1alpha1.RepoSync) {
		s.Spec.Decryption = &v1alpha1.Decryption{Provider: v1alpha1.DecryptionSOPS, SecretRef: &v1alpha1.LocalObjectReference{Name: "keys"}}
		s.Spec.PostBuild = &v1alpha1.PostBuild{Substitute: map[string]v1alpha1.VariableValue{"TEAM": "a"}}
	})
	plain := "apiVersion: v1\nkind: Secret\nmetadata:\n  name: plain\n  annotations:\n    example.com/of: ${TEAM}\nstringData:\n  token: ${TEAM}-${NOBODY}\n"
	t.Run("Variables", func(t *testing.T) {
		tree := fstest.MapFS{"kustomization.yaml": file("resources: [hf.yaml, plain.yaml]\n"), "hf.yaml": yaml(credential), "plain.yaml": file(plain)}
		documents, got := unitsOf(t, sync, tree, k)
		if len(got) > 0 || len(documents) != 2 {
			t.Fatalf("%d documents, %v", len(documents), got)
		}
		o := documents[1].Input
		if token := o.Object["stringData"].(map[string]any)["token"]; token != "${TEAM}-${NOBODY}" || o.GetAnnotations()["example.com/of"] != "a" {
			t.Errorf("variables belong to what is no Secret's value: %v, %v", token, o.GetAnnotations())
		}
	})
	t.Run("Mark", func(t *testing.T) {
		tree := fstest.MapFS{"a.yaml": file("apiVersion: v1\nkind: Secret\nmetadata: {name: a}\nstringData: {token: a}\nsops: decrypted\n")}
		for how, keys := range map[string]bool{"without the key": false, "with the key": true} {
			with := k
			if !keys {
				with = nil
			}
			if _, got := unitsOf(t, sync, tree, with); !cmp.Equal(got, []string{"SecretInGit a.yaml:1", "UnknownField a.yaml:5"}) {
				t.Errorf("%s anybody can write the mark: %v", how, got)
			}
		}
	})
	t.Run("SaidInPlain", func(t *testing.T) {
		tree := fstest.MapFS{
			"kustomization.yaml": file("resources: [hf.yaml, c.yaml]\n"),
			"hf.yaml":            yaml(strings.ReplaceAll(credential, "hunter2-${TEAM}-hunter2", "https://hub.example.com")),
			"c.yaml":             file("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {url: 'https://hub.example.com'}\n"),
		}
		if documents, got := unitsOf(t, sync, tree, k); len(got) > 0 || len(documents) != 2 {
			t.Errorf("what Git says in plain text is no secret: %v", got)
		}
	})
}

// TestLockFileIsNotQuoted: what a ConfigMap holds may be what its author took for secret.
func TestLockFileIsNotQuoted(t *testing.T) {
	units, err := build.Build(t.Context(), fstest.MapFS{
		"w.yaml": locked("w", "lock"),
		"c.yaml": file("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: lock}\ndata: {model.lock.yaml: aHVudGVyMi1odW50ZXIy}\n"),
	}, ".", build.DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	documents, findings := desired.Units(nil, units)
	for _, f := range new(desired.Judge).State(documents, findings).All() {
		if strings.Contains(f.Message, "aHVud") {
			t.Errorf("quoted: %s: %s", f.Code, f.Message)
		}
		if f.Code == "LockInvalid" && strings.Contains(f.Message, "line 1") && f.Severity == finding.Error {
			return
		}
	}
	t.Error("a lock file that is none is LockInvalid, in its line")
}
