// SPDX-License-Identifier: Apache-2.0

package apply

import (
	"context"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
)

// replicas is the one field that is handed over and taken back.
var replicas = fieldpath.MakePathOrDie("spec", "replicas")

// scale is the subresource through which autoscalers write it.
const scale = "scale"

// Handing applies an object whose spec.replicas is an autoscaler's from when that
// one first writes it. Until then the value is held: a field that its only owner
// drops falls back to the default, which would stop all copies but one. live is
// as for Object.
func Handing(ctx context.Context, c client.Client, desired *unstructured.Unstructured, live client.Object) (*unstructured.Unstructured, error) {
	if exists(live) && !slices.ContainsFunc(owners(live), ours) {
		desired = withoutReplicas(desired)
	}
	applied, err := Object(ctx, c, desired, live)
	if conflict, ok := AsConflict(err); ok && conflict.onlyReplicas() {
		// The autoscaler has written it since live was read.
		return Object(ctx, c, withoutReplicas(desired), live)
	}
	return applied, err
}

// TakingBack applies an object whose spec.replicas an autoscaler had, and takes
// that field back, and no other. It does so only where everybody else who owns it
// wrote it through the subresource scale; what a person has applied or edited
// stays a Conflict. live is as for Object.
func TakingBack(ctx context.Context, c client.Client, desired *unstructured.Unstructured, live client.Object) (*unstructured.Unstructured, error) {
	applied, err := Object(ctx, c, desired, live)
	conflict, ok := AsConflict(err)
	if !ok || !conflict.onlyReplicas() || !exists(live) || !slices.ContainsFunc(owners(live), scaled) || slices.ContainsFunc(owners(live), edited) {
		return applied, err
	}
	taken := desired.DeepCopy()
	// Of this very version it is known who owns what: force reaches nothing else.
	taken.SetResourceVersion(live.GetResourceVersion())
	err = c.Apply(ctx, client.ApplyConfigurationFromUnstructured(taken), client.FieldOwner(repolayout.FieldManager), client.ForceOwnership)
	if err != nil {
		return nil, fmt.Errorf("taking back spec.replicas of %s: %w", Describe(desired), err)
	}
	return taken, nil
}

func exists(live client.Object) bool { return live != nil && live.GetResourceVersion() != "" }

// owners are the managers of spec.replicas.
func owners(live client.Object) []metav1.ManagedFieldsEntry {
	var list []metav1.ManagedFieldsEntry
	for _, m := range live.GetManagedFields() {
		set := &fieldpath.Set{}
		if m.FieldsV1 == nil || set.FromJSON(m.FieldsV1.GetRawReader()) != nil {
			continue
		}
		if set.Has(replicas) {
			list = append(list, m)
		}
	}
	return list
}

func ours(m metav1.ManagedFieldsEntry) bool {
	return m.Manager == repolayout.FieldManager && m.Operation == metav1.ManagedFieldsOperationApply && m.Subresource == ""
}

func scaled(m metav1.ManagedFieldsEntry) bool { return !ours(m) && m.Subresource == scale }

func edited(m metav1.ManagedFieldsEntry) bool { return !ours(m) && m.Subresource != scale }

func withoutReplicas(o *unstructured.Unstructured) *unstructured.Unstructured {
	o = o.DeepCopy()
	unstructured.RemoveNestedField(o.Object, "spec", "replicas")
	return o
}

// onlyReplicas says that spec.replicas is all that the conflict is about.
func (c *Conflict) onlyReplicas() bool {
	return !slices.ContainsFunc(c.Fields, func(f string) bool { return !strings.HasPrefix(f, ".spec.replicas ") })
}
