// SPDX-License-Identifier: Apache-2.0

package hook

import (
	"cmp"
	"encoding/json"
	"net"
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
		HTMLURL  string `json:"html_url"`
		Links    struct {
			HTML struct {
				Href string `json:"href"`
			} `json:"html"`
		} `json:"links"` // Bitbucket Cloud
		project
	} `json:"repository"`
	Project struct {
		Path   string `json:"path_with_namespace"` // GitLab
		WebURL string `json:"web_url"`
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

// named is the repository that a call is of: its path, and the host of its pages; ""
// where the call says nothing of it. A call of one's own, such as a pipeline's, may.
type named struct{ path, host string }

// about is the repository that a call is of.
func about(body []byte, contentType string) named {
	if strings.HasPrefix(contentType, "application/x-www-form-urlencoded") { // as GitHub may be told to send it
		if form, err := url.ParseQuery(string(body)); err == nil {
			body = []byte(form.Get("payload"))
		}
	}
	var c call
	if json.Unmarshal(body, &c) != nil {
		return named{}
	}
	to := c.PullRequest.ToRef.Repository
	switch {
	case c.Repository.FullName != "":
		return named{c.Repository.FullName, hostOf(cmp.Or(c.Repository.HTMLURL, c.Repository.Links.HTML.Href))}
	case c.Project.Path != "":
		return named{c.Project.Path, hostOf(c.Project.WebURL)}
	case to.Slug != "" && to.Project.Key != "":
		return named{path: to.Project.Key + "/" + to.Slug}
	case c.Repository.Slug != "" && c.Repository.Project.Key != "":
		return named{path: c.Repository.Project.Key + "/" + c.Repository.Slug}
	case c.Resource.Repository.RemoteURL != "": // of which a forge has two hosts
		return named{path: strings.Join(words(c.Resource.Repository.RemoteURL), "/")}
	}
	return named{}
}

// elsewhere says that a call is of a repository that a RepoSync has nothing to do with.
// Where none of its addresses is known, as with an artifact of Flux, or is of the forge
// that calls, as with a mirror, no call is.
func elsewhere(of named, s *v1alpha1.RepoSync) bool {
	known := addresses(s)
	if of.host != "" && !slices.ContainsFunc(known, func(address string) bool { return hostOf(address) == of.host }) {
		return false
	}
	if of.path == "" || len(known) == 0 {
		return false
	}
	return !slices.ContainsFunc(known, func(address string) bool { return endsIn(words(address), words(of.path)) })
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
var filler = []string{"_git", "scm", "projects", "repos", "v3", "defaultcollection"}

// parted has the host of an address, with a user or a port where they are written, and
// its path. What is a path alone has no host.
func parted(address string) (host, path string) {
	if _, rest, ok := strings.Cut(address, "://"); ok {
		host, path, _ = strings.Cut(rest, "/")
		return host, path
	}
	if host, path, ok := strings.Cut(address, ":"); ok && !strings.Contains(host, "/") { // git@host:path
		return host, path
	}
	return "", address
}

// hostOf is the name of the host of an address.
func hostOf(address string) string {
	host, _ := parted(address)
	host = host[strings.LastIndexByte(host, '@')+1:]
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return strings.ToLower(host)
}

// words are the parts of an address or a path that name a repository, without the host.
func words(address string) []string {
	_, address = parted(address)
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
