// SPDX-License-Identifier: Apache-2.0

package check_test

import (
	"strings"
	"testing"

	"github.com/espalier-dev/espalier/render/check"
	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// TestAdapterClaims: pods that cannot mount an adapter are refused before their nodes
// are paid.
func TestAdapterClaims(t *testing.T) {
	zoned := func(zones ...string) []v1alpha1.Candidate {
		return []v1alpha1.Candidate{{InstanceType: "Standard_NC24ads_A100_v4", Zones: zones}}
	}
	for name, tc := range map[string]struct {
		reason     string
		candidates []v1alpha1.Candidate
		replicas   int32
		modes      map[string][]string
		zones      map[string][]string
		want       string
	}{
		"Alone":         {"one node mounts what one node can", nil, 1, map[string][]string{"a": {"ReadWriteOnce"}}, nil, ""},
		"NotInGit":      {"one pod mounts whatever there is", nil, 1, nil, nil, ""},
		"Apart":         {"pods on two nodes do not", nil, 2, map[string][]string{"a": {"ReadWriteOnce"}}, nil, "error ClaimNotShared"},
		"ApartToRead":   {"reading from many nodes is enough", nil, 2, map[string][]string{"a": {"ReadOnlyMany"}}, nil, ""},
		"ApartToWrite":  {"and so is writing from many", nil, 2, map[string][]string{"a": {"ReadWriteMany"}}, nil, ""},
		"ApartNotInGit": {"Git need not hold the claim", nil, 2, nil, nil, "warning ClaimNotShared"},
		"OnePodOfTwo":   {"a second pod on the same node cannot either", []v1alpha1.Candidate{{InstanceType: "Standard_NC48ads_A100_v4"}}, 2, map[string][]string{"a": {"ReadWriteOncePod"}}, nil, "error ClaimNotShared"},
		"Zone":          {"the nodes may be where the claim is", zoned("1", "2"), 1, nil, map[string][]string{"a": {"2"}}, ""},
		"OtherZone":     {"nodes of another zone wait for ever", zoned("1"), 1, nil, map[string][]string{"a": {"2"}}, "error ZoneLocked"},
		"NoZone":        {"nodes without a zone mount no volume of one", nil, 1, nil, map[string][]string{"a": {"2"}}, "error ZoneLocked"},
		"TwoZones":      {"each claim could be mounted, and no node can mount both", zoned("1", "2"), 1, nil, map[string][]string{"a": {"1"}, "b": {"2"}}, "error ZoneLocked"},
	} {
		t.Run(name, func(t *testing.T) {
			w := serving("Standard_NC24ads_A100_v4", replicas(tc.replicas), func(w *v1alpha1.Workspace) {
				w.Spec.Inference.Adapters = []v1alpha1.Adapter{{Name: "a", Claim: "a", Path: "v1"}, {Name: "same", Claim: "a"}}
				if len(tc.zones) > 1 {
					w.Spec.Inference.Adapters[1].Claim = "b"
				}
				if tc.candidates != nil {
					w.Spec.Resource.InstanceType, w.Spec.Resource.Candidates = "", tc.candidates
				}
			})
			a := check.Workspace(w, check.Facts{ClaimModes: tc.modes, VolumeZones: tc.zones}, nil)
			got := map[string]bool{}
			for _, f := range a.Findings {
				got[f.Severity+" "+f.Code] = true
			}
			if len(got) > 1 || tc.want == "" && len(got) > 0 || tc.want != "" && !got[tc.want] || a.Refused() != strings.HasPrefix(tc.want, finding.Error) {
				t.Errorf("%s: %v, want %q", tc.reason, a.Findings, tc.want)
			}
		})
	}
}

// TestDataFiles: keys of ConfigMaps are held to what files are, and what they hold is
// part of the run, whatever they are called.
func TestDataFiles(t *testing.T) {
	of := func(sources ...v1alpha1.FileSource) *v1alpha1.Workspace {
		return tuning("Standard_NC24ads_A100_v4", func(w *v1alpha1.Workspace) { w.Spec.Tuning.Input = v1alpha1.DataSource{Files: sources} })
	}
	maps := map[string]map[string]string{
		"data": {"train.jsonl": "{}"}, "more": {"train.jsonl": "{}"}, "none": {}, "odd": {"train.doc": "{}"}, "lines": {"a.txt": "a"},
	}
	item := func(key, path string) []v1alpha1.FileItem { return []v1alpha1.FileItem{{Key: key, Path: path}} }
	for name, tc := range map[string]struct {
		reason string
		w      *v1alpha1.Workspace
		says   string // of the first error; "" for none
		files  string
	}{
		"Key":         {"a key is a file of its name", of(v1alpha1.FileSource{ConfigMap: "data"}), "", "train.jsonl"},
		"Item":        {"or of another", of(v1alpha1.FileSource{ConfigMap: "data", Items: item("train.jsonl", "a/b.json")}), "", "a/b.json"},
		"Secret":      {"what keys a Secret has nobody here reads", of(v1alpha1.FileSource{Secret: "s"}), "", ""},
		"SecretItem":  {"unless the spec says", of(v1alpha1.FileSource{Secret: "s", Items: item("k", "b.csv")}), "", "b.csv"},
		"NotInGit":    {"nor those of a ConfigMap that the tree does not hold", of(v1alpha1.FileSource{ConfigMap: "away"}), "", ""},
		"NoKey":       {"a key that is not there would hold the pod up", of(v1alpha1.FileSource{ConfigMap: "data", Items: item("gone", "a.json")}), `ConfigMap "data" has no key gone`, ""},
		"Empty":       {"nothing to train on", of(v1alpha1.FileSource{ConfigMap: "none"}), "holds nothing", ""},
		"Twice":       {"one would hide the other", of(v1alpha1.FileSource{ConfigMap: "data"}, v1alpha1.FileSource{ConfigMap: "more"}), "another key becomes a file train.jsonl too", ""},
		"UnknownKind": {"the trainer would not know how to read it", of(v1alpha1.FileSource{ConfigMap: "odd"}), "train.doc: the end of the name", ""},
		"Lines":       {"lines of text are rows of text", of(v1alpha1.FileSource{ConfigMap: "lines"}), "a.txt: each line of it", ""},
	} {
		t.Run(name, func(t *testing.T) {
			a := check.Workspace(tc.w, check.Facts{ConfigMaps: maps}, nil)
			said := ""
			for _, f := range a.Findings {
				if f.Severity == finding.Error && said == "" {
					said = f.Message
				}
			}
			if (tc.says == "") != (said == "") || !strings.Contains(said, tc.says) {
				t.Errorf("%s: said %q, want %q", tc.reason, said, tc.says)
			}
			if got := strings.Join(a.DataFiles, " "); tc.says == "" && got != tc.files {
				t.Errorf("%s: files %q, want %q", tc.reason, got, tc.files)
			}
		})
	}
}

// TestDigestOfDataFiles: a generated suffix makes no other run, and another content
// does.
func TestDigestOfDataFiles(t *testing.T) {
	digest := func(name, content string) string {
		w := tuning("Standard_NC24ads_A100_v4", func(w *v1alpha1.Workspace) {
			w.Spec.Tuning.Input = v1alpha1.DataSource{Files: []v1alpha1.FileSource{{ConfigMap: name}}}
		})
		return check.Digest(w, map[string]map[string]string{name: {"train.jsonl": content}})
	}
	if digest("data-7h2", "a") != digest("data-k9x", "a") {
		t.Error("the name of a ConfigMap makes another run")
	}
	if digest("data", "a") == digest("data", "b") {
		t.Error("another content makes no other run")
	}
}
