// SPDX-License-Identifier: Apache-2.0

package image

import (
	"bytes"
	"os"
	"runtime"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// mostMiB is how much a node may have to pull for a helper of a pod, compressed, before
// anything of the run begins. It was 22.2 MiB in November 2026: what takes it over this
// is worth a look, and a reason.
const mostMiB = 26

// TestProgram: nothing that is linked calls methods by any name, so that those that nobody
// calls are not linked; and the program has the commit that the image says.
func TestProgram(t *testing.T) {
	platform, commit := v1.Platform{OS: "linux", Architecture: runtime.GOARCH}, strings.Repeat("1a2b3c4d", 5)
	program, err := Options{
		Dir: "../..", Package: "./cmd/espalier", Annotations: map[string]string{annotationRevision: commit},
	}.compile(t.Context(), platform)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(program, []byte(commit)) {
		t.Errorf("espalier version does not know the commit: is its variable %s?", commitVariable)
	}
	if bytes.Contains(program, []byte("text/template.(*Template).Execute")) {
		t.Error("templates are linked, and with them every method: which package has come to execute one? A tag may leave it out (Tags)")
	}
}

// TestDockerfileFlags: who builds with Docker gets the same program.
func TestDockerfileFlags(t *testing.T) {
	text, err := os.ReadFile("../Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	for _, flag := range (Options{Annotations: map[string]string{annotationRevision: "$COMMIT"}}).stamped() {
		if !strings.Contains(strings.ReplaceAll(string(text), `"`, ""), flag) {
			t.Errorf("deploy/Dockerfile lacks %s", flag)
		}
	}
}

// TestSize: the image that `make image` makes of this tree stays small.
func TestSize(t *testing.T) {
	img, err := Build(t.Context(), Options{Dir: "../..", Package: "./cmd/espalier", Platforms: []string{"linux/" + runtime.GOARCH}, Annotations: labels})
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := img.Parts[0].Image.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	sum := manifest.Config.Size
	for _, l := range manifest.Layers {
		sum += l.Size
	}
	mib := float64(sum) / (1 << 20)
	t.Logf("%.1f MiB are pulled, in %d layers", mib, len(manifest.Layers))
	if mib > mostMiB {
		t.Errorf("%.1f MiB are pulled for %s, want %d at most: what has come to be linked?", mib, img.Parts[0].Platform, mostMiB)
	}
}
