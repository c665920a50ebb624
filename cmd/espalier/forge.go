// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/espalier-dev/espalier/repo-layout/example"
)

// repositoryAround finds the Git repository that dir is, lies in, or would lie in
// once it is made.
func repositoryAround(dir string) (root string, found bool) {
	for at := dir; ; at = filepath.Dir(at) {
		if _, err := os.Stat(filepath.Join(at, ".git")); err == nil {
			return at, true
		}
		if at == filepath.Dir(at) {
			return "", false
		}
	}
}

// originHost is the host of the remote origin of a repository, "" when it has
// none. Of the configuration of Git it reads the repository's own file: what
// others add would have to be asked of git itself.
func originHost(root string) string {
	if root == "" {
		return ""
	}
	config, err := os.ReadFile(filepath.Join(root, ".git", "config"))
	if err != nil {
		return ""
	}
	within := false
	for line := range strings.Lines(string(config)) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "[") {
			within = line == `[remote "origin"]`
			continue
		}
		key, address, ok := strings.Cut(line, "=")
		if within && ok && strings.TrimSpace(key) == "url" {
			return hostOf(strings.TrimSpace(address))
		}
	}
	return ""
}

// hostOf returns the host of a clone address, a URL or user@host:path.
func hostOf(address string) string {
	if strings.Contains(address, "://") {
		u, err := url.Parse(address)
		if err != nil {
			return ""
		}
		return strings.ToLower(u.Hostname())
	}
	host, _, ok := strings.Cut(address, ":")
	if !ok || strings.Contains(host, "/") {
		return "" // a path of this machine
	}
	return strings.ToLower(host[strings.LastIndex(host, "@")+1:])
}

// forgeOf tells a forge by the host of a service that only it has. A host of
// somebody's own may be called anything.
func forgeOf(host string) (example.Forge, bool) {
	switch {
	case host == "github.com", host == "ssh.github.com":
		return example.GitHub, true
	case host == "gitlab.com", host == "altssh.gitlab.com":
		return example.GitLab, true
	case host == "gitea.com":
		return example.Gitea, true
	case host == "dev.azure.com", host == "ssh.dev.azure.com", strings.HasSuffix(host, ".visualstudio.com"):
		return example.AzureDevOps, true
	case host == "bitbucket.org", host == "altssh.bitbucket.org":
		return example.Bitbucket, true
	}
	return "", false
}
