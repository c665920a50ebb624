// SPDX-License-Identifier: Apache-2.0

package workspace

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/utils/ptr"
)

func TestFitClaim(t *testing.T) {
	for name, tc := range map[string]struct {
		reason    string
		class     *string // of the claim that is there
		has, need string
		wantClass string
		wantSize  string
		grows     bool
	}{
		"SmallerNeed":  {"A claim cannot shrink: a smaller model has room to spare.", ptr.To("fast"), "64Gi", "32Gi", "fast", "64Gi", false},
		"SameNeed":     {"Nothing is changed.", ptr.To("fast"), "64Gi", "64Gi", "fast", "64Gi", false},
		"LargerNeed":   {"The class says whether a claim can grow.", ptr.To("fast"), "32Gi", "64Gi", "fast", "64Gi", true},
		"OtherClass":   {"The class was chosen when the claim was made; another is for the next one.", ptr.To("slow"), "64Gi", "64Gi", "slow", "64Gi", false},
		"WithoutClass": {"A claim without a class stays without.", nil, "64Gi", "64Gi", "", "64Gi", false},
	} {
		t.Run(name, func(t *testing.T) {
			wanted := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{
				"storageClassName": "fast", "accessModes": []any{"ReadWriteMany"},
				"resources": map[string]any{"requests": map[string]any{"storage": tc.need}},
			}}}
			live := &corev1.PersistentVolumeClaim{}
			live.Spec.StorageClassName, live.Spec.AccessModes = tc.class, []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}
			live.Spec.Resources.Requests = corev1.ResourceList{corev1.ResourceStorage: resource.MustParse(tc.has)}
			grows, err := fitClaim(wanted, live)
			if err != nil {
				t.Fatal(err)
			}
			class, _, _ := unstructured.NestedString(wanted.Object, claimClass...)
			size, _, _ := unstructured.NestedString(wanted.Object, claimSize...)
			if modes, _, _ := unstructured.NestedStringSlice(wanted.Object, claimModes...); len(modes) != 1 || modes[0] != "ReadWriteOnce" {
				t.Errorf("a claim keeps its access modes: %v", modes)
			}
			if class != tc.wantClass || size != tc.wantSize || grows != tc.grows {
				t.Errorf("%s\ngot class %q, size %q, grows %v; want %q, %q, %v", tc.reason, class, size, grows, tc.wantClass, tc.wantSize, tc.grows)
			}
		})
	}
}
