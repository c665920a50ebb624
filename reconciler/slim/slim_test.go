// SPDX-License-Identifier: Apache-2.0

package slim

import (
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// about is the metadata of an object that somebody has applied with kubectl.
func about(labels ...string) metav1.ObjectMeta {
	o := metav1.ObjectMeta{
		Namespace: "models", Name: "phi", Generation: 3, Labels: map[string]string{"app": "phi"},
		Annotations:     map[string]string{corev1.LastAppliedConfigAnnotation: "{}", "a": "b", repolayout.AnnotationDigest: "sha256:1"},
		ManagedFields:   []metav1.ManagedFieldsEntry{{Manager: "kubectl"}},
		OwnerReferences: []metav1.OwnerReference{{Kind: "Workspace", Name: "phi", UID: "u", Controller: ptr.To(true)}},
	}
	for _, key := range labels {
		o.Labels[key] = "phi"
	}
	return o
}

// left is about as the caches hold it.
func left(labels ...string) metav1.ObjectMeta {
	o := about(labels...)
	delete(o.Annotations, corev1.LastAppliedConfigAnnotation)
	o.ManagedFields = nil
	return o
}

// known is left of a child whose labels and annotations are known by their sum.
func known() metav1.ObjectMeta {
	o, is := left(), about()
	o.SetSelfLink(strconv.FormatUint(Carried(&is), noted))
	o.Labels, o.Annotations = nil, nil
	return o
}

var (
	metadataOf = func(kind string, o metav1.ObjectMeta) *metav1.PartialObjectMetadata {
		return &metav1.PartialObjectMetadata{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: kind}, ObjectMeta: o}
	}
	template = corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "phi"}, Annotations: map[string]string{repolayout.AnnotationInputDigest: "sha256:2", "b": "c"}},
		Spec: corev1.PodSpec{
			NodeSelector:   map[string]string{repolayout.LabelPool: "models.phi", "zone": "1"},
			InitContainers: []corev1.Container{{Name: "data", Image: "i"}},
			Containers: []corev1.Container{{Name: "main", Image: "i", Args: []string{"x"}, Resources: corev1.ResourceRequirements{
				Limits: corev1.ResourceList{"nvidia.com/gpu": resource.MustParse("2"), "memory": resource.MustParse("1Gi")},
			}}},
		},
	}
	made = corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{repolayout.AnnotationInputDigest: "sha256:2"}}}
	then = metav1.NewTime(time.Unix(1_700_000_000, 0))
)

func withGPUs(pods corev1.PodTemplateSpec) corev1.PodTemplateSpec {
	pods.Spec.NodeSelector = map[string]string{repolayout.LabelPool: "models.phi"}
	pods.Spec.InitContainers = []corev1.Container{{Name: "data"}}
	pods.Spec.Containers = []corev1.Container{{Name: "main", Resources: corev1.ResourceRequirements{Limits: corev1.ResourceList{"nvidia.com/gpu": resource.MustParse("2")}}}}
	return pods
}

// TestTransform: what the caches leave out is what nobody reads there.
func TestTransform(t *testing.T) {
	for name, c := range map[string]struct {
		reason   string
		in, want runtime.Object
	}{
		"ForeignInput": {
			"ConfigMaps and Secrets are those of the whole cluster: of most only the name is asked for.",
			metadataOf("Secret", about()), metadataOf("Secret", func() metav1.ObjectMeta {
				o := left()
				o.Labels, o.Annotations = nil, map[string]string{repolayout.AnnotationDigest: "sha256:1"}
				return o
			}()),
		},
		"Input":     {"Any label and annotation of what was applied may be of Git.", metadataOf("ConfigMap", about(repolayout.LabelSyncName)), metadataOf("ConfigMap", left(repolayout.LabelSyncName))},
		"Child":     {"Also of a child.", metadataOf("ConfigMap", about(repolayout.LabelWorkspace)), metadataOf("ConfigMap", left(repolayout.LabelWorkspace))},
		"Compared":  {"What is compared alone is known by its sum.", metadataOf("Service", about()), metadataOf("Service", known())},
		"OtherKind": {"Of other kinds only ours are watched.", metadataOf("Lease", about()), metadataOf("Lease", left())},
		"Autoscaled": {
			"Who scales a Deployment is asked of it.",
			&appsv1.Deployment{ObjectMeta: func() metav1.ObjectMeta {
				o := about()
				o.Annotations[repolayout.AnnotationAutoscaler] = "ScaledObject"
				return o
			}()},
			&appsv1.Deployment{ObjectMeta: func() metav1.ObjectMeta {
				o := about()
				o.Annotations[repolayout.AnnotationAutoscaler] = "ScaledObject"
				sum := Carried(&o)
				o = known()
				o.SetSelfLink(strconv.FormatUint(sum, noted))
				o.Annotations = map[string]string{repolayout.AnnotationAutoscaler: "ScaledObject"}
				return o
			}()},
		},
		"Workspace": {
			"A Workspace keeps its spec and its status.",
			&v1alpha1.Workspace{ObjectMeta: about(), Spec: v1alpha1.WorkspaceSpec{Suspend: true}, Status: v1alpha1.WorkspaceStatus{Conditions: []metav1.Condition{{Type: "Ready", Reason: "A", Message: "B", Status: "True", LastTransitionTime: then}}}},
			&v1alpha1.Workspace{ObjectMeta: left(), Spec: v1alpha1.WorkspaceSpec{Suspend: true}, Status: v1alpha1.WorkspaceStatus{Conditions: []metav1.Condition{{Type: "Ready", Reason: "A", Message: "B", Status: "True", LastTransitionTime: then}}}},
		},
		"Deployment": {
			"How many pods there are, and what they were made from.",
			&appsv1.Deployment{
				ObjectMeta: about(), Spec: appsv1.DeploymentSpec{Replicas: ptr.To(int32(2)), Selector: &metav1.LabelSelector{}, Template: template},
				Status: appsv1.DeploymentStatus{AvailableReplicas: 1, ObservedGeneration: 3, Conditions: []appsv1.DeploymentCondition{{Type: "Progressing", Status: "True", Reason: "NewReplicaSetAvailable", Message: "m", LastUpdateTime: then}}},
			},
			&appsv1.Deployment{
				ObjectMeta: known(), Spec: appsv1.DeploymentSpec{Replicas: ptr.To(int32(2)), Template: made},
				Status: appsv1.DeploymentStatus{AvailableReplicas: 1, ObservedGeneration: 3, Conditions: []appsv1.DeploymentCondition{{Type: "Progressing", Status: "True", Reason: "NewReplicaSetAvailable"}}},
			},
		},
		"StatefulSet": {
			"The same of copies over several nodes.",
			&appsv1.StatefulSet{ObjectMeta: about(), Spec: appsv1.StatefulSetSpec{Replicas: ptr.To(int32(2)), ServiceName: "s", Template: template}, Status: appsv1.StatefulSetStatus{ReadyReplicas: 2, UpdateRevision: "a", CurrentRevision: "b"}},
			&appsv1.StatefulSet{ObjectMeta: left(), Spec: appsv1.StatefulSetSpec{Replicas: ptr.To(int32(2)), Template: made}, Status: appsv1.StatefulSetStatus{ReadyReplicas: 2, UpdateRevision: "a", CurrentRevision: "b"}},
		},
		"Job": {
			"A run is spread anew where the nodes have other GPUs, its limits are compared, and its pool is given back when no run is on it.",
			&batchv1.Job{ObjectMeta: about(), Spec: batchv1.JobSpec{Parallelism: ptr.To(int32(2)), Suspend: ptr.To(true), BackoffLimit: ptr.To(int32(3)), ActiveDeadlineSeconds: ptr.To(int64(9)), Template: template}, Status: batchv1.JobStatus{Active: 1}},
			&batchv1.Job{ObjectMeta: left(), Spec: batchv1.JobSpec{Parallelism: ptr.To(int32(2)), Suspend: ptr.To(true), BackoffLimit: ptr.To(int32(3)), ActiveDeadlineSeconds: ptr.To(int64(9)), Template: withGPUs(made)}, Status: batchv1.JobStatus{Active: 1}},
		},
		"Node": {
			"Its GPUs, whether they can be used, and since when not.",
			&corev1.Node{
				ObjectMeta: metav1.ObjectMeta{Name: "n", Labels: map[string]string{"a": "b"}, Annotations: map[string]string{repolayout.AnnotationCordonedFor: "u", "x": "y"}},
				Spec:       corev1.NodeSpec{ProviderID: "p", Unschedulable: true, Taints: []corev1.Taint{{Key: "k"}}},
				Status: corev1.NodeStatus{
					Images:      []corev1.ContainerImage{{Names: []string{"i"}}},
					Allocatable: corev1.ResourceList{"cpu": resource.MustParse("4"), "nvidia.com/mig-1g.10gb": resource.MustParse("7")},
					Capacity:    corev1.ResourceList{"cpu": resource.MustParse("4"), "nvidia.com/mig-1g.10gb": resource.MustParse("7")},
					Conditions:  []corev1.NodeCondition{{Type: "Ready", Status: "False", Reason: "KubeletNotReady", Message: "m", LastHeartbeatTime: then, LastTransitionTime: then}},
				},
			},
			&corev1.Node{
				ObjectMeta: metav1.ObjectMeta{Name: "n", Labels: map[string]string{"a": "b"}, Annotations: map[string]string{repolayout.AnnotationCordonedFor: "u"}},
				Spec:       corev1.NodeSpec{Unschedulable: true, Taints: []corev1.Taint{{Key: "k"}}},
				Status: corev1.NodeStatus{
					Allocatable: corev1.ResourceList{"nvidia.com/mig-1g.10gb": resource.MustParse("7")}, Capacity: corev1.ResourceList{"nvidia.com/mig-1g.10gb": resource.MustParse("7")},
					Conditions: []corev1.NodeCondition{{Type: "Ready", Status: "False", Reason: "KubeletNotReady", LastTransitionTime: then}},
				},
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			for range 2 { // a cache may transform what it holds once more
				got, err := Transform(c.in)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(c.want, runtime.Object(Whole(got.(client.Object)))); diff != "" {
					t.Fatalf("%s\n-want +got:\n%s", c.reason, diff)
				}
			}
		})
	}
	gone := cache.DeletedFinalStateUnknown{Key: "a/b"}
	if got, err := Transform(gone); err != nil || got != any(gone) {
		t.Errorf("what is no object stays: %v, %v", got, err)
	}
}
