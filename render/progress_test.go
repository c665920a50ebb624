// SPDX-License-Identifier: Apache-2.0

package render_test

import (
	"strings"
	"testing"

	"github.com/espalier-dev/espalier/render"
	"github.com/espalier-dev/espalier/render/check"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// TestTokenOfARun: the token with which a trainer says how far it is stays what it
// is under a user's patches.
func TestTokenOfARun(t *testing.T) {
	options := options
	options.Progress = &render.Progress{URL: "https://example.com/progress", Audience: "espalier.dev/progress", Authority: "PEM"}
	for name, c := range map[string]struct {
		reason, patch, want string
	}{
		"Harmless": {reason: "A patch of something else.", patch: "- {op: add, path: /spec/template/metadata/annotations/example.com~1a, value: b}"},
		"Volume":   {reason: "A volume of the user's own.", patch: "- {op: add, path: /spec/template/spec/volumes/-, value: {name: scratch, emptyDir: {}}}"},
		"Second": {reason: "A token of the user's own is none of ours.", want: "token",
			patch: "- {op: add, path: /spec/template/spec/volumes/-, value: {name: t, projected: {sources: [{serviceAccountToken: {path: t}}]}}}"},
		"Renamed": {reason: "Nor is ours for somebody else.", want: "token",
			patch: "- {op: add, path: /spec/template/spec/volumes/-, value: {name: progress2, projected: {sources: [{serviceAccountToken: {audience: espalier.dev/progress, path: token}}]}}}"},
	} {
		t.Run(name, func(t *testing.T) {
			in := render.Input{Workspace: workspace(t, run), Options: options}
			in.Workspace.Spec.Patches = []v1alpha1.Patch{json6902("Job", c.patch)}
			assess(t, &in, check.Facts{})
			out, err := render.Render(in)
			if c.want != "" {
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("%s\nerror %v, want one with %q", c.reason, err, c.want)
				}
				return
			}
			if err != nil || !strings.Contains(text(t, out), "audience: espalier.dev/progress") {
				t.Errorf("%s\n%v", c.reason, err)
			}
		})
	}
}
