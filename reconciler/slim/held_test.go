// SPDX-License-Identifier: Apache-2.0

package slim

import (
	"bytes"
	"fmt"
	"runtime"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kuberuntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/json"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/scale"
)

// metaOf is the metadata of the i-th of a fleet's objects of a kind, as the API server fills it.
func metaOf(i int, kind string) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Namespace: "models", Name: fmt.Sprintf("w%05d", i), Generation: 1, ResourceVersion: fmt.Sprint(100_000 + i),
		UID: uidOf(i, kind), CreationTimestamp: metav1.NewTime(then.Add(time.Duration(i/5) * time.Second)),
		ManagedFields: []metav1.ManagedFieldsEntry{{Manager: repolayout.FieldManager, Operation: "Apply", FieldsV1: &metav1.FieldsV1{Raw: []byte("{}")}}},
	}
}

// synced is what a RepoSync has applied, of a file of its own.
func synced(i int, kind string) metav1.ObjectMeta {
	o := metaOf(i, kind)
	o.Labels = map[string]string{repolayout.LabelSyncName: "fleet", repolayout.LabelSyncNamespace: "models"}
	o.Annotations = map[string]string{
		repolayout.AnnotationDigest: digestOf(i, kind), repolayout.AnnotationRevision: "main@sha1:25d6d60cd0a4b8e1f7c1e7b5b0d7b1e0d8f4f5aa",
		repolayout.AnnotationSource: fmt.Sprintf("workspaces/w%05d/%s.yaml:1", i, kind),
	}
	return o
}

// owned is a child of the i-th Workspace.
func owned(i int, kind string) metav1.ObjectMeta {
	o := metaOf(i, kind)
	o.Labels = map[string]string{
		repolayout.LabelWorkspace: o.Name, "app.kubernetes.io/name": "vllm", "app.kubernetes.io/version": "0.11.0", "app.kubernetes.io/component": "inference", "app.kubernetes.io/instance": o.Name, "app.kubernetes.io/managed-by": "espalier",
	}
	o.Annotations = map[string]string{repolayout.AnnotationDigest: digestOf(i, kind)}
	o.OwnerReferences = []metav1.OwnerReference{{
		APIVersion: v1alpha1.GroupVersion.String(), Kind: v1alpha1.WorkspaceKind, Name: o.Name, UID: uidOf(i, "workspace"),
		Controller: ptr.To(true), BlockOwnerDeletion: ptr.To(true),
	}}
	return o
}

func uidOf(i int, kind string) types.UID {
	return types.UID(fmt.Sprintf("%08x-0000-4000-8000-%012x", pair("uid", kind, "")>>32, i))
}

func digestOf(i int, kind string) string { return fmt.Sprintf("sha256:%064x", fmt.Sprint(i, kind)) }

func conditionsOf(i int, types ...string) []metav1.Condition {
	var all []metav1.Condition
	for k, kind := range types {
		all = append(all, metav1.Condition{
			Type: kind, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonSucceeded, Message: "", ObservedGeneration: 1,
			LastTransitionTime: metav1.NewTime(then.Add(time.Duration(i/5+20*k) * time.Second)),
		})
	}
	return all
}

func workspaceOf(i int) client.Object {
	o := &v1alpha1.Workspace{TypeMeta: metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: v1alpha1.WorkspaceKind}, ObjectMeta: synced(i, "workspace")}
	o.Finalizers = []string{repolayout.Finalizer}
	o.Spec = v1alpha1.WorkspaceSpec{
		Resource: v1alpha1.ResourceSpec{
			InstanceType: "Standard_NC24ads_A100_v4", Provider: v1alpha1.ProviderExisting,
			LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"rack": fmt.Sprintf("r%04d", i/8)}},
		},
		Inference: &v1alpha1.InferenceSpec{ModelRef: v1alpha1.ModelRef{Preset: "phi-4-mini-instruct"}, Config: o.Name, ContextLength: 8192},
	}
	o.Status = v1alpha1.WorkspaceStatus{
		ObservedGeneration: 1, Revision: "main@sha1:25d6d60cd0a4b8e1f7c1e7b5b0d7b1e0d8f4f5aa", Instance: "Standard_NC24ads_A100_v4", NodePool: o.Name,
		Conditions: conditionsOf(i, v1alpha1.ConditionReady, v1alpha1.ConditionResourceReady, v1alpha1.ConditionInferenceReady, v1alpha1.ConditionWorkspaceReady),
		Sizing: &v1alpha1.SizingStatus{
			Verdict: v1alpha1.Fits, InstanceType: "Standard_NC24ads_A100_v4", Nodes: 1, USDPerHour: "3.67", PriceDate: "2026-10-01",
			Message: "1 x A100 80 GiB: 7.2 GiB of weights, 1.0 GiB for 8192 tokens, 2.3 GiB beside them: 10.5 of 72.0 GiB",
		},
		Resolved: &v1alpha1.Resolved{
			Digest: digestOf(i, "resolved"), Generation: 1, Runtime: "vllm", Version: "0.11.0", Image: "docker.io/vllm/vllm-openai@" + digestOf(0, "image"),
			ModelRevision: "5a149550068a1eb93398160d8953f5f56c3603e9", Preset: "microsoft/Phi-4-mini-instruct", InstanceType: "Standard_NC24ads_A100_v4", GPUsPerPod: 1, NodesPerCopy: 1,
			Resource: digestOf(i/8, "resource"),
		},
		Inference: &v1alpha1.InferenceStatus{Endpoint: "http://" + o.Name + ".models.svc:80/v1", Models: []string{"phi-4-mini-instruct"}},
	}
	return o
}

func poolOf(i int) client.Object {
	o := &v1alpha1.GPUNodePool{TypeMeta: metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: v1alpha1.GPUNodePoolKind}, ObjectMeta: owned(i, "pool")}
	o.Finalizers = []string{repolayout.Finalizer}
	at := func(k int) metav1.Time { return metav1.NewTime(then.Add(time.Duration(i/5+k) * time.Second)) }
	o.Spec = v1alpha1.GPUNodePoolSpec{
		Provider: v1alpha1.ProviderExisting, Candidates: []v1alpha1.Candidate{{InstanceType: "Standard_NC24ads_A100_v4", Priority: v1alpha1.OnDemand}},
		Replicas: ptr.To(int32(1)), NodeLabels: map[string]string{"rack": fmt.Sprintf("r%04d", i/8)}, DeletionPolicy: v1alpha1.Delete,
	}
	o.Status = v1alpha1.GPUNodePoolStatus{
		ObservedGeneration: 1, Phase: v1alpha1.PhaseReady, ReadyNodes: 1, GPUs: &v1alpha1.GPUCount{Expected: 1, Allocatable: 8}, Since: ptr.To(at(3)),
		Conditions: conditionsOf(i, v1alpha1.ConditionProvisioned, v1alpha1.ConditionNodesRegistered, v1alpha1.ConditionGPUReady, v1alpha1.ConditionReady),
		Candidate:  &v1alpha1.CandidateStatus{InstanceType: "Standard_NC24ads_A100_v4", Priority: v1alpha1.OnDemand, Attempt: 1, Since: at(0)},
		Phases:     []v1alpha1.PhaseTime{{Phase: v1alpha1.PhaseClaiming, At: at(0)}, {Phase: v1alpha1.PhaseReady, At: at(3)}},
	}
	return o
}

func deploymentOf(i int) *appsv1.Deployment {
	pods := template.DeepCopy()
	pods.Annotations = map[string]string{repolayout.AnnotationInputDigest: digestOf(i, "inputs")}
	return &appsv1.Deployment{
		ObjectMeta: owned(i, "deployment"),
		Spec:       appsv1.DeploymentSpec{Replicas: ptr.To(int32(1)), Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "x"}}, Template: *pods, RevisionHistoryLimit: ptr.To(int32(2))},
		Status: appsv1.DeploymentStatus{
			ObservedGeneration: 1, Replicas: 1, UpdatedReplicas: 1, ReadyReplicas: 1, AvailableReplicas: 1,
			Conditions: []appsv1.DeploymentCondition{
				{Type: appsv1.DeploymentAvailable, Status: corev1.ConditionTrue, Reason: "MinimumReplicasAvailable", Message: "Deployment has minimum availability.", LastUpdateTime: then, LastTransitionTime: then},
				{Type: appsv1.DeploymentProgressing, Status: corev1.ConditionTrue, Reason: "NewReplicaSetAvailable", Message: "ReplicaSet \"x\" has successfully progressed.", LastUpdateTime: then, LastTransitionTime: then},
			},
		},
	}
}

func nodeOf(i int) *corev1.Node {
	gpus := corev1.ResourceList{"cpu": resource.MustParse("256"), "memory": resource.MustParse("2Ti"), "nvidia.com/gpu": resource.MustParse("8")}
	o := &corev1.Node{ObjectMeta: metaOf(i, "node"), Status: corev1.NodeStatus{
		Capacity: gpus, Allocatable: gpus.DeepCopy(), Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: "KubeletReady", LastTransitionTime: then}},
	}}
	o.Namespace = ""
	o.Labels = map[string]string{"rack": o.Name, corev1.LabelOSStable: "linux", corev1.LabelArchStable: "amd64", "nvidia.com/gpu.count": "8", "nvidia.com/gpu.product": "NVIDIA-A100-SXM4-80GB"}
	return o
}

// wire is what a kind of Kubernetes is read from and into.
type wire interface {
	Marshal() ([]byte, error)
	Unmarshal(of []byte) error
}

var custom = func() *json.Serializer {
	scheme := kuberuntime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		panic(err) // two kinds of one name
	}
	return json.NewSerializerWithOptions(json.DefaultMetaFactory, scheme, scheme, json.SerializerOptions{})
}()

// read makes an object of what a watch says.
func read(b *testing.B, o, into any) any {
	b.Helper()
	var err error
	switch o := o.(type) {
	case wire:
		var said []byte
		if said, err = o.Marshal(); err == nil {
			err = into.(wire).Unmarshal(said)
		}
	case client.Object:
		said := bytes.Buffer{}
		if err = custom.Encode(o, &said); err == nil {
			_, _, err = custom.Decode(said.Bytes(), nil, into.(client.Object))
		}
	}
	if err != nil {
		b.Fatal(err)
	}
	return into
}

// BenchmarkPack is what packing takes, and reading what was packed.
func BenchmarkPack(b *testing.B) {
	for _, o := range []client.Object{poolOf(1), deploymentOf(1), metadataOf("ConfigMap", synced(1, "config"))} {
		if _, err := Transform(o); err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("%T", o), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				pack(o)
			}
		})
		held := pack(o).(client.Object)
		b.Run(fmt.Sprintf("%T/Read", o), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				held.DeepCopyObject()
			}
		})
		b.Run(fmt.Sprintf("%T/Copy", o), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				o.DeepCopyObject()
			}
		})
	}
}

// BenchmarkHeld prints what a cache holds of an object of each kind, and of a key of an index.
func BenchmarkHeld(b *testing.B) {
	const n = 4_000
	for _, c := range []struct {
		kind string
		read func(i int) any
	}{
		{"Workspace", func(i int) any { return read(b, workspaceOf(i), &v1alpha1.Workspace{}) }},
		{"GPUNodePool", func(i int) any { return read(b, poolOf(i), &v1alpha1.GPUNodePool{}) }},
		{"Deployment", func(i int) any { return read(b, deploymentOf(i), &appsv1.Deployment{}) }},
		{"Service", func(i int) any {
			return read(b, metadataOf("Service", owned(i, "service")), metadataOf("Service", metav1.ObjectMeta{}))
		}},
		{"ConfigMap", func(i int) any {
			return read(b, metadataOf("ConfigMap", synced(i, "config")), metadataOf("ConfigMap", metav1.ObjectMeta{}))
		}},
		{"Node", func(i int) any { return read(b, nodeOf(i), &corev1.Node{}) }},
	} {
		b.Run(c.kind, func(b *testing.B) {
			held := make([]any, n)
			for b.Loop() {
				clear(held)
				before := scale.InUse()
				for i := range held {
					var err error
					if held[i], err = Transform(c.read(i)); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(scale.InUse()-before)/n, "B-held/object")
			}
			runtime.KeepAlive(held)
		})
	}
	b.Run("Key", func(b *testing.B) {
		fill := func(indexers toolscache.Indexers) (toolscache.Indexer, int64) {
			before := scale.InUse()
			cache := toolscache.NewIndexer(toolscache.MetaNamespaceKeyFunc, indexers)
			for i := range n {
				if err := cache.Add(metadataOf("ConfigMap", metav1.ObjectMeta{Namespace: "models", Name: fmt.Sprintf("w%05d", i)})); err != nil {
					b.Fatal(err)
				}
			}
			return cache, scale.InUse() - before
		}
		for b.Loop() {
			names := func(o client.Object) []string { return []string{o.GetName()} }
			plain, without := fill(nil)
			indexed, with := fill(toolscache.Indexers{"a": keysOf(WithinNamespace, names)})
			b.ReportMetric(float64(with-without)/n, "B-held/object")
			runtime.KeepAlive(plain)
			runtime.KeepAlive(indexed)
		}
	})
}
