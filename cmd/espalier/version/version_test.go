// SPDX-License-Identifier: Apache-2.0

package version

import (
	"runtime/debug"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

const sha = "1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d"

func TestBuild(t *testing.T) {
	for name, c := range map[string]struct {
		reason  string
		version string
		stamped [][2]string
		linked  string
		want    Build
		line    string
		short   string
	}{
		"Image": {
			reason:  "It is built without the checkout's state, and has the commit from the linker.",
			version: "(devel)", linked: sha,
			want: Build{Version: "devel", Revision: sha, Go: "go1.26.0"}, line: "devel, commit " + sha + ", go1.26.0", short: sha,
		},
		"Checkout": {
			reason: "What go build has stamped.", version: "v0.0.0-20261128010101-1a2b3c4d5e6f",
			stamped: [][2]string{{"vcs", "git"}, {"vcs.revision", sha}, {"vcs.modified", "false"}},
			want:    Build{Version: "v0.0.0-20261128010101-1a2b3c4d5e6f", Revision: sha, Go: "go1.26.0"},
			line:    "v0.0.0-20261128010101-1a2b3c4d5e6f, commit " + sha + ", go1.26.0", short: "v0.0.0-20261128010101-1a2b3c4d5e6f",
		},
		"Changed": {
			reason: "What has changes is not that commit.", version: "(devel)", stamped: [][2]string{{"vcs.revision", sha}, {"vcs.modified", "true"}},
			want: Build{Version: "devel", Revision: sha + "+dirty", Go: "go1.26.0"}, line: "devel, commit " + sha + "+dirty, go1.26.0", short: sha + "+dirty",
		},
		"Module": {
			reason: "go install takes a module, and knows no commit.", version: "v0.3.0",
			want: Build{Version: "v0.3.0", Go: "go1.26.0"}, line: "v0.3.0, go1.26.0", short: "v0.3.0",
		},
		"Unknown": {reason: "Nothing is made up.", want: Build{Version: "devel", Go: "go1.26.0"}, line: "devel, go1.26.0", short: "devel"},
	} {
		t.Run(name, func(t *testing.T) {
			info := &debug.BuildInfo{GoVersion: "go1.26.0", Main: debug.Module{Version: c.version}}
			for _, s := range c.stamped {
				info.Settings = append(info.Settings, debug.BuildSetting{Key: s[0], Value: s[1]})
			}
			got := of(info, c.linked)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("%s\n%s", c.reason, diff)
			}
			if got.String() != c.line || got.Short() != c.short {
				t.Errorf("%s\ngot %q and %q", c.reason, got, got.Short())
			}
		})
	}
}

// TestMetric: dashboards join by these labels.
func TestMetric(t *testing.T) {
	want := "# HELP espalier_build_info Which build runs: always 1.\n# TYPE espalier_build_info gauge\n" +
		`espalier_build_info{goversion="go1.26.0",revision="` + sha + `",version="devel"} 1` + "\n"
	if err := testutil.CollectAndCompare(Build{"devel", sha, "go1.26.0"}.Metric(), strings.NewReader(want)); err != nil {
		t.Error(err)
	}
}
