// SPDX-License-Identifier: Apache-2.0

package workspace

import (
	"errors"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/espalier-dev/espalier/reconciler/fault"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// TestMayApplySaysWhatHolds: a pool that is deleted and held says on the Workspace
// what it waits for, because nothing else is told of there.
func TestMayApplySaysWhatHolds(t *testing.T) {
	held := metav1.Condition{Type: v1alpha1.ConditionDeletionBlocked, Status: metav1.ConditionTrue, Reason: "InUse", Message: "suspend the Workspace"}
	let := held
	let.Status = metav1.ConditionFalse
	for name, c := range map[string]struct {
		reason     string
		conditions []metav1.Condition
		want       string
	}{
		"Held": {"The cure stands in its condition.", []metav1.Condition{held}, "Node pool p is deleted, and held: suspend the Workspace"},
		"Goes": {"It is a matter of minutes.", nil, "Node pool p is given back before it is requested again"},
		"Let":  {"What held it does no more.", []metav1.Condition{let}, "Node pool p is given back before it is requested again"},
	} {
		t.Run(name, func(t *testing.T) {
			pool := &v1alpha1.GPUNodePool{ObjectMeta: metav1.ObjectMeta{Name: "p", DeletionTimestamp: &metav1.Time{Time: time.Unix(1, 0)}}}
			pool.OwnerReferences = []metav1.OwnerReference{{UID: "workspace", Controller: ptr.To(true)}}
			pool.Status.Conditions = c.conditions
			p := &pass{ws: &v1alpha1.Workspace{ObjectMeta: metav1.ObjectMeta{UID: "workspace"}}, pool: pool}
			var wait *fault.Waiting
			if err := p.mayApply(); !errors.As(err, &wait) || wait.Message != c.want || wait.Reason != v1alpha1.ReasonWaitingForNodes {
				t.Errorf("%s\ngot %v, want %q", c.reason, err, c.want)
			}
		})
	}
}

func TestProviderKept(t *testing.T) {
	const uid = "workspace"
	own := []metav1.OwnerReference{{UID: uid, Controller: ptr.To(true)}}
	before := []metav1.OwnerReference{{APIVersion: v1alpha1.GroupVersion.String(), Kind: v1alpha1.WorkspaceKind, Name: "phi", UID: "another", Controller: ptr.To(true)}}
	for name, c := range map[string]struct {
		reason string
		pool   *v1alpha1.GPUNodePool
		says   v1alpha1.Provider
		want   v1alpha1.Provider
		noted  bool
	}{
		"None":   {"Without a pool the spec decides.", nil, v1alpha1.ProviderKarpenter, "", false},
		"Own":    {"A default that changes moves no node that is there.", &v1alpha1.GPUNodePool{ObjectMeta: metav1.ObjectMeta{OwnerReferences: own}}, v1alpha1.ProviderKarpenter, v1alpha1.ProviderAKS, true},
		"Same":   {"What is as asked for needs no word.", &v1alpha1.GPUNodePool{ObjectMeta: metav1.ObjectMeta{OwnerReferences: own}}, v1alpha1.ProviderAKS, v1alpha1.ProviderAKS, false},
		"Open":   {"Nor does what nobody asked for.", &v1alpha1.GPUNodePool{ObjectMeta: metav1.ObjectMeta{OwnerReferences: own}}, "", v1alpha1.ProviderAKS, false},
		"Going":  {"The pool after it is another.", &v1alpha1.GPUNodePool{ObjectMeta: metav1.ObjectMeta{OwnerReferences: own, DeletionTimestamp: &metav1.Time{Time: time.Unix(1, 0)}}}, v1alpha1.ProviderKarpenter, "", false},
		"Before": {"A pool that a deleted Workspace of this name left has the nodes that are paid.", &v1alpha1.GPUNodePool{ObjectMeta: metav1.ObjectMeta{OwnerReferences: before}}, v1alpha1.ProviderKarpenter, v1alpha1.ProviderAKS, true},
		"Other":  {"A pool of somebody else's is not asked.", &v1alpha1.GPUNodePool{}, v1alpha1.ProviderKarpenter, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			p := &pass{ws: &v1alpha1.Workspace{ObjectMeta: metav1.ObjectMeta{Name: "phi", UID: uid}}, pool: c.pool}
			p.ws.Spec.Resource.Provider = c.says
			if c.pool != nil {
				c.pool.Spec.Provider = v1alpha1.ProviderAKS
			}
			if got := p.providerKept(); got != c.want {
				t.Errorf("%s: %q, want %q", c.reason, got, c.want)
			}
			if got := p.providerNote() != ""; got != c.noted {
				t.Errorf("%s: noted %v, want %v", c.reason, got, c.noted)
			}
			going := c.pool != nil && !c.pool.DeletionTimestamp.IsZero()
			if may := p.mayApply() == nil; may != (c.pool == nil || c.want != "") && !going {
				t.Errorf("%s: may be applied is %v", c.reason, may)
			}
		})
	}
}
