// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/example"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// The V100 size that Azure retired, and the T4 size that the sample moves it to.
const (
	RetiredSize = "Standard_NC6s_v3"
	MovedToSize = "Standard_NC4as_T4_v3"
)

// Names of the sample repository's Workspaces, and of the Secrets beside them.
const (
	TuningName    = "workspace-tuning-phi-3"
	InferenceName = "phi-4-mini"
	PushSecret    = "registry-push"
	GitSecret     = "models-git"
)

// Team is one team on a Stand: a namespace, a repository and a RepoSync.
type Team struct {
	*Stand
	Namespace, Repo, Sync string
}

// NewTeam makes the namespace, the repository and the Secrets of a team, which
// has no RepoSync yet.
func (s *Stand) NewTeam(ctx context.Context, namespace string) (*Team, error) {
	t := &Team{Stand: s, Namespace: namespace, Repo: namespace, Sync: "models"}
	if err := s.Git.Create(t.Repo); err != nil {
		return nil, fmt.Errorf("creating the repository: %w", err)
	}
	objects := []client.Object{
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}},
		&corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: GitSecret},
			StringData: map[string]string{"username": GitUser, "password": GitPassword},
		},
		&corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: PushSecret},
			Type:       corev1.SecretTypeDockerConfigJson,
			StringData: map[string]string{corev1.DockerConfigJsonKey: `{"auths":{"registry.example.com":{"username":"ci","password":"unused-here"}}}`},
		},
	}
	for _, o := range objects {
		if err := s.Client.Create(ctx, o); err != nil {
			return nil, fmt.Errorf("creating %T %s: %w", o, o.GetName(), err)
		}
	}
	return t, nil
}

// Example returns the files of the sample repository.
func Example() (map[string]string, error) {
	files, err := example.Files(example.Options{})
	if err != nil {
		return nil, fmt.Errorf("reading the sample repository: %w", err)
	}
	return files, nil
}

// RepoSync is the sample's, pointed at the team's repository: it looks every
// second, and folds reports within a second.
func (t *Team) RepoSync(substitutions map[string]string) *v1alpha1.RepoSync {
	second := metav1.Duration{Duration: time.Second}
	return &v1alpha1.RepoSync{
		ObjectMeta: metav1.ObjectMeta{Namespace: t.Namespace, Name: t.Sync},
		Spec: v1alpha1.RepoSyncSpec{
			Source: v1alpha1.Source{Git: &v1alpha1.GitSource{
				URL: t.Git.URL(t.Repo), Ref: v1alpha1.GitRef{Branch: "main"}, SecretRef: &v1alpha1.LocalObjectReference{Name: GitSecret},
			}},
			Path: repolayout.PathRoot(example.Staging), Interval: second, Timeout: metav1.Duration{Duration: 20 * time.Second},
			Substitutions: substitutions,
			Report:        &v1alpha1.Report{Commit: &v1alpha1.CommitReport{MinInterval: second}},
		},
	}
}

// StatusBranch is where the team's readiness is written to.
func (t *Team) StatusBranch() string {
	return repolayout.StatusBranch(ClusterName, t.Namespace, t.Sync)
}

// Push pushes a tree to main and returns the commit.
func (t *Team) Push(files map[string]string, message string) (string, error) {
	return t.Git.Push(t.Repo, "main", files, message)
}

// Until looks at an object until what is said of it holds. On a timeout the
// error tells what was seen last.
func Until[T client.Object](ctx context.Context, s *Stand, o T, what string, holds func(T) bool) error {
	key := client.ObjectKeyFromObject(o)
	seen := "nothing"
	err := wait.PollUntilContextCancel(ctx, 50*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		err := s.Client.Get(ctx, key, o)
		if err != nil {
			seen = err.Error()
		} else {
			seen = describe(o)
		}
		return err == nil && holds(o), nil
	})
	if err != nil {
		return fmt.Errorf("waiting for %T %s to be %s: %w; last seen: %s", o, key, what, err, seen)
	}
	return nil
}

// Gone waits until an object is not there any more.
func Gone(ctx context.Context, s *Stand, o client.Object) error {
	key := client.ObjectKeyFromObject(o)
	err := wait.PollUntilContextCancel(ctx, 50*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		err := s.Client.Get(ctx, key, o)
		return client.IgnoreNotFound(err) == nil && err != nil, nil
	})
	if err != nil {
		return fmt.Errorf("waiting for %T %s to go: %w; last seen: %s", o, key, err, describe(o))
	}
	return nil
}

func describe(o client.Object) string {
	holder, ok := o.(interface{ GetConditions() []metav1.Condition })
	if !ok {
		return o.GetName()
	}
	text := ""
	for _, c := range holder.GetConditions() {
		text += fmt.Sprintf("\n  %s=%s %s: %s", c.Type, c.Status, c.Reason, c.Message)
	}
	return text
}
