// SPDX-License-Identifier: Apache-2.0

package build

import (
	"encoding/base64"
	"strings"
	"testing"
	"testing/fstest"

	"go.yaml.in/yaml/v3"
)

// TestHasSecret: a file in which a Secret is written is no text that others are told by.
func TestHasSecret(t *testing.T) {
	for name, c := range map[string]struct {
		reason, text string
		want         bool
	}{
		"Secret":    {"It is one.", "kind: Secret\nstringData: {a: b}", true},
		"InList":    {"One of several.", "kind: List\nitems:\n- kind: ConfigMap\n- kind: Secret\n", true},
		"List":      {"Several.", "kind: SecretList", true},
		"Generator": {"Its literals are there.", "secretGenerator:\n- name: s\n  literals: [a=b]", true},
		"Workspace": {"It names one, and holds none.", "kind: Workspace\nspec: {inference: {preset: {pullSecrets: [a]}}}", false},
		"Scalar":    {"A word.", "Secret", false},
	} {
		t.Run(name, func(t *testing.T) {
			var doc yaml.Node
			if err := yaml.Unmarshal([]byte(c.text), &doc); err != nil {
				t.Fatal(err)
			}
			if got := hasSecret(&doc); got != c.want {
				t.Errorf("%s\n%v, want %v", c.reason, got, c.want)
			}
		})
	}
}

// TestOwn: what a Secret holds is apart from what others are told by, whatever is beside it.
func TestOwn(t *testing.T) {
	const value = "hunter2-hunter2"
	workspace := "apiVersion: espalier.dev/v1alpha1\nkind: Workspace\nmetadata: {name: a}\n"
	secret := "apiVersion: v1\nkind: Secret\nmetadata: {name: b}\nstringData: {token: " + value + "}\n"
	for name, c := range map[string]struct {
		reason string
		files  fstest.MapFS
		whole  bool // something may tell others
	}{
		"File":      {"A file with one, beside another file.", fstest.MapFS{"u/kustomization.yaml": file("resources: [a.yaml, b.yaml]\n"), "u/a.yaml": file(workspace), "u/b.yaml": file(secret)}, true},
		"Documents": {"Both in one file.", fstest.MapFS{"u.yaml": file(workspace + "---\n" + secret)}, true},
		"Generator": {"One that is generated.", fstest.MapFS{"u/kustomization.yaml": file("resources: [a.yaml]\nsecretGenerator: [{name: b, literals: [token=" + value + "]}]\n"), "u/a.yaml": file(workspace)}, true},
		"Kustomize": {"One that Kustomize builds.", fstest.MapFS{"u/kustomization.yaml": file("namePrefix: x-\nresources: [b.yaml]\n"), "u/b.yaml": file(secret)}, true},
		"Alone":     {"Nothing else is there.", fstest.MapFS{"u.yaml": file(secret)}, false},
	} {
		t.Run(name, func(t *testing.T) {
			units, err := NewCache(CacheLimits{}).Build(t.Context(), c.files, ".", Limits{})
			if err != nil || len(units) != 1 || len(units[0].Objects()) == 0 {
				t.Fatalf("%v: %+v", err, units)
			}
			whole, own := string(units[0].content.text.Bytes()), units[0].content.section(sectionOwn)
			secret := base64.StdEncoding.EncodeToString([]byte(value))
			if strings.Contains(whole, value) || strings.Contains(whole, secret) || !strings.Contains(own, value) && !strings.Contains(own, secret) {
				t.Errorf("%s\nothers are told by\n%s\nand what is its own is\n%s", c.reason, whole, own)
			}
			if (whole != "") != c.whole {
				t.Errorf("%s\nothers are told by %q", c.reason, whole)
			}
		})
	}
}

func file(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
