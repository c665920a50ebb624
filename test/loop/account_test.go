// SPDX-License-Identifier: Apache-2.0

package loop

import (
	"context"
	"strings"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/reconciler/condition"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/harness"
)

// controllerUser is who the controller is to the API server.
const controllerUser = "system:serviceaccount:espalier-system:espalier"

// TestServiceAccount syncs as an account of the team: with a right missing nothing
// is applied, and one line says which; with its rights all is written by it and
// by nobody else, which the API server itself sees to; without them again nothing
// is deleted.
func TestServiceAccount(t *testing.T) {
	t.Parallel()
	team := newTeam(t, "tenant")
	onlyTheAccountWrites(t, team)
	files := exampleFiles(t)
	commit := push(t, team, files, "models: both")
	s := team.RepoSync(moved)
	s.Spec.ServiceAccountName = "models"
	apply(t, team, s)

	deniedSync(t, team, v1alpha1.ReasonServiceAccountNotFound, "ServiceAccount tenant/models", "does not exist")
	newAccount(t, team, "models")
	deniedSync(t, team, v1alpha1.ReasonAccessDenied, "may not act as ServiceAccount tenant/models", "espalier-impersonate")
	grant(t, team, "espalier-impersonate", "ClusterRole", "espalier-impersonate", "espalier-system", "espalier")
	grant(t, team, "some", "Role", withoutDeployments(t, team), team.Namespace, "models")
	deniedSync(t, team, v1alpha1.ReasonAccessDenied,
		"ServiceAccount tenant/models may not create, patch deployments.apps in namespace tenant: nothing of main@sha1:"+commit+" was applied")
	nothingApplied(t, team)

	grant(t, team, "models", "ClusterRole", "espalier-team", team.Namespace, "models")
	appliedCommit(t, team, commit)
	ready(t, team, harness.InferenceName)
	ready(t, team, harness.TuningName)

	replace(t, files, listFile, tuningLine, "")
	appliedCommit(t, team, push(t, team, files, "models: no tuning"))
	if err := harness.Gone(patient(t), team.Stand, workspace(team, harness.TuningName)); err != nil {
		t.Fatal(err)
	}

	// From here on the controller does what the account may not: it ends work.
	policy := &admissionv1.ValidatingAdmissionPolicyBinding{ObjectMeta: metav1.ObjectMeta{Name: team.Namespace}}
	if err := team.Client.Delete(t.Context(), policy); err != nil {
		t.Fatal(err)
	}
	revoke(t, team, "models")
	revoke(t, team, "some")
	edit(t, team, workspace(team, harness.InferenceName), `{"spec":{"suspend":true}}`)
	for _, o := range []client.Object{deployment(team), pool(team, harness.InferenceName)} {
		if err := harness.Gone(patient(t), team.Stand, o); err != nil {
			t.Errorf("to stop paying needs no right: %v", err)
		}
	}
	if err := team.Client.Delete(t.Context(), repoSync(team)); err != nil {
		t.Fatal(err)
	}
	err := harness.Until(patient(t), team.Stand, repoSync(team), "denied to delete", func(s *v1alpha1.RepoSync) bool {
		c := condition.Get(s, v1alpha1.ConditionStalled)
		return c != nil && c.Reason == v1alpha1.ReasonAccessDenied && strings.Contains(c.Message, "deletionPolicy: Orphan")
	})
	if err != nil {
		t.Fatal(err)
	}
	grant(t, team, "models", "ClusterRole", "espalier-team", team.Namespace, "models")
	for _, o := range []client.Object{repoSync(team), workspace(team, harness.InferenceName)} {
		if err := harness.Gone(patient(t), team.Stand, o); err != nil {
			t.Error(err)
		}
	}
}

// TestDefaultServiceAccount: with --default-service-account nobody acts with the
// controller's rights, and a label that somebody wrote by hand borrows no account.
func TestDefaultServiceAccount(t *testing.T) {
	team := newTeam(t, "nobody")
	if err := team.StopController(); err != nil {
		t.Fatal(err)
	}
	other, err := team.StartReplica(patient(t), "--leader-elect=false", "--default-service-account=nobody")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := other.Stop(); err != nil {
			t.Error(err)
		}
		if err := team.StartController(context.Background()); err != nil { // t.Context() is over by now
			t.Error(err)
		}
	})
	grant(t, team, "espalier-impersonate", "ClusterRole", "espalier-impersonate", "espalier-system", "espalier")
	newAccount(t, team, "nobody")
	newAccount(t, team, "models")
	grant(t, team, "models", "ClusterRole", "espalier-team", team.Namespace, "models")

	commit := push(t, team, onlyInference(t), "models: a service")
	s := team.RepoSync(moved)
	s.Spec.Prune = ptr.To(false) // or it would delete what claims to be its own
	apply(t, team, s)
	deniedSync(t, team, v1alpha1.ReasonAccessDenied, "ServiceAccount nobody/nobody may not create, patch configmaps in namespace nobody")
	nothingApplied(t, team)

	edit(t, team, repoSync(team), `{"spec":{"serviceAccountName":"models"}}`)
	appliedCommit(t, team, commit)
	w := ready(t, team, harness.InferenceName)

	for name, labels := range map[string]map[string]string{
		"by-hand": nil,
		"claimed": {repolayout.LabelSyncName: team.Sync, repolayout.LabelSyncNamespace: team.Namespace},
	} {
		copied := &v1alpha1.Workspace{ObjectMeta: metav1.ObjectMeta{Namespace: team.Namespace, Name: name, Labels: labels}, Spec: w.Spec}
		if err := team.Client.Create(t.Context(), copied); err != nil {
			t.Fatal(err)
		}
		err := harness.Until(patient(t), team.Stand, copied, "denied", func(w *v1alpha1.Workspace) bool {
			c := condition.Get(w, v1alpha1.ConditionStalled)
			return c != nil && c.Reason == v1alpha1.ReasonAccessDenied && strings.Contains(c.Message, "ServiceAccount nobody/nobody may not create")
		})
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := harness.Gone(patient(t), team.Stand, pool(team, name)); err != nil {
			t.Errorf("%s: no node is bought: %v", name, err)
		}
		if err := team.Client.Delete(t.Context(), copied); err != nil {
			t.Error(err)
		}
		if err := harness.Gone(patient(t), team.Stand, copied); err != nil {
			t.Errorf("%s: its end needs no right: %v", name, err)
		}
	}
}

// deniedSync waits until the RepoSync is Stalled with a reason, in words.
func deniedSync(t *testing.T, team *harness.Team, reason string, words ...string) {
	t.Helper()
	err := harness.Until(patient(t), team.Stand, repoSync(team), "denied: "+strings.Join(words, ", "), func(s *v1alpha1.RepoSync) bool {
		stalled, applied := condition.Get(s, v1alpha1.ConditionStalled), condition.Get(s, v1alpha1.ConditionApplied)
		if stalled == nil || applied == nil || stalled.Reason != reason || applied.Reason != reason {
			return false
		}
		for _, word := range words {
			if !strings.Contains(stalled.Message, word) {
				return false
			}
		}
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
}

// nothingApplied: no object is there that came from Git.
func nothingApplied(t *testing.T, team *harness.Team) {
	t.Helper()
	found, err := team.Cluster.Kubectl(t.Context(), "get", "workspaces,gpunodepools,configmaps,persistentvolumeclaims", "--namespace", team.Namespace,
		"--selector", repolayout.LabelSyncName, "--output", "jsonpath={.items}")
	if err != nil || string(found) != "[]" {
		t.Fatalf("a part was applied: %s (%v)", found, err)
	}
}

func mustCreate(t *testing.T, team *harness.Team, o client.Object) {
	t.Helper()
	if err := team.Client.Create(t.Context(), o); err != nil {
		t.Fatal(err)
	}
}

// eventually waits for what no object of ours tells.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	err := wait.PollUntilContextCancel(patient(t), 100*time.Millisecond, true, func(context.Context) (bool, error) { return holds(), nil })
	if err != nil {
		t.Fatalf("waiting until %s: %v", what, err)
	}
}

func newAccount(t *testing.T, team *harness.Team, name string) {
	t.Helper()
	mustCreate(t, team, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: team.Namespace, Name: name}})
}

// grant binds a role in the team's namespace to an account.
func grant(t *testing.T, team *harness.Team, name, kind, role, namespace, account string) {
	t.Helper()
	mustCreate(t, team, &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: team.Namespace, Name: name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: kind, Name: role},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: namespace, Name: account}},
	})
}

func revoke(t *testing.T, team *harness.Team, name string) {
	t.Helper()
	if err := team.Client.Delete(t.Context(), &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: team.Namespace, Name: name}}); err != nil {
		t.Fatal(err)
	}
}

// withoutDeployments makes a Role of the team's namespace with all that
// espalier-team has, but Deployments.
func withoutDeployments(t *testing.T, team *harness.Team) string {
	t.Helper()
	all := &rbacv1.ClusterRole{}
	if err := team.Client.Get(t.Context(), client.ObjectKey{Name: "espalier-team"}, all); err != nil {
		t.Fatal(err)
	}
	role := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: team.Namespace, Name: "without-deployments"}, Rules: all.Rules}
	for i, rule := range role.Rules {
		if rule.APIGroups[0] == "apps" {
			role.Rules[i].Resources = []string{"statefulsets", "controllerrevisions"}
		}
	}
	mustCreate(t, team, role)
	return role.Name
}

// onlyTheAccountWrites makes the API server refuse what the controller writes as
// itself: what is there then, somebody else has written.
func onlyTheAccountWrites(t *testing.T, team *harness.Team) {
	t.Helper()
	rules := func(group string, operations []admissionv1.OperationType, resources ...string) admissionv1.NamedRuleWithOperations {
		return admissionv1.NamedRuleWithOperations{RuleWithOperations: admissionv1.RuleWithOperations{
			Operations: operations, Rule: admissionv1.Rule{APIGroups: []string{group}, APIVersions: []string{"*"}, Resources: resources},
		}}
	}
	all := []admissionv1.OperationType{admissionv1.Create, admissionv1.Update, admissionv1.Delete}
	mustCreate(t, team, &admissionv1.ValidatingAdmissionPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: team.Namespace},
		Spec: admissionv1.ValidatingAdmissionPolicySpec{
			MatchConstraints: &admissionv1.MatchResources{ResourceRules: []admissionv1.NamedRuleWithOperations{
				rules("", all, "configmaps", "services", "persistentvolumeclaims"),
				rules("apps", all, "deployments", "statefulsets", "controllerrevisions"),
				rules("batch", all, "jobs"), rules("policy", all, "poddisruptionbudgets"),
				// Finalizers of both, and giving nodes back, are the controller's own.
				rules(v1alpha1.Group, []admissionv1.OperationType{admissionv1.Create, admissionv1.Delete}, "workspaces"),
				rules(v1alpha1.Group, []admissionv1.OperationType{admissionv1.Create}, "gpunodepools"),
			}},
			Validations: []admissionv1.Validation{{
				Expression: "request.userInfo.username != '" + controllerUser + "'", Message: "the controller itself writes here",
			}},
		},
	})
	mustCreate(t, team, &admissionv1.ValidatingAdmissionPolicyBinding{
		ObjectMeta: metav1.ObjectMeta{Name: team.Namespace},
		Spec: admissionv1.ValidatingAdmissionPolicyBindingSpec{
			PolicyName: team.Namespace, ValidationActions: []admissionv1.ValidationAction{admissionv1.Deny},
			MatchResources: &admissionv1.MatchResources{NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: team.Namespace}}},
		},
	})
	config := rest.CopyConfig(team.Cluster.Config)
	config.Impersonate.UserName = controllerUser
	controller, err := client.New(config, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	probe := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: team.Namespace, Name: "probe"}}
	eventually(t, "the policy is in force", func() bool {
		err := controller.Create(t.Context(), probe.DeepCopy(), client.DryRunAll)
		return err != nil && strings.Contains(err.Error(), "the controller itself writes here")
	})
}
