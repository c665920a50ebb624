// SPDX-License-Identifier: Apache-2.0

package hook

import (
	"encoding/json"
	"net/url"
	"slices"
	"strings"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// project is a repository of Bitbucket Server and Data Center.
type project struct {
	Slug    string `json:"slug"`
	Project struct {
		Key string `json:"key"`
	} `json:"project"`
}

// call is what the webhooks of the forges have of their repository.
type call struct {
	Repository struct {
		FullName string `json:"full_name"` // GitHub, Gitea, Forgejo, Bitbucket Cloud
		project
	} `json:"repository"`
	Project struct {
		Path string `json:"path_with_namespace"` // GitLab
	} `json:"project"`
	PullRequest struct {
		ToRef struct {
			Repository project `json:"repository"`
		} `json:"toRef"`
	} `json:"pullRequest"`
	Resource struct {
		Repository struct {
			RemoteURL string `json:"remoteUrl"` // Azure DevOps
		} `json:"repository"`
	} `json:"resource"`
}

// about is the path of the repository that a call is of, "" where it names none: a call
// of one's own, such as a pipeline's, may be empty.
func about(body []byte, contentType string) string {
	if strings.HasPrefix(contentType, "application/x-www-form-urlencoded") { // as GitHub may be told to send it
		if form, err := url.ParseQuery(string(body)); err == nil {
			body = []byte(form.Get("payload"))
		}
	}
	var c call
	if json.Unmarshal(body, &c) != nil {
		return ""
	}
	to := c.PullRequest.ToRef.Repository
	switch {
	case c.Repository.FullName != "":
		return c.Repository.FullName
	case c.Project.Path != "":
		return c.Project.Path
	case to.Slug != "" && to.Project.Key != "":
		return to.Project.Key + "/" + to.Slug
	case c.Repository.Slug != "" && c.Repository.Project.Key != "":
		return c.Repository.Project.Key + "/" + c.Repository.Slug
	case c.Resource.Repository.RemoteURL != "":
		return strings.Join(words(c.Resource.Repository.RemoteURL), "/")
	}
	return ""
}

// elsewhere says that a call is of a repository that a RepoSync has nothing to do with.
// Where none of its addresses is known, as with an artifact of Flux, no call is.
func elsewhere(path string, s *v1alpha1.RepoSync) bool {
	known := addresses(s)
	if path == "" || len(known) == 0 {
		return false
	}
	return !slices.ContainsFunc(known, func(address string) bool { return endsIn(words(address), words(path)) })
}

// addresses are those that a RepoSync has of its repositories.
func addresses(s *v1alpha1.RepoSync) []string {
	var all []string
	if s.Spec.Source.Git != nil {
		all = append(all, s.Spec.Source.Git.URL)
	}
	if s.Spec.Review != nil {
		all = append(all, s.Spec.Review.URL)
	}
	if s.Spec.Report != nil && s.Spec.Report.Commit != nil {
		all = append(all, s.Spec.Report.Commit.URL)
	}
	return slices.DeleteFunc(all, func(a string) bool { return a == "" })
}

// filler are parts of the path of an address that say where a forge keeps repositories,
// and not which.
var filler = []string{"_git", "scm", "projects", "repos", "v3"}

// words are the parts of an address or a path that name a repository, without the host.
func words(address string) []string {
	if _, rest, ok := strings.Cut(address, "://"); ok {
		_, address, _ = strings.Cut(rest, "/")
	} else if host, rest, ok := strings.Cut(address, ":"); ok && !strings.Contains(host, "/") { // git@host:path
		address = rest
	}
	address = strings.TrimSuffix(strings.Trim(address, "/"), ".git")
	if plain, err := url.PathUnescape(address); err == nil {
		address = plain
	}
	return slices.DeleteFunc(strings.Split(strings.ToLower(address), "/"), func(part string) bool {
		return part == "" || slices.Contains(filler, part)
	})
}

// endsIn compares the last parts of an address with a path: a forge may live in a folder
// of its host, and a project of Azure DevOps may be called as its one repository.
func endsIn(address, path []string) bool {
	if len(path) > len(address) {
		address, path = path, address
	}
	return len(path) > 0 && slices.Equal(address[len(address)-len(path):], path)
}
