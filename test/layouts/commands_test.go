// SPDX-License-Identifier: Apache-2.0

package layouts

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestCommands runs what the pages tell a newcomer to run before there is a
// cluster, as it stands there.
func TestCommands(t *testing.T) {
	_, espalier := programs(t)
	for name, tc := range map[string]struct {
		page     string
		headings []string
		says     string // by one of the commands
	}{
		"README":          {"README.md", []string{"## First repository"}, "kind: Deployment"},
		"FirstRepository": {"docs/first-repository.md", []string{"## 1. Write it", "## 3. Ask before you push"}, "nothing changes: 2 workspaces"},
	} {
		t.Run(name, func(t *testing.T) {
			text, err := os.ReadFile(filepath.Join("../..", tc.page))
			if err != nil {
				t.Fatal(err)
			}
			script := "set -euo pipefail\nexport PATH=" + filepath.Dir(espalier) + ":$PATH\n" +
				"export GIT_AUTHOR_NAME=N GIT_AUTHOR_EMAIL=n@example.com GIT_COMMITTER_NAME=N GIT_COMMITTER_EMAIL=n@example.com\n"
			for _, h := range tc.headings {
				script += commands(t, string(text), h)
			}
			dir := filepath.Join(t.TempDir(), "checkout")
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			if out := run(t, dir, script, "bash", "-s"); !strings.Contains(out, tc.says) {
				t.Errorf("the commands of %s do not say %q:\n%s\n%s", tc.page, tc.says, script, out)
			}
		})
	}
}

// commands are the indented lines under a heading, but for the build of this
// checkout.
func commands(t *testing.T, page, heading string) string {
	t.Helper()
	_, section, found := strings.Cut(page, "\n"+heading+"\n")
	if !found {
		t.Fatalf("no heading %q", heading)
	}
	section, _, _ = strings.Cut(section, "\n## ")
	lines := ""
	for line := range strings.Lines(section) {
		if command, ok := strings.CutPrefix(line, "    "); ok && !strings.HasPrefix(command, "make build") {
			lines += command
		}
	}
	if lines == "" {
		t.Fatalf("no command under %q", heading)
	}
	return lines
}
