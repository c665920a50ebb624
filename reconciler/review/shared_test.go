// SPDX-License-Identifier: Apache-2.0

package review

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// TestShared: of two RepoSyncs whose statuses would hide one another's, the later one is
// told, once, and answers all the same.
func TestShared(t *testing.T) {
	for name, tc := range map[string]struct {
		reason string
		change func(other *v1alpha1.RepoSync)
		want   bool
	}{
		"Branch": {"A commit may be the head of pull requests to both branches.", func(o *v1alpha1.RepoSync) { o.Spec.Source.Git.Ref.Branch = "production" }, true},
		"Written": {"The address may be written otherwise.", func(o *v1alpha1.RepoSync) {
			o.Spec.Review.URL = strings.ToUpper(strings.TrimSuffix(o.Spec.Source.Git.URL, ".git")) + "/"
			o.Spec.Source.Git = nil
		}, true},
		"Prefix":     {"That is what prefixes are for.", func(o *v1alpha1.RepoSync) { o.Spec.Review.StatusPrefix = "espalier/production" }, false},
		"Repository": {"Nobody else sets statuses there.", func(o *v1alpha1.RepoSync) { o.Spec.Source.Git.URL += "-other" }, false},
		"Later":      {"The later one is told.", func(o *v1alpha1.RepoSync) { o.CreationTimestamp = metav1.NewTime(time.Unix(2_000_000, 0)) }, false},
		"Suspended":  {"It sets none.", func(o *v1alpha1.RepoSync) { o.Spec.Suspend = true }, false},
		"Unreviewed": {"Nor does this one.", func(o *v1alpha1.RepoSync) { o.Spec.Review = nil }, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t)
			s.sync.CreationTimestamp = metav1.NewTime(time.Unix(1_000_000, 0))
			other := s.sync.DeepCopy()
			other.Namespace, other.UID, other.ResourceVersion, other.CreationTimestamp = "others", "o", "", metav1.NewTime(time.Unix(999_999, 0))
			tc.change(other)
			s.connect()
			if err := s.kube.Create(t.Context(), other); err != nil {
				t.Fatal(err)
			}
			r := s.controller()
			s.mustPass(r)
			s.mustPass(r)
			said := ""
			for len(s.events.Events) > 0 {
				said += <-s.events.Events + "\n"
			}
			if strings.Count(said, ReasonReviewConflict) != strings.Count(said, "RepoSync others/models sets the statuses espalier/...") ||
				strings.Count(said, "\n") > 1 || (said != "") != tc.want {
				t.Errorf("%s\nsaid %q", tc.reason, said)
			}
			if len(s.plans) != 1 {
				t.Errorf("planned %v", s.plans)
			}
		})
	}
}
