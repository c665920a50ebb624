// SPDX-License-Identifier: Apache-2.0

package forge

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// place is a repository's address in pieces.
type place struct {
	server      string // https://host or https://host/subfolder
	owner, name string // owner is the whole path of groups on GitLab, and a project on others
	page        string // its address for people below server; "": owner/name
	clone       string // where Git finds it below server; "": page with .git
}

func (p place) String() string {
	if p.page != "" {
		return p.server + "/" + p.page
	}
	return p.server + "/" + p.owner + "/" + p.name
}

// cloneURL is where Git finds a repository.
func (p place) cloneURL() string {
	if p.clone != "" {
		return p.server + "/" + p.clone
	}
	return strings.TrimSuffix(p.String(), ".git") + ".git"
}

// locate takes an address of a repository apart. That of a clone over SSH names
// the host alone: the forge is taken to answer there over HTTPS.
func locate(s Settings) (place, error) {
	u, err := url.Parse(s.URL)
	if err != nil || u.Host == "" {
		return place{}, &Error{Reason: ReasonForgeRefused, text: "review.url is no address of a repository, such as https://host/owner/repository"}
	}
	server := u.Scheme + "://" + u.Host
	if u.Scheme == "ssh" {
		server = "https://" + u.Hostname()
	}
	parts := strings.Split(strings.Trim(strings.TrimSuffix(strings.TrimSuffix(u.Path, "/"), ".git"), "/"), "/")
	find := map[v1alpha1.ForgeProvider]func(string, []string) (place, bool){
		v1alpha1.GitLab: locateGitLab, v1alpha1.AzureDevOps: locateAzure, v1alpha1.BitbucketServer: locateBitbucketServer,
	}[s.Provider]
	if find == nil {
		find = locateOwner
	}
	at, ok := find(server, parts)
	if !ok || at.owner == "" || at.name == "" || u.Scheme != "https" && u.Scheme != "http" && u.Scheme != "ssh" {
		return place{}, &Error{Reason: ReasonForgeRefused, text: fmt.Sprintf("%s is no address of a repository on a forge, such as %s: set review.url", address(u), sampleOf(s.Provider, strings.TrimPrefix(server, u.Scheme+"://")))}
	}
	return at, nil
}

// sampleOf is what an address of a repository looks like.
func sampleOf(provider v1alpha1.ForgeProvider, host string) string {
	switch host = strings.TrimPrefix(host, "https://"); provider {
	case v1alpha1.AzureDevOps:
		return "https://dev.azure.com/organisation/project/_git/repository"
	case v1alpha1.BitbucketServer:
		return "https://" + host + "/projects/KEY/repos/repository"
	}
	return "https://" + host + "/owner/repository"
}

// locateOwner is for forges that may live in a folder of a host.
func locateOwner(server string, parts []string) (place, bool) {
	n := len(parts)
	if n < 2 {
		return place{}, false
	}
	return place{server: strings.TrimSuffix(server+"/"+strings.Join(parts[:n-2], "/"), "/"), owner: parts[n-2], name: parts[n-1]}, true
}

// locateGitLab: its groups have groups, and so it lives in no folder.
func locateGitLab(server string, parts []string) (place, bool) {
	n := len(parts)
	if n < 2 {
		return place{}, false
	}
	return place{server: server, owner: strings.Join(parts[:n-1], "/"), name: parts[n-1]}, true
}

const (
	azureGit     = "_git"
	visualStudio = ".visualstudio.com"
)

// locateAzure: before _git are an organisation, or the folder and collection of a
// server, and a project, whose name is that of the repository where it is not said.
func locateAzure(server string, parts []string) (place, bool) {
	server, parts = azureOverHTTPS(server, parts)
	i := len(parts) - 2
	if i < 0 || parts[i] != azureGit {
		return place{}, false
	}
	before, project, name := parts[:i], parts[i+1], parts[i+1]
	if !projectUnsaid(server, before) {
		if i == 0 {
			return place{}, false
		}
		before, project = before[:i-1], before[i-1]
	}
	page := escaped([]string{project, azureGit, name})
	return place{server: strings.TrimSuffix(server+"/"+escaped(before), "/"), owner: project, name: name, page: page, clone: page}, true
}

// azureOverHTTPS is where a repository is that is cloned over SSH, which has a host
// and a path of its own: ssh.dev.azure.com/v3/organisation/project/repository.
func azureOverHTTPS(server string, parts []string) (string, []string) {
	over := server == "https://ssh.dev.azure.com" || server == "https://vs-ssh"+visualStudio
	if !over || len(parts) != 4 || parts[0] != "v3" {
		return server, parts
	}
	return "https://dev.azure.com", []string{parts[1], parts[2], azureGit, parts[3]}
}

// projectUnsaid says whether what stands before _git names no project.
func projectUnsaid(server string, before []string) bool {
	switch {
	case server == "https://dev.azure.com":
		return len(before) == 1
	case strings.HasSuffix(server, visualStudio):
		return len(before) == 0 || len(before) == 1 && before[0] == "DefaultCollection"
	}
	return false
}

func escaped(parts []string) string {
	all := make([]string, len(parts))
	for i, p := range parts {
		all[i] = url.PathEscape(p)
	}
	return strings.Join(all, "/")
}

// locateBitbucketServer: its address for people says projects and repos, that of a
// clone over HTTPS scm, and that of one over SSH neither.
func locateBitbucketServer(server string, parts []string) (place, bool) {
	for i, part := range parts {
		rest := parts[i+1:]
		switch {
		case part == "projects" && len(rest) >= 3 && rest[1] == "repos":
			return bitbucketServerAt(server, parts[:i], rest[0], rest[2]), true
		case part == "users" && len(rest) >= 3 && rest[1] == "repos":
			return bitbucketServerAt(server, parts[:i], "~"+rest[0], rest[2]), true
		case part == "scm" && len(rest) == 2:
			return bitbucketServerAt(server, parts[:i], rest[0], rest[1]), true
		}
	}
	if len(parts) == 2 {
		return bitbucketServerAt(server, nil, parts[0], parts[1]), true
	}
	return place{}, false
}

func bitbucketServerAt(server string, folder []string, project, name string) place {
	return place{
		server: strings.TrimSuffix(server+"/"+strings.Join(folder, "/"), "/"), owner: project, name: name,
		page: "projects/" + project + "/repos/" + name, clone: "scm/" + strings.ToLower(project) + "/" + name + ".git",
	}
}

func address(u *url.URL) string {
	shown := *u
	shown.User, shown.RawQuery, shown.Fragment = nil, "", ""
	return shown.String()
}
