// SPDX-License-Identifier: Apache-2.0

// Package apply writes objects to the cluster with server-side apply, under our
// own field manager and without force: a field that another manager owns is a
// Conflict for the user to decide, never stolen.
//
// It never renders, and never deletes.
package apply

import (
	"context"
	"errors"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
)

// Object applies one object and returns it as the API server now holds it.
// live is the object as last seen, nil when it is not known to exist: its
// annotation espalier.dev/force-conflicts allows taking over foreign fields.
func Object(ctx context.Context, c client.Client, desired *unstructured.Unstructured, live client.Object) (*unstructured.Unstructured, error) {
	opts := []client.ApplyOption{client.FieldOwner(repolayout.FieldManager)}
	if live != nil && live.GetAnnotations()[repolayout.AnnotationForceConflicts] == "true" {
		opts = append(opts, client.ForceOwnership)
	}
	applied := desired.DeepCopy()
	err := c.Apply(ctx, client.ApplyConfigurationFromUnstructured(applied), opts...)
	if conflict := asConflict(desired, err); conflict != nil {
		return nil, conflict
	}
	if err != nil {
		return nil, fmt.Errorf("applying %s: %w", Describe(desired), err)
	}
	return applied, nil
}

// Conflict says which fields of an object belong to other managers.
type Conflict struct {
	Object string   // kind namespace/name
	Fields []string // `.spec.replicas (kubectl-edit)`
}

func (c *Conflict) Error() string {
	return fmt.Sprintf("%s: set by another manager: %s: remove the change there, drop the field from Git, or annotate the object with %s=true to take it over",
		c.Object, strings.Join(c.Fields, ", "), repolayout.AnnotationForceConflicts)
}

// AsConflict returns the Conflict in err, if it holds one.
func AsConflict(err error) (*Conflict, bool) {
	var c *Conflict
	ok := errors.As(err, &c)
	return c, ok
}

func asConflict(o *unstructured.Unstructured, err error) *Conflict {
	var status apierrors.APIStatus
	if !apierrors.IsConflict(err) || !errors.As(err, &status) || status.Status().Details == nil {
		return nil
	}
	conflict := &Conflict{Object: Describe(o)}
	for _, cause := range status.Status().Details.Causes {
		if cause.Type != metav1.CauseTypeFieldManagerConflict {
			continue
		}
		conflict.Fields = append(conflict.Fields, fmt.Sprintf("%s (%s)", cause.Field, managerOf(cause.Message)))
	}
	if len(conflict.Fields) == 0 {
		return nil
	}
	return conflict
}

// managerOf finds the manager's name in `conflict with "kubectl-edit" using apps/v1`.
func managerOf(message string) string {
	if parts := strings.Split(message, `"`); len(parts) >= 3 {
		return parts[1]
	}
	return message
}

// Describe names an object in messages: kind namespace/name.
func Describe(o client.Object) string {
	kind := o.GetObjectKind().GroupVersionKind().Kind
	if o.GetNamespace() == "" {
		return fmt.Sprintf("%s %s", kind, o.GetName())
	}
	return fmt.Sprintf("%s %s/%s", kind, o.GetNamespace(), o.GetName())
}
