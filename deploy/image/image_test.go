// SPDX-License-Identifier: Apache-2.0

package image

import (
	"archive/tar"
	"bytes"
	"debug/elf"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

// hello is a whole module.
var hello = map[string]string{
	"go.mod":         "module example.com/hello\n\ngo 1.26\n",
	"hello/main.go":  "package main\n\nfunc main() { println(\"hello\") }\n",
	"hello/other.go": "package main\n",
}

var labels = map[string]string{"org.opencontainers.image.title": "hello", annotationLicences: "Apache-2.0"}

var shared struct {
	sync.Once
	*Image
}

// once is an image for tests that only look at it.
func once(t *testing.T) *Image {
	t.Helper()
	shared.Do(func() { shared.Image = built(t) })
	if shared.Image == nil {
		t.Fatal("the image was not built: see the first test that needed it")
	}
	return shared.Image
}

// built builds hello in a folder of its own.
func built(t *testing.T) *Image {
	t.Helper()
	dir := t.TempDir()
	for path, text := range hello {
		path = filepath.Join(dir, path)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	img, err := Build(t.Context(), Options{
		Dir: dir, Package: "./hello", Platforms: []string{"linux/amd64", "linux/arm64"}, Annotations: labels,
	})
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// packed is the image as one file.
func packed(t *testing.T, img *Image) []byte {
	t.Helper()
	folder := filepath.Join(t.TempDir(), "layout")
	if err := img.WriteLayout(folder, "hello:dev"); err != nil {
		t.Fatal(err)
	}
	if err := Pack(folder, folder+".tar"); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(folder + ".tar")
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// TestReproducible: neither the folder, nor the time, nor the settings of whoever
// builds get into the image.
func TestReproducible(t *testing.T) {
	first := once(t)
	content := packed(t, first)
	t.Setenv("GOFLAGS", "-tags=other")
	t.Setenv("GOAMD64", "v3")
	t.Setenv("CGO_ENABLED", "1")
	second := built(t)
	if !bytes.Equal(content, packed(t, second)) {
		t.Error("built twice, the image differs")
	}
	for i := range first.Parts {
		if diff := cmp.Diff(string(first.Parts[i].SBOM), string(second.Parts[i].SBOM)); diff != "" {
			t.Errorf("the list of materials differs:\n%s", diff)
		}
	}
}

// TestImage: what a kubelet, an engine and a registry look at.
func TestImage(t *testing.T) {
	img := once(t)
	machines := map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}
	for _, part := range img.Parts {
		config, err := part.Image.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		want := v1.Config{
			User: "65532:65532", Entrypoint: []string{"/usr/local/bin/hello"}, WorkingDir: "/", Labels: labels,
			Env: []string{"PATH=/usr/local/bin", "HOME=/home/nonroot"},
		}
		if diff := cmp.Diff(want, config.Config); diff != "" {
			t.Errorf("configuration (-want +got):\n%s", diff)
		}
		if got := config.OS + "/" + config.Architecture; got != part.Platform.String() {
			t.Errorf("the image of %s says %s", part.Platform, got)
		}
		entries := entries(t, part.Image)
		program, err := elf.NewFile(bytes.NewReader(entries["usr/local/bin/hello"].content))
		if err != nil {
			t.Fatal(err)
		}
		if want := machines[part.Platform.Architecture]; program.Machine != want {
			t.Errorf("the program of %s is for %s", part.Platform, program.Machine)
		}
		if needs, err := program.ImportedLibraries(); err != nil || len(needs) > 0 {
			t.Errorf("the program is not static: it needs %v (%v)", needs, err)
		}
		for name, want := range map[string]string{
			"etc/": "drwxr-xr-x 0:0", "etc/passwd": "-rw-r--r-- 0:0", "etc/group": "-rw-r--r-- 0:0", "home/": "drwxr-xr-x 0:0",
			"home/nonroot/": "drwx------ 65532:65532", "tmp/": "dtrwxrwxrwx 0:0", "usr/": "drwxr-xr-x 0:0",
			"usr/local/": "drwxr-xr-x 0:0", "usr/local/bin/": "drwxr-xr-x 0:0", "usr/local/bin/hello": "-rwxr-xr-x 0:0",
		} {
			if got := entries[name].String(); got != want {
				t.Errorf("%s: got %s, want %s", name, got, want)
			}
		}
		if len(entries) != 10 {
			t.Errorf("the layer has %d entries, want 10", len(entries))
		}
		if passwd := string(entries["etc/passwd"].content); !strings.Contains(passwd, "nonroot:x:65532:65532:") {
			t.Errorf("no account in /etc/passwd: %q", passwd)
		}
	}
}

// entry of a layer.
type entry struct {
	tar.Header
	content []byte
}

func (e entry) String() string {
	return fmt.Sprintf("%s %d:%d", e.FileInfo().Mode(), e.Uid, e.Gid)
}

func entries(t *testing.T, img v1.Image) map[string]entry {
	t.Helper()
	layers, err := img.Layers()
	if err != nil || len(layers) != 1 {
		t.Fatalf("%d layers (%v), want one", len(layers), err)
	}
	content, err := layers[0].Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	defer content.Close()
	found := map[string]entry{}
	for r := tar.NewReader(content); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return found
		}
		if err != nil {
			t.Fatal(err)
		}
		if !h.ModTime.Equal(epoch) {
			t.Errorf("%s is of %s", h.Name, h.ModTime)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		found[h.Name] = entry{*h, data}
	}
}

// TestLayout: the folder is an image layout that names the image.
func TestLayout(t *testing.T) {
	img, folder := once(t), filepath.Join(t.TempDir(), "layout")
	if err := img.WriteLayout(folder, "hello:dev"); err != nil {
		t.Fatal(err)
	}
	if err := img.WriteLayout(folder, "hello:dev"); err != nil { // over an older one
		t.Fatal(err)
	}
	index, err := layout.ImageIndexFromPath(folder)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	digest, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	if len(manifest.Manifests) != 1 || manifest.Manifests[0].Digest != digest || manifest.Manifests[0].Annotations[annotationRef] != "hello:dev" {
		t.Errorf("the layout holds %+v, want %s as hello:dev", manifest.Manifests, digest)
	}
}

// TestPush: the registry has the index below its tag, and beside each platform's
// image what it is made of.
func TestPush(t *testing.T) {
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0)), registry.WithReferrersSupport(true)))
	defer server.Close()
	repository := strings.TrimPrefix(server.URL, "http://") + "/tools/hello"
	img := once(t)
	pushed, err := img.Push(t.Context(), repository+":1", authn.DefaultKeychain)
	if err != nil {
		t.Fatal(err)
	}
	tag, err := name.NewTag(repository + ":1")
	if err != nil {
		t.Fatal(err)
	}
	there, err := remote.Index(tag)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(there); err != nil {
		t.Error(err)
	}
	digest, err := there.Digest()
	if err != nil {
		t.Fatal(err)
	}
	if want := repository + "@" + digest.String(); pushed != want {
		t.Errorf("Push says %s, the tag carries %s", pushed, want)
	}
	for _, part := range img.Parts {
		d, err := part.Image.Digest()
		if err != nil {
			t.Fatal(err)
		}
		referrers, err := remote.Referrers(tag.Context().Digest(d.String()))
		if err != nil {
			t.Fatal(err)
		}
		list, err := referrers.IndexManifest()
		if err != nil {
			t.Fatal(err)
		}
		if len(list.Manifests) != 1 || list.Manifests[0].ArtifactType != string(cycloneDX) {
			t.Errorf("%s is referred to by %+v, want one list of materials", part.Platform, list.Manifests)
		}
	}
	if _, err := img.Push(t.Context(), "Not A Reference", authn.DefaultKeychain); err == nil {
		t.Error("a wrong reference was pushed to")
	}
}

// TestBillOfMaterials: each module that was linked, a replaced one as what took
// its place, and Go itself.
func TestBillOfMaterials(t *testing.T) {
	text, err := list(&debug.BuildInfo{
		GoVersion: "go1.26.8", Path: "example.com/hello",
		Deps: []*debug.Module{
			{Path: "example.com/a", Version: "v1.2.3", Sum: "h1:abc="},
			{Path: "example.com/b", Version: "v2.0.0+incompatible"},
			{Path: "example.com/c", Version: "v1.0.0", Replace: &debug.Module{Path: "example.com/fork", Version: "v1.0.1"}},
		},
	}, "hello", labels)
	if err != nil {
		t.Fatal(err)
	}
	var bom struct {
		BOMFormat  string
		Metadata   struct{ Component struct{ Name string } }
		Components []struct{ Name, PURL string }
	}
	if err := json.Unmarshal(text, &bom); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range bom.Components {
		got = append(got, c.PURL)
	}
	want := []string{
		"pkg:golang/std@1.26.8", "pkg:golang/example.com/a@v1.2.3", "pkg:golang/example.com/b@v2.0.0%2Bincompatible", "pkg:golang/example.com/fork@v1.0.1",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("components (-want +got):\n%s", diff)
	}
	if bom.BOMFormat != "CycloneDX" || bom.Metadata.Component.Name != "hello" {
		t.Errorf("got %+v", bom)
	}
	if _, err := billOfMaterials([]byte("no program"), "x", nil); err == nil {
		t.Error("a list of materials of what is no Go program")
	}
}

// TestRefusal: what cannot be built says why, with the compiler's words.
func TestRefusal(t *testing.T) {
	for name, tc := range map[string]struct {
		reason string
		o      Options
		want   string
	}{
		"NoPlatform":      {"An image of nothing helps nobody.", Options{Package: "./hello"}, "no platform"},
		"HalfAPlatform":   {"The architecture decides what runs.", Options{Package: "./hello", Platforms: []string{"linux"}}, `"linux" is no platform`},
		"UnknownPlatform": {"The compiler knows them.", Options{Package: "./hello", Platforms: []string{"linux/abacus"}}, "unsupported GOOS/GOARCH"},
		"NoSuchPackage":   {"A typing error shows the path.", Options{Package: "./gone", Platforms: []string{"linux/amd64"}}, "gone"},
	} {
		t.Run(name, func(t *testing.T) {
			tc.o.Dir = t.TempDir()
			if err := os.WriteFile(filepath.Join(tc.o.Dir, "go.mod"), []byte(hello["go.mod"]), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := Build(t.Context(), tc.o); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s got %v, want %q", tc.reason, err, tc.want)
			}
		})
	}
}
