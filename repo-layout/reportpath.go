// SPDX-License-Identifier: Apache-2.0

package repolayout

import (
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

var folderName = regexp.MustCompile(`^[A-Za-z0-9._][A-Za-z0-9._-]*(/[A-Za-z0-9._][A-Za-z0-9._-]*)*$`)

const maxReportPath = 255

// ReportPathProblem says why report.commit.path cannot be what it is and what to do,
// "" where nothing is wrong with it: a report on the branch that is synced must be
// found by nobody who builds, and wake nobody.
func ReportPathProblem(s v1alpha1.RepoSyncSpec) string {
	if s.Report == nil || s.Report.Commit == nil || s.Report.Commit.Path == "" {
		return ""
	}
	to, from := s.Report.Commit, s.Source.Git
	synced := path.Join("/", s.Path)
	switch {
	case !isFolder(to.Path):
		return "want a folder of the branch, relative to its root, such as status/production"
	case s.Mode == v1alpha1.ModeReportOnly:
		return "is not for mode ReportOnly: each report would wake Flux; let it have a branch of its own"
	case !followed(from, to):
		return "is a folder of the branch that is synced: set report.commit.branch to source.git.ref.branch, of the same repository; a branch of its own needs no path"
	case within("/"+to.Path, synced), within(synced, "/"+to.Path):
		return "lies in spec.path, or spec.path in it: name a folder beside it, and sync a folder where the whole repository is synced; what is reported is not to be synced"
	case from.Verify != nil && to.Signing == nil:
		return "needs report.commit.signing with source.git.verify: a report would be an unsigned commit on the branch whose commits must be signed"
	}
	return ""
}

// isFolder says whether a path can be a folder of a branch.
func isFolder(p string) bool {
	own := func(part string) bool { return part == "." || part == ".." || part == ".git" }
	return folderName.MatchString(p) && len(p) <= maxReportPath && !slices.ContainsFunc(strings.Split(p, "/"), own)
}

// followed says whether a report goes to the branch that is synced.
func followed(from *v1alpha1.GitSource, to *v1alpha1.CommitReport) bool {
	return from != nil && from.Ref.Branch != "" && from.Ref.Branch == to.Branch && (to.URL == "" || to.URL == from.URL)
}

// within says whether a path is a folder or lies in it; both begin with a slash.
func within(name, dir string) bool {
	return dir == "/" || name == dir || strings.HasPrefix(name, dir+"/")
}
