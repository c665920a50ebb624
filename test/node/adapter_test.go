// SPDX-License-Identifier: Apache-2.0

package node

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/espalier-dev/espalier/reconciler/condition"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/chats"
	"github.com/espalier-dev/espalier/test/harness"
	"github.com/espalier-dev/espalier/test/node/trainer"
)

// epochs is how often a run goes through its data.
const epochs = 3

// rows are training data as lines of JSON: the stand-in takes a step for each.
func rows(n int) string { return chats.Lines(chats.Rows(n)) }

// learnt is the checksum of the weights that a run over rows comes to, in whichever
// format it read them.
func learnt(rows []chats.Row, epochs int) string {
	var read [][]byte
	for _, r := range rows {
		read = append(read, r.JSON())
	}
	return fmt.Sprintf("%x", sha256.Sum256(trainer.Weights(read, epochs)))
}

// run is a Workspace that tunes on the node.
func (w *world) run(name, url, more string) string {
	return fmt.Sprintf(`apiVersion: espalier.dev/v1alpha1
kind: Workspace
metadata: {name: %s}
spec:
  resource: {instanceType: Standard_NC4as_T4_v3, labelSelector: {matchLabels: {%s: t4}}}
  runtime: {name: axolotl, version: "0.19.0", image: %q, cuda: "13.0"}
  tuning:
    preset: phi-3-mini-128k-instruct
    method: qlora
    input: {urls: [%q]}
    output: {image: %q, pushSecret: registry-push}
    checkpoints: {saveSteps: 5}
%s`, name, accelerator, w.axolotl, url, w.output(name), more)
}

// output is where a run pushes its adapter.
func (w *world) output(name string) string { return w.registry + "/models/" + name + ":1" }

// service is a Workspace that serves an adapter on the node.
func (w *world) service(name, adapter string) string {
	return fmt.Sprintf(`apiVersion: espalier.dev/v1alpha1
kind: Workspace
metadata: {name: %s}
spec:
  resource: {instanceType: Standard_NC4as_T4_v3, labelSelector: {matchLabels: {%s: t4}}}
  runtime: {name: vllm, version: "0.26.0", image: %q, cuda: "13.0"}
  inference:
    preset: phi-3-mini-128k-instruct
    contextLength: 4096
    adapters:
    - {name: parcels, image: %q}
`, name, accelerator, w.vllm, adapter)
}

// repository holds Workspaces in a folder.
func repository(workspaces map[string]string) map[string]string {
	files := map[string]string{}
	list := "resources:\n"
	for name, text := range workspaces {
		files["models/"+name+"/workspace.yaml"] = text
		files["models/"+name+"/kustomization.yaml"] = "resources: [workspace.yaml]\n"
		list += "- " + name + "\n"
	}
	files["models/kustomization.yaml"] = list
	return files
}

// follow pushes files and lets the team follow them.
func follow(t *testing.T, team *harness.Team, files map[string]string) {
	t.Helper()
	if _, err := team.Push(files, "models: tune"); err != nil {
		t.Fatal(err)
	}
	s := team.RepoSync(nil)
	s.Spec.Path = "models"
	if err := team.Client.Create(t.Context(), s); err != nil {
		t.Fatal(err)
	}
}

// TestTuneAndServe is the whole way of an adapter: a push to Git fetches the data and
// trains; the trainer is killed and goes on from its checkpoint; the adapter is
// pushed; its digest is in Git; and a service that names the digest mounts it, and
// answers.
func TestTuneAndServe(t *testing.T) {
	w, team := theWorld(t), newTeam(t, "parcels")
	url, rows, sum := w.parcels(t)
	workspaces := map[string]string{"run": w.run("run", url, "")}
	follow(t, team, repository(workspaces))

	kill(t, w, "checkpoint-10", "axolotl")
	run := until(t, team, "run", isReady)
	if got := run.Status.Tuning; got.Attempts != 2 {
		t.Errorf("the run took %d attempts, want 2: one was killed", got.Attempts)
	}
	logs := logs(t, team, "run")
	pods := podsOf(t, team, "run")
	losesLittle(t, team, &pods[0], logsOf(t, &pods[0], team, "train"), logs)
	if !strings.Contains(logs, "20 rows of /data/parcels.parquet") {
		t.Errorf("the trainer did not read the Parquet file:\n%s", logs)
	}
	if !strings.Contains(logs, "going on from checkpoint-") || strings.Contains(logs, "step 1 of ") {
		t.Errorf("the second attempt did not go on from a checkpoint:\n%s", logs)
	}

	weights := wantAdapter(t, w, team, run, lineage{
		trainer: w.axolotl, config: "axolotl.yaml", data: map[string]string{"parcels.parquet": sum}, rows: rows})
	adapter := run.Status.Tuning.Adapter
	workspaces["service"] = w.service("service", adapter)
	if _, err := team.Push(repository(workspaces), "models: serve what was trained"); err != nil {
		t.Fatal(err)
	}
	until(t, team, "service", isReady)
	if got := served(t, team, "service"); got != weights {
		t.Errorf("the service has mounted %s, want %s", got, weights)
	}

	workspaces["service"] = strings.Replace(workspaces["service"], `cuda: "13.0"`, `cuda: "13.0", imageVolumes: Disabled`, 1)
	if _, err := team.Push(repository(workspaces), "models: copy what cannot be mounted"); err != nil {
		t.Fatal(err)
	}
	until(t, team, "service", func(w *v1alpha1.Workspace) bool {
		return w.Spec.CopiesImages() && w.Status.ObservedGeneration == w.Generation && isReady(w)
	})
	if got := served(t, team, "service"); got != weights {
		t.Errorf("the service has copied %s, want %s", got, weights)
	}
}

// parcels serves a Parquet file of 20 rows, and returns its address with the sum that it
// demands, the rows, and the sum as a lineage has it.
func (w *world) parcels(t *testing.T) (url string, rows []chats.Row, sum string) {
	t.Helper()
	rows = chats.Rows(20)
	table, err := chats.Parquet(rows)
	if err != nil {
		t.Fatal(err)
	}
	digest := fmt.Sprintf("%x", sha256.Sum256(table))
	return w.data.put("parcels.parquet", content(string(table))) + "#sha256=" + digest, rows, "sha256:" + digest
}

// wantAdapter: the adapter of a run is in Git by its digest, says what it was made of, and is
// the same as if nothing had happened to the run. It returns the checksum of the weights.
func wantAdapter(t *testing.T, w *world, team *harness.Team, run *v1alpha1.Workspace, of lineage) string {
	t.Helper()
	adapter := reported(t, team, run.Name)
	if adapter != run.Status.Tuning.Adapter {
		t.Errorf("Git says %s, the Workspace %s", adapter, run.Status.Tuning.Adapter)
	}
	wantLineage(t, team, run, of)
	weights := published(t, adapter, w.output(run.Name))
	if want := learnt(of.rows, epochs); weights != want {
		t.Errorf("the weights are %s, want %s: as if nothing had happened", weights, want)
	}
	return weights
}

func isReady(w *v1alpha1.Workspace) bool { return condition.Is(w, v1alpha1.ConditionReady) }

// until waits until something is true of a Workspace.
func until(t *testing.T, team *harness.Team, name string, holds func(*v1alpha1.Workspace) bool) *v1alpha1.Workspace {
	t.Helper()
	w := &v1alpha1.Workspace{ObjectMeta: metav1.ObjectMeta{Namespace: team.Namespace, Name: name}}
	if err := harness.Until(patient(t), team.Stand, w, "as it should be", holds); err != nil {
		t.Fatal(err)
	}
	return w
}

// kill kills a program of the node's pods a few steps after a checkpoint is complete.
func kill(t *testing.T, w *world, checkpoint, program string) {
	t.Helper()
	saved(t, w, checkpoint)
	<-time.After(3 * trainer.StepTime)
	signal(t, w, program, syscall.SIGKILL)
}

// logs are those of the trainer in the newest pod of a Workspace.
func logs(t *testing.T, team *harness.Team, workspace string) string {
	t.Helper()
	pods := podsOf(t, team, workspace)
	return logsOf(t, &pods[len(pods)-1], team, "train")
}

// podsOf are the pods of a Workspace that are there, the oldest first.
func podsOf(t *testing.T, team *harness.Team, workspace string) []corev1.Pod {
	t.Helper()
	pods := &corev1.PodList{}
	err := team.Client.List(t.Context(), pods, client.InNamespace(team.Namespace), client.MatchingLabels{repolayout.LabelWorkspace: workspace})
	if err != nil || len(pods.Items) == 0 {
		t.Fatalf("no pod of %s: %v", workspace, err)
	}
	slices.SortFunc(pods.Items, func(a, b corev1.Pod) int { return a.CreationTimestamp.Compare(b.CreationTimestamp.Time) })
	return pods.Items
}

func logsOf(t *testing.T, pod *corev1.Pod, team *harness.Team, container string) string {
	t.Helper()
	out, err := team.Cluster.Kubectl(t.Context(), "logs", "--namespace="+pod.Namespace, pod.Name, "--container="+container)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// reported is the adapter that the status branch says, by digest.
func reported(t *testing.T, team *harness.Team, workspace string) string {
	t.Helper()
	var status struct {
		Tuning struct {
			Adapter string `json:"adapter"`
		} `json:"tuning"`
	}
	var text string
	var unread error // of the last look: nothing may be written yet
	err := wait.PollUntilContextCancel(patient(t), 200*time.Millisecond, true, func(context.Context) (bool, error) {
		text, unread = team.Git.ReadFile(team.Repo, team.StatusBranch(), repolayout.StatusFile(team.Namespace, workspace))
		err := yaml.Unmarshal([]byte(text), &status)
		return unread == nil && strings.Contains(status.Tuning.Adapter, "@sha256:"), err
	})
	if err != nil {
		t.Fatalf("waiting for the digest in Git: %v (%v); last seen:\n%s", err, unread, text)
	}
	return status.Tuning.Adapter
}

// published reads an adapter out of the registry, whose tag must carry it, and
// returns the checksum of the weights.
func published(t *testing.T, adapter, tag string) string {
	t.Helper()
	byDigest, err := name.NewDigest(adapter)
	if err != nil {
		t.Fatal(err)
	}
	byTag, err := name.NewTag(tag)
	if err != nil {
		t.Fatal(err)
	}
	head, err := remote.Head(byTag)
	if err != nil {
		t.Fatal(err)
	}
	if head.Digest.String() != byDigest.DigestStr() {
		t.Errorf("the tag carries %s, Git says %s", head.Digest, adapter)
	}
	img, err := remote.Image(byDigest) // of this platform
	if err != nil {
		t.Fatal(err)
	}
	layers, err := img.Layers()
	if err != nil || len(layers) != 1 {
		t.Fatalf("%d layers: %v", len(layers), err)
	}
	content, err := layers[0].Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	defer content.Close()
	for r := tar.NewReader(content); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			t.Fatal("no weights in the layer")
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Name == "adapter_model.safetensors" {
			sum := sha256.New()
			if _, err := io.Copy(sum, r); err != nil {
				t.Fatal(err)
			}
			return fmt.Sprintf("%x", sum.Sum(nil))
		}
	}
}

// served asks the pod of a service which weights it has mounted.
func served(t *testing.T, team *harness.Team, workspace string) string {
	t.Helper()
	pods := &corev1.PodList{}
	err := team.Client.List(t.Context(), pods, client.InNamespace(team.Namespace), client.MatchingLabels{repolayout.LabelWorkspace: workspace})
	if err != nil || len(pods.Items) != 1 {
		t.Fatalf("%d pods of the service: %v", len(pods.Items), err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+pods.Items[0].Status.PodIP+":8000/v1/models", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var models struct {
		Data []struct{ ID, Parent, SHA256 string }
	}
	if err := json.NewDecoder(res.Body).Decode(&models); err != nil {
		t.Fatal(err)
	}
	if len(models.Data) != 1 || models.Data[0].ID != "parcels" {
		t.Fatalf("the service answers with %+v", models.Data)
	}
	return models.Data[0].SHA256
}
