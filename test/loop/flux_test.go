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
	"time"

	"github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/harness"
)

// TestFluxSource follows a GitRepository of Flux: what its artifact holds runs,
// and a new artifact is seen without waiting for the interval. The test plays
// source-controller: it serves the tarball and writes the status.
func TestFluxSource(t *testing.T) {
	team := newTeam(t, "flux")
	store := newArtifacts(t)
	repository := &sourcev1.GitRepository{ObjectMeta: metav1.ObjectMeta{Namespace: team.Namespace, Name: "models"}}
	repository.Spec = sourcev1.GitRepositorySpec{URL: "https://git.example.com/models.git", Interval: metav1.Duration{Duration: time.Minute}}
	if err := team.Client.Create(t.Context(), repository); err != nil {
		t.Fatal(err)
	}
	s := team.RepoSync(moved)
	s.Spec.Source = v1alpha1.Source{Ref: &v1alpha1.SourceRef{Kind: v1alpha1.GitRepositoryKind, Name: "models"}}
	s.Spec.Interval = metav1.Duration{Duration: 24 * time.Hour}
	s.Spec.Report.Commit.URL = team.Git.URL(team.Repo)
	s.Spec.Report.Commit.SecretRef = &v1alpha1.LocalObjectReference{Name: harness.GitSecret}
	apply(t, team, s)
	c := syncCondition(t, team, v1alpha1.ConditionSourceReady, v1alpha1.ReasonSourceUnreachable)
	if !strings.Contains(c.Message, "no artifact yet") {
		t.Errorf("a source without an artifact says so: %s", c.Message)
	}

	files := onlyInference(t)
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
