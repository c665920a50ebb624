// SPDX-License-Identifier: Apache-2.0

package build_test

import (
	"errors"
	"io/fs"
	"os"
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
					for _, o := range u.Objects() {
						content += string(o.YAML())
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

// awayOnce is a vault that is away at first.
type awayOnce struct{ asked int }

func (a *awayOnce) Decrypt(sops.VaultKey, []byte) ([]byte, error) {
	a.asked++
	return nil, errors.New("it is away")
}

// TestVaultIsAskedAgain: what a vault did not open is not kept, though no file changes.
func TestVaultIsAskedAgain(t *testing.T) {
	text, err := os.ReadFile("../sops/testdata/vault.yaml")
	if err != nil {
		t.Fatal(err)
	}
	files := fstest.MapFS{
		"kustomization.yaml": {Data: []byte("apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources:\n- s.yaml\n")},
		"s.yaml":             {Data: text},
	}
	cache, v := build.NewCache(build.CacheLimits{}), &awayOnce{}
	for i := range 3 {
		units, err := cache.Build(t.Context(), sops.Keys{}.Asking(v, "a").Tree(listing{newHashed(files)}), ".", build.DefaultLimits())
		if err != nil || len(units) != 1 || len(units[0].Findings) != 1 || units[0].Findings[0].Code != finding.DecryptionFailed || v.asked != i+1 {
			t.Fatalf("time %d: %+v, %v, asked %d times", i, units, err, v.asked)
		}
	}
}
