// SPDX-License-Identifier: Apache-2.0

package workspace

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

func TestProviderKept(t *testing.T) {
	const uid = "workspace"
	own := []metav1.OwnerReference{{UID: uid, Controller: ptr.To(true)}}
	for name, c := range map[string]struct {
		reason string
		pool   *v1alpha1.GPUNodePool
		says   v1alpha1.Provider
		want   v1alpha1.Provider
		noted  bool
	}{
		"None":  {"Without a pool the spec decides.", nil, v1alpha1.ProviderKarpenter, "", false},
		"Own":   {"A default that changes moves no node that is there.", &v1alpha1.GPUNodePool{ObjectMeta: metav1.ObjectMeta{OwnerReferences: own}}, v1alpha1.ProviderKarpenter, v1alpha1.ProviderAKS, true},
		"Same":  {"What is as asked for needs no word.", &v1alpha1.GPUNodePool{ObjectMeta: metav1.ObjectMeta{OwnerReferences: own}}, v1alpha1.ProviderAKS, v1alpha1.ProviderAKS, false},
		"Open":  {"Nor does what nobody asked for.", &v1alpha1.GPUNodePool{ObjectMeta: metav1.ObjectMeta{OwnerReferences: own}}, "", v1alpha1.ProviderAKS, false},
		"Going": {"The pool after it is another.", &v1alpha1.GPUNodePool{ObjectMeta: metav1.ObjectMeta{OwnerReferences: own, DeletionTimestamp: &metav1.Time{Time: time.Unix(1, 0)}}}, v1alpha1.ProviderKarpenter, "", false},
		"Other": {"A pool of somebody else's is not asked.", &v1alpha1.GPUNodePool{}, v1alpha1.ProviderKarpenter, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			p := &pass{ws: &v1alpha1.Workspace{ObjectMeta: metav1.ObjectMeta{UID: uid}}, pool: c.pool}
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
		})
	}
}
