// SPDX-License-Identifier: Apache-2.0

package build_test

import (
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/espalier-dev/espalier/render/build"
)

// TestUnlisted: what a kustomization has listed and none lists any more is pruned, and nothing
// else is said to be.
func TestUnlisted(t *testing.T) {
	const file = "s/sync.yaml"
	list := func(entries string) string { return "resources: [" + entries + "]\n" }
	type files = map[string]string
	for name, tc := range map[string]struct {
		reason     string
		base, head files
		from, to   []string // files that hold it; nil: the one above
		want       []string
	}{
		"Direct":       {reason: "its entry is gone", base: files{"a/kustomization.yaml": "resources:\n- x.yaml\n- ../s/sync.yaml\n", "a/x.yaml": ""}, head: files{"a/kustomization.yaml": list("x.yaml"), "a/x.yaml": ""}, want: []string{"a/kustomization.yaml:3"}},
		"OtherNames":   {reason: "Kustomize knows three names of the file, and a deprecated list", base: files{"Kustomization": "bases:\n- s\n", "s/kustomization.yml": list("sync.yaml")}, head: files{"Kustomization": "namespace: a\n", "s/kustomization.yml": list("sync.yaml")}, want: []string{"Kustomization:2"}},
		"Component":    {reason: "a component takes in what it lists", base: files{"a/kustomization.yaml": "components:\n- ../s\n", "s/kustomization.yaml": list("sync.yaml")}, head: files{"a/kustomization.yaml": list(""), "s/kustomization.yaml": list("sync.yaml")}, want: []string{"a/kustomization.yaml:2"}},
		"Folder":       {reason: "the folder is listed no more, in which it still is", base: files{"a/kustomization.yaml": list("../s"), "s/kustomization.yaml": list("sync.yaml")}, head: files{"a/kustomization.yaml": list(""), "s/kustomization.yaml": list("sync.yaml")}, want: []string{"a/kustomization.yaml:1"}},
		"InFolder":     {reason: "the folder is listed, and lists it no more", base: files{"a/kustomization.yaml": list("../s"), "s/kustomization.yaml": list("sync.yaml, y.yaml"), "s/y.yaml": ""}, head: files{"a/kustomization.yaml": list("../s"), "s/kustomization.yaml": list("y.yaml"), "s/y.yaml": ""}, want: []string{"s/kustomization.yaml:1"}},
		"Deleted":      {reason: "the kustomization is gone, and the file is not below it", base: files{"a/kustomization.yaml": list("../s/sync.yaml")}, want: []string{"a/kustomization.yaml:1"}},
		"MovedOut":     {reason: "the file moves to where nobody lists it", base: files{"a/kustomization.yaml": list("../s/sync.yaml")}, head: files{"a/kustomization.yaml": list("")}, to: []string{"old/sync.yaml"}, want: []string{"a/kustomization.yaml:1"}},
		"Cycle":        {reason: "kustomizations that list each other are built by nobody", base: files{"a/kustomization.yaml": list("../b, ../s/sync.yaml"), "b/kustomization.yaml": list("../a")}, head: files{"a/kustomization.yaml": list("../b"), "b/kustomization.yaml": list("../a")}},
		"ByHand":       {reason: "nobody listed it", base: files{"a/kustomization.yaml": list("")}, head: files{}},
		"Still":        {reason: "other entries come and go", base: files{"a/kustomization.yaml": list("../s/sync.yaml, x.yaml"), "a/x.yaml": ""}, head: files{"a/kustomization.yaml": list("../s/sync.yaml")}},
		"OtherListing": {reason: "it moves to another listing", base: files{"a/kustomization.yaml": list("../s/sync.yaml")}, head: files{"b/kustomization.yaml": list("../s/sync.yaml"), "a/kustomization.yaml": list("")}},
		"Deeper":       {reason: "it moves into a folder that is listed", base: files{"a/kustomization.yaml": list("../s/sync.yaml")}, head: files{"a/kustomization.yaml": list("../s"), "s/kustomization.yaml": list("sync.yaml")}},
		"Shallower":    {reason: "it moves out of one", base: files{"a/kustomization.yaml": list("../s"), "s/kustomization.yaml": list("sync.yaml")}, head: files{"a/kustomization.yaml": list("../s/sync.yaml")}},
		"Renamed":      {reason: "the file and its entry move together", base: files{"a/kustomization.yaml": list("../s/sync.yaml")}, head: files{"a/kustomization.yaml": list("../t/sync.yaml")}, to: []string{"t/sync.yaml"}},
		"Two":          {reason: "another that nobody else lists still has it", base: files{"a/kustomization.yaml": list("../s"), "b/kustomization.yaml": list("../s"), "s/kustomization.yaml": list("sync.yaml")}, head: files{"a/kustomization.yaml": list(""), "b/kustomization.yaml": list("../s"), "s/kustomization.yaml": list("sync.yaml")}},
		"Copied":       {reason: "a second file of the same object is nothing to the first", base: files{"a/kustomization.yaml": list("../s/sync.yaml")}, head: files{"a/kustomization.yaml": list("../s/sync.yaml")}, to: []string{"b/sync.yaml", file}},
		"Generated":    {reason: "Flux lists what is below a folder without a kustomization", base: files{"s/kustomization.yaml": list("sync.yaml")}},
		"Broken":       {reason: "what cannot be built prunes nothing", base: files{"a/kustomization.yaml": list("../s/sync.yaml")}, head: files{"a/kustomization.yaml": "resources: ["}},
		"Missing":      {reason: "nor what lists a file that is not there", base: files{"a/kustomization.yaml": list("../s/sync.yaml")}, head: files{"a/kustomization.yaml": list("../s/sync.yaml")}, to: []string{"old/sync.yaml"}},
		"BrokenBelow":  {reason: "nor what lists what cannot be built", base: files{"a/kustomization.yaml": list("../s"), "s/kustomization.yaml": list("sync.yaml")}, head: files{"a/kustomization.yaml": list("../t"), "t/kustomization.yaml": list("sync.yaml")}},
		"Remote":       {reason: "what is fetched is not followed, and hides nothing", base: files{"a/kustomization.yaml": list("../s/sync.yaml, 'https://example.com/x?ref=v1'")}, head: files{"a/kustomization.yaml": list("'https://example.com/x?ref=v1'")}, want: []string{"a/kustomization.yaml:1"}},
	} {
		t.Run(name, func(t *testing.T) {
			holding := func(files files, in []string) build.Holding {
				if in == nil {
					in = []string{file}
				}
				tree := fstest.MapFS{}
				for _, f := range in {
					tree[f] = &fstest.MapFile{Data: []byte("kind: RepoSync\n")}
				}
				for f, text := range files {
					tree[f] = &fstest.MapFile{Data: []byte(text)}
				}
				return build.Holding{Tree: tree, Files: in}
			}
			got := build.Unlisted(holding(tc.base, tc.from), holding(tc.head, tc.to))
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s\n%s", tc.reason, diff)
			}
		})
	}
}
