// SPDX-License-Identifier: Apache-2.0

package repolayout

import (
	"regexp"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"

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

// MinInterval is the shortest spec.interval of a RepoSync.
const MinInterval = time.Second

const (
	maxPath          = 512
	maxSubstitutions = 64
	maxStatusPrefix  = 100

	defaultInterval    = time.Minute
	defaultTimeout     = time.Minute
	defaultMinInterval = 10 * time.Second
	defaultAuthor      = "Espalier"
	defaultEmail       = "espalier@localhost"
)

func defaultSync(s *v1alpha1.RepoSync) {
	spec := &s.Spec
	defaultGit(spec.Source.Git)
	defaultDuration(&spec.Interval, defaultInterval)
	defaultDuration(&spec.Timeout, defaultTimeout)
	if spec.Mode == "" {
		spec.Mode = v1alpha1.ModeSync
	}
	if spec.Prune == nil {
		spec.Prune = new(true)
	}
	if spec.DeletionPolicy == "" {
		spec.DeletionPolicy = v1alpha1.Delete
	}
	defaultReview(spec.Review)
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

func defaultGit(g *v1alpha1.GitSource) {
	if g == nil {
		return
	}
	if g.Ref == (v1alpha1.GitRef{}) {
		g.Ref.Branch = BranchDefault
	}
	if g.Verify != nil && g.Verify.Mode == "" {
		g.Verify.Mode = v1alpha1.VerifyHEAD
	}
}

func defaultReview(r *v1alpha1.Review) {
	if r == nil {
		return
	}
	if r.Forks == "" {
		r.Forks = v1alpha1.IgnoreForks
	}
	if r.LineComments == "" {
		r.LineComments = v1alpha1.NoLineComments
	}
	if r.StatusPrefix == "" {
		r.StatusPrefix = StatusPrefix
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
	statusName   = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._/-]*$`)
	refName      = regexp.MustCompile(`^[A-Za-z0-9._][A-Za-z0-9._/-]*$`)
)

func syncProblems(s *v1alpha1.RepoSync) []finding.Problem {
	v := validator{}
	if s.Name == "" {
		v.refuse(finding.NameInvalid, "metadata.name", "a name is required")
	}
	v.reference("metadata.name", v1alpha1.RepoSyncKind, s.Name)
	v.source(s.Spec.Source)
	if p := s.Spec.Path; strings.HasPrefix(p, "/") || slices.Contains(strings.Split(p, "/"), "..") || len(p) > maxPath {
		v.refuse(finding.ReferenceInvalid, "spec.path", "want a folder within the repository, relative to its root, without '..' and of at most %d characters", maxPath)
	}
	v.interval("spec.interval", s.Spec.Interval.Duration)
	v.timeout("spec.timeout", s.Spec.Timeout.Duration)
	if p := s.Spec.DeletionPolicy; p != v1alpha1.Delete && p != v1alpha1.Orphan {
		v.refuse(finding.NotOneOf, "spec.deletionPolicy", "want %s or %s", v1alpha1.Delete, v1alpha1.Orphan)
		meant(&v, p, v1alpha1.Delete, v1alpha1.Orphan)
	}
	v.mode(s.Spec)
	v.dependsOn("spec.dependsOn", s)
	v.reference("spec.serviceAccountName", "ServiceAccount", s.Spec.ServiceAccountName)
	v.kubeConfig("spec.kubeConfig", s.Spec)
	v.substitutions("spec.substitutions", s.Spec.Substitutions)
	v.decryption("spec.decryption", s.Spec.Decryption)
	v.variables("spec.postBuild", s.Spec.PostBuild)
	v.defaults("spec.defaults", s.Spec.Defaults)
	if h := s.Spec.Hook; h != nil {
		v.secretRef("spec.hook.secretRef", &h.SecretRef)
	}
	v.report("spec.report.commit", s.Spec)
	v.review("spec.review", s.Spec)
	return v.problems
}

func (v *validator) mode(s v1alpha1.RepoSyncSpec) {
	const selector = "spec.workspaceSelector"
	switch s.Mode {
	case v1alpha1.ModeSync:
		if s.WorkspaceSelector != nil {
			v.refuse(finding.NotOneOf, selector, "is for mode ReportOnly: with mode Sync the report is on what the RepoSync applies")
		}
		return
	case v1alpha1.ModeReportOnly:
	default:
		v.refuse(finding.NotOneOf, "spec.mode", "want %s or %s", v1alpha1.ModeSync, v1alpha1.ModeReportOnly)
		meant(v, s.Mode, v1alpha1.ModeSync, v1alpha1.ModeReportOnly)
		return
	}
	if s.WorkspaceSelector == nil {
		v.refuse(finding.MissingField, selector, "mode ReportOnly needs it: name a label of the Workspaces to report on")
	} else {
		v.workspaceSelector(selector, *s.WorkspaceSelector)
	}
	const applies = "changes what is applied, and mode ReportOnly applies nothing: remove it"
	if len(s.Substitutions) > 0 {
		v.refuse(finding.NotOneOf, "spec.substitutions", applies)
	}
	if s.PostBuild != nil {
		v.refuse(finding.NotOneOf, "spec.postBuild", applies)
	}
	if s.Decryption != nil {
		v.refuse(finding.NotOneOf, "spec.decryption", applies)
	}
	if s.Defaults != nil {
		v.refuse(finding.NotOneOf, "spec.defaults", applies)
	}
	if len(s.DependsOn) > 0 {
		v.refuse(finding.NotOneOf, "spec.dependsOn", "orders what is applied, and mode ReportOnly applies nothing: remove it")
	}
	if s.ServiceAccountName != "" {
		v.refuse(finding.NotOneOf, "spec.serviceAccountName", "is as whom a RepoSync applies, and mode ReportOnly applies nothing: remove it")
	}
}

// maxDependencies bounds what one RepoSync may wait for.
const maxDependencies = 16

func (v *validator) dependsOn(path string, s *v1alpha1.RepoSync) {
	if len(s.Spec.DependsOn) > maxDependencies {
		v.refuse(finding.OutOfRange, path, "at most %d", maxDependencies)
	}
	for i, d := range s.Spec.DependsOn {
		at := finding.Index(path, i)
		if d.Name == "" {
			v.refuse(finding.MissingField, at+".name", "name the RepoSync to wait for")
		}
		v.reference(at+".name", v1alpha1.RepoSyncKind, d.Name)
		if d.Namespace != "" && len(validation.IsDNS1123Label(d.Namespace)) > 0 {
			v.refuse(finding.ReferenceInvalid, at+".namespace", "no namespace can have this name: want lower-case letters, digits and '-', at most 63")
		}
		if d.Name == s.Name && (d.Namespace == "" || d.Namespace == s.Namespace) {
			v.refuse(finding.ReferenceInvalid, at, "a RepoSync cannot wait for itself")
		}
	}
}

func (v *validator) workspaceSelector(path string, s metav1.LabelSelector) {
	v.labels(path+".matchLabels", s.MatchLabels)
	for i, e := range s.MatchExpressions {
		if _, err := metav1.LabelSelectorAsSelector(&metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{e}}); err != nil {
			v.refuse(finding.LabelInvalid, finding.Index(path+".matchExpressions", i), "want a key, an operator (In, NotIn, Exists, DoesNotExist), and values for In and NotIn alone")
		}
	}
}

func (v *validator) review(path string, s v1alpha1.RepoSyncSpec) {
	if s.Report != nil && s.Report.PullRequest && s.Mode == v1alpha1.ModeReportOnly {
		v.refuse(finding.ReferenceInvalid, "spec.report.pullRequest", "follows what the RepoSync applies, and mode ReportOnly applies nothing: remove it")
	}
	if s.Review == nil {
		if s.Report != nil && s.Report.Statuses {
			v.refuse(finding.MissingField, path, "report.statuses needs it: it says what forge to tell and with what token")
		}
		if s.Report != nil && s.Report.PullRequest {
			v.refuse(finding.MissingField, path, "report.pullRequest needs it: its comment is continued")
		}
		return
	}
	if g := s.Source.Git; g == nil || g.Ref.Branch == "" {
		v.refuse(finding.ReferenceInvalid, path, "needs source.git with a branch: pull requests go to one")
	}
	v.forge(path, *s.Review)
}

// forges are those that reviews are there for.
var forges = []v1alpha1.ForgeProvider{v1alpha1.Gitea, v1alpha1.GitHub, v1alpha1.GitLab, v1alpha1.AzureDevOps, v1alpha1.Bitbucket, v1alpha1.BitbucketServer}

// lineComments are the values of review.lineComments.
var lineComments = []v1alpha1.LineComments{v1alpha1.NoLineComments, v1alpha1.FixLineComments, v1alpha1.FindingLineComments}

func (v *validator) forge(path string, r v1alpha1.Review) {
	if !slices.Contains(forges, r.Provider) {
		v.refuse(finding.NotOneOf, path+".provider", "want Gitea, which is for Forgejo too, GitHub, GitLab, AzureDevOps, Bitbucket, which is Bitbucket Cloud, or BitbucketServer: no other forge is supported; espalier plan runs in the pipelines of all of them")
		meant(v, r.Provider, forges...)
	}
	if r.URL != "" {
		v.cloneAddress(path+".url", r.URL)
	}
	if strings.HasPrefix(r.URL, "ssh://") {
		v.refuse(finding.URLInvalid, path+".url", "want the repository's address for people, which begins with https:// or http://")
	}
	v.secretRef(path+".secretRef", &r.SecretRef)
	if r.Forks != v1alpha1.IgnoreForks && r.Forks != v1alpha1.PlanForks {
		v.refuse(finding.NotOneOf, path+".forks", "want %s or %s", v1alpha1.IgnoreForks, v1alpha1.PlanForks)
		meant(v, r.Forks, v1alpha1.IgnoreForks, v1alpha1.PlanForks)
	}
	if !slices.Contains(lineComments, r.LineComments) {
		v.refuse(finding.NotOneOf, path+".lineComments", "want None, Fixes, which are those that one line mends, or Findings, which are all")
		meant(v, r.LineComments, lineComments...)
	}
	if !statusName.MatchString(r.StatusPrefix) || len(r.StatusPrefix) > maxStatusPrefix {
		v.refuse(finding.NameInvalid, path+".statusPrefix", "want the beginning of a status's name, such as espalier/production, of at most %d characters", maxStatusPrefix)
	}
}

func (v *validator) source(s v1alpha1.Source) {
	const path = "spec.source"
	if (s.Git == nil) == (s.Ref == nil) {
		v.refuse(finding.MissingField, path, "want exactly one of git, a repository to clone, and ref, a Flux source of the namespace")
		return
	}
	if g := s.Git; g != nil {
		v.cloneAddress(path+".git.url", g.URL)
		v.ref(path+".git.ref", g.Ref)
		v.secretRef(path+".git.secretRef", g.SecretRef)
		v.verification(path+".git.verify", *g)
		return
	}
	kinds := []v1alpha1.SourceKind{v1alpha1.GitRepositoryKind, v1alpha1.OCIRepositoryKind, v1alpha1.BucketKind, v1alpha1.ExternalArtifactKind}
	if !slices.Contains(kinds, s.Ref.Kind) {
		v.refuse(finding.NotOneOf, path+".ref.kind", "want GitRepository, OCIRepository, Bucket or ExternalArtifact")
		meant(v, s.Ref.Kind, kinds...)
	}
	if s.Ref.Name == "" {
		v.refuse(finding.MissingField, path+".ref.name", "name the source")
	}
}

func (v *validator) verification(path string, g v1alpha1.GitSource) {
	if g.Verify == nil {
		return
	}
	v.secretRef(path+".secretRef", &g.Verify.SecretRef)
	switch g.Verify.Mode {
	case v1alpha1.VerifyHEAD:
	case v1alpha1.VerifyTag, v1alpha1.VerifyTagAndHEAD:
		if g.Ref.Tag == "" || g.Ref.Commit != "" {
			v.refuse(finding.MissingField, path+".mode", "%s needs ref.tag, without ref.commit: there is no tag whose signature could be looked at", g.Verify.Mode)
		}
	default:
		v.refuse(finding.NotOneOf, path+".mode", "want %s, %s or %s", v1alpha1.VerifyHEAD, v1alpha1.VerifyTag, v1alpha1.VerifyTagAndHEAD)
		meant(v, g.Verify.Mode, v1alpha1.VerifyHEAD, v1alpha1.VerifyTag, v1alpha1.VerifyTagAndHEAD)
	}
}

func (v *validator) interval(field string, d time.Duration) {
	if d < MinInterval {
		v.refuse(finding.DurationInvalid, field, "want a duration of at least %s, such as 1m", MinInterval)
	}
}

func (v *validator) report(path string, s v1alpha1.RepoSyncSpec) {
	if s.Report == nil || s.Report.Commit == nil {
		return
	}
	if s.Source.Git == nil && s.Report.Commit.URL == "" {
		v.refuse(finding.MissingField, path+".url", "is required with source.ref: an artifact says no clone address")
	}
	v.commitReport(path, *s.Report.Commit)
	if problem := ReportPathProblem(s); problem != "" {
		v.refuse(finding.ReferenceInvalid, path+".path", "%s", problem)
	}
}

func (v *validator) commitReport(path string, c v1alpha1.CommitReport) {
	if c.URL != "" {
		v.cloneAddress(path+".url", c.URL)
	}
	if c.Branch != "" && !refName.MatchString(c.Branch) {
		v.refuse(finding.ReferenceInvalid, path+".branch", "this is no name of a branch")
	}
	v.secretRef(path+".secretRef", c.SecretRef)
	if c.Signing != nil {
		v.secretRef(path+".signing.secretRef", &c.Signing.SecretRef)
	}
	v.timeout(path+".minInterval", c.MinInterval.Duration)
}

func (v *validator) secretRef(path string, ref *v1alpha1.LocalObjectReference) {
	if ref == nil {
		return
	}
	v.named(path+".name", "Secret", ref.Name)
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
