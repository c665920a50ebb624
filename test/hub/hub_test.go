// SPDX-License-Identifier: Apache-2.0

package hub

import (
	"maps"
	"os"
	"strings"
	"syscall"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd/api"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/harness"
)

// TestHubAndSpoke is the life of a RepoSync that applies to another cluster: refused
// kubeconfigs, a push that is served there and reported from here, a token that is
// replaced, a cluster that is away, an account of the hub that signs in without a
// kubeconfig, an account of that cluster, a kubeconfig that leads elsewhere, and the end.
func TestHubAndSpoke(t *testing.T) {
	w := newWorld(t)
	files, err := harness.Example()
	if err != nil {
		t.Fatal(err)
	}
	first := w.push(files, "models: tune phi-3, serve phi-4-mini")
	sync := w.RepoSync(map[string]string{harness.RetiredSize: harness.MovedToSize})
	sync.Spec.KubeConfig = &v1alpha1.KubeConfig{SecretRef: &v1alpha1.SecretKeyReference{Name: kubeconfig}}
	if err := w.Client.Create(t.Context(), sync); err != nil {
		t.Fatal(err)
	}
	w.refused()
	w.served(first)
	files = w.pruned(files)
	w.rotated()
	w.away(files)
	w.federated(files)
	w.impersonated(files)
	w.elsewhere()
	w.ended()
	w.silent()
}

// refused are kubeconfigs that are taken from nobody.
func (w *world) refused() {
	w.says(v1alpha1.ReasonKubeConfigInvalid, "Secret models/spoke", "does not exist")
	good := w.config(w.spoke, "session-1")
	w.tell("kubeconfig", good)
	w.says(v1alpha1.ReasonKubeConfigInvalid, "under the key value or value.yaml")
	w.edit(`{"spec":{"kubeConfig":{"secretRef":{"key":"config"}}}}`)
	w.says(v1alpha1.ReasonKubeConfigInvalid, "under the key config")
	w.edit(`{"spec":{"kubeConfig":{"secretRef":{"key":null}}}}`)

	program := good.DeepCopy()
	user := only(program.AuthInfos)
	user.Token, user.Exec = "", &api.ExecConfig{APIVersion: "client.authentication.k8s.io/v1", Command: "/bin/sh", InteractiveMode: api.NeverExecInteractiveMode}
	w.tell("value", program)
	w.says(v1alpha1.ReasonKubeConfigInvalid, "--insecure-kubeconfig-exec")

	unverified := good.DeepCopy()
	only(unverified.Clusters).InsecureSkipTLSVerify, only(unverified.Clusters).CertificateAuthorityData = true, nil
	w.tell("value", unverified)
	w.says(v1alpha1.ReasonKubeConfigInvalid, "--insecure-kubeconfig-tls")

	file := good.DeepCopy()
	only(file.AuthInfos).Token, only(file.AuthInfos).TokenFile = "", "/var/run/secrets/kubernetes.io/serviceaccount/token"
	w.tell("value", file)
	w.says(v1alpha1.ReasonKubeConfigInvalid, "read from files")

	nobody := good.DeepCopy()
	only(nobody.Clusters).Server = "https://127.0.0.1:1"
	w.tell("value", nobody)
	w.says(v1alpha1.ReasonClusterUnreachable, "refuses the connection")

	foreign := good.DeepCopy()
	only(foreign.Clusters).CertificateAuthorityData = only(w.config(w.Stand, "session-of-the-hub").Clusters).CertificateAuthorityData
	w.tell("value", foreign)
	w.says(v1alpha1.ReasonClusterUnreachable, "certificate")

	w.tell("value.yaml", good)
}

// served: the push runs in the spoke, by its own controller, and the hub tells of it.
func (w *world) served(commit string) {
	w.applied(commit)
	for _, name := range []string{harness.TuningName, harness.InferenceName} {
		o := workspace(name)
		if err := harness.Until(w.patient(), w.spoke, o, "Ready", func(o *v1alpha1.Workspace) bool { return isReady(o) }); err != nil {
			w.t.Fatal(err)
		}
		if o.Labels[repolayout.LabelSyncHub] == "" || o.Labels[repolayout.LabelSyncName] != w.Sync {
			w.t.Errorf("%s is not marked as the hub's: %v", name, o.Labels)
		}
	}
	w.reports("Ready for both", func(s string) bool {
		return strings.Count(s, "✅ Ready") == 2 && strings.Contains(s, commit[:7])
	})
	if err := harness.Until(w.patient(), w.Stand, w.sync(), "2/2", func(s *v1alpha1.RepoSync) bool {
		return s.Status.Workspaces == "2/2" && s.Status.Cluster != ""
	}); err != nil {
		w.t.Error(err)
	}
	if out := w.kubectl(w.Stand, "get", "workspaces,gpunodepools", "--all-namespaces", "--output", "name"); out != "" {
		w.t.Errorf("the hub runs nothing itself: %s", out)
	}
}

// pruned: what Git drops goes in the spoke.
func (w *world) pruned(files map[string]string) map[string]string {
	files = maps.Clone(files)
	const list = "clusters/staging/workspaces/kustomization.yaml"
	before := files[list]
	files[list] = strings.Join(without(strings.SplitAfter(before, "\n"), "phi-3"), "")
	if files[list] == before {
		w.t.Fatalf("the sample's %s no longer names phi-3:\n%s", list, before)
	}
	commit := w.push(files, "models: tuning is done")
	w.applied(commit)
	if err := harness.Gone(w.patient(), w.spoke, workspace(harness.TuningName)); err != nil {
		w.t.Fatal(err)
	}
	w.reports("without what is gone", func(s string) bool { return !strings.Contains(s, harness.TuningName) })
	return files
}

func without(lines []string, word string) []string {
	var kept []string
	for _, line := range lines {
		if !strings.Contains(line, word) {
			kept = append(kept, line)
		}
	}
	return kept
}

// rotated: a token that ends is told, and a new one is used without a restart.
func (w *world) rotated() {
	w.kubectl(w.spoke, "delete", "secret", "session-1", "--namespace", namespace)
	w.says(v1alpha1.ReasonAuthFailed, "does not take its credentials", "Secret models/spoke")
	w.tell("value", w.config(w.spoke, "session-2"))
	if err := harness.Until(w.patient(), w.Stand, w.sync(), "Ready again", isReady[*v1alpha1.RepoSync]); err != nil {
		w.t.Fatal(err)
	}
}

// away: a spoke that answers nobody is told, holds up no other RepoSync, loses nothing,
// and gets what was pushed meanwhile when it is back.
func (w *world) away(files map[string]string) {
	pid := w.spoke.Cluster.PID("kube-apiserver")
	if pid == 0 {
		w.t.Fatal("the API server of the spoke has no process")
	}
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		w.t.Fatal(err)
	}
	resumed := false
	resume := func() {
		if !resumed {
			resumed = true
			_ = syscall.Kill(pid, syscall.SIGCONT)
		}
	}
	w.t.Cleanup(resume)
	const config = "models/phi-4-mini/workspace.yaml"
	files = maps.Clone(files)
	files[config] = strings.Replace(files[config], "contextLength: 32768", "contextLength: 16384", 1)
	commit := w.push(files, "models: shorter context")
	w.says(v1alpha1.ReasonClusterUnreachable, "does not answer in time", "what runs there runs on")

	beside, err := w.NewTeam(w.t.Context(), "beside")
	if err != nil {
		w.t.Fatal(err)
	}
	here := beside.RepoSync(nil)
	here.Spec.Path = "config"
	other, err := beside.Push(map[string]string{
		"config/kustomization.yaml": "resources: [config.yaml]\n",
		"config/config.yaml":        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: config}\n",
	}, "config: one")
	if err == nil {
		err = w.Client.Create(w.t.Context(), here)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	if err := harness.Until(w.patient(), w.Stand, here, "synced meanwhile", func(s *v1alpha1.RepoSync) bool {
		return strings.HasSuffix(s.Status.LastAppliedRevision, other)
	}); err != nil {
		w.t.Fatal(err)
	}
	resume()
	w.applied(commit)
	o := workspace(harness.InferenceName)
	if err := harness.Until(w.patient(), w.spoke, o, "at the shorter context", func(o *v1alpha1.Workspace) bool {
		return o.Spec.Inference != nil && o.Spec.Inference.ContextLength == 16384
	}); err != nil {
		w.t.Fatal(err)
	}
}

// impersonated: spec.serviceAccountName is an account of the spoke.
func (w *world) impersonated(files map[string]string) {
	w.kubectl(w.spoke, "create", "serviceaccount", "writer", "--namespace", namespace)
	w.edit(`{"spec":{"serviceAccountName":"writer"}}`)
	w.says(v1alpha1.ReasonAccessDenied, "The account of the kubeconfig may not act as ServiceAccount models/writer")
	w.kubectl(w.spoke, "create", "role", "act-as", "--namespace", namespace, "--verb=impersonate,get", "--resource=serviceaccounts", "--resource-name=writer")
	w.kubectl(w.spoke, "create", "rolebinding", "act-as", "--namespace", namespace, "--role=act-as", "--serviceaccount=models:hub")
	w.says(v1alpha1.ReasonAccessDenied, "ServiceAccount models/writer may not create, patch", "workspaces.espalier.dev in namespace models")
	w.kubectl(w.spoke, "create", "rolebinding", "writer", "--namespace", namespace, "--role=hub", "--serviceaccount=models:writer")
	w.applied(w.push(files, "models: the longer context again"))
}

// elsewhere: a kubeconfig that leads to another cluster is a question, and not the end
// of what runs in the first.
func (w *world) elsewhere() {
	w.edit(`{"spec":{"serviceAccountName":null}}`)
	w.tell("value", w.config(w.Stand, "session-of-the-hub-2"))
	w.says(v1alpha1.ReasonClusterChanged, "objects were applied to the cluster whose kube-system has UID", repolayout.AnnotationLeaveCluster+"=")
	w.tell("value", w.config(w.spoke, "session-3"))
	if err := harness.Until(w.patient(), w.Stand, w.sync(), "Ready where it was", isReady[*v1alpha1.RepoSync]); err != nil {
		w.t.Fatal(err)
	}
}

// ended: without the Secret nobody can delete what is there, and that is said; with it
// all goes.
func (w *world) ended() {
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: kubeconfig}}
	if err := w.Client.Delete(w.t.Context(), secret); err != nil {
		w.t.Fatal(err)
	}
	if err := w.Client.Delete(w.t.Context(), w.sync()); err != nil {
		w.t.Fatal(err)
	}
	w.says(v1alpha1.ReasonKubeConfigInvalid, "objects are not deleted", "deletionPolicy: Orphan")
	if out := w.kubectl(w.spoke, "get", "workspaces", "--namespace", namespace, "--output", "name"); !strings.Contains(out, harness.InferenceName) {
		w.t.Errorf("nothing was to go yet: %q", out)
	}
	w.tell("value", w.config(w.spoke, "session-4"))
	if err := harness.Gone(w.patient(), w.Stand, w.sync()); err != nil {
		w.t.Fatal(err)
	}
	if err := harness.Gone(w.patient(), w.spoke, workspace(harness.InferenceName)); err != nil {
		w.t.Fatal(err)
	}
}

// silent: nothing of a kubeconfig is in the log, in an event or in the report.
func (w *world) silent() {
	log, err := os.ReadFile(w.ControllerLog())
	if err != nil {
		w.t.Fatal(err)
	}
	events := w.kubectl(w.Stand, "get", "events.events.k8s.io", "--all-namespaces", "--output", "yaml")
	for _, secret := range w.said {
		for where, text := range map[string]string{"log": string(log), "events": events} {
			if own := strings.Contains(w.Cluster.Config.Host, secret); !own && strings.Contains(text, secret) {
				w.t.Errorf("%q of a kubeconfig is in the %s of the hub", secret, where)
			}
		}
	}
	for where, text := range map[string]string{"log": string(log), "events": events} {
		if strings.Contains(text, "eyJhbGci") {
			w.t.Errorf("a token is in the %s of the hub", where)
		}
	}
	if strings.Contains(string(log), "is forbidden: User \"system:serviceaccount:espalier-system:espalier\"") {
		w.t.Error("the hub uses a right that deploy/rbac does not give")
	}
}

func isReady[T interface{ GetConditions() []metav1.Condition }](o T) bool {
	for _, c := range o.GetConditions() {
		if c.Type == v1alpha1.ConditionReady {
			return c.Status == metav1.ConditionTrue
		}
	}
	return false
}
