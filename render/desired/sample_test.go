// SPDX-License-Identifier: Apache-2.0

package desired_test

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/espalier-dev/espalier/render/build"
	"github.com/espalier-dev/espalier/render/desired"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/example"
	"github.com/espalier-dev/espalier/repo-layout/finding"
)

// TestSampleComments: what the sample repository shows in comments works as soon as
// a team takes the comment away, without an error.
func TestSampleComments(t *testing.T) {
	for name, c := range map[string]struct {
		reason  string
		cluster string
		edits   map[string][2]string // file → what, and what in its place
		want    []string             // the Workspaces
	}{
		"Autoscale": {
			reason: "Copies follow the load, within the budget of production.", cluster: example.Production,
			edits: map[string][2]string{
				"clusters/production/workspaces/phi-4-mini/kustomization.yaml": {"# - ../", "- ../"},
				"clusters/production/workspaces/phi-4-mini/production.yaml":    {"    replicas: 2\n", ""},
			},
			want: []string{"phi-4-mini"},
		},
		"Pod": {
			reason: "A pod of the team's own beside the models.", cluster: example.Staging,
			edits: map[string][2]string{"clusters/staging/workspaces/kustomization.yaml": {"# - ../", "- ../"}},
			want:  []string{"workspace-tuning-phi-3", "phi-4-mini", "transcribe"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			files, err := example.Files(example.Options{})
			if err != nil {
				t.Fatal(err)
			}
			for file, edit := range c.edits {
				if !strings.Contains(files[file], edit[0]) {
					t.Fatalf("%s no longer says %q", file, edit[0])
				}
				files[file] = strings.Replace(files[file], edit[0], edit[1], 1)
			}
			tree := fstest.MapFS{}
			for file, text := range files {
				tree[file] = &fstest.MapFile{Data: []byte(text)}
			}
			doc := repolayout.Split("sync", []byte(files[repolayout.PathSync(c.cluster)]))[0]
			sync, _ := repolayout.DecodeSync(doc.Text, doc)
			units, err := build.Build(t.Context(), tree, repolayout.PathRoot(c.cluster), build.DefaultLimits())
			if err != nil {
				t.Fatal(err)
			}
			documents, findings := desired.Units(sync, units)
			s := newJudge().State(documents, findings)
			for _, f := range s.All() {
				if f.Severity == finding.Error {
					t.Errorf("%s\n%s: %s (%s)", c.reason, finding.Location(f.File, f.Line), f.Message, f.Code)
				}
			}
			var got []string
			for _, w := range s.Workspaces {
				got = append(got, w.Workspace.Name)
				if _, err := w.Render(); err != nil {
					t.Errorf("%s\n%v", c.reason, err)
				}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("%s\n-want +got:\n%s", c.reason, diff)
			}
		})
	}
}
