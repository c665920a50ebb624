// SPDX-License-Identifier: Apache-2.0

package git

import (
	"context"
	"fmt"
	"io"

	fluxgit "github.com/fluxcd/pkg/git"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/sideband"
	"github.com/go-git/go-git/v5/plumbing/transport"
	"github.com/go-git/go-git/v5/plumbing/transport/client"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// session is a connection to what a server hands out, and the references it has named.
//
// gogit and go-git's own Clone and Fetch do not get here. The first checks out by
// looking every file up from the root, which takes half a minute at 10,000 folders,
// and neither tells a server what it may build on when the history is cut.
type session struct {
	transport.UploadPackSession
	refs *packp.AdvRefs
}

// open connects, and asks for the references.
func (r Remote) open(ctx context.Context) (*session, error) {
	auth, method, err := r.credentials()
	if err != nil {
		return nil, err
	}
	at, err := transport.NewEndpoint(r.URL)
	if err != nil {
		return nil, fmt.Errorf("reading the address: %w", err)
	}
	at.CaBundle, at.ClientCert, at.ClientKey = auth.CAFile, auth.ClientCert, auth.ClientKey
	if deadline, ok := ctx.Deadline(); ok && auth.Transport == fluxgit.SSH {
		at.Proxy = transport.ProxyOptions{URL: deadlineURL(deadline)}
	}
	through, err := client.NewClient(at)
	if err != nil {
		return nil, fmt.Errorf("preparing to read %s: %w", r.Address(), err)
	}
	upload, err := through.NewUploadPackSession(at, method)
	if err != nil {
		return nil, fmt.Errorf("connecting: %w", err)
	}
	refs, err := upload.AdvertisedReferencesContext(ctx)
	if err != nil {
		_ = upload.Close()
		return nil, err
	}
	return &session{UploadPackSession: upload, refs: refs}, nil
}

// credentials are what the Secret holds, and how go-git signs in with it.
func (r Remote) credentials() (*fluxgit.AuthOptions, transport.AuthMethod, error) {
	auth, err := r.authOptions()
	if err != nil {
		return nil, nil, err
	}
	method, err := methodOf(auth)
	if err != nil {
		return nil, nil, r.Errorf(v1alpha1.ReasonAuthFailed, "The Secret for %s cannot be used: %s", r.Address(), short(err.Error()))
	}
	return auth, method, nil
}

// target is what a reference stands for on a server.
type target struct {
	at     plumbing.Hash // the commit, or a tag's object
	commit plumbing.Hash // as the server says; the zero hash where it does not
}

func (s *session) target(ref v1alpha1.GitRef) (target, error) {
	name := plumbing.NewBranchReferenceName(ref.Branch)
	if ref.Tag != "" {
		name = plumbing.NewTagReferenceName(ref.Tag)
	}
	at, ok := s.refs.References[name.String()]
	if !ok {
		return target{}, plumbing.ErrReferenceNotFound
	}
	if peeled, ok := s.refs.Peeled[name.String()]; ok {
		return target{at: at, commit: peeled}, nil
	}
	return target{at: at, commit: at}, nil
}

// heads are the commits of all branches, or of one.
func (s *session) heads(branch string) []plumbing.Hash {
	var heads []plumbing.Hash
	for name, at := range s.refs.References {
		ref := plumbing.ReferenceName(name)
		if ref.IsBranch() && (branch == "" || ref.Short() == branch) {
			heads = append(heads, at)
		}
	}
	plumbing.HashesSort(heads)
	return heads
}

// order is what is asked of a server.
type order struct {
	want []plumbing.Hash
	// whole asks for the history too.
	whole bool
	// have are commits that are held without history: what is sent may build on them.
	have []plumbing.Hash
}

// get asks for objects and reads them, of at most limit bytes inflated.
func (s *session) get(ctx context.Context, what order, into *arrivals, limit int64) (err error) {
	request, err := s.request(what)
	if err != nil {
		return err
	}
	answer, err := s.UploadPack(ctx, request)
	if err != nil {
		return err
	}
	defer func() { _ = answer.Close() }()
	_, err = unpack(demultiplexed(request.Capabilities, answer), &into.came, into.on.Load(), limit)
	return err
}

// request is an order as the server understands it.
func (s *session) request(what order) (*packp.UploadPackRequest, error) {
	request := packp.NewUploadPackRequestFromCapabilities(s.refs.Capabilities)
	request.Wants = what.want
	if what.whole || !s.cuts() {
		return request, nil
	}
	request.Depth = packp.DepthCommits(1)
	if err := request.Capabilities.Set(capability.Shallow); err != nil {
		return nil, fmt.Errorf("asking for one commit: %w", err)
	}
	if len(what.have) == 0 {
		return request, nil
	}
	// A server that is not told that their history is missing here would leave out
	// what it had in common with that. And Git compares with commits that are no
	// parents, as all are once history is cut, only for a pack that may be thin.
	request.Haves, request.Shallows = what.have, what.have
	if err := request.Capabilities.Set(capability.ThinPack); err != nil {
		return nil, fmt.Errorf("asking for differences: %w", err)
	}
	return request, nil
}

// cuts says whether the server sends commits without their history.
func (s *session) cuts() bool { return s.refs.Capabilities.Supports(capability.Shallow) }

// demultiplexed is the pack of an answer, without what a server says beside it.
func demultiplexed(agreed *capability.List, answer io.Reader) io.Reader {
	switch {
	case agreed.Supports(capability.Sideband64k):
		return sideband.NewDemuxer(sideband.Sideband64k, answer)
	case agreed.Supports(capability.Sideband):
		return sideband.NewDemuxer(sideband.Sideband, answer)
	}
	return answer
}
