// SPDX-License-Identifier: Apache-2.0

package install

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/reconciler/condition"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/fakearm"
	"github.com/espalier-dev/espalier/test/harness"
)

const chartFolder = root + "/deploy/chart/espalier"

// forFakeAzure are the values that point the chart at what plays Azure.
var forFakeAzure = fmt.Sprintf(`image: {repository: registry.example.com/espalier, tag: dev}
clusterName: production
provider: aks
region: westeurope
azure: {subscriptionID: %s, resourceGroup: %s, clusterName: %s, clientID: 00000000-0000-0000-0000-000000000000}
controller: {args: [--ask-registries=false]} # that of the sample does not exist
`, fakearm.Subscription, fakearm.ResourceGroup, fakearm.Cluster)

// release installs or upgrades the release as docs/install.md has it, and waits for
// it.
func release(t *testing.T, s *harness.Stand, verb, chart, values string) {
	t.Helper()
	kubectl(t, s, "apply", "--server-side", "-f", root+"/deploy/base/namespace.yaml")
	file := filepath.Join(t.TempDir(), "values.yaml")
	must(t, os.WriteFile(file, []byte(values), 0o600))
	helm(t, s, verb, "espalier", chart, "--namespace", namespace, "--values", file)
	rolledOut(t, s)
}

// rolledOut waits for the Deployment, whose pod is simulated.
func rolledOut(t *testing.T, s *harness.Stand) {
	t.Helper()
	kubectl(t, s, "rollout", "status", "deployment/espalier", "--namespace", namespace, "--timeout=2m")
}

// running starts the controller of the installed Deployment.
func running(t *testing.T, s *harness.Stand) *harness.Controller {
	t.Helper()
	c, err := s.StartInstalled(patient(t), "espalier")
	must(t, err)
	t.Cleanup(func() {
		if t.Failed() {
			log, _ := os.ReadFile(s.ControllerLog())
			t.Logf("the controller's log ends so:\n%s", log[max(0, len(log)-6000):])
		}
	})
	return c
}

// TestChart takes the chart through its life: installed by Helm, it runs the loop with
// the rights and flags that it brings; an upgrade brings new kinds and moves nothing;
// uninstalled too early it leaves nodes that are paid for, which the same chart finds
// again; and in the order of docs/install.md nothing is left that costs.
func TestChart(t *testing.T) {
	s := theStandWithHelm(t)
	release(t, s, "install", olderChart(t), forFakeAzure)
	controller := running(t, s)

	files, err := harness.Example()
	must(t, err)
	drop(t, files, listFile, "- ../../../models/phi-3-dolly\n")
	team := synced(t, s, "charted", files)
	generation := ready(t, team, harness.InferenceName, 0)
	bought(t, team, 1)

	release(t, s, "upgrade", chartFolder, forFakeAzure+"hook: {enabled: true}\n")
	if names := kubectl(t, s, "get", "crd", "workspaces.espalier.dev", "--output", "jsonpath={.spec.names.shortNames}"); !strings.Contains(names, "ews") {
		t.Errorf("the upgrade brought no new kinds: the short names are %s", names)
	}
	must(t, controller.Stop())
	controller = running(t, s)
	const served = "models/phi-4-mini/workspace.yaml"
	files[served] = strings.ReplaceAll(files[served], "contextLength: 32768", "contextLength: 8192")
	_, err = team.Push(files, "models: shorter")
	must(t, err)
	generation = ready(t, team, harness.InferenceName, generation)
	bought(t, team, 1)

	// Too early: what is paid for stays, and nobody is there to give it back.
	must(t, controller.Stop()) // as its pod is
	helm(t, s, "uninstall", "espalier", "--namespace", namespace, "--wait")
	left := kubectl(t, s, "get", "reposyncs,workspaces,gpunodepools,deployments", "--namespace", "charted", "--output", "name")
	if strings.Count(left, "\n") != 4 {
		t.Errorf("the release is gone, and with it more than the controller; what is left:\n%s", left)
	}
	if len(s.ARM.Pools()) != 1 {
		t.Errorf("the node pools of the cloud are %v, want the one that serves", s.ARM.Pools())
	}
	if roles := kubectl(t, s, "get", "clusterroles,clusterrolebindings", "--output", "name"); strings.Contains(roles, "/espalier") {
		t.Errorf("a role is left:\n%s", roles)
	}

	release(t, s, "install", chartFolder, forFakeAzure)
	controller = running(t, s)
	kubectl(t, s, "annotate", "--overwrite", "reposync", team.Sync, "--namespace", "charted", "reconcile.fluxcd.io/requestedAt=again")
	ready(t, team, harness.InferenceName, generation-1)
	bought(t, team, 1)

	kubectl(t, s, "delete", "reposyncs", "--all", "--all-namespaces", "--timeout=2m")
	if left := kubectl(t, s, "get", "workspaces,gpunodepools", "--all-namespaces", "--output", "name"); left != "" {
		t.Errorf("the RepoSyncs are gone before what they made:\n%s", left)
	}
	if len(s.ARM.Pools()) > 0 {
		t.Errorf("nodes are left in the cloud: %v", s.ARM.Pools())
	}
	must(t, controller.Stop())
	helm(t, s, "uninstall", "espalier", "--namespace", namespace, "--wait")
	kubectl(t, s, "delete", "crd", "reposyncs.espalier.dev", "workspaces.espalier.dev", "gpunodepools.espalier.dev", "--timeout=1m")
}

// olderChart is a copy of the chart from before Workspaces had a short name.
func olderChart(t *testing.T) string {
	t.Helper()
	folder := filepath.Join(t.TempDir(), "espalier")
	must(t, os.CopyFS(folder, os.DirFS(chartFolder)))
	file := filepath.Join(folder, "files", "crd", "espalier.dev_workspaces.yaml")
	text, err := os.ReadFile(file)
	must(t, err)
	older := strings.Replace(string(text), "    shortNames:\n    - ews\n", "", 1)
	if older == string(text) {
		t.Fatal("Workspaces have no short name any more: let the older chart lack something else")
	}
	must(t, errors.Join(os.Chmod(file, 0o600), os.WriteFile(file, []byte(older), 0o600)))
	return folder
}

// listFile lists what RepoSyncs of a Team apply.
const listFile = "clusters/staging/workspaces/kustomization.yaml"

// synced is a team whose repository is pushed and followed.
func synced(t *testing.T, s *harness.Stand, name string, files map[string]string) *harness.Team {
	t.Helper()
	team, err := s.NewTeam(t.Context(), name)
	must(t, err)
	_, err = team.Push(files, "models: begin")
	must(t, err)
	must(t, s.Client.Create(t.Context(), team.RepoSync(nil)))
	return team
}

// drop takes a line out of a file.
func drop(t *testing.T, files map[string]string, name, line string) {
	t.Helper()
	if !strings.Contains(files[name], line) {
		t.Fatalf("%s no longer says %q", name, line)
	}
	files[name] = strings.Replace(files[name], line, "", 1)
}

// ready waits until a Workspace is Ready at a later generation than the one named, and
// returns that.
func ready(t *testing.T, team *harness.Team, name string, after int64) int64 {
	t.Helper()
	w := &v1alpha1.Workspace{}
	w.Namespace, w.Name = team.Namespace, name
	must(t, harness.Until(patient(t), team.Stand, w, "Ready", func(w *v1alpha1.Workspace) bool {
		return w.Generation > after && w.Status.ObservedGeneration == w.Generation && condition.Is(w, v1alpha1.ConditionReady)
	}))
	return w.Generation
}

// bought asserts how many node pools were ever ordered for a team.
func bought(t *testing.T, team *harness.Team, want int) {
	t.Helper()
	got := 0
	for _, p := range team.ARM.Created() {
		if strings.HasPrefix(p.Labels[repolayout.LabelPool], team.Namespace+".") {
			got++
		}
	}
	if got != want {
		pools := &v1alpha1.GPUNodePoolList{}
		err := team.Client.List(t.Context(), pools, client.InNamespace(team.Namespace))
		t.Errorf("%d node pools were ever ordered, want %d: %+v (%v)", got, want, pools.Items, err)
	}
}
