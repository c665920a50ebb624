// SPDX-License-Identifier: Apache-2.0

package install

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/cluster"
	"github.com/espalier-dev/espalier/test/fakearm"
	"github.com/espalier-dev/espalier/test/harness"
)

const (
	// model is a service on one GPU, of nodes that the controller's default provider has.
	model = `apiVersion: espalier.dev/v1alpha1
kind: Workspace
metadata: {name: NAME}
spec:
  resource:
    instanceType: Standard_NC24ads_A100_v4
    labelSelector: {matchLabels: {app: NAME}}
  inference:
    preset: phi-4-mini-instruct
    contextLength: 32768
`
	// rack is a pool of nodes that nobody buys.
	rack = `apiVersion: espalier.dev/v1alpha1
kind: GPUNodePool
metadata: {name: rack}
spec:
  provider: existing
  nodeLabels: {app: rack}
  candidates: [{instanceType: Standard_NC24ads_A100_v4}]
  replicas: 1
`
)

// TestOverlay takes overlays through their lives: applied by kubectl as docs/install.md
// has it, Espalier runs the loop with the rights and flags that they bring; then it is
// uninstalled by the commands of that page while models are served, and nothing is left
// that costs.
func TestOverlay(t *testing.T) {
	s := theStand(t)
	for name, c := range map[string]struct {
		reason  string
		set     map[string]string // what a reader writes into the overlay's settings
		cloud   func(*testing.T, *harness.Stand)
		own     []string // models whose nodes exist
		bought  int
		claimed []string // models that Karpenter makes nodes for, in the end
	}{
		"dev": {
			reason: "Nodes that exist are used, and stay.",
			own:    []string{"first", "second", "third", "fourth", "rack"},
		},
		"aks": {
			reason: "Nodes are bought, and given back, more than two at once too; beside them are some that exist.",
			set: map[string]string{
				"REGION=eastus": "REGION=westeurope",
				"AKS_SUBSCRIPTION_ID=00000000-0000-0000-0000-000000000000": "AKS_SUBSCRIPTION_ID=" + fakearm.Subscription,
				"AKS_RESOURCE_GROUP=my-resource-group":                     "AKS_RESOURCE_GROUP=" + fakearm.ResourceGroup,
				"AKS_CLUSTER_NAME=my-cluster":                              "AKS_CLUSTER_NAME=" + fakearm.Cluster,
			},
			own: []string{"rack"}, bought: 4,
		},
		"karpenter": {
			reason: "Nodes are claimed of Karpenter, as many as there are models, and given back; beside them are some that exist.",
			set: map[string]string{
				"REGION=eastus": "REGION=westeurope",
				"# " + strings.ReplaceAll(nodeClass+"karpenter.k8s.aws/EC2NodeClass/gpu", "\n", "\n# "): nodeClass + harness.KarpenterClass,
			},
			cloud: withKarpenter,
			own:   []string{"rack"}, claimed: []string{"first", "second", "third"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			folder := overlay(t, name, c.set)
			if c.cloud != nil {
				c.cloud(t, s)
			}
			kubectl(t, s, "apply", "--server-side", "-k", folder)
			rolledOut(t, s)
			controller := running(t, s)
			for _, n := range c.own {
				must(t, s.Client.Create(t.Context(), gpuNode(n)))
			}
			team := serve(t, s, "overlay-"+name)
			bought(t, team, c.bought)
			claimed(t, team, c.claimed)
			uninstalled(t, s, controller, folder)
			for _, n := range c.own {
				node := &corev1.Node{}
				if err := s.Client.Get(t.Context(), client.ObjectKey{Name: n}, node); err != nil || len(node.Spec.Taints) > 0 {
					t.Errorf("%s\nnode %s: taints %v, %v", c.reason, n, node.Spec.Taints, err)
				}
				must(t, s.Client.Delete(t.Context(), node))
			}
		})
	}
}

// nodeClass is the patch that the reader of the karpenter overlay uncomments, without its
// value.
const nodeClass = `patches:
- target: {kind: Deployment, name: espalier}
  patch: |
    - op: add
      path: /spec/template/spec/containers/0/args/-
      value: --karpenter-node-class=`

// withKarpenter starts the real Karpenter for the time of a test, with a simulated cloud
// that has the size of the models.
func withKarpenter(t *testing.T, s *harness.Stand) {
	t.Helper()
	bin, err := cluster.DefaultBin()
	must(t, err)
	if err := cluster.MissingKarpenter(bin); err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			log, _ := os.ReadFile(filepath.Join(s.Cluster.Dir, "karpenter.log"))
			t.Logf("Karpenter's log ends so:\n%s", log[max(0, len(log)-6000):])
		}
		s.Cluster.StopKarpenter()
	})
	must(t, s.StartKarpenter(t.Context(), cluster.InstanceType{
		Name: "Standard_NC24ads_A100_v4", CPU: 24, MemoryGiB: 220, GPUs: 1, Zone: "westeurope-1", USD: 3.67,
	}))
}

// claimed asserts that Karpenter has a NodePool, a NodeClaim and a node for each of some
// pools of a team, of their first attempts, and nothing else.
func claimed(t *testing.T, team *harness.Team, pools []string) {
	t.Helper()
	var want []string
	for _, name := range pools {
		p := &v1alpha1.GPUNodePool{}
		must(t, team.Client.Get(t.Context(), client.ObjectKey{Namespace: team.Namespace, Name: name}, p))
		want = append(want, string(p.UID)+" 1")
	}
	slices.Sort(want)
	for _, kind := range []string{"NodePool", "NodeClaim", "Node"} {
		objects, err := team.OfKarpenter(t.Context(), kind, nil)
		must(t, err)
		var got []string
		for _, o := range objects {
			got = append(got, o.GetLabels()["espalier.dev/owner-uid"]+" "+o.GetLabels()["espalier.dev/attempt"])
		}
		if slices.Sort(got); !slices.Equal(got, want) {
			t.Errorf("each %s of Karpenter is of pool and attempt %q, want those of %q: %q", kind, got, pools, want)
		}
	}
}

// paid is what stands in a cloud or will, whoever has ordered it.
func paid(t *testing.T, s *harness.Stand) []string {
	t.Helper()
	var all []string
	for _, p := range s.ARM.Pools() {
		all = append(all, "agent pool "+p.Name)
	}
	for _, kind := range []string{"NodePool", "NodeClaim", "Node"} {
		objects, err := s.OfKarpenter(t.Context(), kind, nil)
		must(t, err)
		for _, o := range objects {
			all = append(all, kind+" "+o.GetName())
		}
	}
	return all
}

// overlay is a copy of an overlay, with what it is made of, as its reader edits it.
func overlay(t *testing.T, name string, set map[string]string) string {
	t.Helper()
	folder := filepath.Join(t.TempDir(), "deploy")
	must(t, os.CopyFS(folder, os.DirFS(root+"/deploy")))
	folder = filepath.Join(folder, "overlays", name)
	if len(set) == 0 {
		return folder
	}
	file := filepath.Join(folder, "settings.env")
	text, err := os.ReadFile(file)
	if os.IsNotExist(err) {
		file = filepath.Join(folder, "kustomization.yaml")
		text, err = os.ReadFile(file)
	}
	must(t, err)
	for from, to := range set {
		if !strings.Contains(string(text), from+"\n") {
			t.Fatalf("%s no longer says %s", file, from)
		}
		text = []byte(strings.ReplaceAll(string(text), from+"\n", to+"\n"))
	}
	must(t, os.WriteFile(file, text, 0o600))
	return folder
}

// gpuNode is a simulated one with a GPU, known by a label.
func gpuNode(name string) *corev1.Node {
	n := node()
	n.Name = name
	n.Labels = map[string]string{"app": name, corev1.LabelOSStable: "linux", corev1.LabelArchStable: "amd64"}
	n.Annotations = map[string]string{cluster.AnnotationFakeNode: "fake"}
	for _, all := range []corev1.ResourceList{n.Status.Capacity, n.Status.Allocatable} {
		all[corev1.ResourceMemory] = resource.MustParse("900Gi")
		all[corev1.ResourceCPU] = resource.MustParse("96")
		all[corev1.ResourceEphemeralStorage] = resource.MustParse("2Ti")
		all["nvidia.com/gpu"] = resource.MustParse("1")
	}
	return n
}

// serve runs the loop: a push is served, a second one changes what is, a third one takes
// a model away. Three are left, and a pool of nodes that exist.
func serve(t *testing.T, s *harness.Stand, name string) *harness.Team {
	t.Helper()
	files := map[string]string{"clusters/staging/workspaces/rack.yaml": rack}
	list := func(models ...string) {
		files[listFile] = "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources:\n- rack.yaml\n"
		for _, m := range models {
			files[listFile] += "- " + m + ".yaml\n"
		}
	}
	all := []string{"first", "second", "third", "fourth"}
	for _, m := range all {
		files["clusters/staging/workspaces/"+m+".yaml"] = strings.ReplaceAll(model, "NAME", m)
	}
	list(all...)
	team := synced(t, s, name, files)
	generations := map[string]int64{}
	for _, m := range all {
		generations[m] = ready(t, team, m, 0)
	}
	first := "clusters/staging/workspaces/first.yaml"
	files[first] = strings.ReplaceAll(files[first], "32768", "8192")
	_, err := team.Push(files, "models: shorter")
	must(t, err)
	ready(t, team, "first", generations["first"])

	list(all[:3]...)
	_, err = team.Push(files, "models: three are enough")
	must(t, err)
	for _, gone := range []client.Object{&v1alpha1.Workspace{}, &v1alpha1.GPUNodePool{}} {
		gone.SetNamespace(team.Namespace)
		gone.SetName("fourth")
		must(t, harness.Gone(patient(t), s, gone))
	}
	return team
}

// uninstalled does what docs/install.md says, with its very commands, in the order of
// the page.
func uninstalled(t *testing.T, s *harness.Stand, c *harness.Controller, folder string) {
	t.Helper()
	_, section, found := strings.Cut(documents(t)["docs/install.md"], "\n## Uninstall\n")
	if !found {
		t.Fatal("docs/install.md has no section Uninstall")
	}
	var all []command
	blocks, _ := code(section)
	for _, b := range blocks {
		commands, _ := b.commands("docs/install.md")
		all = append(all, commands...)
	}
	at := slices.IndexFunc(all, func(c command) bool { return strings.HasPrefix(c.text, "helm uninstall") })
	if at < 0 {
		t.Fatalf("the section Uninstall has no helm uninstall: %v", all)
	}
	page := page{Page: "docs/install.md", Words: map[string]string{"deploy/overlays/dev": folder}, Steps: []step{
		{At: "helm uninstall", Not: "it came by kubectl"}, {At: "kubectl delete -f espalier.yaml", Not: "it came as an overlay"},
	}}
	desk := newDesk(t, s)
	desk.run(t, page, all[:at])
	if left := kubectl(t, s, "get", "reposyncs,workspaces,gpunodepools", "--all-namespaces", "--output", "name"); left != "" || len(paid(t, s)) > 0 {
		t.Fatalf("nodes first, says the page; what is left:\n%s%v", left, paid(t, s))
	}
	must(t, c.Stop()) // as its pod is
	desk.run(t, page, all[at:])
	for _, kinds := range []string{"crd", "clusterroles,clusterrolebindings", "namespaces"} {
		left := kubectl(t, s, "get", kinds, "--output", "name")
		if slices.ContainsFunc(strings.Fields(left), func(name string) bool {
			_, name, _ = strings.Cut(name, "/")
			return strings.HasPrefix(name, "espalier") || strings.HasSuffix(name, ".espalier.dev")
		}) {
			t.Errorf("something is left of %s:\n%s", kinds, left)
		}
	}
}
