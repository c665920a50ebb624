// SPDX-License-Identifier: Apache-2.0

package build_test

import (
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/espalier-dev/espalier/render/build"
	"github.com/espalier-dev/espalier/render/sops"
	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/test/sealed"
)

// TestSecretsInTheCache: what one had decrypted is handed to nobody without the key,
// and another key is seen although no file has changed.
func TestSecretsInTheCache(t *testing.T) {
	ada, grace := newSealed(t), newSealed(t)
	text, err := sealed.YAML("apiVersion: v1\nkind: Secret\nmetadata:\n  name: hf\nstringData:\n  token: hunter2\n", ada.key)
	if err != nil {
		t.Fatal(err)
	}
	files := fstest.MapFS{
		"kustomization.yaml":   {Data: []byte("apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources:\n- a\n- b\n")},
		"a/kustomization.yaml": {Data: []byte("apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources:\n- s.yaml\n")},
		"b/kustomization.yaml": {Data: []byte("apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources:\n- c.yaml\n")},
		"a/s.yaml":             {Data: []byte(text)},
		"b/c.yaml":             {Data: []byte("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: plain\n")},
	}
	for name, tree := range map[string]fs.FS{"OfGit": listing{newHashed(files)}, "OfAnArtifact": files} {
		t.Run(name, func(t *testing.T) {
			cache := build.NewCache(build.CacheLimits{})
			look := func(tree fs.FS) (content, codes string) {
				t.Helper()
				units, err := cache.Build(t.Context(), tree, ".", build.DefaultLimits())
				if err != nil {
					t.Fatal(err)
				}
				for _, u := range units {
					for _, o := range u.Objects {
						content += string(o.YAML)
					}
					for _, f := range u.Findings {
						codes += f.Code + " " + f.File + "; "
					}
				}
				return content, codes
			}
			for i := range 2 { // the second time as the cache has it
				if content, codes := look(ada.keys.Tree(tree)); !strings.Contains(content, "hunter2") || codes != "" {
					t.Errorf("with the key, time %d: %s, %s", i, content, codes)
				}
				content, codes := look(grace.keys.Tree(tree))
				if strings.Contains(content, "hunter2") || !strings.Contains(content, "name: plain") || codes != finding.DecryptionFailed+" a/s.yaml; " {
					t.Errorf("with another key, time %d: %s, %s", i, content, codes)
				}
				if content, codes := look(tree); strings.Contains(content, "hunter2") || codes != "" {
					t.Errorf("without one, time %d: %s, %s", i, content, codes)
				}
			}
		})
	}
}

type sealing struct {
	key  sealed.Key
	keys *sops.Keys
}

func newSealed(t *testing.T) sealing {
	t.Helper()
	key, err := sealed.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	keys, err := sops.KeysOf(map[string][]byte{"a.agekey": []byte(key.Private())})
	if err != nil {
		t.Fatal(err)
	}
	return sealing{key, keys}
}
