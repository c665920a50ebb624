// SPDX-License-Identifier: Apache-2.0

package slim

import (
	"hash/maphash"
	"maps"
	"reflect"
	"sync/atomic"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// What many objects say is held once: each slot remembers what was put there last, and who
// says the same gets that. What is said often is put back after something else; what is said
// once takes a slot for a while. What is long is not shared: so it is bounded, and nothing
// has to be forgotten.
var (
	words   [4096]atomic.Pointer[string]
	labels  [256]atomic.Pointer[map[string]string]
	sizings [256]atomic.Pointer[v1alpha1.SizingStatus]
	parts   [64]atomic.Pointer[corev1.ResourceList]
)

// Bounds of what is shared: the bytes of a word, and the labels of a map.
const (
	longest = 128
	most    = 16
)

// word is a string, as it was held before where it was.
func word(s string) string {
	if s == "" || len(s) > longest {
		return s
	}
	slot := &words[maphash.String(seed, s)%uint64(len(words))]
	if last := slot.Load(); last != nil && *last == s {
		return *last
	}
	held := s // not s itself, which would be in memory once more for each word that is known
	slot.Store(&held)
	return s
}

// labelled is a map of labels, as it was held before where it was. It is not to be changed.
func labelled(of map[string]string) map[string]string {
	if len(of) == 0 {
		return nil
	}
	if len(of) > most {
		return spoken(of)
	}
	var sum uint64
	for key, value := range of {
		sum += pair("label", key, value)
	}
	slot := &labels[sum%uint64(len(labels))]
	if last := slot.Load(); last != nil && maps.Equal(*last, of) {
		return *last
	}
	shared := spoken(of)
	slot.Store(&shared)
	return shared
}

// sized is a verdict, as it was held before where it was: of Workspaces alike it is the same.
func sized(of *v1alpha1.SizingStatus) *v1alpha1.SizingStatus {
	if of == nil {
		return nil
	}
	slot := &sizings[maphash.Comparable(seed, *of)%uint64(len(sizings))]
	if last := slot.Load(); last != nil && *last == *of {
		return last
	}
	slot.Store(of)
	return of
}

// offered are the resources of a node, as they were held before where they were: a map of
// one takes 0.7 KiB.
func offered(of corev1.ResourceList) corev1.ResourceList {
	if len(of) == 0 {
		return of
	}
	var sum uint64
	for name, quantity := range of {
		sum += pair("resource", string(name), quantity.String())
	}
	slot := &parts[sum%uint64(len(parts))]
	if last := slot.Load(); last != nil && equality.Semantic.DeepEqual(*last, of) {
		return *last
	}
	slot.Store(&of)
	return of
}

// spoken is a map in the words of all.
func spoken(of map[string]string) map[string]string {
	if of == nil {
		return nil
	}
	shared := make(map[string]string, len(of))
	for key, value := range of {
		shared[word(key)] = word(value)
	}
	return shared
}

// share holds what an object's metadata says in the words of all.
func share(o metav1.Object) {
	o.SetNamespace(word(o.GetNamespace()))
	o.SetLabels(labelled(o.GetLabels()))
	o.SetAnnotations(spoken(o.GetAnnotations()))
	owners := o.GetOwnerReferences()
	for i := range owners {
		owner := &owners[i]
		owner.APIVersion, owner.Kind, owner.Name, owner.UID = word(owner.APIVersion), word(owner.Kind), word(owner.Name), types.UID(word(string(owner.UID)))
	}
	o.SetOwnerReferences(owners)
	finalizers := o.GetFinalizers()
	for i := range finalizers {
		finalizers[i] = word(finalizers[i])
	}
	o.SetFinalizers(finalizers)
	o.SetUID(types.UID(word(string(o.GetUID()))))
	o.SetName(word(o.GetName()))
}

// say holds what a value says in the words of all: texts, and maps of them, wherever they are
// in it. What cannot be set from here, such as what is within a time or a quantity, is left as it is.
func say(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(word(v.String()))
	case reflect.Pointer:
		say(v.Elem())
	case reflect.Struct:
		for i := range v.NumField() {
			if field := v.Field(i); field.CanSet() {
				say(field)
			}
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return
		}
		for i := range v.Len() {
			say(v.Index(i))
		}
	case reflect.Map:
		if of, ok := v.Interface().(map[string]string); ok && len(of) > 0 {
			v.Set(reflect.ValueOf(labelled(of)))
		}
	}
}
