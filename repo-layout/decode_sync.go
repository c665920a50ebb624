// SPDX-License-Identifier: Apache-2.0

package repolayout

import (
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/internal/strict"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// DecodeSync reads a RepoSync from a file, with defaults: for the command line,
// which applies its substitutions without a cluster. Decode refuses the kind,
// because a RepoSync applies no RepoSync.
func DecodeSync(doc []byte, pos Position) (*v1alpha1.RepoSync, []v1alpha1.Finding) {
	tree, problems := strict.Parse(doc)
	if len(problems) > 0 {
		return nil, place(problems, pos, "")
	}
	if tree["kind"] != v1alpha1.RepoSyncKind || tree["apiVersion"] != v1alpha1.GroupVersion.String() {
		return nil, place([]finding.Problem{finding.Errorf(finding.KindNotAllowed, "kind", "want a RepoSync of %s", v1alpha1.GroupVersion)}, pos, identify(tree))
	}
	problems = dropServerFields(tree)
	s := &v1alpha1.RepoSync{}
	problems = append(problems, strict.Into(tree, s, nil)...)
	if !finding.HasError(problems) {
		defaultSync(s)
		problems = append(problems, syncProblems(s)...)
	}
	findings := place(problems, pos, identify(tree))
	if finding.Refused(findings) {
		return nil, findings
	}
	return s, findings
}

const (
	defaultBranch      = "main"
	defaultInterval    = time.Minute
	defaultTimeout     = time.Minute
	defaultMinInterval = 10 * time.Second
	defaultAuthor      = "Espalier"
	defaultEmail       = "espalier@localhost"
)

func defaultSync(s *v1alpha1.RepoSync) {
	spec := &s.Spec
	if g := spec.Source.Git; g != nil && g.Ref == (v1alpha1.GitRef{}) {
		g.Ref.Branch = defaultBranch
	}
	defaultDuration(&spec.Interval, defaultInterval)
	defaultDuration(&spec.Timeout, defaultTimeout)
	if spec.Prune == nil {
		spec.Prune = new(true)
	}
	if spec.DeletionPolicy == "" {
		spec.DeletionPolicy = v1alpha1.Delete
	}
	if spec.Report == nil || spec.Report.Commit == nil {
		return
	}
	c := spec.Report.Commit
	defaultDuration(&c.MinInterval, defaultMinInterval)
	if c.Author.Name == "" {
		c.Author.Name = defaultAuthor
	}
	if c.Author.Email == "" {
		c.Author.Email = defaultEmail
	}
}

func defaultDuration(d *metav1.Duration, value time.Duration) {
	if d.Duration == 0 {
		d.Duration = value
	}
}

var (
	cloneAddress = regexp.MustCompile(`^(https?|ssh)://[^\s]+$`)
	inAddress    = regexp.MustCompile(`^https?://[^/]*@`)
	refName      = regexp.MustCompile(`^[A-Za-z0-9._][A-Za-z0-9._/-]*$`)
)

func syncProblems(s *v1alpha1.RepoSync) []finding.Problem {
	v := validator{}
	if s.Name == "" {
		v.refuse(finding.NameInvalid, "metadata.name", "a name is required")
	}
	v.reference("metadata.name", v1alpha1.RepoSyncKind, s.Name)
	if g := s.Spec.Source.Git; g == nil {
		v.refuse(finding.MissingField, "spec.source.git", "name the repository: spec.source.git.url")
	} else {
		v.cloneAddress("spec.source.git.url", g.URL)
		v.ref("spec.source.git.ref", g.Ref)
	}
	if p := s.Spec.Path; strings.HasPrefix(p, "/") || slices.Contains(strings.Split(path.Clean(p), "/"), "..") {
		v.refuse(finding.ReferenceInvalid, "spec.path", "want a folder within the repository, relative to its root and without '..'")
	}
	for _, from := range sortedKeys(s.Spec.Substitutions) {
		at := finding.Key("spec.substitutions", from)
		v.instanceType(at, s.Spec.Substitutions[from], true)
		if _, chained := s.Spec.Substitutions[s.Spec.Substitutions[from]]; chained {
			v.refuse(finding.NotOneOf, at, "what it becomes is substituted itself, and only one step is taken: write the last instance type")
		}
	}
	if r := s.Spec.Report; r != nil && r.Commit != nil && r.Commit.URL != "" {
		v.cloneAddress("spec.report.commit.url", r.Commit.URL)
	}
	return v.problems
}

func (v *validator) cloneAddress(field, url string) {
	switch {
	case inAddress.MatchString(url):
		v.refuse(finding.URLCredentials, field, "no credentials in the address: put them into a Secret and name it in secretRef")
	case !cloneAddress.MatchString(url):
		v.refuse(finding.URLInvalid, field, "want an address that begins with https://, http:// or ssh://")
	}
}

func (v *validator) ref(field string, r v1alpha1.GitRef) {
	if r.Branch != "" && r.Tag != "" {
		v.refuse(finding.NotOneOf, field, "branch or tag, not both")
	}
	for _, name := range []string{r.Branch, r.Tag} {
		if name != "" && !refName.MatchString(name) {
			v.refuse(finding.ReferenceInvalid, field, "this is no name of a branch or tag")
		}
	}
	if r.Commit != "" && !commitHash.MatchString(r.Commit) {
		v.refuse(finding.RevisionInvalid, field+".commit", "want the 40 hex digits of a commit")
	}
}
