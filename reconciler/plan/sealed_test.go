// SPDX-License-Identifier: Apache-2.0

package plan_test

import (
	"strings"
	"testing"

	"github.com/espalier-dev/espalier/reconciler/plan"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/sealed"
)

// TestSealed: a Secret that was encrypted anew looks changed; the plan says so, and
// that it cannot know, and plans all else.
func TestSealed(t *testing.T) {
	key, err := sealed.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	encrypt := func() string {
		text, err := sealed.YAML("apiVersion: v1\nkind: Secret\nmetadata:\n  name: token\nstringData:\n  HF_TOKEN: hunter2\n", key)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	serving := service("a", "replicas: 1", "replicas: 1\n    accessSecret: token")
	sync := team()
	sync.Spec.Decryption = &v1alpha1.Decryption{Provider: v1alpha1.DecryptionSOPS, SecretRef: &v1alpha1.LocalObjectReference{Name: "keys"}}
	p := scenario{
		sync: sync,
		base: files{"s.yaml": encrypt(), "a.yaml": serving},
		head: files{"s.yaml": encrypt(), "a.yaml": serving, "b.yaml": service("b")},
	}.plan(t)
	if p.Refused {
		t.Errorf("what is not known is no refusal: %+v", p.Findings)
	}
	text := p.Markdown(0)
	for _, part := range []string{"content of Secret/token", "`models/b`", "What SOPS encrypted: no plan has the key", plan.NotDecrypted, "Secret token"} {
		if !strings.Contains(text, part) {
			t.Errorf("%q is not said:\n%s", part, text)
		}
	}
	for _, hidden := range []string{"hunter2", "ENC["} {
		if strings.Contains(text, hidden) {
			t.Errorf("%q is shown", hidden)
		}
	}
}
