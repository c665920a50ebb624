// SPDX-License-Identifier: Apache-2.0

// Package deploy tests the manifests of deploy/: every overlay builds with
// Kustomize, every object is of a known kind without a field that the kind does
// not have, a real API server takes it, and what it starts is what the binary
// understands.
package deploy

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/wait"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"

	"github.com/espalier-dev/espalier/test/cluster"
)

const namespace = "espalier-system"

var shared = cluster.Shared{Options: cluster.Options{Parts: cluster.APIServer}}

func TestMain(m *testing.M) { os.Exit(shared.Run(m)) }

// overlays are the folders of deploy/overlays.
func overlays(t *testing.T) []string {
	t.Helper()
	found, err := filepath.Glob("../../deploy/overlays/*/kustomization.yaml")
	if err != nil || len(found) == 0 {
		t.Fatalf("finding overlays: %d (%v)", len(found), err)
	}
	for i := range found {
		found[i] = filepath.Dir(found[i])
	}
	return found
}

func scheme(t *testing.T) *runtime.Scheme {
	t.Helper()
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, apiextensionsv1.AddToScheme} {
		if err := add(s); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// build returns the objects of an overlay, each decoded strictly.
func build(t *testing.T, folder string) []runtime.Object {
	t.Helper()
	resources, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), folder)
	if err != nil {
		t.Fatal(err)
	}
	decoder := serializer.NewCodecFactory(scheme(t), serializer.EnableStrict).UniversalDeserializer()
	var objects []runtime.Object
	for _, r := range resources.Resources() {
		text, err := r.AsYAML()
		if err != nil {
			t.Fatal(err)
		}
		object, _, err := decoder.Decode(text, nil, nil)
		if err != nil {
			t.Errorf("%s: %v", r.CurId(), err)
			continue
		}
		objects = append(objects, object)
	}
	return objects
}

func find[T runtime.Object](t *testing.T, objects []runtime.Object) T {
	t.Helper()
	for _, o := range objects {
		if found, ok := o.(T); ok {
			return found
		}
	}
	t.Fatalf("no %T among the objects", *new(T))
	return *new(T)
}

// TestOverlays: what people apply is taken as it stands, and the controller's
// pod is admitted by the Pod Security level its namespace enforces.
func TestOverlays(t *testing.T) {
	c := shared.Get(t)
	api, err := client.New(c.Config, client.Options{Scheme: scheme(t)})
	if err != nil {
		t.Fatal(err)
	}
	for _, folder := range overlays(t) {
		t.Run(filepath.Base(folder), func(t *testing.T) {
			objects := build(t, folder)
			for _, o := range objects {
				apply(t, api, o)
			}
			deployment := find[*appsv1.Deployment](t, objects)
			pod := &corev1.Pod{
				ObjectMeta: metav1.ObjectMeta{Namespace: namespace, GenerateName: "admitted-", Labels: deployment.Spec.Template.Labels},
				Spec:       deployment.Spec.Template.Spec,
			}
			if err := api.Create(t.Context(), pod, client.DryRunAll); err != nil {
				t.Errorf("the controller's pod is not admitted: %v", err)
			}
			container := pod.Spec.Containers[0]
			if helper := variables(t, objects)["HELPER_IMAGE"]; helper != container.Image {
				t.Errorf("tuning pods would get the image %q, the controller has %q", helper, container.Image)
			}
		})
	}
}

// withReview writes an overlay that adds the component deploy/review, as docs/review.md has it.
func withReview(t *testing.T, overlay string) []runtime.Object {
	t.Helper()
	folder := t.TempDir()
	var paths []string
	for _, name := range []string{overlay, "../../deploy/review"} {
		absolute, err := filepath.Abs(name)
		if err != nil {
			t.Fatal(err)
		}
		relative, err := filepath.Rel(folder, absolute)
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, relative)
	}
	text := "resources: [" + paths[0] + "]\ncomponents: [" + paths[1] + "]\nimages: [{name: espalier, newName: registry.example.com/espalier, newTag: dev}]\n"
	if err := os.WriteFile(filepath.Join(folder, "kustomization.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return build(t, folder)
}

// reviewer is the Deployment of the component among objects.
func reviewer(t *testing.T, objects []runtime.Object) *appsv1.Deployment {
	t.Helper()
	for _, o := range objects {
		if d, ok := o.(*appsv1.Deployment); ok && d.Name == "espalier-review" {
			return d
		}
	}
	t.Fatal("no Deployment espalier-review")
	return nil
}

// TestReview: the component is taken with every overlay, its pod admitted, and its
// account may write nothing but events and its Lease.
func TestReview(t *testing.T) {
	c := shared.Get(t)
	api, err := client.New(c.Config, client.Options{Scheme: scheme(t)})
	if err != nil {
		t.Fatal(err)
	}
	for _, folder := range overlays(t) {
		objects := withReview(t, folder)
		for _, o := range objects {
			apply(t, api, o)
		}
		deployment := reviewer(t, objects)
		pod := &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, GenerateName: "admitted-", Labels: deployment.Spec.Template.Labels},
			Spec:       deployment.Spec.Template.Spec,
		}
		if err := api.Create(t.Context(), pod, client.DryRunAll); err != nil {
			t.Errorf("the review controller's pod is not admitted: %v", err)
		}
	}
	for _, tc := range []struct {
		verb, resource string
		want           bool
	}{
		{"list", "reposyncs.espalier.dev", true},
		{"create", "events", true},
		{"patch", "reposyncs.espalier.dev", false},
		{"get", "secrets", false}, // until somebody binds espalier-review-secrets in a namespace
		{"list", "secrets", false},
		{"list", "workspaces.espalier.dev", true}, // for what becomes of a merged pull request
		{"patch", "workspaces.espalier.dev", false},
		{"patch", "workspaces.espalier.dev/status", false},
		{"create", "pods", false},
		{"get", "configmaps", false},
		{"get", "configmaps/espalier-quota --namespace=" + namespace, true},
		{"update", "configmaps/espalier-quota --namespace=" + namespace, false},
		{"get", "configmaps/espalier-settings --namespace=" + namespace, false},
	} {
		args := append([]string{"auth", "can-i", "--namespace", "default", tc.verb}, strings.Fields(tc.resource)...)
		out, _ := c.Kubectl(t.Context(), append(args, "--as", "system:serviceaccount:espalier-system:espalier-review")...)
		if got := strings.HasPrefix(strings.TrimSpace(string(out)), "yes"); got != tc.want {
			t.Errorf("may %s %s: %v, want %v (%s)", tc.verb, tc.resource, got, tc.want, out)
		}
	}
}

// TestImpersonation: the controller may act as nobody, until somebody binds
// espalier-impersonate in a namespace, and then as the accounts of that one.
func TestImpersonation(t *testing.T) {
	c := shared.Get(t)
	api, err := client.New(c.Config, client.Options{Scheme: scheme(t)})
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range build(t, overlays(t)[0]) {
		apply(t, api, o)
	}
	may := func(namespace string) string {
		out, _ := c.Kubectl(t.Context(), "auth", "can-i", "impersonate", "serviceaccounts/models", "--namespace", namespace, "--as", "system:serviceaccount:espalier-system:espalier")
		return strings.TrimSpace(string(out))
	}
	if got := may("default"); !strings.HasPrefix(got, "no") {
		t.Errorf("before it is bound: %s", got)
	}
	if out, err := c.Kubectl(t.Context(), "create", "rolebinding", "espalier-impersonate", "--namespace", "default",
		"--clusterrole=espalier-impersonate", "--serviceaccount=espalier-system:espalier"); err != nil {
		t.Fatalf("binding it: %v: %s", err, out)
	}
	// The authorizer sees a new binding a moment later.
	err = wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, 30*time.Second, true, func(context.Context) (bool, error) {
		return strings.HasPrefix(may("default"), "yes"), nil
	})
	if err != nil {
		t.Errorf("where it is bound: %s", may("default"))
	}
	if got := may("kube-system"); !strings.HasPrefix(got, "no") {
		t.Errorf("elsewhere: %s", got)
	}
}

// apply applies as `kubectl apply --server-side` does.
func apply(t *testing.T, api client.Client, o runtime.Object) {
	t.Helper()
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
	if err != nil {
		t.Fatal(err)
	}
	object := &unstructured.Unstructured{Object: content}
	unstructured.RemoveNestedField(object.Object, "status")
	err = api.Apply(t.Context(), client.ApplyConfigurationFromUnstructured(object), client.FieldOwner("kubectl"), client.ForceOwnership)
	if err != nil {
		t.Errorf("%s %s is not taken: %v", object.GetKind(), object.GetName(), err)
	}
}

// variables are the controller's environment as the pod would see it.
func variables(t *testing.T, objects []runtime.Object) map[string]string {
	t.Helper()
	values := map[string]string{}
	settings, deployment := find[*corev1.ConfigMap](t, objects), find[*appsv1.Deployment](t, objects)
	container := deployment.Spec.Template.Spec.Containers[0]
	for _, from := range container.EnvFrom {
		if from.ConfigMapRef == nil || from.ConfigMapRef.Name != settings.Name {
			t.Errorf("the pod takes its environment from %v, the overlay makes %s", from.ConfigMapRef, settings.Name)
		}
	}
	for name, value := range settings.Data {
		values[name] = value
	}
	for _, v := range container.Env {
		values[v.Name] = v.Value
	}
	return values
}

// TestArguments: the binary knows every flag that an overlay gives it, and every
// variable in them has a value.
func TestArguments(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "espalier")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "../../cmd/espalier").CombinedOutput(); err != nil {
		t.Fatalf("building espalier: %v\n%s", err, out)
	}
	for _, folder := range overlays(t) {
		t.Run(filepath.Base(folder), func(t *testing.T) {
			objects := build(t, folder)
			understood(t, binary, find[*appsv1.Deployment](t, objects).Spec.Template.Spec.Containers[0].Args, variables(t, objects))
			understood(t, binary, reviewer(t, withReview(t, folder)).Spec.Template.Spec.Containers[0].Args, variables(t, objects))
		})
	}
}

// understood says whether the binary knows every flag.
func understood(t *testing.T, binary string, given []string, values map[string]string) {
	t.Helper()
	var args []string
	for _, arg := range given {
		for name, value := range values {
			arg = strings.ReplaceAll(arg, "$("+name+")", value)
		}
		if strings.Contains(arg, "$(") {
			t.Errorf("argument %s: no such variable", arg)
		}
		args = append(args, arg)
	}
	// --help ends the command after all flags were read, before a cluster is looked for.
	out, err := exec.CommandContext(t.Context(), binary, append(args, "--help")...).CombinedOutput()
	if err != nil {
		t.Errorf("espalier %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// TestWorkloadIdentity: the value of settings.env reaches the service account.
func TestWorkloadIdentity(t *testing.T) {
	objects := build(t, "../../deploy/overlays/aks")
	account := find[*corev1.ServiceAccount](t, objects)
	want := find[*corev1.ConfigMap](t, objects).Data["IDENTITY_CLIENT_ID"]
	if got := account.Annotations["azure.workload.identity/client-id"]; got != want || want == "" {
		t.Errorf("the service account's client id is %q, settings.env says %q", got, want)
	}
}

// TestEveryCRD: a CRD that is generated and not listed would not be installed.
func TestEveryCRD(t *testing.T) {
	files, err := filepath.Glob("../../deploy/crd/*_*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("../../deploy/crd/Kustomization")
	if err != nil {
		t.Fatal(err)
	}
	var listed struct{ Resources []string }
	if err := yaml.Unmarshal(text, &listed); err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if !slices.Contains(listed.Resources, filepath.Base(file)) {
			t.Errorf("deploy/crd/Kustomization does not list %s", filepath.Base(file))
		}
	}
}

// TestDockerfile: the image is built from every folder that the binary imports,
// and from no other.
func TestDockerfile(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", "../../cmd/espalier").Output()
	if err != nil {
		t.Fatalf("listing the packages of the binary: %v", err)
	}
	ignore, err := os.ReadFile("../../deploy/Dockerfile.dockerignore")
	if err != nil {
		t.Fatal(err)
	}
	const module = "github.com/espalier-dev/espalier/"
	needed := map[string]bool{}
	for line := range bytes.Lines(out) {
		if inner, ours := strings.CutPrefix(strings.TrimSpace(string(line)), module); ours {
			folder, _, _ := strings.Cut(inner, "/")
			needed[folder] = true
		}
	}
	for line := range strings.Lines(string(ignore)) {
		folder, kept := strings.CutPrefix(strings.TrimSpace(line), "!")
		if info, err := os.Stat("../../" + folder); kept && err == nil && info.IsDir() {
			if !needed[folder] {
				t.Errorf("the image is built from %s, which the binary does not import", folder)
			}
			delete(needed, folder)
		}
	}
	for folder := range needed {
		t.Errorf("the binary imports %s, which Dockerfile.dockerignore keeps out", folder)
	}
}
