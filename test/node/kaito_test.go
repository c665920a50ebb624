// SPDX-License-Identifier: Apache-2.0

package node

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/harness"
)

// kaitoRun is a Workspace that tunes on the node with KAITO's trainer. A T4 it refuses.
func (w *world) kaitoRun(name, url string) string {
	return strings.NewReplacer(
		"Standard_NC4as_T4_v3", "Standard_NV36ads_A10_v5",
		fmt.Sprintf(`{name: axolotl, version: "0.19.0", image: %q, cuda: "13.0"}`, w.axolotl),
		fmt.Sprintf(`{name: kaito, version: "0.5.0", image: %q, cuda: "12.9"}`, w.kaito),
		"    checkpoints: {saveSteps: 5}\n", "",
	).Replace(w.run(name, url, ""))
}

// TestKaitoTrains is the way of an adapter through KAITO's image: a push to Git fetches the
// data and trains; the trainer is killed, and the one try more goes on from nothing, as it is
// promised; the adapter is pushed, and its digest is in Git.
func TestKaitoTrains(t *testing.T) {
	w, team := theWorld(t), newTeam(t, "kaitoparcels")
	url, rows, sum := w.parcels(t)
	follow(t, team, repository(map[string]string{"run": w.kaitoRun("run", url)}))

	began := until(t, team, "run", func(ws *v1alpha1.Workspace) bool {
		return ws.Status.Tuning != nil && ws.Status.Tuning.Progress != nil && ws.Status.Tuning.Progress.Step > 0
	})
	wantMetrics(t, team)
	signal(t, w, "accelerate", syscall.SIGKILL)
	run := until(t, team, "run", isReady)
	if got := run.Status.Tuning; got.Attempts != 2 {
		t.Errorf("the run took %d attempts, want 2: one was killed at step %d", got.Attempts, began.Status.Tuning.Progress.Step)
	}
	said := logs(t, team, "run")
	if !strings.Contains(said, "20 rows of /mnt/data/parcels.parquet") || !firstStep.MatchString(said) || strings.Contains(said, "checkpoint") {
		t.Errorf("the second attempt did not begin again on the one file of data:\n%s", said)
	}
	wantAdapter(t, w, team, run, lineage{
		trainer: w.kaito, config: "training_config.yaml", data: map[string]string{"parcels.parquet": sum}, rows: rows})
}

// wantMetrics: KAITO's server of metrics runs beside the trainer, and its port is the pod's.
func wantMetrics(t *testing.T, team *harness.Team) {
	t.Helper()
	address := "http://" + net.JoinHostPort(podsOf(t, team, "run")[0].Status.PodIP, "5000") + "/metrics"
	req, err := http.NewRequestWithContext(patient(t), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Errorf("nobody answers at %s: %v", address, err)
		return
	}
	_ = answer.Body.Close()
}
