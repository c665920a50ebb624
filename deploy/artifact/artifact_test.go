// SPDX-License-Identifier: Apache-2.0

package artifact

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"io/fs"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

const root = "../.."

var annotations = map[string]string{"org.opencontainers.image.revision": "0123"}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func packed(t *testing.T, files fs.FS) v1.Image {
	t.Helper()
	image, err := Pack(files, annotations)
	must(t, err)
	return image
}

// TestReproducible: neither the folder, nor times and modes, nor what lies beside the
// manifests get into the artifact.
func TestReproducible(t *testing.T) {
	first, err := packed(t, os.DirFS(root)).Digest()
	must(t, err)
	elsewhere := t.TempDir()
	must(t, os.CopyFS(filepath.Join(elsewhere, "deploy"), os.DirFS(root+"/deploy")))
	must(t, os.WriteFile(filepath.Join(elsewhere, "secret.txt"), nil, 0o600))
	must(t, filepath.WalkDir(elsewhere, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		return errors.Join(os.Chmod(name, 0o700), os.Chtimes(name, time.Unix(1, 0), time.Unix(1, 0)))
	}))
	second, err := packed(t, os.DirFS(elsewhere)).Digest()
	must(t, err)
	if first != second {
		t.Errorf("packed twice, the artifact differs: %s, %s", first, second)
	}
	file := filepath.Join(elsewhere, "deploy", "base", "namespace.yaml")
	must(t, os.WriteFile(file, []byte("kind: Namespace\n"), 0o600))
	third, err := packed(t, os.DirFS(elsewhere)).Digest()
	must(t, err)
	if third == first {
		t.Error("another manifest makes the same artifact")
	}
	if _, err := Pack(os.DirFS(t.TempDir()), nil); err == nil {
		t.Error("a folder without manifests makes an artifact")
	}
}

// TestBuilds: what is unpacked builds as the repository does, every overlay of it.
func TestBuilds(t *testing.T) {
	image := packed(t, os.DirFS(root))
	manifest, err := image.Manifest()
	must(t, err)
	if manifest.Config.MediaType != ConfigType || len(manifest.Layers) != 1 || manifest.Layers[0].MediaType != ContentType {
		t.Errorf("the artifact is %+v", manifest)
	}
	if diff := cmp.Diff(annotations, manifest.Annotations); diff != "" {
		t.Errorf("annotations (-want +got):\n%s", diff)
	}
	folder := t.TempDir()
	unpack(t, image, folder)
	overlays, err := filepath.Glob(root + "/deploy/overlays/*/kustomization.yaml")
	if err != nil || len(overlays) < 3 {
		t.Fatalf("finding overlays: %d (%v)", len(overlays), err)
	}
	for _, overlay := range append(overlays, root+"/deploy/monitoring/kustomization.yaml") {
		name := strings.TrimPrefix(filepath.Dir(overlay), root)
		if diff := cmp.Diff(built(t, root+name), built(t, folder+name)); diff != "" {
			t.Errorf("%s (-repository +artifact):\n%s", name, diff)
		}
	}
	if _, err := os.Stat(filepath.Join(folder, "deploy", "review", "kustomization.yaml")); err != nil {
		t.Errorf("the component for pull requests is missing: %v", err)
	}
}

func unpack(t *testing.T, image v1.Image, into string) {
	t.Helper()
	layers, err := image.Layers()
	must(t, err)
	zipped, err := layers[0].Compressed()
	must(t, err)
	content, err := gzip.NewReader(zipped)
	must(t, err)
	for r := tar.NewReader(content); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		must(t, err)
		file := filepath.Join(into, filepath.FromSlash(h.Name))
		text, err := io.ReadAll(r)
		must(t, errors.Join(err, os.MkdirAll(filepath.Dir(file), 0o750), os.WriteFile(file, text, 0o600)))
	}
}

func built(t *testing.T, folder string) string {
	t.Helper()
	resources, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), folder)
	must(t, err)
	text, err := resources.AsYaml()
	must(t, err)
	return string(text)
}

// TestPush: the registry and the layout have the artifact below its tag.
func TestPush(t *testing.T) {
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	repository := strings.TrimPrefix(server.URL, "http://") + "/tools/manifests"
	image := packed(t, os.DirFS(root))
	pushed, err := Push(t.Context(), image, "oci://"+repository+":1", authn.DefaultKeychain)
	must(t, err)
	tag, err := name.NewTag(repository + ":1")
	must(t, err)
	there, err := remote.Image(tag)
	must(t, err)
	must(t, validate.Image(there, validate.Fast))
	digest, err := there.Digest()
	must(t, err)
	if want := repository + "@" + digest.String(); pushed != want {
		t.Errorf("Push says %s, the tag carries %s", pushed, want)
	}
	if _, err := Push(t.Context(), image, "Not A Reference", authn.DefaultKeychain); err == nil {
		t.Error("a wrong reference was pushed to")
	}
	folder := filepath.Join(t.TempDir(), "layout")
	for range 2 { // over an older one
		must(t, WriteLayout(image, folder, "manifests:dev"))
	}
	index, err := layout.ImageIndexFromPath(folder)
	must(t, err)
	list, err := index.IndexManifest()
	must(t, err)
	if len(list.Manifests) != 1 || list.Manifests[0].Digest != digest || list.Manifests[0].Annotations[annotationRef] != "manifests:dev" {
		t.Errorf("the layout holds %+v, want %s", list.Manifests, digest)
	}
	var content bytes.Buffer
	raw, err := there.RawManifest()
	must(t, err)
	content.Write(raw)
	if strings.Contains(content.String(), "vnd.docker") {
		t.Errorf("the manifest has media types of Docker:\n%s", content.String())
	}
}
