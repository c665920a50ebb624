// SPDX-License-Identifier: Apache-2.0

package account_test

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/espalier-dev/espalier/reconciler/account"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

func TestOfWorkspace(t *testing.T) {
	sync := func(name string, holds ...string) *v1alpha1.RepoSync {
		s := &v1alpha1.RepoSync{ObjectMeta: metav1.ObjectMeta{Namespace: "team-a", Name: "models"}}
		s.Spec.ServiceAccountName = name
		for _, w := range holds {
			s.Status.Inventory = append(s.Status.Inventory, v1alpha1.InventoryEntry{ID: w + "_espalier.dev_Workspace"})
		}
		return s
	}
	elsewhere := func(s *v1alpha1.RepoSync) *v1alpha1.RepoSync {
		s.Spec.KubeConfig = &v1alpha1.KubeConfig{SecretRef: &v1alpha1.SecretKeyReference{Name: "west"}}
		return s
	}
	team := account.Account{Namespace: "team-a", Name: "models"}
	for name, c := range map[string]struct {
		reason   string
		sync     *v1alpha1.RepoSync
		fallback string
		want     account.Account
	}{
		"Own":          {"Nobody has said anything: the controller acts, as it always did.", sync("", "team-a_phi"), "", account.Account{}},
		"NoSync":       {"By hand, or by Flux, where no default is set.", nil, "", account.Account{}},
		"NoSyncNobody": {"With a default, rights on Workspaces are not the controller's rights.", nil, "nobody", account.Account{Namespace: "team-a", Name: "nobody"}},
		"Held":         {"What a RepoSync applied is written as it acts.", sync("models", "team-a_a", "team-a_phi", "team-a_z"), "", team},
		"HeldDefault":  {"A RepoSync without an account acts as the default.", sync("", "team-a_phi"), "models", team},
		"HeldNamed":    {"Its own account goes before the default.", sync("models", "team-a_phi"), "nobody", team},
		"Claimed": {
			"A label borrows no account: whoever may write Workspaces only gets what he gets without one.",
			sync("models", "team-a_other"), "nobody", account.Account{Namespace: "team-a", Name: "nobody"},
		},
		"Dropped": {
			"Without a default it stays the account: that a RepoSync let go of a Workspace must not give it the controller's rights.",
			sync("models"), "", team,
		},
		"OtherCluster": {
			"What a RepoSync applied to another cluster, as an account of that one, is another Workspace.",
			elsewhere(sync("models", "team-a_phi")), "nobody", account.Account{Namespace: "team-a", Name: "nobody"},
		},
		"OtherClusterOwn":   {"By hand, as far as this cluster knows.", elsewhere(sync("models", "team-a_phi")), "", account.Account{}},
		"SameNameElsewhere": {"The inventory tells namespaces apart.", sync("models", "team-b_phi"), "nobody", account.Account{Namespace: "team-a", Name: "nobody"}},
	} {
		t.Run(name, func(t *testing.T) {
			ws := &v1alpha1.Workspace{ObjectMeta: metav1.ObjectMeta{Namespace: "team-a", Name: "phi"}}
			if got := account.OfWorkspace(ws, c.sync, c.fallback); got != c.want {
				t.Errorf("%s\ngot %v, want %v", c.reason, got, c.want)
			}
		})
	}
}

// TestOtherNamespace: a RepoSync that writes to another namespace acts there as
// the account of its own.
func TestOtherNamespace(t *testing.T) {
	s := &v1alpha1.RepoSync{ObjectMeta: metav1.ObjectMeta{Namespace: "platform", Name: "models"}}
	s.Spec.ServiceAccountName, s.Spec.TargetNamespace = "writer", "serving"
	s.Status.Inventory = []v1alpha1.InventoryEntry{{ID: "serving_phi_espalier.dev_Workspace"}}
	ws := &v1alpha1.Workspace{ObjectMeta: metav1.ObjectMeta{Namespace: "serving", Name: "phi", Labels: map[string]string{
		repolayout.LabelSyncName: "models", repolayout.LabelSyncNamespace: "platform",
	}}}
	if got := account.ClaimOf(ws).String(); got != "platform/models" {
		t.Errorf("it names %s", got)
	}
	if got := account.OfWorkspace(ws, s, "nobody").User(); got != "system:serviceaccount:platform:writer" {
		t.Errorf("it is written as %s", got)
	}
}
