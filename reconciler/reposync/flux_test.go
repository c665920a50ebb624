// SPDX-License-Identifier: Apache-2.0

package reposync

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/espalier-dev/espalier/reconciler/fault"
	"github.com/espalier-dev/espalier/reconciler/source"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// offering is a source of each kind that offers an artifact; nil: none yet.
var offering = map[v1alpha1.SourceKind]func(metav1.ObjectMeta, *meta.Artifact) client.Object{
	v1alpha1.GitRepositoryKind: func(m metav1.ObjectMeta, a *meta.Artifact) client.Object {
		return &sourcev1.GitRepository{ObjectMeta: m, Status: sourcev1.GitRepositoryStatus{Artifact: a}}
	},
	v1alpha1.OCIRepositoryKind: func(m metav1.ObjectMeta, a *meta.Artifact) client.Object {
		return &sourcev1.OCIRepository{ObjectMeta: m, Status: sourcev1.OCIRepositoryStatus{Artifact: a}}
	},
	v1alpha1.BucketKind: func(m metav1.ObjectMeta, a *meta.Artifact) client.Object {
		return &sourcev1.Bucket{ObjectMeta: m, Status: sourcev1.BucketStatus{Artifact: a}}
	},
	v1alpha1.ExternalArtifactKind: func(m metav1.ObjectMeta, a *meta.Artifact) client.Object {
		return &sourcev1.ExternalArtifact{ObjectMeta: m, Status: sourcev1.ExternalArtifactStatus{Artifact: a}}
	},
}

// TestArtifactOfEachKind: a source of every kind that the API takes is read as it
// stands, and one that is not there, has nothing, or has something else than it says is
// told.
func TestArtifactOfEachKind(t *testing.T) {
	content := packed(t, "workspaces/a.yaml", "kind: Workspace\n")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(content) }))
	t.Cleanup(server.Close)
	sum := sha256.Sum256(content)
	whole := &meta.Artifact{URL: server.URL + "/a.tar.gz", Revision: "main@sha1:" + testHash, Digest: "sha256:" + hex.EncodeToString(sum[:])}
	other := whole.DeepCopy()
	other.Digest = "sha256:" + strings.Repeat("0", 64)
	if len(offering) != len(fluxKinds) {
		t.Fatalf("%d kinds are tried, and %d taken", len(offering), len(fluxKinds))
	}
	for kind, offer := range offering {
		for name, c := range map[string]struct {
			reason   string
			absent   bool
			artifact *meta.Artifact
			want     string // reason; "": it is read
		}{
			"Offered":  {reason: "What it offers is what is built.", artifact: whole},
			"NotThere": {reason: "A name may be wrong, or its object on its way.", absent: true, want: v1alpha1.ReasonRefNotFound},
			"Nothing":  {reason: "It has not fetched anything yet.", want: v1alpha1.ReasonSourceUnreachable},
			"Changed":  {reason: "What was fetched is not what the source has recorded.", artifact: other, want: v1alpha1.ReasonSourceUnreachable},
		} {
			t.Run(string(kind)+"/"+name, func(t *testing.T) {
				r := newReconciler(t, interceptor.Funcs{})
				if err := sourcev1.AddToScheme(r.Client.Scheme()); err != nil {
					t.Fatal(err)
				}
				r.Source = source.NewStore(source.Options{})
				if !c.absent {
					if err := r.Client.Create(t.Context(), offer(metav1.ObjectMeta{Namespace: "models", Name: "models"}, c.artifact)); err != nil {
						t.Fatal(err)
					}
				}
				s := team()
				s.Spec.Source.Ref = &v1alpha1.SourceRef{Kind: kind, Name: "models"}
				commit, err := r.readArtifact(t.Context(), s)
				var failure *source.Error
				got := fault.Reason(err, "")
				if errors.As(err, &failure) {
					got = failure.Reason
				}
				if got != c.want || (err == nil) != (c.want == "") {
					t.Fatalf("%s\ngot %v (%s), want reason %q", c.reason, err, got, c.want)
				}
				if c.want != "" {
					return
				}
				if text, err := fs.ReadFile(commit.Tree, "workspaces/a.yaml"); err != nil || string(text) != "kind: Workspace\n" || commit.Revision != whole.Revision {
					t.Errorf("%s\n%s holds %q (%v)", c.reason, commit.Revision, text, err)
				}
			})
		}
	}
}

// TestNoArtifact: who reads the RepoSync need not look for the source.
func TestNoArtifact(t *testing.T) {
	for name, c := range map[string]struct {
		reason     string
		conditions []metav1.Condition
		want       string
	}{
		"New": {reason: "Flux has not looked at it.", want: "OCIRepository models/models has no artifact yet: it has not been fetched"},
		"Unsigned": {
			reason:     "The words are those of Flux.",
			conditions: []metav1.Condition{{Type: meta.ReadyCondition, Status: metav1.ConditionFalse, Reason: "VerificationError", Message: "no signatures found"}},
			want:       "OCIRepository models/models has no artifact yet: VerificationError: no signatures found",
		},
		"Ports": {
			reason: "The same trouble has the same words: a port that is another one with each try would be a write with each.",
			conditions: []metav1.Condition{{Type: meta.ReadyCondition, Status: metav1.ConditionFalse, Reason: "GitOperationFailed",
				Message: "failed to clone:\n read tcp 10.0.0.5:41234->10.0.0.9:443: connection reset by peer; read udp [fd00::5]:52000->[fd00::a]:53: i/o timeout"}},
			want: "OCIRepository models/models has no artifact yet: GitOperationFailed: failed to clone: read tcp 10.0.0.9:443: connection reset by peer; " +
				"read udp [fd00::a]:53: i/o timeout",
		},
		"Long": {
			reason:     "It is bounded.",
			conditions: []metav1.Condition{{Type: meta.ReadyCondition, Status: metav1.ConditionFalse, Reason: "Failed", Message: strings.Repeat("a", 5000)}},
			want:       "OCIRepository models/models has no artifact yet: Failed: " + strings.Repeat("a", maxLacking-len("Failed: ")) + "…",
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newReconciler(t, interceptor.Funcs{})
			if err := sourcev1.AddToScheme(r.Client.Scheme()); err != nil {
				t.Fatal(err)
			}
			o := &sourcev1.OCIRepository{ObjectMeta: metav1.ObjectMeta{Namespace: "models", Name: "models"}}
			o.Status.Conditions = c.conditions
			if err := r.Client.Create(t.Context(), o); err != nil {
				t.Fatal(err)
			}
			s := team()
			s.Spec.Source.Ref = &v1alpha1.SourceRef{Kind: v1alpha1.OCIRepositoryKind, Name: "models"}
			_, err := r.readArtifact(t.Context(), s)
			if err == nil || err.Error() != c.want {
				t.Errorf("%s\ngot  %v\nwant %s", c.reason, err, c.want)
			}
		})
	}
}

// packed is an artifact with one file.
func packed(t *testing.T, name, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	zip := gzip.NewWriter(&b)
	out := tar.NewWriter(zip)
	err := out.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(text)), Typeflag: tar.TypeReg})
	if err == nil {
		_, err = out.Write([]byte(text))
	}
	if err := errors.Join(err, out.Close(), zip.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
