// SPDX-License-Identifier: Apache-2.0

package build_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/fstest"

	"github.com/espalier-dev/espalier/render/build"
)

// TestAsksNobody: whatever a repository writes, a build opens no connection, and says so
// with a finding.
func TestAsksNobody(t *testing.T) {
	var asked atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		_, _ = w.Write([]byte("secret: of the network\n"))
	}))
	defer server.Close()
	const generator = "generators:\n- |-\n  apiVersion: builtin\n  kind: ConfigMapGenerator\n  metadata: {name: loot}\n  files: [\"k=URL/x\"]\n"
	for name, c := range map[string]struct {
		reason string
		text   string
		want   string // the code of a finding
	}{
		"PatchInBraces":    {"A brace makes an address no patch.", "resources: [c.yaml]\npatchesStrategicMerge: [\"URL/x?{\"]\n", build.RemoteReference},
		"PatchInCapitals":  {"Schemes have no case.", "resources: [c.yaml]\npatchesStrategicMerge: [\"HTTP://HOST/{a}\"]\n", build.RemoteReference},
		"PatchOfOneKey":    {"Nor does a colon.", "resources: [c.yaml]\npatchesStrategicMerge: [\"URL/{x: y\"]\n", build.RemoteReference},
		"HiddenByNull":     {"A tag says that the first document is nothing, and Kustomize reads it.", "!!null\nresources: [c.yaml]\n" + generator + "---\nresources: [c.yaml]\n", build.NotAnObject},
		"AloneTaggedNull":  {"So does a single one.", "!!null\nresources: [c.yaml]\n" + generator, build.PluginRefused},
		"HiddenBySequence": {"Of two documents one is the kustomization.", "resources: [c.yaml]\n--- !!null\n- a\n", build.NotAnObject},
		"HiddenSchema":     {"A schema would be that of all builds.", "!!null\nresources: [c.yaml]\nopenapi: {path: c.yaml}\n---\nresources: [c.yaml]\n", build.NotAnObject},
	} {
		t.Run(name, func(t *testing.T) {
			text := strings.NewReplacer("URL", server.URL, "HOST", strings.TrimPrefix(server.URL, "http://")).Replace(c.text)
			tree := fstest.MapFS{
				"kustomization.yaml": {Data: []byte(text)},
				"c.yaml":             {Data: []byte("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n")},
			}
			asked.Store(0)
			units, err := build.Build(t.Context(), tree, ".", build.DefaultLimits())
			if err != nil {
				t.Fatal(err)
			}
			found := false
			for _, u := range units {
				for _, f := range u.Findings {
					t.Logf("%s:%d %s: %s", f.File, f.Line, f.Code, f.Message)
					found = found || f.Code == c.want
				}
			}
			if n := asked.Load(); n > 0 || !found {
				t.Errorf("%s\n%d requests, %s found: %v", c.reason, n, c.want, found)
			}
		})
	}
}
