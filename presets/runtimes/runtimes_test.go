// SPDX-License-Identifier: Apache-2.0

package runtimes

import (
	"io/fs"
	"regexp"
	"strings"
	"testing"
)

var pinned = regexp.MustCompile(`^[a-z0-9./-]+:[A-Za-z0-9._-]+@sha256:[0-9a-f]{64}$`)

func TestPins(t *testing.T) {
	if len(All()) == 0 {
		t.Fatal("no runtimes")
	}
	for _, r := range All() {
		if !pinned.MatchString(r.Image) {
			t.Errorf("%s %s: image %q is not pinned by tag and digest", r.Name, r.Version, r.Image)
		}
		if r.Requires.MinDriver == 0 || !r.Requires.MinCapability.Known() || len(r.Sources) == 0 {
			t.Errorf("%s %s lacks facts: %+v", r.Name, r.Version, r)
		}
		if _, err := r.Base(); err != nil {
			t.Errorf("%s %s: %v", r.Name, r.Version, err)
		}
	}
}

// TestBasesNameNoImage keeps every image in pins.yaml.
func TestBasesNameNoImage(t *testing.T) {
	err := fs.WalkDir(files, ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || name == "pins.yaml" {
			return err
		}
		text, err := fs.ReadFile(files, name)
		if strings.Contains(string(text), "image:") {
			t.Errorf("%s names an image: only pins.yaml does", name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestLookup(t *testing.T) {
	for _, tc := range []struct {
		reason, name, version, driver, want string
	}{
		{"no version is the first, and what runs on the oldest driver where none is known", "vllm", "", "", "0.26.0 CUDA 12.9"},
		{"as written", "vllm", "0.26.0", "", "0.26.0 CUDA 12.9"},
		{"the first that the driver runs", "vllm", "", "580.159.04", "0.26.0 CUDA 13.0"},
		{"with a v", "vllm", "v0.26.0", "580.159.04", "0.26.0 CUDA 13.0"},
		{"AKS's driver of A10 sizes runs no CUDA 13", "vllm", "0.26.0", "570.211.01", "0.26.0 CUDA 12.9"},
		{"a driver that runs none: the fit says so", "vllm", "0.26.0", "470.1.1", "0.26.0 CUDA 13.0"},
		{"no digest, no version", "vllm", "0.30.0", "", ""},
		{"no such runtime", "ray", "", "", ""},
	} {
		r, ok := Lookup(tc.name, tc.version, tc.driver)
		if got := r.Version + " CUDA " + r.CUDA; ok != (tc.want != "") || ok && got != tc.want {
			t.Errorf("%s: Lookup(%q, %q, %q) = %q, %v", tc.reason, tc.name, tc.version, tc.driver, got, ok)
		}
	}
}

func TestDefault(t *testing.T) {
	for _, tc := range []struct {
		reason, task, driver, want string
		ok                         bool
	}{
		{"a driver that runs it", Inference, "580.159.04", VLLM, true},
		{"an unknown driver", Tuning, "", Axolotl, true},
		{"a driver that runs none: the fit says so", Tuning, "570.211.01", Axolotl, true},
		{"no such task", "cooking", "", "", false},
	} {
		r, ok := Default(tc.task, tc.driver)
		if r.Name != tc.want || ok != tc.ok {
			t.Errorf("%s: Default(%q, %q) = %q, %v", tc.reason, tc.task, tc.driver, r.Name, ok)
		}
	}
}

// TestVersionsOnce: a version of several images is one version.
func TestVersionsOnce(t *testing.T) {
	if got := Versions(VLLM); len(got) != 1 || got[0] != "0.26.0" {
		t.Errorf("Versions(%q) = %q", VLLM, got)
	}
}

// TestImage finds what status.resolved holds.
func TestImage(t *testing.T) {
	for _, want := range All() {
		if got, ok := Image(want.Image); !ok || got.CUDA != want.CUDA || got.Name != want.Name {
			t.Errorf("Image(%q) = %+v, %v", want.Image, got, ok)
		}
	}
	if r, ok := Image("registry.example.com/own@sha256:0"); ok {
		t.Errorf("an image of nobody is %+v", r)
	}
}

func TestDecodeRefuses(t *testing.T) {
	for reason, text := range map[string]string{
		"an image by tag only":   "runtimes: [{name: a, version: b, task: tuning, image: 'x:y', minCapability: '7.5'}]",
		"a task that is none":    "runtimes: [{name: a, version: b, task: z, image: 'x@sha256:0', minCapability: '7.5'}]",
		"a capability as a word": "runtimes: [{name: a, version: b, task: tuning, image: 'x@sha256:0', minCapability: new}]",
		"a misspelt field":       "runtimes: [{naem: a}]",
	} {
		if _, err := decode([]byte(text)); err == nil {
			t.Errorf("%s is accepted", reason)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte("runtimes: [{name: a, version: b, task: tuning, image: 'x@sha256:0', minCapability: '7.5'}]"))
	f.Fuzz(func(t *testing.T, text []byte) {
		all, err := decode(text)
		if err != nil {
			return
		}
		for _, r := range all {
			if !strings.Contains(r.Image, "@sha256:") {
				t.Errorf("image %q", r.Image)
			}
		}
	})
}
