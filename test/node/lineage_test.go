// SPDX-License-Identifier: Apache-2.0

package node

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/chats"
	"github.com/espalier-dev/espalier/test/harness"
	"github.com/espalier-dev/espalier/test/images"
)

// lineage is what an adapter was made of.
type lineage struct {
	trainer string            // image, by digest
	config  string            // file that the trainer was told everything in
	data    map[string]string // sums of the files
	rows    []chats.Row
}

// wantLineage: the image in the registry says what the adapter was made of, by digests
// that anybody can compare: the data as it was served, the configuration as the cluster has
// it, the commit that Git has.
func wantLineage(t *testing.T, team *harness.Team, run *v1alpha1.Workspace, of lineage) {
	t.Helper()
	got := images.Annotations(t, run.Status.Tuning.Adapter)
	config := &corev1.ConfigMap{}
	if err := team.Client.Get(t.Context(), client.ObjectKey{Namespace: team.Namespace, Name: run.Name + "-config"}, config); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		repolayout.AnnotationInputDigest:  run.Status.Tuning.Digest,
		repolayout.AnnotationTunedBy:      team.Namespace + "/" + run.Name,
		repolayout.AnnotationBaseModel:    "microsoft/Phi-3-mini-128k-instruct",
		repolayout.AnnotationTrainerImage: of.trainer,
		repolayout.AnnotationConfigDigest: fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(config.Data[of.config]))),
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
	if diff := cmp.Diff(of.data, files); diff != "" {
		t.Errorf("the data:\n%s", diff)
	}
}
