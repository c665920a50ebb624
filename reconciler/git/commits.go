// SPDX-License-Identifier: Apache-2.0

package git

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	fluxgit "github.com/fluxcd/pkg/git"
	gogit "github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/config"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/plumbing/transport"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// Commits are some commits of a repository with their files and no history, held
// in memory. What they have in common is held once.
type Commits struct {
	objects *objects
}

// Commits reads commits by hash, whatever branch or pull request holds them.
// MaxBytes bounds them together.
//
// Errors are *Error, or context.Canceled when ctx was.
func (r Remote) Commits(ctx context.Context, hashes ...string) (*Commits, error) {
	parent := ctx
	ctx, cancel := context.WithTimeout(ctx, r.timeout())
	defer cancel()
	commits, err := r.commits(ctx, hashes)
	if errors.Is(err, errNotByHash) {
		return nil, r.Errorf(v1alpha1.ReasonSourceUnreachable,
			"The server of %s does not hand out %s: it is gone, or uploadpack.allowReachableSHA1InWant is not set there, as GitHub, GitLab and Gitea have it", r.Address(), strings.Join(hashes, " and "))
	}
	if err != nil {
		return nil, r.explain(cause(parent, ctx), err, "commit of that pull request", r.timeout())
	}
	return commits, nil
}

var errNotByHash = errors.New("the server does not hand out commits by hash")

func (r Remote) commits(ctx context.Context, hashes []string) (c *Commits, err error) {
	// go-git has panicked on malformed packs before, and a server can send any.
	defer func() {
		if v := recover(); v != nil {
			c, err = nil, fmt.Errorf("go-git panicked: %v", v)
		}
	}()
	options, err := r.fetchOptions(ctx)
	if err != nil {
		return nil, err
	}
	for _, hash := range hashes {
		if !plumbing.IsHash(hash) {
			return nil, fmt.Errorf("%q is no hash of a commit", hash)
		}
		options.RefSpecs = append(options.RefSpecs, config.RefSpec(hash+":refs/espalier/"+hash))
	}
	into := newObjects(r.maxBytes())
	remote := gogit.NewRemote(into, &config.RemoteConfig{Name: "origin", URLs: []string{r.URL}})
	err = remote.FetchContext(ctx, options)
	// "not our ref" is the server's own words, which go-git hands on as text.
	if errors.Is(err, gogit.ErrExactSHA1NotSupported) || err != nil && strings.Contains(err.Error(), "not our ref") {
		err = errNotByHash
	}
	if err != nil && !errors.Is(err, gogit.NoErrAlreadyUpToDate) {
		return nil, err
	}
	c = &Commits{objects: into}
	for _, hash := range hashes {
		if _, err := c.Commit(hash); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// fetchOptions sign in as client does, for what gogit has no way to ask for.
func (r Remote) fetchOptions(ctx context.Context) (*gogit.FetchOptions, error) {
	auth, method, err := r.credentials()
	if err != nil {
		return nil, err
	}
	o := &gogit.FetchOptions{
		RemoteName: "origin", RemoteURL: r.URL, Depth: 1, Tags: gogit.NoTags, Auth: method,
		CABundle: auth.CAFile, ClientCert: auth.ClientCert, ClientKey: auth.ClientKey,
	}
	if deadline, ok := ctx.Deadline(); ok && auth.Transport == fluxgit.SSH {
		o.ProxyOptions = transport.ProxyOptions{URL: deadlineURL(deadline)}
	}
	return o, nil
}

// Commit returns one of the commits.
func (c *Commits) Commit(hash string) (*Snapshot, error) {
	commit, err := object.GetCommit(c.objects, plumbing.NewHash(hash))
	if err != nil {
		return nil, fmt.Errorf("reading commit %s: %w", hash, err)
	}
	return newSnapshot(v1alpha1.GitRef{}, c.objects, commit), nil
}

// Encode writes the commits as one pack, for DecodeCommits.
func (c *Commits) Encode(w io.Writer) error {
	var hashes []plumbing.Hash
	for _, r := range c.objects.came.records {
		hashes = append(hashes, r.hash)
	}
	// No deltas: the reader sits at the other end of a pipe.
	if _, err := packfile.NewEncoder(w, c.objects, false).Encode(hashes, 0); err != nil {
		return fmt.Errorf("writing a pack: %w", err)
	}
	return nil
}

// DecodeCommits reads what Encode wrote, of at most maxBytes bytes, inflated.
// Whether a commit is in it, Commit says.
func DecodeCommits(from io.Reader, maxBytes int64) (*Commits, error) {
	into := newObjects(maxBytes)
	if err := into.unpack(from); err != nil {
		return nil, err
	}
	return &Commits{objects: into}, nil
}
