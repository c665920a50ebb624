// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/espalier-dev/espalier/test/cluster"
)

const chartFolder = "../../deploy/chart/espalier"

// helm runs the Helm that `make bin/helm` builds from its Go module.
func helm(t *testing.T, args ...string) (string, error) {
	t.Helper()
	bin, err := cluster.DefaultBin()
	if err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(bin, "helm")
	if _, err := os.Stat(binary); err != nil {
		t.Skip("helm is not built: run `make bin/helm` in the root of the repository")
	}
	cmd := exec.CommandContext(t.Context(), binary, args...)
	home := t.TempDir()
	cmd.Env = append(os.Environ(), "HELM_CACHE_HOME="+home, "HELM_CONFIG_HOME="+home, "HELM_DATA_HOME="+home, "KUBECONFIG="+filepath.Join(home, "none"))
	var out, talk bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &talk
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("helm %s: %w: %s", strings.Join(args, " "), err, talk.String())
	}
	return out.String(), nil
}

// rendered is what the chart makes of values in a namespace.
func rendered(t *testing.T, inNamespace, values string) (string, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "values.yaml")
	if err := os.WriteFile(file, []byte(values), 0o600); err != nil {
		t.Fatal(err)
	}
	return helm(t, "template", "espalier", chartFolder, "--namespace", inNamespace, "--values", file)
}

// objectsOf are the objects of a text, by kind, namespace and name.
func objectsOf(t *testing.T, text string) map[string]*unstructured.Unstructured {
	t.Helper()
	found := map[string]*unstructured.Unstructured{}
	decoder := yaml.NewYAMLOrJSONDecoder(strings.NewReader(text), 4096)
	for {
		o := &unstructured.Unstructured{}
		err := decoder.Decode(&o.Object)
		if errors.Is(err, io.EOF) {
			return found
		}
		if err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		if len(o.Object) == 0 {
			continue
		}
		key := o.GetKind() + " " + o.GetNamespace() + "/" + o.GetName()
		if found[key] != nil {
			t.Errorf("%s is there twice", key)
		}
		found[key] = o
	}
}

// kustomized are the objects of an overlay with the review component.
func kustomized(t *testing.T, overlay string) map[string]*unstructured.Unstructured {
	t.Helper()
	found := map[string]*unstructured.Unstructured{}
	for _, o := range withReview(t, overlay) {
		content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
		if err != nil {
			t.Fatal(err)
		}
		u := &unstructured.Unstructured{Object: content}
		unstructured.RemoveNestedField(u.Object, "status")
		found[u.GetKind()+" "+u.GetNamespace()+"/"+u.GetName()] = u
	}
	return found
}

// plain takes away how Helm and Kustomize mark what they make, writes the
// settings into the arguments, and fills in what Kubernetes' own types do.
func plain(t *testing.T, objects map[string]*unstructured.Unstructured) map[string]any {
	t.Helper()
	settings := map[string]string{}
	for key, o := range objects {
		if o.GetKind() == "ConfigMap" && strings.HasPrefix(o.GetName(), "espalier-settings") {
			settings, _, _ = unstructured.NestedStringMap(o.Object, "data")
			delete(objects, key)
		}
	}
	result := map[string]any{}
	for key, o := range objects {
		labels := o.GetLabels()
		for _, name := range []string{"app.kubernetes.io/name", "app.kubernetes.io/part-of", "app.kubernetes.io/managed-by", "helm.sh/chart"} {
			delete(labels, name)
		}
		o.SetLabels(labels)
		annotations := o.GetAnnotations()
		delete(annotations, "helm.sh/resource-policy")
		o.SetAnnotations(annotations)
		typed := runtime.Object(o)
		if empty, err := scheme(t).New(o.GroupVersionKind()); err == nil {
			if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, empty); err != nil {
				t.Fatalf("%s: %v", key, err)
			}
			typed = empty
		}
		text, err := json.Marshal(typed)
		if err != nil {
			t.Fatal(err)
		}
		for name, value := range settings {
			text = bytes.ReplaceAll(text, []byte("$("+name+")"), []byte(value))
		}
		var content map[string]any
		if err := json.Unmarshal(text, &content); err != nil {
			t.Fatal(err)
		}
		delete(content, "status")
		unmarked(content)
		result[key] = content
	}
	return result
}

// same compares what two ways of installing make, object by object.
func same(t *testing.T, want, got map[string]any) {
	t.Helper()
	for key := range got {
		if want[key] == nil {
			t.Errorf("%s is more than the overlay has", key)
		}
	}
	for key := range want {
		if got[key] == nil {
			t.Errorf("%s is missing", key)
		} else if diff := cmp.Diff(want[key], got[key]); diff != "" {
			t.Errorf("%s: -overlay +this:\n%s", key, diff)
		}
	}
}

// unmarked takes what differs by design out of a Deployment: the name of the settings
// carries a hash of Kustomize, and the pod an annotation of Helm for the same purpose.
func unmarked(o map[string]any) {
	if o["kind"] != "Deployment" {
		return
	}
	unstructured.RemoveNestedField(o, "spec", "template", "metadata", "annotations")
	containers, _, _ := unstructured.NestedSlice(o, "spec", "template", "spec", "containers")
	for _, c := range containers {
		unstructured.RemoveNestedField(c.(map[string]any), "envFrom")
	}
	_ = unstructured.SetNestedSlice(o, containers, "spec", "template", "spec", "containers")
}

// sameAs are the values of the chart that each overlay stands for.
var sameAs = map[string]string{
	"dev": "clusterName: dev\nprovider: existing\n",
	"aks": `clusterName: production
provider: aks
region: eastus
azure:
  subscriptionID: 00000000-0000-0000-0000-000000000000
  resourceGroup: my-resource-group
  clusterName: my-cluster
  clientID: 00000000-0000-0000-0000-000000000000
`,
	"karpenter": "clusterName: production\nprovider: karpenter\nregion: eastus\n",
}

// TestChart: the chart makes the same objects as each overlay, with the same rights,
// arguments and security, and what Helm adds changes nothing.
func TestChart(t *testing.T) {
	for _, folder := range overlays(t) {
		name := filepath.Base(folder)
		t.Run(name, func(t *testing.T) {
			values, known := sameAs[name]
			if !known {
				t.Fatalf("say in sameAs what values of the chart the overlay %s stands for", name)
			}
			text, err := rendered(t, namespace, "image: {repository: registry.example.com/espalier, tag: dev}\nnamespace: {create: true}\nreview: {enabled: true}\n"+values)
			if err != nil {
				t.Fatal(err)
			}
			same(t, plain(t, kustomized(t, folder)), plain(t, objectsOf(t, text)))
		})
	}
}

// TestChartValues: each value does what it says.
func TestChartValues(t *testing.T) {
	const image = "image: {repository: registry.example.com/espalier, digest: 'sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855', pullSecrets: [pull]}\n"
	for name, c := range map[string]struct {
		reason string
		values string
		has    []string
		hasNot []string
	}{
		"Least": {
			reason: "An image is all that is needed, in any namespace.",
			values: image,
			has: []string{
				"image: registry.example.com/espalier@sha256:e3b0c", "imagePullSecrets:\n      - name: pull", "kind: CustomResourceDefinition",
				"kind: NetworkPolicy", "system: elsewhere", "value: registry.example.com/espalier@sha256:e3b0c", "helm.sh/resource-policy: keep",
			},
			hasNot: []string{"espalier-system", "espalier-karpenter", "name: espalier-review\n", "kind: Namespace\n"},
		},
		"Nothing": {
			reason: "CRDs may be another's affair, and policies too.",
			values: image + "crds: {install: false}\nnetworkPolicy: {enabled: false}\n",
			hasNot: []string{"kind: CustomResourceDefinition", "kind: NetworkPolicy"},
		},
		"Tenants": {
			reason: "Rights over a namespace are bound in it.",
			values: image + "tenants: {defaultServiceAccount: models, impersonate: [team-a], allowTargetNamespaces: [serving], noCrossNamespaceRefs: true}\neventsAddr: http://notification-controller.flux-system/\n",
			has: []string{
				"--default-service-account=models", "--allow-target-namespace=serving", "--no-cross-namespace-refs",
				"--events-addr=http://notification-controller.flux-system/", "name: espalier-impersonate\n  namespace: team-a",
			},
		},
		"Hook": {
			reason: "A Service for the forge's webhooks.",
			values: image + "hook: {enabled: true}\n",
			has:    []string{"--hook-addr=:9292", "kind: Service\n", "targetPort: hook"},
		},
		"Review": {
			reason: "It reads the Secrets of the namespaces that are named.",
			values: image + "clusterName: dev\nreview: {enabled: true, secretNamespaces: [models], args: [--review-timeout=1m]}\n",
			has:    []string{"name: espalier-review\n  namespace: models", "name: espalier-review-secrets", "--review-timeout=1m", "--quota-config-map=elsewhere/espalier-quota"},
		},
		"Where": {
			reason: "The pod goes where it is told to.",
			values: image + "controller: {replicas: 2, nodeSelector: {pool: system}, tolerations: [{key: a, operator: Exists}], args: [--start-limit=1h], env: [{name: OTEL_EXPORTER_OTLP_ENDPOINT, value: \"http://collector:4318\"}], podAnnotations: {a: b}, resources: {limits: {memory: 2Gi}}}\n",
			has:    []string{"replicas: 2", "pool: system", "key: a", "--start-limit=1h", "a: b", "memory: 2Gi", "value: http://collector:4318", "name: HELPER_IMAGE"},
			hasNot: []string{"memory: 1Gi"},
		},
		"ReviewWhere": {
			reason: "A variable for a container that has none of ours.",
			values: image + "clusterName: dev\nreview: {enabled: true, env: [{name: HTTPS_PROXY, value: \"http://proxy:3128\"}]}\n",
			has:    []string{"- name: HTTPS_PROXY\n          value: http://proxy:3128"},
			hasNot: []string{"GOMEMLIMIT"},
		},
		"Shards": {
			reason: "Each has pods of its own, and the first Deployment takes what has no label.",
			values: image + "shards: [one, two]\n",
			has: []string{
				"name: espalier-one\n", "--watch-label-selector=sharding.fluxcd.io/key=one", "app.kubernetes.io/component: controller-two",
				"--watch-label-selector=!sharding.fluxcd.io/key", "app.kubernetes.io/component: controller\n",
			},
		},
		"Karpenter": {
			reason: "Classes are flags, and the provider has a role of its own.",
			values: image + "provider: karpenter\nkarpenter: {nodeClasses: [karpenter.k8s.aws/EC2NodeClass/gpu]}\n",
			has:    []string{"--karpenter-node-class=karpenter.k8s.aws/EC2NodeClass/gpu", "name: espalier-karpenter"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			text, err := rendered(t, "elsewhere", c.values)
			if err != nil {
				t.Fatal(err)
			}
			text += "system: elsewhere" // of subjects, which are compared whole in TestChart
			for _, part := range c.has {
				if !strings.Contains(text, part) {
					t.Errorf("%s\n%q is missing", c.reason, part)
				}
			}
			for _, part := range c.hasNot {
				if strings.Contains(text, part) {
					t.Errorf("%s\n%q is there", c.reason, part)
				}
			}
		})
	}
}

// TestChartRefusals: a value that nothing honours is refused, and so is what cannot
// work.
func TestChartRefusals(t *testing.T) {
	const image = "image: {repository: registry.example.com/espalier}\n"
	for name, c := range map[string]struct{ reason, values, want string }{
		"NoImage":      {"None is published.", "{}\n", "image.repository is required"},
		"Unknown":      {"A mistake of writing would be a default.", image + "replicas: 3\n", "additional properties 'replicas' not allowed"},
		"NoProvider":   {"There are three.", image + "provider: gke\n", "provider"},
		"NoAzure":      {"Without its cluster the controller would not start.", image + "provider: aks\n", "azure"},
		"NoName":       {"Comments on pull requests name the cluster.", image + "review: {enabled: true}\n", "clusterName"},
		"ShortDigest":  {"It would be pulled in vain.", image[:len(image)-2] + ", digest: 'sha256:1'}\n", "digest"},
		"NoClass":      {"A class has group, kind and name.", image + "karpenter: {nodeClasses: [gpu]}\n", "nodeClasses"},
		"NoFlag":       {"An argument that is no flag ends the controller.", image + "controller: {args: [start-limit]}\n", "args"},
		"NotShard":     {"The review controller has a Deployment of this name.", image + "shards: [review]\n", "shards"},
		"NotNamespace": {"A binding needs one.", image + "tenants: {impersonate: [Team]}\n", "impersonate"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := rendered(t, namespace, c.values)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s\ngot %v, want %q", c.reason, err, c.want)
			}
		})
	}
}

// TestChartInstalls: a real API server takes what the chart makes, and the binary
// knows every flag in it.
func TestChartInstalls(t *testing.T) {
	c := shared.Get(t)
	binary := filepath.Join(t.TempDir(), "espalier")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "../../cmd/espalier").CombinedOutput(); err != nil {
		t.Fatalf("building espalier: %v\n%s", err, out)
	}
	if _, err := c.Kubectl(t.Context(), "apply", "--server-side", "-f", "../../deploy/base/namespace.yaml"); err != nil {
		t.Fatal(err)
	}
	for name, values := range sameAs {
		t.Run(name, func(t *testing.T) {
			all := "image: {repository: registry.example.com/espalier}\nreview: {enabled: true}\nshards: [one]\nhook: {enabled: true}\neventsAddr: http://example.com/\n" +
				"tenants: {defaultServiceAccount: models, impersonate: [default], allowTargetNamespaces: [serving], noCrossNamespaceRefs: true}\n" + values
			text, err := rendered(t, namespace, all)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := c.KubectlInput(t.Context(), []byte(text), "apply", "--server-side", "--force-conflicts", "--dry-run=server", "-f", "-"); err != nil {
				t.Error(err)
			}
			objects := objectsOf(t, text)
			settings, _, _ := unstructured.NestedStringMap(objects["ConfigMap "+namespace+"/espalier-settings"].Object, "data")
			for _, deployment := range []string{"espalier", "espalier-one", "espalier-review"} {
				pod := &corev1.PodTemplateSpec{}
				template, _, err := unstructured.NestedMap(objects["Deployment "+namespace+"/"+deployment].Object, "spec", "template")
				if err != nil {
					t.Fatal(err)
				}
				if err := runtime.DefaultUnstructuredConverter.FromUnstructured(template, pod); err != nil {
					t.Fatal(err)
				}
				container := pod.Spec.Containers[0]
				variables := map[string]string{}
				for name, value := range settings {
					variables[name] = value
				}
				for _, v := range container.Env {
					variables[v.Name] = v.Value
				}
				understood(t, binary, container.Args, variables)
			}
		})
	}
}
