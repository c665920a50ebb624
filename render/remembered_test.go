// SPDX-License-Identifier: Apache-2.0

package render

import (
	"crypto/sha256"
	"encoding/binary"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func someLayer() layer {
	return layer{
		id: "vllm 1", folder: "serving", name: "phi", namespace: "models", labels: map[string]string{"app": "phi"},
		objects: []object{{"kind": "ConfigMap"}}, components: []string{"route"},
		patches: []patch{{kind: "Deployment", name: "base", body: object{"spec": object{"replicas": 1}}, operations: []object{{"op": "add"}}}},
	}
}

// TestLayerKey: layers that may be built to something else have another key.
func TestLayerKey(t *testing.T) {
	known := map[[sha256.Size]byte]string{}
	for name, change := range map[string]func(*layer){
		"Same":       func(*layer) {},
		"Base":       func(l *layer) { l.id = "vllm 2" },
		"Folder":     func(l *layer) { l.folder = "tuning" },
		"Name":       func(l *layer) { l.name = "qwen" },
		"Namespace":  func(l *layer) { l.namespace = "research" },
		"Label":      func(l *layer) { l.labels["app"] = "qwen" },
		"Object":     func(l *layer) { l.objects[0]["kind"] = "Service" },
		"Component":  func(l *layer) { l.components = append(l.components, "monitor") },
		"PatchKind":  func(l *layer) { l.patches[0].kind = "Job" },
		"PatchName":  func(l *layer) { l.patches[0].name = "other" },
		"PatchBody":  func(l *layer) { l.patches[0].body["spec"] = object{"replicas": 2} },
		"Operation":  func(l *layer) { l.patches[0].operations[0]["op"] = "remove" },
		"PatchOrder": func(l *layer) { l.patches = append([]patch{{kind: "Service", name: "base"}}, l.patches...) },
		"PatchesEnd": func(l *layer) { l.patches = append(l.patches, patch{kind: "Service", name: "base"}) },
	} {
		l := someLayer()
		change(&l)
		key, err := l.key()
		if err != nil {
			t.Fatal(err)
		}
		if other := known[key]; other != "" {
			t.Errorf("%s and %s have the same key", name, other)
		}
		known[key] = name
	}
}

// TestRememberedIsBounded: who invents Workspaces gets no more held, and what was rendered last is.
func TestRememberedIsBounded(t *testing.T) {
	r := newRemembered()
	var last [sha256.Size]byte
	for i := range 40 {
		binary.BigEndian.PutUint32(last[:], uint32(i))
		o := &unstructured.Unstructured{Object: object{"apiVersion": "v1", "kind": "Kind" + string(rune('A'+i)), "text": strings.Repeat("x", 1<<20)}}
		for range 2 { // once more is no more
			if err := r.put(last, "base", []*unstructured.Unstructured{o}); err != nil {
				t.Fatal(err)
			}
		}
	}
	sum, known := 0, 0
	for l := range r.order.All() {
		sum, known = sum+l.size(), known+1
	}
	if known != len(r.known) || sum != r.bytes || sum > rememberedBytes || sum < rememberedBytes/2 {
		t.Errorf("%d bytes are held, %d counted, %d are the most", sum, r.bytes, rememberedBytes)
	}
	for key, there := range map[[sha256.Size]byte]bool{last: true, {}: false} {
		objects, err := r.get(key)
		if err != nil || (len(objects) == 1) != there {
			t.Errorf("there: %v, %v; want %v", len(objects) == 1, err, there)
		}
	}
}
