// SPDX-License-Identifier: Apache-2.0

package loop

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/cluster"
	"github.com/espalier-dev/espalier/test/harness"
)

// shortWalk is that of every run. Longer ones have the cluster to themselves, and only
// they restart its API server: one that starts forbids for a moment what it will allow,
// which TestMain would take for a missing right.
const shortWalk = 12

var (
	walkSteps = flag.Int("walk.steps", shortWalk, "steps of the random walk over a fleet")
	walkSeed  = flag.Uint64("walk.seed", 0, "seed of the random walk; 0: another each time")
)

// walk is a fleet to which things happen, and what Git says of it.
type walk struct {
	*harness.Team
	t       *testing.T
	rand    *rand.Rand
	context map[string]int // by Workspace
	notes   map[string]int // in the ConfigMap of each
	next    int
}

// TestWalk lets pushes, changes by hand, restarts of the API server and kills of the
// controller happen in any order, and asks in the end whether the cluster is as Git
// says, object by object.
func TestWalk(t *testing.T) {
	seed := *walkSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("-walk.seed=%d -walk.steps=%d", seed, *walkSteps)
	w := &walk{Team: newTeam(t, "walk"), t: t, rand: rand.New(rand.NewPCG(seed, 0)), context: map[string]int{}, notes: map[string]int{}}
	w.machine()
	for range 4 {
		w.add()
	}
	w.push("models: a fleet")
	apply(t, w.Team, w.RepoSync(nil))
	w.converge("the first push")
	steps := []func() string{w.push1, w.push1, w.push1, w.drift, w.drift, w.drift, w.kill}
	if *walkSteps > shortWalk {
		steps = append(steps, w.restart)
	}
	var done []string
	for n := range *walkSteps {
		done = append(done, steps[w.rand.IntN(len(steps))]())
		if w.rand.IntN(3) == 0 {
			w.converge(strings.Join(done, ", "))
			if *walkSteps > shortWalk {
				t.Logf("%d steps; as Git says after %s", n+1, strings.Join(done, ", "))
			}
			done = nil
		}
	}
	w.converge(strings.Join(done, ", "))
}

// machine is one with GPUs for all.
func (w *walk) machine() {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{
		Name: w.Namespace + "-rack", Annotations: map[string]string{cluster.AnnotationFakeNode: "fake"},
		Labels: map[string]string{"rack": w.Namespace, "nvidia.com/gpu.count": "64", "nvidia.com/gpu.memory": "81920", corev1.LabelOSStable: "linux", corev1.LabelArchStable: "amd64"},
	}}
	n.Status.Capacity = corev1.ResourceList{
		corev1.ResourceCPU: resource.MustParse("960"), corev1.ResourceMemory: resource.MustParse("9000Gi"), corev1.ResourcePods: resource.MustParse("110"),
		corev1.ResourceEphemeralStorage: resource.MustParse("20Ti"), "nvidia.com/gpu": resource.MustParse("64"),
	}
	n.Status.Allocatable = n.Status.Capacity.DeepCopy()
	if err := w.Client.Create(w.t.Context(), n); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = w.Client.Delete(context.Background(), n) }) // the cluster ends with the package
}

func (w *walk) add() {
	name := fmt.Sprintf("w%03d", w.next)
	w.next++
	w.context[name], w.notes[name] = 4096, 0
}

// push pushes the fleet as it should be.
func (w *walk) push(message string) {
	w.t.Helper()
	files := map[string]string{}
	list := "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources:\n"
	for _, name := range slices.Sorted(maps.Keys(w.context)) {
		file := strings.NewReplacer("NAME", name, "RACK", w.Namespace).Replace(onRack)
		files["clusters/staging/workspaces/"+name+".yaml"] = file + fmt.Sprintf("    contextLength: %d\n    config: %s\n---\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: %s\ndata:\n  note: \"%d\"\n  inference_config.yaml: |\n    vllm:\n      max-num-seqs: 16\n",
			w.context[name], name, name, w.notes[name])
		list += "- " + name + ".yaml\n"
	}
	files[listFile] = list
	push(w.t, w.Team, files, message)
}

func (w *walk) any() string {
	names := slices.Sorted(maps.Keys(w.context))
	return names[w.rand.IntN(len(names))]
}

// push1 pushes one change.
func (w *walk) push1() string {
	name := w.any()
	what := "a push that changes " + name
	switch w.rand.IntN(4) {
	case 0:
		w.add()
		what = "a push that adds one"
	case 1:
		if len(w.context) > 2 {
			delete(w.context, name)
			delete(w.notes, name)
			what = "a push that drops " + name
		}
	case 2:
		w.notes[name]++
	default:
		w.context[name] += 256
	}
	w.push("models: " + what)
	return what
}

// drift changes by hand what Git says, in a way that is no conflict.
func (w *walk) drift() string {
	name := w.any()
	meta := metav1.ObjectMeta{Namespace: w.Namespace, Name: name}
	removal := func(o client.Object, path string) error {
		return w.Client.Patch(w.t.Context(), o, client.RawPatch("application/json-patch+json", []byte(`[{"op":"remove","path":"`+path+`"}]`)))
	}
	label := "/metadata/labels/" + strings.ReplaceAll(repolayout.LabelWorkspace, "/", "~1")
	drifts := []struct {
		what string
		do   func() error
	}{
		{"a Deployment deleted", func() error { return w.Client.Delete(w.t.Context(), &appsv1.Deployment{ObjectMeta: meta}) }},
		{"a Service deleted", func() error { return w.Client.Delete(w.t.Context(), &corev1.Service{ObjectMeta: meta}) }},
		{"a ConfigMap deleted", func() error { return w.Client.Delete(w.t.Context(), &corev1.ConfigMap{ObjectMeta: meta}) }},
		{"a Workspace deleted", func() error { return w.Client.Delete(w.t.Context(), &v1alpha1.Workspace{ObjectMeta: meta}) }},
		{"a context length removed", func() error { return removal(&v1alpha1.Workspace{ObjectMeta: meta}, "/spec/inference/contextLength") }},
		{"a note removed", func() error { return removal(&corev1.ConfigMap{ObjectMeta: meta}, "/data/note") }},
		{"the label of a Service removed", func() error { return removal(&corev1.Service{ObjectMeta: meta}, label) }},
	}
	d := drifts[w.rand.IntN(len(drifts))]
	if err := d.do(); err != nil { // it may not be there, or not have that, just now
		return d.what + " of " + name + " (" + err.Error() + ")"
	}
	return d.what + " of " + name
}

func (w *walk) kill() string {
	if err := w.KillController(); err != nil {
		w.t.Fatal(err)
	}
	if err := w.StartController(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	return "a kill"
}

func (w *walk) restart() string {
	if err := w.Cluster.RestartAPIServer(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	return "an API server's restart"
}

// converge waits until the cluster is as Git says.
func (w *walk) converge(after string) {
	w.t.Helper()
	differs := "nothing was compared"
	err := wait.PollUntilContextCancel(patient(w.t), 200*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		if d := w.difference(ctx); ctx.Err() == nil { // what is asked for while time runs out differs in nothing but that
			differs = d
		}
		return differs == "", nil
	})
	if err != nil {
		w.t.Fatalf("after %s: %s", after, differs)
	}
}

// difference says what is not as Git says, "" when all is.
func (w *walk) difference(ctx context.Context) string {
	workspaces, configMaps := &v1alpha1.WorkspaceList{}, &corev1.ConfigMapList{}
	labels := client.MatchingLabels{repolayout.LabelSyncName: w.Sync}
	for _, list := range []client.ObjectList{workspaces, configMaps} {
		if err := w.Client.List(ctx, list, client.InNamespace(w.Namespace), labels); err != nil {
			return err.Error()
		}
	}
	if len(workspaces.Items) != len(w.context) || len(configMaps.Items) != len(w.context) {
		return fmt.Sprintf("%d Workspaces and %d ConfigMaps, want %d", len(workspaces.Items), len(configMaps.Items), len(w.context))
	}
	for i := range configMaps.Items {
		c := &configMaps.Items[i]
		if n, ok := w.notes[c.Name]; !ok || c.Data["note"] != fmt.Sprint(n) {
			return fmt.Sprintf("ConfigMap %s says %q, want %d", c.Name, c.Data["note"], n)
		}
	}
	for i := range workspaces.Items {
		if d := w.unlike(ctx, &workspaces.Items[i]); d != "" {
			return d
		}
	}
	return w.left(ctx)
}

// paid are the kinds that cost money: a Workspace goes when its own have gone. The rest is
// for the garbage collector of Kubernetes, which after a restart of the API server was seen
// to leave Services for good.
var paid = []schema.GroupVersionKind{
	appsv1.SchemeGroupVersion.WithKind("DeploymentList"), v1alpha1.GroupVersion.WithKind("GPUNodePoolList"),
}

// left says what there still is to pay for of a Workspace that Git has no more.
func (w *walk) left(ctx context.Context) string {
	for _, kind := range paid {
		list := &metav1.PartialObjectMetadataList{}
		list.SetGroupVersionKind(kind)
		if err := w.Client.List(ctx, list, client.InNamespace(w.Namespace), client.HasLabels{repolayout.LabelWorkspace}); err != nil {
			return err.Error()
		}
		for i := range list.Items {
			o := &list.Items[i]
			if _, ok := w.context[o.Labels[repolayout.LabelWorkspace]]; !ok {
				return fmt.Sprintf("%s has %s, which is of Workspace %s, which Git has no more", kind.Kind, o.Name, o.Labels[repolayout.LabelWorkspace])
			}
		}
	}
	return ""
}

// unlike says what of a Workspace and its children is not as Git says.
func (w *walk) unlike(ctx context.Context, ws *v1alpha1.Workspace) string {
	want, ok := w.context[ws.Name]
	if !ok || !ws.DeletionTimestamp.IsZero() || int(ws.Spec.Inference.ContextLength) != want {
		return fmt.Sprintf("Workspace %s, which Git has: %v, deleted: %v, has the context %d, want %d", ws.Name, ok, ws.DeletionTimestamp, ws.Spec.Inference.ContextLength, want)
	}
	d, s := &appsv1.Deployment{}, &corev1.Service{}
	for _, o := range []client.Object{d, s} {
		if err := w.Client.Get(ctx, client.ObjectKeyFromObject(ws), o); err != nil {
			return fmt.Sprintf("%v; its Workspace says %+v", err, ws.Status.Conditions)
		}
		if o.GetLabels()[repolayout.LabelWorkspace] != ws.Name || !metav1.IsControlledBy(o, ws) {
			return fmt.Sprintf("%T %s is not its Workspace's: labels %v", o, ws.Name, o.GetLabels())
		}
	}
	if args := d.Spec.Template.Spec.Containers[0].Args; !slices.Contains(args, fmt.Sprintf("--max-model-len=%d", want)) {
		return fmt.Sprintf("Deployment %s is started with %v, want the context %d", ws.Name, args, want)
	}
	return ""
}
