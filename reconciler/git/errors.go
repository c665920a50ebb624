// SPDX-License-Identifier: Apache-2.0

package git

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"strings"
	"syscall"
	"time"

	fluxgit "github.com/fluxcd/pkg/git"
	gogit "github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/pktline"
	"github.com/go-git/go-git/v5/plumbing/transport"
	githttp "github.com/go-git/go-git/v5/plumbing/transport/http"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// ReasonTooLarge is the reason of a repository over the size limit.
const ReasonTooLarge = "SourceTooLarge"

// ErrTooLarge is what a repository over the size limit is refused with.
var ErrTooLarge = errors.New("the repository is over the size limit")

// Error says in one sentence what is wrong with a repository and what to do. It
// holds nothing secret: addresses are without user name and password, and what
// the credentials are is struck out wherever a server repeats it. The chain holds
// no more than that either.
type Error struct {
	// Reason is CamelCase: one of v1alpha1's, or ReasonTooLarge.
	Reason string
	// Err is the sentence; it unwraps to context.DeadlineExceeded where the time
	// was up.
	Err error
}

func (e *Error) Error() string { return e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }

// sentence is text that also is the error it stands for.
type sentence struct {
	text string
	is   error
}

func (s *sentence) Error() string { return s.text }
func (s *sentence) Unwrap() error { return s.is }

// Errorf returns an Error with a formatted sentence, redacted.
func (r Remote) Errorf(reason, format string, args ...any) *Error {
	return r.errorIs(nil, reason, format, args...)
}

// errorIs is Errorf with another error in the chain: one that a caller looks for.
func (r Remote) errorIs(is error, reason, format string, args ...any) *Error {
	return &Error{Reason: reason, Err: &sentence{text: r.redact(fmt.Sprintf(format, args...)), is: is}}
}

// explain turns an error of the transport into an Error. timeout is the time
// there was. A context that was cancelled, rather than one whose time was up, is
// nobody's fault and returned as it is.
func (r Remote) explain(ctx context.Context, err error, ref string, timeout time.Duration) error {
	var known *Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &known):
		return known
	case errors.Is(ctx.Err(), context.Canceled):
		return context.Canceled
	}
	err = unwrapUnexpected(err)
	where := r.Address()
	switch {
	case isTimeout(ctx, err):
		return r.Unanswered(timeout)
	case errors.Is(err, ErrTooLarge):
		return r.Errorf(ReasonTooLarge, "The repository at %s takes more than %d MiB: keep models and data out of it, or raise the limit", where, r.maxBytes()>>20)
	case errors.Is(err, transport.ErrAuthenticationRequired):
		return r.signIn()
	case errors.Is(err, transport.ErrAuthorizationFailed):
		return r.Errorf(v1alpha1.ReasonAuthFailed, "The server forbids access to %s: give the account of the Secret the right to it", where)
	}
	if e := r.explainRef(err, ref); e != nil {
		return e
	}
	if e := r.explainNetwork(err); e != nil {
		return e
	}
	if e := r.explainSSH(err); e != nil {
		return e
	}
	return r.Errorf(v1alpha1.ReasonSourceUnreachable, "Reading %s ended with: %s", where, short(root(err).Error()))
}

// root is the innermost error: the layers around it repeat the address.
func root(err error) error {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err
		}
		err = inner
	}
}

// Unanswered is the Error of a server that took longer than timeout.
func (r Remote) Unanswered(timeout time.Duration) *Error {
	return r.errorIs(context.DeadlineExceeded, v1alpha1.ReasonSourceUnreachable,
		"No answer from %s within %s: check the address, and that the server can be reached from the cluster", r.Address(), timeout)
}

func (r Remote) signIn() *Error {
	if len(r.Auth) == 0 {
		return r.Errorf(v1alpha1.ReasonAuthFailed,
			"The server asks for credentials for %s: put username and password, or bearerToken, into a Secret and name it in secretRef", r.Address())
	}
	return r.Errorf(v1alpha1.ReasonAuthFailed,
		"The server refuses the credentials of the Secret for %s: check that they are right, not expired, and may access this repository", r.Address())
}

// explainRef deals with what is not in the repository.
func (r Remote) explainRef(err error, ref string) *Error {
	where := r.Address()
	noRepository := func() *Error {
		return r.Errorf(v1alpha1.ReasonSourceUnreachable, "There is no repository at %s, or the credentials may not see it: check the address and the Secret", where)
	}
	noRef := func() *Error {
		return r.Errorf(v1alpha1.ReasonRefNotFound, "There is no %s in %s: push it, or correct spec.source.git.ref", ref, where)
	}
	var missing gogit.NoMatchingRefSpecError
	var flattened fluxgit.ErrRepositoryNotFound
	switch {
	case errors.Is(err, transport.ErrEmptyRemoteRepository):
		return r.empty()
	case errors.Is(err, transport.ErrRepositoryNotFound):
		return noRepository()
	case errors.As(err, &missing), errors.Is(err, plumbing.ErrReferenceNotFound), errors.Is(err, plumbing.ErrObjectNotFound):
		return noRef()
	case errors.As(err, &flattened):
		// gogit keeps the text of three errors here, not the errors.
		switch {
		case strings.Contains(flattened.Message, transport.ErrEmptyRemoteRepository.Error()):
			return r.empty()
		case strings.Contains(flattened.Message, transport.ErrRepositoryNotFound.Error()):
			return noRepository()
		}
		return noRef()
	}
	return nil
}

func (r Remote) empty() *Error {
	return r.Errorf(v1alpha1.ReasonRefNotFound, "The repository at %s is empty: push a first commit", r.Address())
}

// explainNetwork deals with what keeps a server from answering well.
func (r Remote) explainNetwork(err error) *Error {
	where := r.Address()
	unreachable := func(format string, args ...any) *Error {
		return r.Errorf(v1alpha1.ReasonSourceUnreachable, format, args...)
	}
	var (
		status    *githttp.Err
		authority x509.UnknownAuthorityError
		host      x509.HostnameError
		invalid   x509.CertificateInvalidError
		dns       *net.DNSError
	)
	switch {
	case errors.As(err, &status) && status.Response.StatusCode >= 500:
		return unreachable("The server of %s answers with HTTP status %d: it is down or overloaded, and is asked again", where, status.Response.StatusCode)
	case errors.As(err, &status):
		return unreachable("The server of %s answers with HTTP status %d: check that the address is that of a Git repository", where, status.Response.StatusCode)
	case errors.As(err, &authority):
		return unreachable("The certificate of %s is signed by an authority that is not trusted: put the authority's certificate into the Secret as ca.crt", where)
	case errors.As(err, &host), errors.As(err, &invalid):
		return unreachable("The certificate of %s is not valid: %s", where, short(err.Error()))
	case errors.As(err, &dns):
		return unreachable("The host name of %s does not resolve: check the address", where)
	case errors.Is(err, pktline.ErrInvalidPktLen):
		return unreachable("What answers at %s is not a Git server: check the address", where)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return unreachable("The connection to %s broke off, and is tried again", where)
	case errors.Is(err, syscall.ECONNREFUSED):
		return unreachable("Nothing listens at %s: check the address, or wait until the server is up", where)
	}
	return nil
}

// explainSSH matches texts: golang.org/x/crypto/ssh and the known_hosts check of
// fluxcd/pkg/ssh have no error values for these.
func (r Remote) explainSSH(err error) *Error {
	text := err.Error()
	switch {
	case strings.Contains(text, "ssh: unable to authenticate"):
		return r.Errorf(v1alpha1.ReasonAuthFailed, "The server refuses the SSH key of the Secret for %s: add its public key to the repository as a deploy key", r.Address())
	case strings.Contains(text, "knownhosts:"), strings.Contains(text, "no entries in known_hosts match host"):
		return r.Errorf(v1alpha1.ReasonAuthFailed, "The host key of %s is not in known_hosts of the Secret: compare it with what the server's owner publishes, then add it", r.Address())
	}
	return nil
}

func isTimeout(ctx context.Context, err error) bool {
	return errors.Is(ctx.Err(), context.DeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded)
}

// unwrapUnexpected looks into go-git's UnexpectedError, which has no Unwrap.
func unwrapUnexpected(err error) error {
	var unexpected *plumbing.UnexpectedError
	var permanent *plumbing.PermanentError
	switch {
	case errors.As(err, &unexpected):
		return unexpected.Err
	case errors.As(err, &permanent):
		return permanent.Err
	}
	return err
}

// short bounds text that a server may have written: one line, 300 characters.
func short(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	if runes := []rune(text); len(runes) > 300 {
		return string(runes[:300]) + "…"
	}
	return text
}

// Address is the URL without user name, password and query.
func (r Remote) Address() string {
	u, err := url.Parse(r.URL)
	if err != nil {
		return r.redact(r.URL)
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	return u.String()
}
