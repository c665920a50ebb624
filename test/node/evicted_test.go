// SPDX-License-Identifier: Apache-2.0

package node

import (
	"context"
	"crypto/sha256"
	"fmt"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/espalier-dev/espalier/test/chats"
	"github.com/espalier-dev/espalier/test/harness"
)

// TestEvicted: the pod of a run is taken away in the middle of training. That is no try
// of the Job, of which this one has none to spare, and an attempt in the status; the next
// pod goes on from the last complete checkpoint, and the adapter is the same as if
// nothing had happened.
func TestEvicted(t *testing.T) {
	w := theWorld(t)
	rows := chats.Rows(10)
	for name, tc := range map[string]struct {
		reason string
		away   func(t *testing.T, team *harness.Team, pod *corev1.Pod)
		saves  bool // there is time for a checkpoint: what was done by then is not lost
	}{
		"Eviction": {
			reason: "A drain, a descheduler and Karpenter evict: there is time to save.",
			away: func(t *testing.T, team *harness.Team, pod *corev1.Pod) {
				e := &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name}}
				if err := team.Client.SubResource("eviction").Create(t.Context(), pod, e); err != nil {
					t.Fatal(err)
				}
			},
			saves: true,
		},
		"Disruption": {
			reason: "A spot node that goes, or a preemption, leaves a second.",
			away: func(t *testing.T, team *harness.Team, pod *corev1.Pod) {
				before := pod.DeepCopy()
				// Without a time it is older than two minutes to the controller of disruptions, which
				// takes back what led to no deletion by then.
				pod.Status.Conditions = append(pod.Status.Conditions, corev1.PodCondition{
					Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue, Reason: corev1.PodReasonPreemptionByScheduler, LastTransitionTime: metav1.Now(),
				})
				if err := team.Client.Status().Patch(t.Context(), pod, client.StrategicMergeFrom(before)); err != nil {
					t.Fatal(err)
				}
				if err := team.Client.Delete(t.Context(), pod, client.GracePeriodSeconds(1)); err != nil {
					t.Fatal(err)
				}
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			team := newTeam(t, strings.ToLower(name))
			lines := chats.Lines(rows)
			url := w.data.put(team.Namespace+".jsonl", content(lines)) + fmt.Sprintf("#sha256=%x", sha256.Sum256([]byte(lines)))
			follow(t, team, repository(map[string]string{team.Namespace: w.run(team.Namespace, url, noRetry)}))
			saved(t, w, "checkpoint-10")
			pod := podsOf(t, team, team.Namespace)[0]
			first := follows(t, team, &pod, "train")
			<-time.After(200 * time.Millisecond) // in the middle between two checkpoints
			tc.away(t, team, &pod)

			run := until(t, team, team.Namespace, isReady)
			job := &batchv1.Job{}
			if err := team.Client.Get(t.Context(), client.ObjectKey{Namespace: team.Namespace, Name: run.Status.Tuning.Run}, job); err != nil {
				t.Fatal(err)
			}
			if got := run.Status.Tuning; got.Attempts != 2 || job.Status.Failed != 0 || *job.Spec.BackoffLimit != 0 {
				t.Errorf("%s\n%d attempts, %d failures of the Job, of %d; want 2, none, of none", tc.reason, got.Attempts, job.Status.Failed, *job.Spec.BackoffLimit)
			}
			before, after := <-first, logs(t, team, team.Namespace)
			from := losesLittle(t, team, &podsOf(t, team, team.Namespace)[0], before, after)
			done, _, told := strings.Cut(before, "espalier: told to go: saving a checkpoint first\n")
			if tc.saves && (!told || lastStep(done) > from) {
				t.Errorf("%s\nwhat it had done when it was told to go, %d steps, was saved as far as step %d:\n%s", tc.reason, lastStep(done), from, before)
			}
			if got, want := published(t, reported(t, team, team.Namespace), w.output(team.Namespace)), learnt(rows, epochs); got != want {
				t.Errorf("%s\nthe weights are %s, want %s: as if nothing had happened", tc.reason, got, want)
			}
		})
	}
}

// follows reads the log of a container to its end, also when its pod is deleted meanwhile.
func follows(t *testing.T, team *harness.Team, pod *corev1.Pod, container string) <-chan string {
	t.Helper()
	said := make(chan string, 1)
	ctx := patient(t)
	go func() {
		out, err := team.Cluster.Kubectl(ctx, "logs", "--follow", "--namespace="+pod.Namespace, pod.Name, "--container="+container)
		if err != nil {
			out += err.Error()
		}
		said <- out
	}()
	return said
}

// saved waits until a checkpoint of the one run on the node is complete.
func saved(t *testing.T, w *world, checkpoint string) {
	t.Helper()
	err := wait.PollUntilContextCancel(patient(t), 20*time.Millisecond, true, func(context.Context) (bool, error) {
		found, err := filepath.Glob(filepath.Join(w.Cluster.Dir, "volumes", "*", "*", "out", checkpoint, "trainer_state.json"))
		return len(found) > 0, err
	})
	if err != nil {
		t.Fatalf("waiting for %s: %v", checkpoint, err)
	}
}

// What the stand-in of the trainer says.
var (
	stepDone  = regexp.MustCompile(`(?m)^step ([0-9]+) of `)
	goingOn   = regexp.MustCompile(`(?m)^going on from checkpoint-([0-9]+)$`)
	firstStep = regexp.MustCompile(`(?m)^step 1 of `)
)

// losesLittle: from the step that an attempt was at to the one that the next went on from
// there are no more than between two checkpoints, as they are set in the axolotl.yaml of
// the pod. It returns the step that the next one went on from.
func losesLittle(t *testing.T, team *harness.Team, pod *corev1.Pod, before, after string) (from int) {
	t.Helper()
	every, was, resumed := saveSteps(t, team, pod), lastStep(before), goingOn.FindStringSubmatch(after)
	if was == 0 || resumed == nil || firstStep.MatchString(after) {
		t.Fatalf("one attempt did no step, or the next began anew:\n%s\nthen\n%s", before, after)
	}
	from, _ = strconv.Atoi(resumed[1]) // digits
	t.Logf("at step %d it was ended, and the next attempt went on from %d: %d steps are lost, of at most %d", was, from, was-from, every)
	if was-from > every {
		t.Errorf("%d steps are lost, and a checkpoint is to be written every %d", was-from, every)
	}
	return from
}

// lastStep is the last step that a trainer says it has done; 0: none.
func lastStep(said string) int {
	done := stepDone.FindAllStringSubmatch(said, -1)
	if len(done) == 0 {
		return 0
	}
	step, _ := strconv.Atoi(done[len(done)-1][1]) // digits
	return step
}

// saveSteps is how many steps lie between two checkpoints, as the pod is told.
func saveSteps(t *testing.T, team *harness.Team, pod *corev1.Pod) int {
	t.Helper()
	for _, v := range pod.Spec.Volumes {
		if v.ConfigMap == nil {
			continue
		}
		told := &corev1.ConfigMap{}
		if err := team.Client.Get(t.Context(), client.ObjectKey{Namespace: pod.Namespace, Name: v.ConfigMap.Name}, told); err != nil {
			t.Fatal(err)
		}
		var settings struct {
			SaveSteps int `json:"save_steps"`
		}
		if text := told.Data["axolotl.yaml"]; yaml.Unmarshal([]byte(text), &settings) == nil && settings.SaveSteps > 0 {
			return settings.SaveSteps
		}
	}
	t.Fatal("no volume of the pod has an axolotl.yaml with save_steps")
	return 0
}
