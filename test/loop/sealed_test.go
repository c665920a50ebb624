// SPDX-License-Identifier: Apache-2.0

package loop

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/reconciler/condition"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/harness"
	"github.com/espalier-dev/espalier/test/sealed"
)

const sealedFile = "models/chat/token.yaml"

// sealedFiles are a repository that serves a model with a token, encrypted for keys.
func sealedFiles(t *testing.T, token string, keys ...sealed.Key) map[string]string {
	t.Helper()
	secret, err := sealed.YAML("apiVersion: v1\nkind: Secret\nmetadata:\n  name: hf\nstringData:\n  HF_TOKEN: "+token+"\n", keys...)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]string{
		"models/kustomization.yaml":      "resources:\n- chat\n",
		"models/chat/kustomization.yaml": "resources:\n- workspace.yaml\n- token.yaml\n",
		"models/chat/workspace.yaml": `apiVersion: espalier.dev/v1alpha1
kind: Workspace
metadata:
  name: chat
spec:
  resource:
    instanceType: Standard_NC24ads_A100_v4
  inference:
    preset: phi-4-mini-instruct
    accessSecret: hf
`,
		sealedFile: secret,
	}
}

func sealedKey(t *testing.T) sealed.Key {
	t.Helper()
	key, err := sealed.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// TestSealedSecrets follows a repository whose token SOPS has encrypted. Without the
// key nothing is applied; with it the Secret is what it was before it was encrypted;
// another key is taken up when it comes; what was changed goes nowhere; and nobody is
// told what the token is.
func TestSealedSecrets(t *testing.T) {
	t.Parallel()
	team := newTeam(t, "sealed")
	ada, grace := sealedKey(t), sealedKey(t)
	push(t, team, sealedFiles(t, "hunter2-one", ada), "models: serve with a token")
	sync := team.RepoSync(nil)
	sync.Spec.Path = "models"
	sync.Spec.Decryption = &v1alpha1.Decryption{Provider: v1alpha1.DecryptionSOPS, SecretRef: &v1alpha1.LocalObjectReference{Name: "sops"}}
	apply(t, team, sync)
	undecrypted(t, team, "secret sealed/sops of spec.decryption does not exist")
	nothingApplied(t, team)

	keys := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: team.Namespace, Name: "sops"}, StringData: map[string]string{"ada.agekey": ada.Private()}}
	mustCreate(t, team, keys)
	ready(t, team, "chat")
	holdsToken(t, team, "hunter2-one")
	one := inputDigest(t, team)

	push(t, team, sealedFiles(t, "hunter2-two", grace), "models: another key")
	undecrypted(t, team, "is encrypted for none of the keys that are there")
	holdsToken(t, team, "hunter2-one")
	edit(t, team, &corev1.Secret{ObjectMeta: keys.ObjectMeta}, `{"stringData":{"grace.agekey":"`+strings.ReplaceAll(grace.Private(), "\n", `\n`)+`"}}`)
	holdsToken(t, team, "hunter2-two")
	eventually(t, "pods that follow the token", func() bool { return inputDigest(t, team) != one })

	files := sealedFiles(t, "hunter2-three", grace)
	replace(t, files, sealedFile, "name: hf", "name: hg")
	push(t, team, files, "models: changed by hand")
	c := undecrypted(t, team, "its MAC does not match")
	if s := repoSync(team); team.Client.Get(t.Context(), client.ObjectKeyFromObject(s), s) != nil || !condition.Is(s, v1alpha1.ConditionStalled) {
		t.Errorf("only a commit can help: %+v", c)
	}
	holdsToken(t, team, "hunter2-two")
	told := readme(t, team, "telling that it is not applied", func(text string) bool { return strings.Contains(text, "its MAC does not match") })
	for what, text := range map[string]string{"the report": told, "the controller's log": logEnd(team), "an event": events(t, team)} {
		if strings.Contains(text, "hunter2") || strings.Contains(text, "AGE-SECRET") {
			t.Errorf("%s tells the token", what)
		}
	}
	commit := push(t, team, sealedFiles(t, "hunter2-four", grace), "models: as sops writes it")
	appliedCommit(t, team, commit)
	holdsToken(t, team, "hunter2-four")
}

// undecrypted waits until the RepoSync says why a file is not opened.
func undecrypted(t *testing.T, team *harness.Team, part string) *metav1.Condition {
	t.Helper()
	s := repoSync(team)
	err := harness.Until(patient(t), team.Stand, s, "not decrypted: "+part, func(s *v1alpha1.RepoSync) bool {
		c := condition.Get(s, v1alpha1.ConditionBuilt)
		return c != nil && c.Reason == v1alpha1.ReasonDecryptionFailed && strings.Contains(c.Message, part)
	})
	if err != nil {
		t.Fatal(err)
	}
	return condition.Get(s, v1alpha1.ConditionBuilt)
}

// holdsToken waits until the cluster's Secret has a token.
func holdsToken(t *testing.T, team *harness.Team, token string) {
	t.Helper()
	eventually(t, "a Secret with "+token, func() bool {
		secret := &corev1.Secret{}
		err := team.Client.Get(t.Context(), client.ObjectKey{Namespace: team.Namespace, Name: "hf"}, secret)
		return err == nil && string(secret.Data["HF_TOKEN"]) == token
	})
}

// inputDigest is what the pods say that they were made of.
func inputDigest(t *testing.T, team *harness.Team) string {
	t.Helper()
	found, err := team.Cluster.Kubectl(t.Context(), "get", "deployment", "chat", "--namespace", team.Namespace, "--output",
		`jsonpath={.spec.template.metadata.annotations.`+strings.ReplaceAll(repolayout.AnnotationInputDigest, ".", `\.`)+`}`)
	if err != nil || len(found) == 0 {
		t.Fatalf("no digest on the pods: %q (%v)", found, err)
	}
	return string(found)
}

func events(t *testing.T, team *harness.Team) string {
	t.Helper()
	found, err := team.Cluster.Kubectl(t.Context(), "get", "events,reposyncs,workspaces", "--namespace", team.Namespace, "--output", "yaml")
	if err != nil {
		t.Fatal(err)
	}
	return string(found)
}
