// SPDX-License-Identifier: Apache-2.0

package apply

import (
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
)

func object(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	o := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(text), &o.Object); err != nil {
		t.Fatal(err)
	}
	return o
}

const wantedService = `{apiVersion: v1, kind: Service, metadata: {name: a, labels: {app: a}, annotations: {` + repolayout.AnnotationSource + `: "a.yaml:1", note: x}},
  spec: {ports: [{port: 80, targetPort: http}], selector: {app: a}, empty: {}}}`

func TestHolds(t *testing.T) {
	for name, c := range map[string]struct {
		reason string
		live   string
		want   bool
	}{
		"Defaulted": {
			"What the API server fills in is no drift.",
			`{apiVersion: v1, kind: Service, metadata: {name: a, uid: u, labels: {app: a, more: b}, annotations: {note: x}}, spec: {type: ClusterIP, ports: [{port: 80, protocol: TCP, targetPort: http}], selector: {app: a}}}`, true,
		},
		"OtherPlace": {
			"A line that moved in Git is no reason to write.",
			`{apiVersion: v1, kind: Service, metadata: {name: a, labels: {app: a}, annotations: {` + repolayout.AnnotationSource + `: "a.yaml:9", note: x}}, spec: {ports: [{port: 80, targetPort: http}], selector: {app: a}}}`, true,
		},
		"OtherValue": {
			"A value that somebody set is drift.",
			`{apiVersion: v1, kind: Service, metadata: {name: a, labels: {app: a}, annotations: {note: x}}, spec: {ports: [{port: 81, targetPort: http}], selector: {app: a}}}`, false,
		},
		"OneMoreInList": {
			"An item more may be one that was dropped from Git.",
			`{apiVersion: v1, kind: Service, metadata: {name: a, labels: {app: a}, annotations: {note: x}}, spec: {ports: [{port: 80, targetPort: http}, {port: 81}], selector: {app: a}}}`, false,
		},
		"LabelGone": {
			"A label that somebody removed is drift.",
			`{apiVersion: v1, kind: Service, metadata: {name: a, annotations: {note: x}}, spec: {ports: [{port: 80, targetPort: http}], selector: {app: a}}}`, false,
		},
		"AnnotationGone": {
			"So is an annotation.",
			`{apiVersion: v1, kind: Service, metadata: {name: a, labels: {app: a}}, spec: {ports: [{port: 80, targetPort: http}], selector: {app: a}}}`, false,
		},
		"Nothing": {"An object without a spec holds nothing.", `{apiVersion: v1, kind: Service, metadata: {name: a}}`, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Holds(object(t, c.live), object(t, wantedService)); got != c.want {
				t.Errorf("%s\ngot %v", c.reason, got)
			}
		})
	}
}

func TestStill(t *testing.T) {
	at := func(uid, version string, generation int64, labels string) *unstructured.Unstructured {
		o := object(t, `{apiVersion: v1, kind: Service, metadata: {name: a, labels: `+labels+`, annotations: {note: x}}}`)
		o.SetUID("u")
		if uid != "" {
			o.SetUID("other")
		}
		o.SetResourceVersion(version)
		o.SetGeneration(generation)
		return o
	}
	for name, c := range map[string]struct {
		reason        string
		applied, live *unstructured.Unstructured
		still, before bool
	}{
		"Same":            {"Nobody wrote.", at("", "10", 0, "{app: a}"), at("", "10", 0, "{app: a}"), true, false},
		"Written":         {"Without generations every write may be drift.", at("", "10", 0, "{app: a}"), at("", "11", 0, "{app: a}"), false, false},
		"StatusWritten":   {"Of a status the generation knows nothing.", at("", "10", 3, "{app: a}"), at("", "11", 3, "{app: a}"), true, false},
		"SpecWritten":     {"A generation more is another spec.", at("", "10", 3, "{app: a}"), at("", "11", 4, "{app: a}"), false, false},
		"LabelGone":       {"Metadata has no generation.", at("", "10", 3, "{app: a}"), at("", "11", 3, "{}"), false, false},
		"LabelChanged":    {"So a value that is another is seen by itself.", at("", "10", 3, "{app: a}"), at("", "11", 3, "{app: b}"), false, false},
		"Another":         {"It was deleted and made anew.", at("", "10", 3, "{app: a}"), at("x", "11", 3, "{app: a}"), false, false},
		"CacheBehind":     {"A cache may not know of the apply yet.", at("", "10", 3, "{app: a}"), at("", "9", 2, "{app: a}"), false, true},
		"VersionsUnknown": {"What is no number says nothing.", at("", "x", 0, "{app: a}"), at("", "x", 0, "{app: a}"), false, false},
	} {
		t.Run(name, func(t *testing.T) {
			m := MarkOf("sha256:1", c.applied)
			if got := m.Still(c.live); got != c.still {
				t.Errorf("%s\nstill: got %v", c.reason, got)
			}
			if got := m.Before(c.live); got != c.before {
				t.Errorf("%s\nbefore: got %v", c.reason, got)
			}
		})
	}
	more := at("", "11", 3, "{app: a, more: b}")
	if m := MarkOf("sha256:1", at("", "10", 3, "{app: a}")); m.Still(more) {
		t.Error("what somebody adds is another sum")
	}
	if m := MarkOf("sha256:1", at("", "10", 3, "{app: a}")); !m.Of("sha256:1") || m.Of("sha256:2") || (Mark{}).Of("") {
		t.Error("a mark is of the digest that was applied")
	}
	if (Mark{}).Still(at("", "10", 3, "{app: a}")) || (Mark{}).Before(at("", "10", 3, "{app: a}")) {
		t.Error("what was never applied is nothing still")
	}
}
