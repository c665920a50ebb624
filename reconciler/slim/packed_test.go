// SPDX-License-Identifier: Apache-2.0

package slim

import (
	"runtime"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kuberuntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// TestPack: what is packed comes back as it was, and what would not is not packed.
func TestPack(t *testing.T) {
	config := func(change func(*metav1.PartialObjectMetadata)) client.Object {
		o := metadataOf("ConfigMap", synced(1, "config"))
		change(o)
		return o
	}
	pool := func(change func(*v1alpha1.GPUNodePool)) client.Object {
		o := poolOf(1).(*v1alpha1.GPUNodePool)
		change(o)
		return o
	}
	for name, c := range map[string]struct {
		reason string
		o      client.Object
		whole  bool // it stays so
	}{
		"Pool":       {"The nodes of a Workspace.", poolOf(1), false},
		"Deployment": {"Its pods.", deploymentOf(1), false},
		"Service":    {"Known by its sum.", metadataOf("Service", owned(1, "service")), false},
		"Input":      {"What Git says of it is compared.", config(func(*metav1.PartialObjectMetadata) {}), false},
		"Deleted": {"It goes, and something waits for it.", config(func(o *metav1.PartialObjectMetadata) {
			o.DeletionTimestamp, o.DeletionGracePeriodSeconds, o.Finalizers = ptr.To(metav1.NewTime(then.Add(-time.Hour))), ptr.To(int64(30)), []string{"a"}
		}), false},
		"ShortName":    {"A letter is in many words.", config(func(o *metav1.PartialObjectMetadata) { o.Name = "a" }), false},
		"NoName":       {"Nothing is in all words.", config(func(o *metav1.PartialObjectMetadata) { o.Name = "" }), false},
		"NameInWords":  {"A name may be part of what all say.", config(func(o *metav1.PartialObjectMetadata) { o.Name = "espalier" }), false},
		"DigestLabel":  {"A label may be one.", config(func(o *metav1.PartialObjectMetadata) { o.Labels["a"], o.Labels["b"] = digestOf(7, "a"), o.Name }), false},
		"OtherUID":     {"A UID is any text.", config(func(o *metav1.PartialObjectMetadata) { o.UID = "u" }), false},
		"BigUID":       {"Digits are those that are written.", config(func(o *metav1.PartialObjectMetadata) { o.UID = "ABCDEF01-0000-4000-8000-000000000000" }), true},
		"BigDigest":    {"Of a digest too.", config(func(o *metav1.PartialObjectMetadata) { o.Labels["a"] = "sha256:" + strings.Repeat("AB", 32) }), true},
		"ShortDigest":  {"Half a digest is a text.", config(func(o *metav1.PartialObjectMetadata) { o.Labels["a"] = "sha256:abcd" }), false},
		"OtherVersion": {"A version may be no number.", config(func(o *metav1.PartialObjectMetadata) { o.ResourceVersion = "a" }), false},
		"OtherNumber":  {"Or be written another way.", config(func(o *metav1.PartialObjectMetadata) { o.ResourceVersion = "007" }), true},
		"Moment": {"Half a second is not kept.", config(func(o *metav1.PartialObjectMetadata) {
			o.CreationTimestamp = metav1.NewTime(then.Add(time.Millisecond))
		}), true},
		"NoTime":    {"Nobody has said when.", config(func(o *metav1.PartialObjectMetadata) { o.CreationTimestamp = metav1.Time{} }), false},
		"Zero":      {"What stands for something stands for nothing else.", config(func(o *metav1.PartialObjectMetadata) { o.Labels["a"] = hiddenUID }), true},
		"OfGit":     {"A pool that Git declares is listed.", pool(func(p *v1alpha1.GPUNodePool) { p.OwnerReferences = nil }), true},
		"Workspace": {"As Workspaces are.", workspaceOf(1), true},
		"PoolSkipping": {"Anything that a status says.", pool(func(p *v1alpha1.GPUNodePool) {
			p.Status.Skipped = []v1alpha1.SkippedCandidate{{InstanceType: "x", Zones: []string{"1"}, Until: then, Message: p.Name + " has none"}}
			p.Status.IdleSince, p.Spec.Timeouts.GPUReady.Duration, p.Status.GPUs = ptr.To(then), time.Minute, nil
		}), false},
	} {
		t.Run(name, func(t *testing.T) {
			was := c.o.DeepCopyObject()
			held := pack(c.o).(client.Object)
			if _, is := held.(*packed); is == c.whole {
				t.Errorf("%s: it is packed: %v", c.reason, is)
			}
			whole := Whole(held)
			if !equality.Semantic.DeepEqual(was, whole) || !equality.Semantic.DeepEqual(was, kuberuntime.Object(c.o)) {
				t.Errorf("%s: it is another:\n%v\n%v\n%v", c.reason, was, whole, c.o)
			}
			sameMetadata(t, held, whole)
			key, err := cache.MetaNamespaceKeyFunc(held)
			if want, _ := cache.MetaNamespaceKeyFunc(whole); err != nil || key != want {
				t.Errorf("a cache has it as %q (%v), want %q", key, err, want)
			}
			if again, err := Transform(held); err != nil || Whole(again.(client.Object)).GetUID() != whole.GetUID() {
				t.Errorf("a cache may transform what it holds once more: %v, %v", again, err)
			}
		})
	}
}

// sameMetadata: who is told of a packed object hears what the whole one says.
func sameMetadata(t *testing.T, held, whole client.Object) {
	t.Helper()
	for name, of := range map[string]func(client.Object) any{
		"namespace": func(o client.Object) any { return o.GetNamespace() }, "name": func(o client.Object) any { return o.GetName() },
		"generateName": func(o client.Object) any { return o.GetGenerateName() }, "uid": func(o client.Object) any { return o.GetUID() },
		"resourceVersion": func(o client.Object) any { return o.GetResourceVersion() }, "generation": func(o client.Object) any { return o.GetGeneration() },
		"selfLink": func(o client.Object) any { return o.GetSelfLink() }, "creationTimestamp": func(o client.Object) any { return o.GetCreationTimestamp() },
		"deletionTimestamp": func(o client.Object) any { return o.GetDeletionTimestamp() }, "grace": func(o client.Object) any { return o.GetDeletionGracePeriodSeconds() },
		"labels": func(o client.Object) any { return o.GetLabels() }, "annotations": func(o client.Object) any { return o.GetAnnotations() },
		"finalizers": func(o client.Object) any { return o.GetFinalizers() }, "owners": func(o client.Object) any { return o.GetOwnerReferences() },
		"managedFields": func(o client.Object) any { return o.GetManagedFields() }, "kind": func(o client.Object) any { return o.GetObjectKind().GroupVersionKind() },
	} {
		if got, want := of(held), of(whole); !equality.Semantic.DeepEqual(got, want) {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
}

// TestFormsForget: a form is held once, by what is of it, and no longer than that.
func TestFormsForget(t *testing.T) {
	made := func(i int) *packed {
		o := metadataOf("ConfigMap", synced(i, "config"))
		o.Labels["only"] = "here"
		return pack(o).(*packed)
	}
	one, other := made(1), made(2)
	if one.form != other.form || one.GetName() == other.GetName() || one.GetAnnotations()[repolayout.AnnotationDigest] == other.GetAnnotations()[repolayout.AnnotationDigest] {
		t.Error("two objects that differ in their particulars alone have two forms, or one name")
	}
	held := func() int {
		forms.mu.Lock()
		defer forms.mu.Unlock()
		return len(forms.of)
	}
	before := held()
	runtime.KeepAlive(one)
	runtime.KeepAlive(other)
	for range 1000 {
		if runtime.GC(); held() < before {
			return
		}
		runtime.Gosched()
	}
	t.Errorf("%d forms are held of %d after their objects are gone", held(), before)
}

// TestPackedInNamespace: an object whose namespace has its name is found under its own
// namespace, whatever else there is that says the same of itself.
func TestPackedInNamespace(t *testing.T) {
	for _, name := range []string{"outofmemory", "eviction"} {
		o := &metav1.PartialObjectMetadata{
			TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Service"},
			ObjectMeta: metav1.ObjectMeta{Namespace: name, Name: name, ResourceVersion: "7", UID: "6e983c18-3e79-41f7-b2ce-21e67a52b39a"},
		}
		in, err := Transform(o)
		if err != nil {
			t.Fatal(err)
		}
		p, ok := in.(*packed)
		if !ok {
			t.Fatalf("%s is not packed", name)
		}
		if got := p.GetNamespace() + "/" + p.GetName(); got != name+"/"+name {
			t.Errorf("%s/%s is known as %s", name, name, got)
		}
		if whole := p.DeepCopyObject().(*metav1.PartialObjectMetadata); whole.Namespace != name {
			t.Errorf("%s/%s is in namespace %s when it is whole", name, name, whole.Namespace)
		}
	}
}
