// SPDX-License-Identifier: Apache-2.0

package loop

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/espalier-dev/espalier/reconciler/condition"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/gitserver"
	"github.com/espalier-dev/espalier/test/harness"
)

// TestSignedCommits follows a branch whose commits must be signed: what is not
// goes nowhere, the status branch, which is signed as well, says so, and what runs
// stays.
func TestSignedCommits(t *testing.T) {
	t.Parallel()
	team := newTeam(t, "signed")
	ada, err := gitserver.PGPKey("Ada", "")
	if err != nil {
		t.Fatal(err)
	}
	lock, err := gitserver.SSHKey("")
	if err != nil {
		t.Fatal(err)
	}
	mustCreate(t, team, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: team.Namespace, Name: "signers"},
		StringData: map[string]string{"ada.asc": ada.Public},
	})
	files := onlyInference(t)
	unsigned := push(t, team, files, "models: nobody's")
	s := team.RepoSync(moved)
	s.Spec.Source.Git.Verify = &v1alpha1.GitVerification{SecretRef: v1alpha1.LocalObjectReference{Name: "signers"}}
	s.Spec.Report.Commit.Signing = &v1alpha1.CommitSigning{SecretRef: v1alpha1.LocalObjectReference{Name: "espalier-key"}}
	apply(t, team, s)
	syncCondition(t, team, v1alpha1.ConditionReported, v1alpha1.ReasonSigningFailed)
	mustCreate(t, team, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: team.Namespace, Name: "espalier-key"},
		StringData: map[string]string{"identity": lock.Private},
	})
	syncCondition(t, team, v1alpha1.ConditionVerified, v1alpha1.ReasonInvalidCommitSignature)
	nothingApplied(t, team)
	readme(t, team, "telling what is missing", func(text string) bool {
		return strings.Contains(text, "**Not applied.** Commit "+unsigned+" carries no signature")
	})

	raw, err := team.Git.RawCommit(team.Repo, team.StatusBranch())
	if err != nil || !strings.Contains(raw, "\ngpgsig -----BEGIN SSH SIGNATURE-----\n") {
		t.Errorf("the status commit is signed itself: %v\n%s", err, raw)
	}

	appliedCommit(t, team, signHead(t, team, ada))
	ready(t, team, harness.InferenceName)
	generation := workspace(team, harness.InferenceName)
	if err := harness.Until(patient(t), team.Stand, generation, "there", func(*v1alpha1.Workspace) bool { return true }); err != nil {
		t.Fatal(err)
	}

	replace(t, files, inferenceFile, "32768", "8192")
	push(t, team, files, "models: shorter")
	stranger := signHead(t, team, lock)
	err = harness.Until(patient(t), team.Stand, repoSync(team), "stopped by the stranger's signature", func(s *v1alpha1.RepoSync) bool {
		c := condition.Get(s, v1alpha1.ConditionVerified)
		return c != nil && c.Reason == v1alpha1.ReasonInvalidCommitSignature && condition.Is(s, v1alpha1.ConditionStalled) &&
			strings.Contains(c.Message, "Commit "+stranger+" is not verified by the keys of Secret signed/signers") && strings.Contains(c.Message, "SSH key SHA256:")
	})
	if err != nil {
		t.Fatal(err)
	}
	readme(t, team, "naming the stranger's commit", func(text string) bool { return strings.Contains(text, "**Not applied.** Commit "+stranger) })
	w := ready(t, team, harness.InferenceName)
	if w.Generation != generation.Generation || w.Spec.Inference.ContextLength != 32768 {
		t.Errorf("what runs stays as it is: context %d, generation %d, was %d", w.Spec.Inference.ContextLength, w.Generation, generation.Generation)
	}

	edit(t, team, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: team.Namespace, Name: "signers"}}, `{"stringData":{"ci.sshpub":"`+strings.TrimSpace(lock.Public)+`"}}`)
	appliedCommit(t, team, stranger)
	readme(t, team, "quiet again", func(text string) bool { return !strings.Contains(text, "Not applied") })
}

// signHead signs the newest commit of main, in the place of the unsigned one.
func signHead(t *testing.T, team *harness.Team, key gitserver.Key) string {
	t.Helper()
	hash, err := team.Git.SignHead(team.Repo, "main", key)
	if err != nil {
		t.Fatal(err)
	}
	return hash
}
