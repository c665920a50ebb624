// SPDX-License-Identifier: Apache-2.0

package node

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/harness"
)

// wantLineage: the image in the registry says what the adapter was made of, by digests
// that anybody can compare: the data as it was served, the configuration as the cluster has
// it, the commit that Git has.
func wantLineage(t *testing.T, w *world, team *harness.Team, run *v1alpha1.Workspace, data map[string]string) {
	t.Helper()
	ref, err := name.NewDigest(run.Status.Tuning.Adapter)
	if err != nil {
		t.Fatal(err)
	}
	index, err := remote.Index(ref)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	got := manifest.Annotations
	config := &corev1.ConfigMap{}
	if err := team.Client.Get(t.Context(), client.ObjectKey{Namespace: team.Namespace, Name: run.Name + "-config"}, config); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		repolayout.AnnotationInputDigest:  run.Status.Tuning.Digest,
		repolayout.AnnotationTunedBy:      team.Namespace + "/" + run.Name,
		repolayout.AnnotationBaseModel:    "microsoft/Phi-3-mini-128k-instruct",
		repolayout.AnnotationTrainerImage: w.axolotl,
		repolayout.AnnotationConfigDigest: fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(config.Data["axolotl.yaml"]))),
		repolayout.AnnotationCommit:       repolayout.CommitOf(run.Status.Revision),
	}
	for key, value := range want {
		if value == "" || got[key] != value {
			t.Errorf("annotation %s is %q, want %q", key, got[key], value)
		}
	}
	var files map[string]string
	if err := json.Unmarshal([]byte(got[repolayout.AnnotationDataFiles]), &files); err != nil {
		t.Errorf("annotation %s: %q", repolayout.AnnotationDataFiles, got[repolayout.AnnotationDataFiles])
	}
	if diff := cmp.Diff(data, files); diff != "" {
		t.Errorf("the data:\n%s", diff)
	}
}
