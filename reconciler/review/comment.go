// SPDX-License-Identifier: Apache-2.0

package review

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/espalier-dev/espalier/reconciler/forge"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// mark is the first line of a comment: whose it is, and what it speaks of.
type mark struct {
	prefix string // of the names of the statuses
	owner  string // cluster/namespace/name of the RepoSync
	about  subject
}

// subject is what a plan is made of. The same subject has the same plan.
type subject struct {
	base, head string // commits
	settings   string // digest of the RepoSync and the settings of the program
}

const (
	markFormat = "<!-- espalier-review %s %s %s %s %s -->\n"
	// room is what the mark, the names of Workspaces and the note on lines take of a
	// comment at most, in bytes.
	room = 1024 + maxTouchedBytes + noteRoom
)

func (m mark) String() string {
	return fmt.Sprintf(markFormat, m.prefix, m.owner, m.about.base, m.about.head, m.about.settings)
}

// readMark reads the mark of a comment.
func readMark(body string) (mark, bool) {
	line, _, _ := strings.Cut(body, "\n")
	var m mark
	n, err := fmt.Sscanf(strings.TrimSuffix(line, "\r")+"\n", markFormat, &m.prefix, &m.owner, &m.about.base, &m.about.head, &m.about.settings)
	return m, err == nil && n == 5
}

// ours finds the comment of a RepoSync among those of the account, and the owner
// of another that sets statuses of the same names, "" where there is none.
func ours(comments []forge.Comment, m mark) (comment forge.Comment, was mark, rival string) {
	for _, c := range comments {
		found, ok := readMark(c.Body)
		switch {
		case !ok:
		case found.owner == m.owner && comment.ID == 0:
			comment, was = c, found
		case found.owner != m.owner && found.prefix == m.prefix:
			rival = found.owner
		}
	}
	return comment, was, rival
}

// settingsOf is a digest of what, beside two commits, a plan depends on.
func settingsOf(s *v1alpha1.RepoSync, program any) string {
	spec := s.Spec.DeepCopy()
	spec.Interval, spec.Timeout = metav1.Duration{}, metav1.Duration{}
	spec.Hook, spec.Report, spec.Source = nil, nil, v1alpha1.Source{}
	lines := s.Spec.Review.LineComments
	if lines == v1alpha1.NoLineComments {
		lines = "" // as before there was a choice: nothing is to be said anew
	}
	spec.Review = &v1alpha1.Review{StatusPrefix: s.Spec.Review.StatusPrefix, LineComments: lines} // of another name nothing was said yet
	content, err := json.Marshal([]any{spec, program})
	if err != nil {
		panic(fmt.Sprintf("marshalling the settings of a review: %v", err)) // they are data
	}
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:8])
}
