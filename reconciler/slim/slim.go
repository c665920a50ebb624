// SPDX-License-Identifier: Apache-2.0

// Package slim makes objects small before a cache holds them: of thousands of Workspaces
// each has a node, a workload and a handful of children in memory, for as long as they are
// there.
//
// It drops what nobody reads from a cache. What it has made is never written back as a whole:
// it is patched, or applied anew. A patch that deletes a key of a map names the key: a
// difference may take the whole map. What needs a dropped field reads past the cache, or adds
// it here.
package slim

import (
	"maps"
	"reflect"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// Transform is a transform of a cache. The object that it is given may be changed in place;
// what it has made before is left as it is.
func Transform(in any) (any, error) {
	o, ok := in.(metav1.Object)
	if _, done := in.(*packed); done || !ok {
		return in, nil // the stand-in of an object whose deletion was missed, or what it made before
	}
	o.SetManagedFields(nil)
	metadata(o)
	switch o := in.(type) {
	case *v1alpha1.Workspace:
		o.Status.Conditions = slices.Clone(o.Status.Conditions) // no longer than they are
		say(reflect.ValueOf(&o.Spec).Elem())
		say(reflect.ValueOf(&o.Status).Elem())
		o.Status.Sizing = sized(o.Status.Sizing)
	case *v1alpha1.GPUNodePool:
		o.Status.Conditions = slices.Clone(o.Status.Conditions)
		say(reflect.ValueOf(&o.Spec).Elem())
		say(reflect.ValueOf(&o.Status).Elem())
	case *appsv1.Deployment:
		deployment(o)
	case *appsv1.StatefulSet:
		statefulSet(o)
	case *batchv1.Job:
		job(o)
	case *corev1.Node:
		node(o)
	}
	share(o)
	return pack(o), nil
}

// metadata keeps the labels and annotations, which may have been applied, but for the copy
// of the whole that kubectl notes. Of what is compared alone it keeps their sum. Of inputs of the whole cluster that are not ours nobody
// reads more than their names.
func metadata(o metav1.Object) {
	if isCompared(o) {
		note(o)
	}
	labels, annotations := o.GetLabels(), o.GetAnnotations()
	if isForeign(o) {
		foreign := func(key, _ string) bool { return !strings.HasPrefix(key, v1alpha1.Group+"/") }
		maps.DeleteFunc(labels, foreign)
		maps.DeleteFunc(annotations, foreign)
	}
	delete(annotations, corev1.LastAppliedConfigAnnotation)
	o.SetLabels(orNone(labels))
	o.SetAnnotations(orNone(annotations))
}

// orNone is a map, or none in the place of an empty one.
func orNone(of map[string]string) map[string]string {
	if len(of) == 0 {
		return nil
	}
	return of
}

// isForeign says of a ConfigMap, Secret or claim that nothing of Espalier has applied it.
func isForeign(o metav1.Object) bool {
	m, ok := o.(*metav1.PartialObjectMetadata)
	if !ok || !slices.Contains([]string{"ConfigMap", "Secret", "PersistentVolumeClaim"}, m.Kind) {
		return false
	}
	_, synced := m.Labels[repolayout.LabelSyncName]
	_, child := m.Labels[repolayout.LabelWorkspace]
	return !synced && !child
}

// pods keeps of a template whose pods they are and what they were made from.
func pods(of corev1.PodTemplateSpec) corev1.PodTemplateSpec {
	left := corev1.PodTemplateSpec{}
	if digest, ok := of.Annotations[repolayout.AnnotationInputDigest]; ok {
		left.Annotations = map[string]string{repolayout.AnnotationInputDigest: digest}
	}
	return left
}

// deployment keeps how many pods are wanted, and how many are there.
func deployment(d *appsv1.Deployment) {
	d.Spec = appsv1.DeploymentSpec{Replicas: d.Spec.Replicas, Template: pods(d.Spec.Template)}
	for i, c := range d.Status.Conditions {
		d.Status.Conditions[i] = appsv1.DeploymentCondition{
			Type: appsv1.DeploymentConditionType(word(string(c.Type))), Status: corev1.ConditionStatus(word(string(c.Status))), Reason: word(c.Reason),
		}
	}
}

func statefulSet(s *appsv1.StatefulSet) {
	s.Spec = appsv1.StatefulSetSpec{Replicas: s.Spec.Replicas, Template: pods(s.Spec.Template)}
	s.Status.Conditions = nil
}

// job keeps all but its pods, of which it keeps the pool that they run on and how many GPUs
// each container takes.
func job(j *batchv1.Job) {
	template := pods(j.Spec.Template)
	if pool, ok := j.Spec.Template.Spec.NodeSelector[repolayout.LabelPool]; ok {
		template.Spec.NodeSelector = map[string]string{repolayout.LabelPool: pool}
	}
	template.Spec.InitContainers, template.Spec.Containers = limits(j.Spec.Template.Spec.InitContainers), limits(j.Spec.Template.Spec.Containers)
	j.Spec.Template = template
}

func limits(of []corev1.Container) []corev1.Container {
	var left []corev1.Container
	for _, c := range of {
		left = append(left, corev1.Container{Name: c.Name, Resources: corev1.ResourceRequirements{Limits: extended(c.Resources.Limits)}})
	}
	return left
}

// Pod is what is read of a pod on a node: whose it is, how many GPUs it takes, and how it is.
func Pod(of *corev1.Pod) corev1.Pod {
	left := corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: of.Namespace, Name: of.Name, Labels: of.Labels, DeletionTimestamp: of.DeletionTimestamp},
		Spec:       corev1.PodSpec{NodeName: of.Spec.NodeName, InitContainers: asked(of.Spec.InitContainers), Containers: asked(of.Spec.Containers)},
		Status:     of.Status,
	}
	return left
}

// asked are containers with the GPUs that they ask for.
func asked(of []corev1.Container) []corev1.Container {
	var left []corev1.Container
	for _, c := range of {
		left = append(left, corev1.Container{Name: c.Name, RestartPolicy: c.RestartPolicy, Resources: corev1.ResourceRequirements{
			Limits: extended(c.Resources.Limits), Requests: extended(c.Resources.Requests),
		}})
	}
	return left
}

// extended are the resources that are no processor, memory or disk: GPUs, and slices of them.
func extended(of corev1.ResourceList) corev1.ResourceList {
	var left corev1.ResourceList
	for name, quantity := range of {
		if !strings.Contains(string(name), "/") {
			continue
		}
		if left == nil {
			left = corev1.ResourceList{}
		}
		left[name] = quantity
	}
	return left
}

// node keeps what tells its GPUs and whether they can be used.
func node(n *corev1.Node) {
	maps.DeleteFunc(n.Annotations, func(key, _ string) bool { return !strings.HasPrefix(key, v1alpha1.Group+"/") })
	n.Spec = corev1.NodeSpec{Taints: n.Spec.Taints, Unschedulable: n.Spec.Unschedulable}
	was := n.Status
	n.Status = corev1.NodeStatus{Allocatable: offered(extended(was.Allocatable)), Capacity: offered(extended(was.Capacity))}
	n.Status.Conditions = make([]corev1.NodeCondition, 0, len(was.Conditions)) // no longer than they are
	for _, c := range was.Conditions {
		n.Status.Conditions = append(n.Status.Conditions, corev1.NodeCondition{
			Type: c.Type, Status: c.Status, Reason: c.Reason, LastTransitionTime: c.LastTransitionTime,
		})
	}
}
