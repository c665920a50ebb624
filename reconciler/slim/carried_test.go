// SPDX-License-Identifier: Apache-2.0

package slim

import (
	"fmt"
	"maps"
	"reflect"
	"strings"
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// TestCarried: two objects have one sum where nobody has changed what was applied.
func TestCarried(t *testing.T) {
	for name, c := range map[string]struct {
		reason string
		change func(*metav1.ObjectMeta)
		same   bool
	}{
		"Nothing":         {"The same.", func(*metav1.ObjectMeta) {}, true},
		"LabelChanged":    {"A value.", func(o *metav1.ObjectMeta) { o.Labels["app"] = "other" }, false},
		"LabelGone":       {"A label less.", func(o *metav1.ObjectMeta) { delete(o.Labels, "app") }, false},
		"LabelMore":       {"A label more.", func(o *metav1.ObjectMeta) { o.Labels["more"] = "" }, false},
		"AnnotationGone":  {"An annotation less.", func(o *metav1.ObjectMeta) { delete(o.Annotations, "a") }, false},
		"Moved":           {"A label is no annotation.", func(o *metav1.ObjectMeta) { delete(o.Annotations, "a"); o.Labels["a"] = "b" }, false},
		"Exchanged":       {"What is whose.", func(o *metav1.ObjectMeta) { o.Labels = map[string]string{"phi": "app"} }, false},
		"Disowned":        {"Its end is nobody's then.", func(o *metav1.ObjectMeta) { o.OwnerReferences = nil }, false},
		"OtherPlace":      {"A line that moved in Git is no change.", func(o *metav1.ObjectMeta) { o.Annotations[repolayout.AnnotationSource] = "a.yaml:9" }, true},
		"KubectlsCopy":    {"kubectl notes what it has applied.", func(o *metav1.ObjectMeta) { o.Annotations[corev1.LastAppliedConfigAnnotation] = "{...}" }, true},
		"RolloutsCounted": {"The controller of Deployments counts.", func(o *metav1.ObjectMeta) { o.Annotations["deployment.kubernetes.io/revision"] = "2" }, true},
		"Status":          {"Of the rest a generation tells.", func(o *metav1.ObjectMeta) { o.ResourceVersion = "11" }, true},
	} {
		t.Run(name, func(t *testing.T) {
			was, is := about(), about()
			c.change(&is)
			if got := Carried(&was) == Carried(&is); got != c.same {
				t.Errorf("%s\nthe same: %v, want %v", c.reason, got, c.same)
			}
			cached := metadataOf("Service", *is.DeepCopy())
			if _, err := Transform(cached); err != nil {
				t.Fatal(err)
			}
			if Carried(cached) != Carried(&is) {
				t.Errorf("%s\nthe caches say another sum", c.reason)
			}
		})
	}
}

// TestShare: what many objects say is in memory once, and each says what it said.
func TestShare(t *testing.T) {
	one, same, other := about(), about(), about()
	other.Labels["app"] = "other"
	for _, o := range []*metav1.ObjectMeta{&one, &same, &other} {
		if _, err := Transform(metadataOf("Lease", *o)); err != nil {
			t.Fatal(err)
		}
		share(o)
	}
	if reflect.ValueOf(one.Labels).Pointer() != reflect.ValueOf(same.Labels).Pointer() {
		t.Error("two objects with the same labels have two maps of them")
	}
	long := strings.Repeat("x", longest+1)
	if word(long) != long {
		t.Error("a long word became another")
	}
	for i := range words {
		if held := words[i].Load(); held != nil && len(*held) > longest {
			t.Errorf("%d bytes of a word are held", len(*held))
		}
	}
	if maps.Equal(one.Labels, other.Labels) || other.Labels["app"] != "other" || one.Labels["app"] != "phi" {
		t.Errorf("labels are of another object: %v, %v", one.Labels, other.Labels)
	}
}

// TestWordsForget: a slot is somebody else's after a while, and what was said stays said.
func TestWordsForget(t *testing.T) {
	first := word("first")
	for i := range 4 * len(words) {
		if s := fmt.Sprint("word ", i); word(s) != s {
			t.Fatalf("%q became another word", s)
		}
	}
	if word("first") != first {
		t.Error("a word became another")
	}
}

// TestSay: what a Workspace says anywhere is in memory once, and is what it said.
func TestSay(t *testing.T) {
	made := func() *v1alpha1.Workspace {
		return &v1alpha1.Workspace{
			Spec: v1alpha1.WorkspaceSpec{
				Resource:  v1alpha1.ResourceSpec{InstanceType: strings.Clone("Standard_NC24ads_A100_v4"), LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"pool": strings.Clone("a100")}}},
				Inference: &v1alpha1.InferenceSpec{Adapters: []v1alpha1.Adapter{{Name: strings.Clone("legal")}}},
			},
			Status: v1alpha1.WorkspaceStatus{Conditions: []metav1.Condition{{Type: strings.Clone("Ready"), LastTransitionTime: then, Message: strings.Repeat("long ", longest)}}},
		}
	}
	one, same, was := made(), made(), made()
	for _, w := range []*v1alpha1.Workspace{one, same} {
		if _, err := Transform(w); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(was, w); diff != "" {
			t.Fatalf("it says something else (-was +is):\n%s", diff)
		}
	}
	for _, pair := range [][2]string{
		{one.Spec.Resource.InstanceType, same.Spec.Resource.InstanceType},
		{one.Spec.Inference.Adapters[0].Name, same.Spec.Inference.Adapters[0].Name},
		{one.Spec.Resource.LabelSelector.MatchLabels["pool"], same.Spec.Resource.LabelSelector.MatchLabels["pool"]},
		{one.Status.Conditions[0].Type, same.Status.Conditions[0].Type},
	} {
		if unsafe.StringData(pair[0]) != unsafe.StringData(pair[1]) {
			t.Errorf("%q is in memory twice", pair[0])
		}
	}
}

func BenchmarkSay(b *testing.B) {
	w := &v1alpha1.Workspace{
		Spec:   v1alpha1.WorkspaceSpec{Inference: &v1alpha1.InferenceSpec{Adapters: []v1alpha1.Adapter{{Name: "legal"}}}},
		Status: v1alpha1.WorkspaceStatus{Conditions: []metav1.Condition{{Type: "Ready", LastTransitionTime: then}, {Type: "Sized", LastTransitionTime: then}}},
	}
	b.ReportAllocs()
	for b.Loop() {
		say(reflect.ValueOf(&w.Spec).Elem())
		say(reflect.ValueOf(&w.Status).Elem())
	}
}
