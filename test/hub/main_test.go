// SPDX-License-Identifier: Apache-2.0

// Package hub tests a RepoSync that applies to another cluster by a kubeconfig: two
// real control planes, a controller of the shipped rights in each, and a Git server
// that only the first of them, the hub, knows.
package hub

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/reconciler/condition"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/cluster"
	"github.com/espalier-dev/espalier/test/harness"
)

// patience bounds every wait: it is only used up when something is broken.
const patience = 150 * time.Second

// Names of what the hub is told of the spoke.
const (
	namespace  = "models"
	kubeconfig = "spoke"
)

// world is a hub and a spoke, and a team on the hub.
type world struct {
	*harness.Team
	spoke *harness.Stand
	t     *testing.T
	// said is what the kubeconfigs hold and nobody may tell.
	said []string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t}
	hub := w.stand(harness.Options{Parts: cluster.APIServer, Issuer: issuer, Out: os.Stderr})
	w.spoke = w.stand(harness.Options{
		Authentication: w.trusting(hub),
		CreateDelay:    500 * time.Millisecond, GPUDelay: 300 * time.Millisecond, DeleteDelay: 300 * time.Millisecond,
		JobDuration: time.Second, PollInterval: 200 * time.Millisecond,
	})
	var err error
	if w.Team, err = hub.NewTeam(t.Context(), namespace); err != nil {
		t.Fatal(err)
	}
	// Of Git the spoke needs nothing, and of Secrets what its pods name.
	for _, o := range []client.Object{
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}},
		&corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: harness.PushSecret},
			Type:       corev1.SecretTypeDockerConfigJson,
			StringData: map[string]string{corev1.DockerConfigJsonKey: `{"auths":{}}`},
		},
	} {
		if err := w.spoke.Client.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	for _, at := range []*harness.Stand{w.spoke, hub} { // the hub plays another cluster too
		w.kubectl(at, "apply", "-f", filepath.Join(root(t), "docs", "hub-account.yaml"))
	}
	return w
}

// stand starts one of the two, with its controller.
func (w *world) stand(o harness.Options) *harness.Stand {
	w.t.Helper()
	s, err := harness.Start(w.t.Context(), o)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		if w.t.Failed() {
			log, _ := os.ReadFile(s.ControllerLog())
			lines := strings.Split(string(log), "\n")
			w.t.Logf("controller log:\n%s", strings.Join(lines[max(0, len(lines)-40):], "\n"))
		}
		if err := s.Stop(); err != nil {
			w.t.Error(err)
		}
	})
	if err := s.StartController(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	return s
}

func root(t *testing.T) string {
	t.Helper()
	dir, err := cluster.Root()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func (w *world) kubectl(at *harness.Stand, args ...string) string {
	w.t.Helper()
	out, err := at.Cluster.Kubectl(w.t.Context(), args...)
	if err != nil {
		w.t.Fatal(err)
	}
	return out
}

// config is a kubeconfig of a cluster with a token of the account hub there, which ends
// with the Secret of the name session.
func (w *world) config(at *harness.Stand, session string) *api.Config {
	w.t.Helper()
	kube, err := kubernetes.NewForConfig(at.Cluster.Config)
	if err != nil {
		w.t.Fatal(err)
	}
	bound, err := kube.CoreV1().Secrets(namespace).Create(w.t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: session}}, metav1.CreateOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	token, err := kube.CoreV1().ServiceAccounts(namespace).CreateToken(w.t.Context(), "hub", &authenticationv1.TokenRequest{
		Spec: authenticationv1.TokenRequestSpec{
			ExpirationSeconds: ptr.To[int64](24 * 60 * 60),
			BoundObjectRef:    &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Secret", Name: session, UID: bound.UID},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	config, err := clientcmd.LoadFromFile(at.Cluster.Kubeconfig)
	if err == nil {
		err = api.MinifyConfig(config)
	}
	if err == nil {
		err = api.FlattenConfig(config)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	for name := range config.AuthInfos {
		config.AuthInfos[name] = &api.AuthInfo{Token: token.Status.Token}
	}
	w.said = append(w.said, token.Status.Token)
	for _, c := range config.Clusters {
		w.said = append(w.said, strings.TrimPrefix(c.Server, "https://"))
	}
	return config
}

func only[T any](m map[string]T) T {
	for _, v := range m {
		return v
	}
	panic("it holds nothing")
}

// tell writes the Secret that spec.kubeConfig names, under a key.
func (w *world) tell(key string, config *api.Config) {
	w.t.Helper()
	text, err := clientcmd.Write(*config)
	if err != nil {
		w.t.Fatal(err)
	}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: kubeconfig}}
	err = w.Client.Get(w.t.Context(), client.ObjectKeyFromObject(secret), secret)
	secret.Data = map[string][]byte{key: text}
	switch {
	case apierrors.IsNotFound(err):
		err = w.Client.Create(w.t.Context(), secret)
	case err == nil:
		err = w.Client.Update(w.t.Context(), secret)
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) patient() context.Context {
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	w.t.Cleanup(cancel)
	return ctx
}

func (w *world) sync() *v1alpha1.RepoSync {
	return &v1alpha1.RepoSync{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: w.Sync}}
}

// says waits until the RepoSync's Ready says why not, in words.
func (w *world) says(reason string, words ...string) {
	w.t.Helper()
	err := harness.Until(w.patient(), w.Stand, w.sync(), reason+": "+strings.Join(words, ", "), func(s *v1alpha1.RepoSync) bool {
		c := condition.Get(s, v1alpha1.ConditionReady)
		if c == nil || c.Reason != reason {
			return false
		}
		for _, word := range words {
			if !strings.Contains(c.Message, word) {
				return false
			}
		}
		return true
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) applied(commit string) {
	w.t.Helper()
	err := harness.Until(w.patient(), w.Stand, w.sync(), "synced to "+commit, func(s *v1alpha1.RepoSync) bool {
		return strings.HasSuffix(s.Status.LastAppliedRevision, commit) && condition.Is(s, v1alpha1.ConditionReady)
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) push(files map[string]string, message string) string {
	w.t.Helper()
	commit, err := w.Push(files, message)
	if err != nil {
		w.t.Fatal(err)
	}
	return commit
}

func (w *world) edit(patch string) {
	w.t.Helper()
	if err := w.Client.Patch(w.t.Context(), w.sync(), client.RawPatch("application/merge-patch+json", []byte(patch))); err != nil {
		w.t.Fatal(err)
	}
}

func workspace(name string) *v1alpha1.Workspace {
	return &v1alpha1.Workspace{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
}

// reports waits until the README of the hub's status branch is as said.
func (w *world) reports(what string, holds func(string) bool) {
	w.t.Helper()
	var text string
	err := wait.PollUntilContextCancel(w.patient(), 100*time.Millisecond, true, func(context.Context) (bool, error) {
		text, _ = w.Git.ReadFile(w.Repo, w.StatusBranch(), "README.md")
		return holds(text), nil
	})
	if err != nil {
		w.t.Fatalf("the report never was %s; last seen:\n%s", what, text)
	}
}
