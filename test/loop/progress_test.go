// SPDX-License-Identifier: Apache-2.0

package loop

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/reconciler/progress"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/harness"
)

// watchedRun does not end by itself.
const watchedRun = `apiVersion: espalier.dev/v1alpha1
kind: Workspace
metadata:
  name: watched
spec:
  resource: {instanceType: Standard_NC4as_T4_v3}
  tuning:
    preset: phi-3-mini-128k-instruct
    method: qlora
    input: {urls: ["https://example.com/data.jsonl"]}
    output: {image: "registry.example.com/models/watched:0.0.1", pushSecret: registry-push}
`

// TestProgress speaks as the trainer of a run does: with what its pod was given,
// and tokens that the API server has made. What it says reaches the status and an
// event; nobody else is believed.
func TestProgress(t *testing.T) {
	t.Parallel()
	team := newTeam(t, "progress")
	push(t, team, map[string]string{"models/kustomization.yaml": "resources: [watched.yaml]\n", "models/watched.yaml": watchedRun + endless}, "models: a run to watch")
	sync := team.RepoSync(nil)
	sync.Spec.Path = "models"
	apply(t, team, sync)
	w := workspace(team, "watched")
	if err := harness.Until(patient(t), team.Stand, w, "running", func(w *v1alpha1.Workspace) bool {
		return w.Status.Tuning != nil && w.Status.Tuning.Attempts == 1
	}); err != nil {
		t.Fatal(err)
	}
	pod := podOf(t, team, w.Status.Tuning.Run)
	call := trainerOf(t, team, pod)

	good := token(t, team, pod, progress.Audience)
	for reason, c := range map[string]struct {
		token  string
		status int
	}{
		"nobody":                            {"", http.StatusUnauthorized},
		"a token that is none":              {"eyJhbGciOiJSUzI1NiJ9.e30.e30", http.StatusForbidden},
		"a token for the API server itself": {token(t, team, pod, ""), http.StatusForbidden},
		"a token that is bound to no pod":   {token(t, team, nil, progress.Audience), http.StatusForbidden},
	} {
		if got := call(c.token, `{"trainerStatus":{"progressPercentage":99}}`); got != c.status {
			t.Errorf("%s was answered %d, want %d", reason, got, c.status)
		}
	}
	if got := call(good, `{"trainerStatus":{"progressPercentage":34,"metrics":[{"name":"loss","value":"0.8123"},{"name":"current_step","value":"340"},{"name":"total_steps","value":"1000"}]}}`); got != http.StatusOK {
		t.Fatalf("the trainer was answered %d", got)
	}
	if err := harness.Until(patient(t), team.Stand, w, "at 34 %", func(w *v1alpha1.Workspace) bool {
		p := w.Status.Tuning.Progress
		return p != nil && p.Percent == 34 && p.Step == 340 && p.Steps == 1000 && p.Loss == "0.8123"
	}); err != nil {
		t.Fatal(err)
	}
	happens(t, team, "34 % trained, step 340 of 1000, loss 0.8123")

	// What was said stands when the controller that heard it is gone.
	edit(t, team, w, `{"metadata":{"annotations":{"example.com/look":"now"}}}`)
	if err := harness.Until(patient(t), team.Stand, w, "still at 34 %", func(w *v1alpha1.Workspace) bool {
		return w.Annotations["example.com/look"] == "now" && w.Status.Tuning.Progress != nil
	}); err != nil {
		t.Error(err)
	}
}

// podOf is the pod of a Job.
func podOf(t *testing.T, team *harness.Team, job string) *corev1.Pod {
	t.Helper()
	var pods corev1.PodList
	if err := team.Client.List(t.Context(), &pods, client.InNamespace(team.Namespace), client.MatchingLabels{"batch.kubernetes.io/job-name": job}); err != nil || len(pods.Items) != 1 {
		t.Fatalf("%d pods of Job %s: %v", len(pods.Items), job, err)
	}
	return &pods.Items[0]
}

// trainerOf calls as the container train of a pod does: the address and the authority
// are those that the pod was given.
func trainerOf(t *testing.T, team *harness.Team, pod *corev1.Pod) func(token, body string) int {
	t.Helper()
	env := map[string]string{}
	for _, c := range pod.Spec.InitContainers {
		for _, e := range c.Env {
			env[e.Name] = e.Value
		}
	}
	config := &corev1.ConfigMap{}
	if err := team.Client.Get(t.Context(), client.ObjectKey{Namespace: team.Namespace, Name: "watched-config"}, config); err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	file := strings.TrimPrefix(env["KUBEFLOW_TRAINER_SERVER_CA_CERT"], "/config/")
	if !roots.AppendCertsFromPEM([]byte(config.Data[file])) {
		t.Fatalf("no authority in %s of %v", file, config.Data)
	}
	web := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}
	return func(token, body string) int {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, env["KUBEFLOW_TRAINER_SERVER_URL"], strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if token != "" {
			req.Header.Set("Authorization", "Bearer "+token)
		}
		resp, err := web.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		return resp.StatusCode
	}
}

// token asks the API server for a token as the kubelet does for the volume of a pod.
func token(t *testing.T, team *harness.Team, pod *corev1.Pod, audience string) string {
	t.Helper()
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: team.Namespace, Name: "default"}}
	req := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: ptr.To[int64](3600)}}
	if audience != "" {
		req.Spec.Audiences = []string{audience}
	}
	if pod != nil {
		req.Spec.BoundObjectRef = &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: pod.Name, UID: pod.UID}
	}
	if err := team.Client.SubResource("token").Create(t.Context(), account, req); err != nil {
		t.Fatal(err)
	}
	return req.Status.Token
}

// happens waits for an event of a Workspace.
func happens(t *testing.T, team *harness.Team, note string) {
	t.Helper()
	err := wait.PollUntilContextCancel(patient(t), 100*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		var list eventsv1.EventList
		err := team.Client.List(ctx, &list, client.InNamespace(team.Namespace))
		for _, e := range list.Items {
			if e.Regarding.Kind == v1alpha1.WorkspaceKind && strings.Contains(e.Note, note) {
				return true, nil
			}
		}
		return false, err
	})
	if err != nil {
		t.Errorf("no event says %q: %v", note, err)
	}
}
