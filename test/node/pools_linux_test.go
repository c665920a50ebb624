// SPDX-License-Identifier: Apache-2.0

package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/reconciler/condition"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/cluster"
	"github.com/espalier-dev/espalier/test/harness"
)

// atOnce is how many attempts run at a time: more of them would miss their moments.
const atOnce = 2

// killedPatience bounds all runs together: each Job waits ten seconds after a failure.
const killedPatience = 8 * time.Minute

// newCloud starts a control plane, a controller, and a cloud whose nodes run no container.
func newCloud(t *testing.T) (*harness.Stand, *harness.Team) {
	t.Helper()
	bin, err := cluster.DefaultBin()
	if err != nil {
		t.Fatal(err)
	}
	if err := cluster.Missing(bin); err != nil {
		t.Skip(err)
	}
	stand, err := harness.Start(t.Context(), harness.Options{
		CreateDelay: 50 * time.Millisecond, GPUDelay: 50 * time.Millisecond, DeleteDelay: 50 * time.Millisecond,
		PodStart: 50 * time.Millisecond, PollInterval: 200 * time.Millisecond, Out: os.Stderr,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := stand.Stop(); err != nil {
			t.Error(err)
		}
	})
	if err := stand.StartController(t.Context()); err != nil {
		t.Fatal(err)
	}
	team, err := stand.NewTeam(t.Context(), "killed")
	if err != nil {
		t.Fatal(err)
	}
	return stand, team
}

// runs brings a Workspace for each plan to its end, whose attempts are killed at the
// moments of the plan, one after the other, and says what was hit.
func (s *workshop) runs(t *testing.T, plans [][]moment) (hits tally) {
	t.Helper()
	workspaces := map[string]string{}
	for i := range plans {
		workspaces[runName(i)] = fmt.Sprintf(killedRun, runName(i), s.tag(runName(i)))
		s.prepare(t, runName(i))
	}
	follow(t, s.team, repository(workspaces))
	ctx, cancel := context.WithTimeout(t.Context(), killedPatience)
	defer cancel()
	each, errs, slots := make([]tally, len(plans)), make([]error, len(plans)), make(chan struct{}, atOnce)
	var all sync.WaitGroup
	for i, plan := range plans {
		all.Go(func() { each[i], errs[i] = s.survive(ctx, runName(i), plan, slots) })
	}
	all.Wait()
	for i, plan := range plans {
		hits.add(each[i])
		if errs[i] != nil {
			t.Errorf("%s, killed %s: %v", runName(i), plan, errs[i])
			continue
		}
		if got := published(t, s.digest(t, runName(i)), s.tag(runName(i))); got != s.want {
			t.Errorf("%s, killed %s: the weights are %s, want %s", runName(i), plan, got, s.want)
		}
	}
	s.nothingHeld(t)
	return hits
}

func runName(i int) string { return fmt.Sprintf("run-%d", i) }

// killedRun is played by the test: its nodes end no pod by themselves.
const killedRun = `apiVersion: espalier.dev/v1alpha1
kind: Workspace
metadata: {name: %s}
spec:
  resource: {instanceType: Standard_NC4as_T4_v3}
  tuning:
    preset: phi-3-mini-128k-instruct
    method: qlora
    input: {urls: ["https://example.com/data.jsonl"]}
    output: {image: %q, pushSecret: registry-push}
  patches:
  - target: {kind: Job}
    patch: |
      - {op: add, path: /spec/template/metadata/annotations/pod-complete.stage.kwok.x-k8s.io~1delay, value: 1h}
`

// survive plays the kubelet of the pods of a run until it is Ready, kills its attempts as
// the plan says, and says what that has hit. When the run is over it has the adapter that
// was published, and its pool and GPUs are given back.
func (s *workshop) survive(ctx context.Context, name string, plan []moment, slots chan struct{}) (hit tally, err error) {
	kill := func(cmd *exec.Cmd, push bool) {
		if len(plan) > 0 {
			hit.add(s.killAt(cmd, name, plan[0], push))
		}
	}
	w := &v1alpha1.Workspace{}
	w.Namespace, w.Name = s.team.Namespace, name
	played := map[types.UID]bool{}
	for !condition.Is(w, v1alpha1.ConditionReady) {
		pod, err := s.next(ctx, w, played)
		if err != nil {
			return hit, fmt.Errorf("waiting for a pod, or the end: %w; the Workspace says %+v", err, condition.Get(w, v1alpha1.ConditionReady))
		}
		if pod == nil {
			continue
		}
		if len(s.poolsOf(name)) != 1 {
			return hit, fmt.Errorf("a pod runs on the pools %v", s.poolsOf(name))
		}
		slots <- struct{}{}
		said, failed := s.attempt(ctx, name, kill)
		<-slots
		played[pod.UID] = true
		if len(played) == attempts && failed != nil {
			return hit, fmt.Errorf("%d attempts did not do: %w: %s", attempts, failed, said)
		}
		plan = plan[min(1, len(plan)):]
		if err := s.end(ctx, pod, name, failed); err != nil {
			return hit, err
		}
	}
	if got, want := w.Status.Tuning.Adapter, s.carried(name); got != want {
		return hit, fmt.Errorf("the adapter is %s, want %s", got, want)
	}
	pool := &v1alpha1.GPUNodePool{}
	pool.Namespace, pool.Name = w.Namespace, name
	if err := harness.Gone(ctx, s.stand, pool); err != nil {
		return hit, err
	}
	if held := s.poolsOf(name); len(held) > 0 {
		return hit, fmt.Errorf("the run is over, and the cloud still has %v", held)
	}
	return hit, nil
}

// next waits for a running pod that was not played yet, nil when the run is Ready.
func (s *workshop) next(ctx context.Context, w *v1alpha1.Workspace, played map[types.UID]bool) (pod *corev1.Pod, err error) {
	err = wait.PollUntilContextCancel(ctx, 100*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		if err := s.stand.Client.Get(ctx, client.ObjectKeyFromObject(w), w); client.IgnoreNotFound(err) != nil {
			return false, err
		}
		if condition.Is(w, v1alpha1.ConditionReady) {
			return true, nil
		}
		pods := &corev1.PodList{}
		if err := s.stand.Client.List(ctx, pods, client.InNamespace(w.Namespace), client.MatchingLabels{repolayout.LabelWorkspace: w.Name}); err != nil {
			return false, err
		}
		for i, p := range pods.Items {
			if p.Status.Phase == corev1.PodRunning && !played[p.UID] {
				pod = &pods.Items[i]
				return true, nil
			}
		}
		return false, nil
	})
	return pod, err
}

// end writes what a kubelet says of a pod whose containers have ended.
func (s *workshop) end(ctx context.Context, pod *corev1.Pod, name string, failed error) error {
	ended := corev1.ContainerStateTerminated{ExitCode: 0, Reason: "Completed"}
	before := pod.DeepCopy()
	pod.Status.Phase = corev1.PodSucceeded
	if failed != nil {
		pod.Status.Phase = corev1.PodFailed
		ended.ExitCode, ended.Reason = 137, "Error"
	} else {
		left, err := os.ReadFile(filepath.Join(s.dir, name, "termination-log"))
		if err != nil {
			return errors.Join(err, errors.New("the push left no message"))
		}
		ended.Message = string(left)
	}
	for i := range pod.Status.ContainerStatuses {
		pod.Status.ContainerStatuses[i].Ready = false
		pod.Status.ContainerStatuses[i].State = corev1.ContainerState{Terminated: &ended}
	}
	return s.stand.Client.Status().Patch(ctx, pod, client.MergeFrom(before))
}

// carried is what the tag of a run carries, by digest.
func (s *workshop) carried(name string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if all := s.tagged[name]; len(all) > 0 {
		return s.registry + "/models/" + name + "@sha256:" + all[len(all)-1]
	}
	return "nothing"
}

// poolsOf are the pools that the cloud has of a run.
func (s *workshop) poolsOf(name string) []string {
	var names []string
	for _, p := range s.stand.ARM.Pools() {
		if p.Labels[repolayout.LabelPool] == repolayout.PoolLabelValue(s.team.Namespace, name) {
			names = append(names, p.Name)
		}
	}
	return names
}

// nothingHeld: the cloud has no pool of ours, the cluster no node of one, and nobody a GPU.
func (s *workshop) nothingHeld(t *testing.T) {
	t.Helper()
	for _, p := range s.stand.ARM.Pools() {
		if strings.HasPrefix(p.Labels[repolayout.LabelPool], s.team.Namespace+".") {
			t.Errorf("all runs are over, and the cloud has pool %s of %s", p.Name, p.Labels[repolayout.LabelPool])
		}
	}
	nodes := &corev1.NodeList{}
	if err := s.stand.Client.List(t.Context(), nodes, client.HasLabels{repolayout.LabelPool}); err != nil {
		t.Fatal(err)
	}
	for _, n := range nodes.Items {
		t.Errorf("all runs are over, and node %s is there", n.Name)
	}
	if created := len(s.stand.ARM.Created()); created < inCheckpoint+inPush+anywhere {
		t.Errorf("%d pools were bought, want one for each run", created)
	}
}
