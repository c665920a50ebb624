// SPDX-License-Identifier: Apache-2.0

package review

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/espalier-dev/espalier/reconciler/plan"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// Touched is a Workspace that a pull request changes.
type Touched struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	// Gone says that the pull request drops it.
	Gone bool `json:"gone,omitempty"`
}

// Bounds of the Workspaces that are followed after a merge: their number, and
// the bytes of a comment that their names take.
const (
	maxTouched      = 30
	maxTouchedBytes = 3000
)

// touched lists the Workspaces that a plan changes, and how many more there are.
// One that can be no object of a cluster is none.
func touched(p plan.Plan) (list []Touched, more int) {
	bytes := 0
	for _, ch := range p.Changes {
		nothing := ch.Effect.Kind == plan.None || ch.Effect.Kind == plan.Kept
		valid := len(validation.IsDNS1123Label(ch.Namespace)) == 0 && len(validation.IsDNS1123Label(ch.Name)) == 0
		if ch.Kind != v1alpha1.WorkspaceKind || nothing || !valid {
			continue
		}
		if bytes += len(ch.Namespace) + len(ch.Name) + 3; len(list) == maxTouched || bytes > maxTouchedBytes {
			more++
			continue
		}
		list = append(list, Touched{ch.Namespace, ch.Name, ch.Effect.Kind == plan.Deleted || ch.Effect.Kind == plan.Held})
	}
	slices.SortFunc(list, func(a, b Touched) int {
		return strings.Compare(a.Namespace+"/"+a.Name, b.Namespace+"/"+b.Name)
	})
	return list, more
}

const (
	touchedBegin = "<!-- espalier-workspaces"
	touchedEnd   = " -->\n"
)

// touchedLine is the line of a comment that keeps them for after the merge.
func touchedLine(list []Touched, more int) string {
	var b strings.Builder
	b.WriteString(touchedBegin)
	for _, t := range list {
		sign := " "
		if t.Gone {
			sign = " -"
		}
		b.WriteString(sign + t.Namespace + "/" + t.Name)
	}
	if more > 0 {
		fmt.Fprintf(&b, " +%d", more)
	}
	return b.String() + touchedEnd
}

// readTouched reads that line. Names that can be no object's are left out:
// whoever may edit the comment may have written them.
func readTouched(line string) (list []Touched, more int, ok bool) {
	words, ok := strings.CutPrefix(line, touchedBegin)
	if !ok || !strings.HasSuffix(words, touchedEnd) {
		return nil, 0, false
	}
	for _, word := range strings.Fields(strings.TrimSuffix(words, touchedEnd)) {
		if count, isMore := strings.CutPrefix(word, "+"); isMore {
			more, _ = strconv.Atoi(count)
			continue
		}
		name, gone := strings.CutPrefix(word, "-")
		namespace, name, _ := strings.Cut(name, "/")
		if len(validation.IsDNS1123Label(namespace)) == 0 && len(validation.IsDNS1123Label(name)) == 0 && len(list) < maxTouched {
			list = append(list, Touched{namespace, name, gone})
		}
	}
	return list, max(more, 0), true
}
