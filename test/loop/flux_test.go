// SPDX-License-Identifier: Apache-2.0

package loop

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/example"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/harness"
)

// TestFluxSource follows a GitRepository of Flux: what its artifact holds runs,
// and a new artifact is seen without waiting for the interval. The test plays
// source-controller: it serves the tarball and writes the status.
func TestFluxSource(t *testing.T) {
	t.Parallel()
	team := newTeam(t, "flux")
	store := newArtifacts(t)
	files, repository, s := fluxSample(t, team)
	if err := team.Client.Create(t.Context(), repository); err != nil {
		t.Fatal(err)
	}
	apply(t, team, s)
	c := syncCondition(t, team, v1alpha1.ConditionSourceReady, v1alpha1.ReasonSourceUnreachable)
	if !strings.Contains(c.Message, "no artifact yet") {
		t.Errorf("a source without an artifact says so: %s", c.Message)
	}

	const first, second = "1111111111111111111111111111111111111111", "2222222222222222222222222222222222222222"
	offer(t, team, repository, store.pack(t, first, files))
	appliedCommit(t, team, first)
	ready(t, team, harness.InferenceName)
	readme(t, team, "at the artifact's revision", func(text string) bool { return strings.Contains(text, first[:7]) })

	replace(t, files, inferenceFile, "32768", "8192")
	offer(t, team, repository, store.pack(t, second, files))
	appliedCommit(t, team, second)
	w := workspace(team, harness.InferenceName)
	if err := harness.Until(patient(t), team.Stand, w, "as the new artifact says", func(w *v1alpha1.Workspace) bool {
		return w.Spec.Inference.ContextLength == 8192
	}); err != nil {
		t.Error(err)
	}
}

// fluxSample is what `espalier init --flux` writes, for a team: the files, and of
// those the GitRepository and the RepoSync that Flux applies. It serves one
// Workspace, and looks by itself once a day.
func fluxSample(t *testing.T, team *harness.Team) (map[string]string, *sourcev1.GitRepository, *v1alpha1.RepoSync) {
	t.Helper()
	files, err := example.Files(example.Options{Flux: true})
	if err != nil {
		t.Fatal(err)
	}
	replace(t, files, listFile, tuningLine, "")
	syncFile, fluxFile := repolayout.PathSync(example.Staging), repolayout.PathFluxFile(example.Staging)
	for _, name := range []string{syncFile, fluxFile} {
		replace(t, files, name, example.CloneAddress, team.Git.URL(team.Repo))
		replace(t, files, name, "namespace: models", "namespace: "+team.Namespace)
	}
	replace(t, files, syncFile, "interval: 1m", "interval: 24h")
	replace(t, files, syncFile, "      secretRef:\n", "      minInterval: 1s\n      secretRef:\n")

	repository := &sourcev1.GitRepository{}
	if err := yaml.UnmarshalStrict([]byte(strings.Split(files[fluxFile], "\n---\n")[1]), repository); err != nil {
		t.Fatalf("%s: %v", fluxFile, err)
	}
	sync := &v1alpha1.RepoSync{}
	if err := yaml.UnmarshalStrict([]byte(files[syncFile]), sync); err != nil {
		t.Fatalf("%s: %v", syncFile, err)
	}
	return files, repository, sync
}

// artifacts serves tarballs as source-controller does.
type artifacts struct {
	*httptest.Server
	mu    sync.Mutex
	files map[string][]byte
}

func newArtifacts(t *testing.T) *artifacts {
	t.Helper()
	a := &artifacts{files: map[string][]byte{}}
	a.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.mu.Lock()
		defer a.mu.Unlock()
		content, ok := a.files[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(content)
	}))
	t.Cleanup(a.Close)
	return a
}

func (a *artifacts) pack(t *testing.T, commit string, files map[string]string) *meta.Artifact {
	t.Helper()
	var b bytes.Buffer
	zip := gzip.NewWriter(&b)
	out := tar.NewWriter(zip)
	for name, text := range files {
		if err := out.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(text)), Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
		if _, err := out.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(out.Close(), zip.Close()); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(b.Bytes())
	path := "/" + commit + ".tar.gz"
	a.mu.Lock()
	defer a.mu.Unlock()
	a.files[path] = b.Bytes()
	return &meta.Artifact{
		Path: strings.TrimPrefix(path, "/"), URL: a.URL + path, Revision: "main@sha1:" + commit,
		Digest: "sha256:" + hex.EncodeToString(sum[:]), LastUpdateTime: metav1.Now(),
	}
}

// offer writes an artifact into the status of a source.
func offer(t *testing.T, team *harness.Team, repository *sourcev1.GitRepository, artifact *meta.Artifact) {
	t.Helper()
	before := repository.DeepCopy()
	repository.Status.Artifact = artifact
	if err := team.Client.Status().Patch(t.Context(), repository, client.MergeFrom(before)); err != nil {
		t.Fatal(err)
	}
}
