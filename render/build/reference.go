// SPDX-License-Identifier: Apache-2.0

package build

import (
	"path"
	"regexp"
	"strings"
)

// looksRemote matches every reference that Kustomize, in any field, would take
// for something outside of the tree, and somewhat more: a colon, a query, a
// user before a host, GitHub's short form. Its own parser is
// kustomize/api/internal/git/repospec.go, which works on lower case too.
var looksRemote = regexp.MustCompile(`(?i)[:?]|^[a-z][a-z0-9-]*@|^github\.com(/|$)`)

// resolve returns the path in the tree that a reference in a kustomization of
// folder dir names.
func resolve(dir, reference string) (string, error) {
	switch {
	case reference == "":
		return "", refuse(FileMissing, "the path is empty")
	case strings.ContainsAny(reference, "\x00\n\r\\"):
		return "", refuse(PathOutsideTree, "%.100q is no path: use / between folders", reference)
	case looksRemote.MatchString(reference):
		return "", refuse(RemoteReference, "%.200q is not within this repository: remote bases and URLs are not built; copy the files into the repository", withoutSecrets(reference))
	case path.IsAbs(reference):
		return "", refuse(PathOutsideTree, "%.200q is an absolute path: use one relative to this folder", reference)
	}
	p := path.Join(dir, reference)
	if p == ".." || strings.HasPrefix(p, "../") {
		return "", refuse(PathOutsideTree, "%.200q leaves the repository: name a path within it", reference)
	}
	return p, nil
}

var userInfo = regexp.MustCompile(`^([^/]*//)?[^/@]*:[^/@]*@`)

// withoutSecrets drops what may hold a credential from an address: the user
// part and the query.
func withoutSecrets(reference string) string {
	reference, _, _ = strings.Cut(reference, "?")
	return userInfo.ReplaceAllString(reference, "$1")
}
