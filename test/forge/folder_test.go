// SPDX-License-Identifier: Apache-2.0

package forge

import (
	"fmt"
	"io"
	"net/http"
	"path"
	"slices"
	"strings"
	"testing"

	sdk "code.gitea.io/sdk/gitea"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/harness"
)

const folder = "status/staging"

// own are the commits on main that Espalier has made, the newest first.
func (p *project) own() []string {
	p.t.Helper()
	p.git(p.folder, "fetch", "--quiet", "origin", "main")
	return strings.Fields(p.git(p.folder, "log", "--author=Espalier", "--format=%H", "FETCH_HEAD"))
}

// TestFolder: readiness goes to a folder of the branch that is synced, and the forge's
// own webhook for that push wakes nobody; a person's commit on top, by a pull request,
// is seen. The badge is a picture to the forge.
func TestFolder(t *testing.T) {
	p := newProject(t, "folder")
	first := p.git(p.folder, "rev-parse", "HEAD")
	p.sync(func(s *v1alpha1.RepoSync) {
		s.Spec.Report.Commit = &v1alpha1.CommitReport{Branch: "main", Path: folder}
	})
	const ready = "espalier/folder/ready"
	p.status(first, ready, sdk.StatusSuccess) // on the person's commit, not on a report
	p.told(first)
	p.badge()
	tuning := path.Join(folder, repolayout.StatusFile(p.name, harness.TuningName))
	p.until("the end of the tuning run", func() bool { // whose nodes go after it, and are paid for then
		p.git(p.folder, "fetch", "--quiet", "origin", "main")
		text := p.git(p.folder, "show", "FETCH_HEAD:"+tuning)
		return strings.Contains(text, "reason: Released") && !strings.Contains(text, `spentUSD: "0"`)
	}, func() string { return p.git(p.folder, "show", "FETCH_HEAD:"+tuning) })
	quiet := p.own()
	p.branch("longer")
	p.replace("contextLength: 32768", "contextLength: 16384")
	head := p.push("longer", "phi-4-mini: a shorter context")
	number := p.open(p.dev, "longer", "A shorter context")
	p.answered(number, head)
	if now := p.own(); !slices.Equal(now, quiet) {
		t.Errorf("%d reports, were %d: its own commits wake it:\n%s", len(now), len(quiet), p.git(p.folder, "show", "--stat", "--patch", now[0]))
	}
	merged := p.merge(number, sdk.MergeStyleMerge)
	p.status(merged, ready, sdk.StatusSuccess)
	p.told(merged)
	for _, commit := range p.own() {
		for _, file := range strings.Fields(p.git(p.folder, "diff-tree", "--no-commit-id", "--name-only", "-r", commit)) {
			if !strings.HasPrefix(file, folder+"/") {
				t.Errorf("report %s changes %s", commit, file)
			}
		}
	}
}

// told waits for the report to say that the Workspace is ready at a commit.
func (p *project) told(commit string) {
	p.t.Helper()
	text := ""
	p.until("told "+commit, func() bool {
		p.git(p.folder, "fetch", "--quiet", "origin", "main")
		if p.git(p.folder, "ls-tree", "--name-only", "FETCH_HEAD", folder+"/README.md") == "" {
			return false
		}
		text = p.git(p.folder, "show", "FETCH_HEAD:"+folder+"/README.md")
		return strings.Contains(text, commit[:7]) && strings.Count(text, "✅ Ready") >= 1 && !strings.Contains(text, "⏳")
	}, func() string { return text })
}

// badge reads one as a page that shows it does.
func (p *project) badge() {
	p.t.Helper()
	file := path.Join(folder, repolayout.StatusBadge(p.name, "phi-4-mini"))
	for _, token := range []string{"", p.visitor.Token} {
		req, err := http.NewRequestWithContext(p.t.Context(), http.MethodGet, fmt.Sprintf("%s/%s/%s/raw/branch/main/%s", p.gitea.URL, owner, p.name, file), nil)
		must(p.t, err)
		if token != "" {
			req.Header.Set("Authorization", "token "+token)
		}
		resp, err := http.DefaultClient.Do(req)
		must(p.t, err)
		body, err := io.ReadAll(resp.Body)
		must(p.t, err)
		must(p.t, resp.Body.Close())
		if kind := resp.Header.Get("Content-Type"); resp.StatusCode != http.StatusOK || !strings.HasPrefix(kind, "image/svg+xml") || !strings.Contains(string(body), "phi-4-mini: Ready") {
			p.t.Errorf("status %d, %s:\n%s", resp.StatusCode, kind, body)
		}
	}
}
