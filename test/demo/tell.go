// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// The functions below compare an object with what it was and return what is
// worth telling; nil stands for an object that is not there.

func tellSync(was, is *v1alpha1.RepoSync) []string {
	switch {
	case is == nil:
		return []string{"gone"}
	case was == nil:
		was = &v1alpha1.RepoSync{}
	}
	var lines []string
	if rev := is.Status.LastAttemptedRevision; rev != was.Status.LastAttemptedRevision {
		lines = append(lines, "commit seen: "+shortRevision(rev))
	}
	if rev := is.Status.LastAppliedRevision; rev != was.Status.LastAppliedRevision {
		lines = append(lines, "applied: "+shortRevision(rev))
	}
	return append(lines, bad(was.Status.Conditions, is.Status.Conditions, v1alpha1.ConditionStalled, metav1.ConditionTrue)...)
}

func tellWorkspace(was, is *v1alpha1.Workspace) []string {
	switch {
	case is == nil:
		return []string{"gone"}
	case was == nil:
		was = &v1alpha1.Workspace{}
	}
	var lines []string
	if was.Name == "" {
		lines = append(lines, "created from "+is.Annotations[repolayout.AnnotationSource])
	}
	if is.DeletionTimestamp != nil && was.DeletionTimestamp == nil {
		lines = append(lines, "being deleted: workload first, then claims, then nodes")
	}
	if sum := sizing(is.Status.Sizing); sum != sizing(was.Status.Sizing) && sum != "" {
		lines = append(lines, sum)
	}
	for _, kind := range []string{
		v1alpha1.ConditionResourceReady, v1alpha1.ConditionJobStarted, v1alpha1.ConditionTuningSucceeded,
		v1alpha1.ConditionInferenceReady, v1alpha1.ConditionWorkspaceReady,
	} {
		if turned(was.Status.Conditions, is.Status.Conditions, kind) {
			lines = append(lines, kind+" True"+because(is.Status.Conditions, kind))
		}
	}
	return append(lines, bad(was.Status.Conditions, is.Status.Conditions, v1alpha1.ConditionReady, metav1.ConditionFalse)...)
}

func sizing(s *v1alpha1.SizingStatus) string {
	if s == nil {
		return ""
	}
	price := ""
	if s.USDPerHour != "" {
		price = ", " + s.USDPerHour + " USD/h at list price"
		if s.PriceDate != "" {
			price += " of " + s.PriceDate
		}
	}
	sum := fmt.Sprintf("sizing: %s on %d × %s%s", s.Verdict, max(s.Nodes, 1), s.InstanceType, price)
	if s.Verdict == v1alpha1.No {
		return sum // the refusal that follows says why
	}
	return sum + ": " + s.Message
}

func tellPool(was, is *v1alpha1.GPUNodePool) []string {
	switch {
	case is == nil:
		return []string{"gone, and so is its agent pool"}
	case was == nil:
		was = &v1alpha1.GPUNodePool{}
	}
	if is.Status.Phase == was.Status.Phase || is.Status.Phase == "" {
		return nil
	}
	text := string(is.Status.Phase)
	if c := is.Status.Candidate; c != nil {
		text += ": " + c.InstanceType
	}
	if is.Status.PoolName != "" {
		text += ", agent pool " + is.Status.PoolName
	}
	return []string{text}
}

func tellNode(was, is *corev1.Node) []string {
	switch {
	case is == nil:
		return []string{"gone"}
	case was == nil:
		was = &corev1.Node{}
	}
	var lines []string
	if was.Name == "" {
		lines = append(lines, "joined: "+is.Labels[corev1.LabelInstanceTypeStable])
	}
	if nodeReady(is) && !nodeReady(was) {
		lines = append(lines, "Ready")
	}
	const gpu = "nvidia.com/gpu"
	before, now := was.Status.Allocatable[gpu], is.Status.Allocatable[gpu]
	if now.Cmp(before) != 0 {
		lines = append(lines, gpu+": "+now.String()+" allocatable")
	}
	return lines
}

func nodeReady(n *corev1.Node) bool {
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

func tellJob(was, is *batchv1.Job) []string {
	switch {
	case is == nil:
		return []string{"gone"}
	case was == nil:
		was = &batchv1.Job{}
	}
	var lines []string
	if was.Name == "" {
		lines = append(lines, "created")
	}
	if ready(is) > 0 && ready(was) == 0 {
		lines = append(lines, "running")
	}
	if is.Status.Failed > was.Status.Failed {
		lines = append(lines, "a pod failed")
	}
	for _, kind := range []batchv1.JobConditionType{batchv1.JobComplete, batchv1.JobFailed} {
		if jobIs(is, kind) && !jobIs(was, kind) {
			lines = append(lines, string(kind))
		}
	}
	return lines
}

func ready(j *batchv1.Job) int32 {
	if j.Status.Ready == nil {
		return 0
	}
	return *j.Status.Ready
}

func jobIs(j *batchv1.Job, kind batchv1.JobConditionType) bool {
	for _, c := range j.Status.Conditions {
		if c.Type == kind {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

func tellDeployment(was, is *appsv1.Deployment) []string {
	switch {
	case is == nil:
		return []string{"gone"}
	case was == nil:
		was = &appsv1.Deployment{}
	}
	var lines []string
	digest := func(d *appsv1.Deployment) string {
		return d.Spec.Template.Annotations[repolayout.AnnotationInputDigest]
	}
	switch {
	case was.Name == "":
		lines = append(lines, "Deployment created")
	case digest(is) != digest(was):
		lines = append(lines, "Deployment rolls out a new input digest")
	}
	if is.Status.AvailableReplicas != was.Status.AvailableReplicas {
		lines = append(lines, fmt.Sprintf("%d of %d pods available", is.Status.AvailableReplicas, replicas(is)))
	}
	return lines
}

func replicas(d *appsv1.Deployment) int32 {
	if d.Spec.Replicas == nil {
		return 1
	}
	return *d.Spec.Replicas
}

// turned says whether a condition has become true.
func turned(was, is []metav1.Condition, kind string) bool {
	return meta.IsStatusConditionTrue(is, kind) && !meta.IsStatusConditionTrue(was, kind)
}

// bad tells a condition that has its bad status, when reason or message is new.
func bad(was, is []metav1.Condition, kind string, status metav1.ConditionStatus) []string {
	before, now := meta.FindStatusCondition(was, kind), meta.FindStatusCondition(is, kind)
	if now == nil || now.Status != status {
		return nil
	}
	if before != nil && before.Status == status && before.Reason == now.Reason && before.Message == now.Message {
		return nil
	}
	return []string{now.Reason + ": " + now.Message}
}

// because is the reason of a condition where it says more than success.
func because(conditions []metav1.Condition, kind string) string {
	c := meta.FindStatusCondition(conditions, kind)
	if c == nil || c.Reason == v1alpha1.ReasonSucceeded {
		return ""
	}
	return " (" + c.Reason + ")"
}

// shortRevision is main@1a2b3c4 for main@sha1:1a2b3c4…
func shortRevision(revision string) string {
	branch, hash, found := strings.Cut(revision, "@sha1:")
	if !found || len(hash) < 7 {
		return revision
	}
	return branch + "@" + hash[:7]
}
