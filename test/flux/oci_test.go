// SPDX-License-Identifier: Apache-2.0

package flux

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"log"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/espalier-dev/espalier/deploy"
	"github.com/espalier-dev/espalier/test/harness"
)

// Media types of an artifact as `flux push artifact` makes it.
const (
	ociConfig  = types.MediaType("application/vnd.cncf.flux.config.v1+json")
	ociContent = types.MediaType("application/vnd.cncf.flux.content.v1.tar+gzip")
)

const fromRegistry = `apiVersion: source.toolkit.fluxcd.io/v1
kind: OCIRepository
metadata: {name: NAME}
spec:
  url: oci://REGISTRY/NAME
  ref: {tag: latest}
  interval: 24h
  insecure: true
`

// TestOCI follows an artifact in a registry, with the real source-controller: models
// by a RepoSync, whose revision is the digest; and what `espalier install --export`
// writes by a Kustomization of Flux.
func TestOCI(t *testing.T) {
	p := newProject(t, "registry")
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	source := strings.NewReplacer("REGISTRY", host)

	files := p.sample()
	p.pushArtifact(host+"/models:latest", files)
	p.apply(source.Replace(strings.ReplaceAll(fromRegistry, "NAME", "models")))
	sync := p.edited(files["clusters/staging/reposync.yaml"], map[string]string{"kind: GitRepository": "kind: OCIRepository"})
	p.apply(sync)
	p.until("Workspace", harness.InferenceName, "Ready", func(s state) bool { return s.is("Ready", "True") })
	first := p.until("RepoSync", "models", "applied", func(s state) bool { return s.is("Ready", "True") })
	if revision := first.at("status", "lastAppliedRevision"); !strings.HasPrefix(revision, "latest@sha256:") {
		t.Errorf("the revision is the digest of what was pushed: %s", revision)
	}

	p.replace(files, served, "contextLength: 32768", "contextLength: 8192")
	p.pushArtifact(host+"/models:latest", files)
	p.ask("OCIRepository", "pushed")
	p.until("Workspace", harness.InferenceName, "as the second artifact wants it", func(s state) bool {
		return s.at("spec", "inference", "contextLength") == "8192" && s.is("Ready", "True")
	})

	manifests, err := deploy.Manifests(deploy.Options{Image: "registry.example.com/espalier:dev", Provider: deploy.Existing, ClusterName: "staging"})
	must(t, err)
	p.pushArtifact(host+"/espalier:latest", map[string]string{"espalier.yaml": string(manifests)})
	p.apply(source.Replace(strings.ReplaceAll(fromRegistry, "NAME", "espalier")))
	p.apply(`apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {name: espalier}
spec:
  sourceRef: {kind: OCIRepository, name: espalier}
  path: ./
  interval: 24h
  retryInterval: 1s
  prune: true
  deletionPolicy: Orphan
`)
	p.until("Kustomization", "espalier", "applied", func(s state) bool { return s.is("Ready", "True") })
}

// pushArtifact pushes files as `flux push artifact` does, and returns what they are
// known by.
func (p *project) pushArtifact(reference string, files map[string]string) name.Digest {
	p.t.Helper()
	var content bytes.Buffer
	zip := gzip.NewWriter(&content)
	out := tar.NewWriter(zip)
	for name, text := range files {
		must(p.t, out.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(text)), Typeflag: tar.TypeReg}))
		_, err := out.Write([]byte(text))
		must(p.t, err)
	}
	must(p.t, errors.Join(out.Close(), zip.Close()))
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), ociConfig)
	image, err := mutate.Append(image, mutate.Addendum{Layer: static.NewLayer(content.Bytes(), ociContent)})
	must(p.t, err)
	to, err := name.ParseReference(reference, name.Insecure)
	must(p.t, err)
	must(p.t, remote.Write(to, image))
	digest, err := image.Digest()
	must(p.t, err)
	return to.Context().Digest(digest.String())
}
