// SPDX-License-Identifier: Apache-2.0

package reposync

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/espalier-dev/espalier/reconciler/account"
	"github.com/espalier-dev/espalier/reconciler/fault"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// TestAccountGone: an account that was deleted is nobody, whatever rights are left
// bound to its name: nothing is put back and nothing is taken down as it.
func TestAccountGone(t *testing.T) {
	for name, c := range map[string]struct {
		reason  string
		objects []client.Object
		refused string // reason of the fault
		left    string // after taking down
	}{
		"There": {
			"It acts.", []client.Object{&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "models", Name: "writer"}}, appliedBy("team", "models", "a", nil)},
			"", "",
		},
		"Gone":         {"Only its RoleBinding is left.", []client.Object{appliedBy("team", "models", "a", nil)}, v1alpha1.ReasonServiceAccountNotFound, "models/a"},
		"NothingToEnd": {"The namespace goes, and took the Workspaces with the account: nobody has to act.", nil, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := team()
			s.Spec.ServiceAccountName, s.Status.Inventory = "writer", listed("models/a")
			r := newReconciler(t, interceptor.Funcs{}, append(c.objects, s)...)
			r.Accounts = account.New(account.Options{Config: &rest.Config{}, Client: r.Client, Reader: r.Reader})
			p := passOf(s, built{})
			p.as = r.Accounts.Sync(s)
			p.kept.allowed = permission{p.kept.built.revision, s.Generation, p.as} // of an earlier pass
			if err := r.access(t.Context(), p.in(r)); len(c.objects) > 0 && (fault.Reason(err, "") != c.refused || fault.IsTerminal(err) != (c.refused != "")) {
				t.Errorf("%s\na pass goes on with %v", c.reason, err)
			}
			gone, err := r.takeDown(t.Context(), r.own(), s)
			if fault.Reason(err, "") != c.refused || gone != (c.refused == "") {
				t.Errorf("%s\ntaking down: gone %v, %v", c.reason, gone, err)
			}
			if got := strings.Join(names(t, r), " "); got != c.left {
				t.Errorf("%s\nleft: %q, want %q", c.reason, got, c.left)
			}
		})
	}
}
