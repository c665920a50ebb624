// SPDX-License-Identifier: Apache-2.0

package slim

import (
	"maps"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"weak"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kuberuntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// packed is an object as a cache holds it: what it says that thousands of others say too,
// which is in memory once, and its particulars. A deep copy of it is the object whole, and
// who reads a cache reads deep copies (NewCache): nobody but an index and a predicate sees
// one that is packed.
type packed struct {
	unwritten
	form *form
	name string
	own  string // its particulars
}

// form is an object without particulars.
type form struct {
	object    kuberuntime.Object
	namespace string
}

func (f *form) metadata() metav1.Object { return f.object.(metav1.ObjectMetaAccessor).GetObjectMeta() }

// forms are those that something in a cache is of, by their shape.
var forms = struct {
	mu sync.Mutex
	of map[uint64]weak.Pointer[form]
}{of: map[uint64]weak.Pointer[form]{}}

// formOf is the form of a shape, that which is held before the one that was made.
func formOf(shape uint64, made *form) *form {
	forms.mu.Lock()
	defer forms.mu.Unlock()
	if held := forms.of[shape].Value(); held != nil {
		return held
	}
	forms.of[shape] = weak.Make(made)
	runtime.AddCleanup(made, forget, shape)
	return made
}

// forget a form that nothing is of any more.
func forget(shape uint64) {
	forms.mu.Lock()
	defer forms.mu.Unlock()
	if forms.of[shape].Value() == nil {
		delete(forms.of, shape)
	}
}

// isPacked says of what kinds a cache holds packed objects: children of Workspaces, of
// which thousands differ in name alone, and inputs, of which nobody lists all.
func isPacked(o metav1.Object) bool {
	switch o := o.(type) {
	case *appsv1.Deployment, *metav1.PartialObjectMetadata:
		return true
	case *v1alpha1.GPUNodePool:
		owner := metav1.GetControllerOfNoCopy(o)
		return owner != nil && owner.Kind == v1alpha1.WorkspaceKind
	}
	return false
}

// pack is an object packed. One that would not come back as it is stays what it is.
func pack(o metav1.Object) any {
	whole, ok := o.(kuberuntime.Object)
	if !ok || !isPacked(o) {
		return o
	}
	made := &form{object: whole.DeepCopyObject(), namespace: o.GetNamespace()}
	p := particulars{name: o.GetName()}
	p.shape.SetSeed(seed)
	v := reflect.ValueOf(made.object).Elem()
	p.say(v.Type().String())
	p.say(made.namespace) // which may be the name too, and is taken out of the object then
	p.walk(v)
	out := &packed{form: formOf(p.shape.Sum64(), made), name: o.GetName(), own: string(p.own)}
	if !equality.Semantic.DeepEqual(out.DeepCopyObject(), whole) {
		return o
	}
	return out
}

// Whole is an object of a cache as others know it.
func Whole(o client.Object) client.Object {
	if p, ok := o.(*packed); ok {
		return p.DeepCopyObject().(client.Object)
	}
	return o
}

// DeepCopyObject implements runtime.Object: the copy is whole.
func (p *packed) DeepCopyObject() kuberuntime.Object {
	whole := p.form.object.DeepCopyObject()
	p.fill(reflect.ValueOf(whole).Elem())
	return whole
}

// metadata is that of the object, whose particulars are the first.
func (p *packed) metadata() *metav1.ObjectMeta {
	held, _ := p.form.metadata().(*metav1.ObjectMeta)
	o := held.DeepCopy()
	p.fill(reflect.ValueOf(o).Elem())
	return o
}

func (p *packed) fill(v reflect.Value) {
	put := particulars{name: p.name, own: []byte(p.own), put: true}
	put.walk(v)
}

// GetObjectKind implements runtime.Object.
func (p *packed) GetObjectKind() schema.ObjectKind {
	kind := &metav1.TypeMeta{}
	kind.SetGroupVersionKind(p.form.object.GetObjectKind().GroupVersionKind())
	return kind
}

// GetLabels implements metav1.Object. A list asks all objects for them.
func (p *packed) GetLabels() map[string]string {
	held := p.form.metadata().GetLabels()
	var named map[string]string
	for key, value := range held {
		switch {
		case !strings.Contains(value, hidden):
		case !strings.Contains(value, hiddenName): // it is among the bytes
			return p.metadata().Labels
		default:
			if named == nil {
				named = maps.Clone(held)
			}
			named[key] = strings.ReplaceAll(value, hiddenName, p.name)
		}
	}
	if named != nil {
		return named
	}
	return held
}

// The others implement metav1.Object.
func (p *packed) GetNamespace() string               { return p.form.namespace }
func (p *packed) GetName() string                    { return p.name }
func (p *packed) GetGenerateName() string            { return p.metadata().GenerateName }
func (p *packed) GetUID() types.UID                  { return p.metadata().UID }
func (p *packed) GetResourceVersion() string         { return p.metadata().ResourceVersion }
func (p *packed) GetGeneration() int64               { return p.form.metadata().GetGeneration() }
func (p *packed) GetSelfLink() string                { return p.metadata().GetSelfLink() }
func (p *packed) GetCreationTimestamp() metav1.Time  { return p.metadata().CreationTimestamp }
func (p *packed) GetDeletionTimestamp() *metav1.Time { return p.metadata().DeletionTimestamp }
func (p *packed) GetDeletionGracePeriodSeconds() *int64 {
	return p.metadata().DeletionGracePeriodSeconds
}
func (p *packed) GetAnnotations() map[string]string             { return p.metadata().Annotations }
func (p *packed) GetFinalizers() []string                       { return p.metadata().Finalizers }
func (p *packed) GetOwnerReferences() []metav1.OwnerReference   { return p.metadata().OwnerReferences }
func (p *packed) GetManagedFields() []metav1.ManagedFieldsEntry { return p.metadata().ManagedFields }

// unwritten is what is not changed in place, as nothing in a cache is.
type unwritten struct{}

func (unwritten) refuse() { panic("what a cache holds is not to be changed: change a copy") }

// They implement metav1.Object.
func (u unwritten) SetNamespace(string)                          { u.refuse() }
func (u unwritten) SetName(string)                               { u.refuse() }
func (u unwritten) SetGenerateName(string)                       { u.refuse() }
func (u unwritten) SetUID(types.UID)                             { u.refuse() }
func (u unwritten) SetResourceVersion(string)                    { u.refuse() }
func (u unwritten) SetGeneration(int64)                          { u.refuse() }
func (u unwritten) SetSelfLink(string)                           { u.refuse() }
func (u unwritten) SetCreationTimestamp(metav1.Time)             { u.refuse() }
func (u unwritten) SetDeletionTimestamp(*metav1.Time)            { u.refuse() }
func (u unwritten) SetDeletionGracePeriodSeconds(*int64)         { u.refuse() }
func (u unwritten) SetLabels(map[string]string)                  { u.refuse() }
func (u unwritten) SetAnnotations(map[string]string)             { u.refuse() }
func (u unwritten) SetFinalizers([]string)                       { u.refuse() }
func (u unwritten) SetOwnerReferences([]metav1.OwnerReference)   { u.refuse() }
func (u unwritten) SetManagedFields([]metav1.ManagedFieldsEntry) { u.refuse() }
