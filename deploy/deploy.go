// SPDX-License-Identifier: Apache-2.0

// Package deploy makes the manifests that install Espalier out of those in this
// folder: what `espalier install --export` writes is what the Kustomize base, its
// overlays and the Helm chart hold, as the binary was built with them.
//
// It writes nothing into a cluster, and knows nothing of how the controllers work.
package deploy

import (
	"bytes"
	"embed"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// files are the manifests. Of crd, the file named Kustomization is none.
//
//go:embed base/namespace.yaml base/deployment.yaml base/network-policy.yaml base/service.yaml crd/*.yaml rbac review
var files embed.FS

// Namespace is where the manifests install to.
const Namespace = "espalier-system"

// Providers of nodes that an installation is for, named as in the API.
const (
	AKS       = "aks"
	Karpenter = "karpenter"
	Existing  = "existing"
)

// Options of an installation.
type Options struct {
	// Image of this version. Required: none is published.
	Image string
	// Provider that Workspaces get their nodes from by default.
	Provider string
	// ClusterName and Region are the controller's flags of these names.
	ClusterName, Region string
	// SubscriptionID, ResourceGroup, AKSCluster and ClientID say, with AKS, what
	// cluster and which managed identity.
	SubscriptionID, ResourceGroup, AKSCluster, ClientID string
	// Review installs what answers pull requests too.
	Review bool
	// Args are further flags of the controller.
	Args []string
}

// Manifests are the objects of an installation as YAML, in an order in which they
// can be applied.
func Manifests(o Options) ([]byte, error) {
	objects, err := o.objects()
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	for _, object := range objects {
		text, err := yaml.Marshal(object.Object)
		if err != nil {
			return nil, fmt.Errorf("writing %s %s: %w", object.GetKind(), object.GetName(), err)
		}
		fmt.Fprintf(&out, "---\n%s", text)
	}
	return out.Bytes(), nil
}

func (o Options) objects() ([]*unstructured.Unstructured, error) {
	patterns := []string{"base/namespace.yaml", "crd/*.yaml", "rbac/*.yaml"}
	if o.Provider == Karpenter {
		patterns = append(patterns, "rbac/karpenter/*.yaml")
	}
	patterns = append(patterns, "base/network-policy.yaml", "base/service.yaml", "base/deployment.yaml")
	if o.Review {
		patterns = append(patterns, "review/*.yaml")
	}
	var all []*unstructured.Unstructured
	for _, pattern := range patterns {
		names, err := fs.Glob(files, pattern)
		if err != nil {
			return nil, fmt.Errorf("finding %s: %w", pattern, err)
		}
		for _, name := range names {
			if path.Base(name) == "kustomization.yaml" {
				continue
			}
			found, err := read(name)
			if err != nil {
				return nil, err
			}
			all = append(all, found...)
		}
	}
	all = append([]*unstructured.Unstructured{all[0], o.settings()}, all[1:]...) // after its namespace
	for _, object := range all {
		if err := o.adapt(object); err != nil {
			return nil, fmt.Errorf("preparing %s %s: %w", object.GetKind(), object.GetName(), err)
		}
	}
	return all, nil
}

// read reads every object of a file.
func read(name string) ([]*unstructured.Unstructured, error) {
	text, err := files.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	var objects []*unstructured.Unstructured
	for _, document := range strings.Split("\n"+string(text), "\n---\n") {
		object := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(document), &object.Object); err != nil {
			return nil, fmt.Errorf("reading %s: %w", name, err)
		}
		if object.GetKind() != "" {
			objects = append(objects, object)
		}
	}
	return objects, nil
}

// settings are the variables in the arguments of the Deployments.
func (o Options) settings() *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap",
		"metadata": map[string]any{"namespace": Namespace, "name": "espalier-settings"},
		"data":     map[string]any{"CLUSTER_NAME": o.ClusterName, "PROVIDER": o.Provider, "REGION": o.Region},
	}}
}

// adapt writes the options into an object.
func (o Options) adapt(object *unstructured.Unstructured) error {
	labels := object.GetLabels()
	if labels == nil {
		labels = map[string]string{}
	}
	labels["app.kubernetes.io/name"], labels["app.kubernetes.io/part-of"] = "espalier", "espalier"
	object.SetLabels(labels)
	switch {
	case object.GetKind() == "ServiceAccount" && object.GetName() == "espalier" && o.Provider == AKS:
		object.SetAnnotations(map[string]string{"azure.workload.identity/client-id": o.ClientID})
	case object.GetKind() == "Deployment":
		return o.adaptDeployment(object)
	}
	return nil
}

func (o Options) adaptDeployment(object *unstructured.Unstructured) error {
	pod := []string{"spec", "template", "spec"}
	containers, _, err := unstructured.NestedSlice(object.Object, append(pod, "containers")...)
	if err != nil {
		return fmt.Errorf("reading its containers: %w", err)
	}
	container := containers[0].(map[string]any) // the manifest is ours: TestManifests reads each
	container["image"] = o.Image
	if env, _, _ := unstructured.NestedSlice(container, "env"); len(env) > 0 {
		for _, v := range env {
			if v := v.(map[string]any); v["name"] == "HELPER_IMAGE" {
				v["value"] = o.Image
			}
		}
		container["env"] = env
	}
	if object.GetName() == "espalier" {
		if err := o.adaptController(object, container); err != nil {
			return err
		}
	}
	if err := unstructured.SetNestedSlice(object.Object, containers, append(pod, "containers")...); err != nil {
		return fmt.Errorf("setting its container: %w", err)
	}
	return nil
}

// adaptController writes into the controller's Deployment what is its own.
func (o Options) adaptController(object *unstructured.Unstructured, container map[string]any) error {
	args, _, _ := unstructured.NestedStringSlice(container, "args")
	if err := unstructured.SetNestedStringSlice(container, append(args, o.args()...), "args"); err != nil {
		return fmt.Errorf("setting its arguments: %w", err)
	}
	if o.Provider != AKS {
		return nil
	}
	err := unstructured.SetNestedField(object.Object, "true", "spec", "template", "metadata", "labels", "azure.workload.identity/use")
	if err != nil {
		return fmt.Errorf("labelling its pods: %w", err)
	}
	return nil
}

// args are the controller's, beside those of the base.
func (o Options) args() []string {
	if o.Provider != AKS {
		return o.Args
	}
	return append([]string{
		"--azure-subscription-id=" + o.SubscriptionID, "--azure-resource-group=" + o.ResourceGroup, "--azure-cluster-name=" + o.AKSCluster,
		"--quota-config-map=" + Namespace + "/espalier-quota",
	}, o.Args...)
}
