// SPDX-License-Identifier: Apache-2.0

// Package git talks to Git servers: it reads one commit of a repository into
// memory as a file system, and puts one commit on top of a branch.
//
// It builds on fluxcd/pkg/git/gogit, so that addresses, Secrets and servers work
// as they do with Flux. A server is not trusted: what it sends is bounded in size
// and time, nothing it sends is written to a disk or run, and errors are sentences
// without secrets. It never forces a push, never touches a branch but the one it
// was given, and runs no git command. Callers see no type of a Git library.
package git

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	fluxgit "github.com/fluxcd/pkg/git"
	fluxgogit "github.com/fluxcd/pkg/git/gogit"
	"github.com/go-git/go-billy/v5/memfs"
	"github.com/go-git/go-git/v5/plumbing/transport"
	"golang.org/x/crypto/ssh"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// Defaults of Remote.
const (
	DefaultMaxBytes = 128 << 20 // bytes of inflated objects
	DefaultTimeout  = time.Minute
)

var schemes = []fluxgit.TransportType{fluxgit.HTTPS, fluxgit.HTTP, fluxgit.SSH}

// Remote is a repository on a server, and how to sign in.
type Remote struct {
	// URL is the clone address: https, http or ssh.
	URL string
	// Auth is the data of a Secret in Flux's form; nil signs in nowhere.
	Auth map[string][]byte
	// Timeout bounds one operation. 0: DefaultTimeout.
	Timeout time.Duration
	// MaxBytes bounds the objects of one operation, inflated, in bytes.
	// 0: DefaultMaxBytes. What comes over the wire is bounded to 256 MiB beside it.
	MaxBytes int64
}

func (r Remote) timeout() time.Duration {
	if r.Timeout > 0 {
		return r.Timeout
	}
	return DefaultTimeout
}

func (r Remote) maxBytes() int64 {
	if r.MaxBytes > 0 {
		return r.MaxBytes
	}
	return DefaultMaxBytes
}

// client makes a gogit client that keeps everything in objects.
func (r Remote) client(ctx context.Context, into *objects) (*fluxgogit.Client, error) {
	auth, err := r.authOptions()
	if err != nil {
		return nil, err
	}
	opts := []fluxgogit.ClientOption{
		fluxgogit.WithStorer(into),
		fluxgogit.WithWorkTreeFS(memfs.New()),
		fluxgogit.WithSingleBranch(true),
	}
	switch auth.Transport {
	case fluxgit.HTTP:
		// Whoever writes http:// into a RepoSync means it: servers inside a cluster
		// are often reached so. go-git drops credentials on any redirect elsewhere.
		opts = append(opts, fluxgogit.WithInsecureCredentialsOverHTTP())
	case fluxgit.SSH:
		if deadline, ok := ctx.Deadline(); ok {
			opts = append(opts, fluxgogit.WithProxy(transport.ProxyOptions{URL: deadlineURL(deadline)}))
		}
	}
	// gogit removes this folder, whatever it is, when it meets an empty repository.
	nowhere := filepath.Join(os.TempDir(), "espalier-"+rand.Text())
	client, err := fluxgogit.NewClient(nowhere, auth, opts...)
	if err != nil {
		return nil, fmt.Errorf("preparing to read %s: %w", r.Address(), err)
	}
	return client, nil
}

// authOptions reads the Secret, and refuses what cannot work before anything is
// sent.
func (r Remote) authOptions() (*fluxgit.AuthOptions, error) {
	u, err := url.Parse(r.URL)
	if err != nil || u.Host == "" || !slices.Contains(schemes, fluxgit.TransportType(u.Scheme)) {
		return nil, r.Errorf(v1alpha1.ReasonSourceUnreachable, "The address %s is no URL of https, http or ssh, such as https://host/owner/repository", r.Address())
	}
	data := make(map[string][]byte, len(r.Auth))
	for key, value := range r.Auth {
		switch key {
		case "username", "password", "bearerToken":
			// A file with a line break at its end makes such a Secret.
			value = []byte(strings.TrimRight(string(value), "\r\n"))
		}
		data[key] = value
	}
	opts, err := fluxgit.NewAuthOptions(*u, data)
	if err != nil {
		return nil, r.Errorf(v1alpha1.ReasonAuthFailed, "The Secret does not fit %s (%s): %s", r.Address(), short(err.Error()), needs(u.Scheme))
	}
	if problem := authProblem(opts, data); problem != "" {
		return nil, r.Errorf(v1alpha1.ReasonAuthFailed, "The Secret for %s cannot be used: %s", r.Address(), problem)
	}
	return opts, nil
}

func needs(scheme string) string {
	if scheme == "ssh" {
		return "an ssh address needs identity (a private key) and known_hosts"
	}
	return "an https address needs username and password, or bearerToken"
}

// authProblem says what is wrong with credentials, "" when nothing is.
func authProblem(o *fluxgit.AuthOptions, data map[string][]byte) string {
	nothing := o.Username == "" && o.Password == "" && o.BearerToken == "" && len(o.CAFile) == 0 && len(o.ClientCert) == 0 && len(o.Identity) == 0
	if len(data) > 0 && nothing {
		return "it has none of the keys username, password, bearerToken, identity, ca.crt, tls.crt"
	}
	if problem := certificateProblem(o); problem != "" || o.Transport != fluxgit.SSH {
		return problem
	}
	return identityProblem(o)
}

func certificateProblem(o *fluxgit.AuthOptions) string {
	switch {
	case len(o.CAFile) > 0 && !x509.NewCertPool().AppendCertsFromPEM(o.CAFile):
		return "ca.crt holds no certificate in PEM"
	case (len(o.ClientCert) > 0) != (len(o.ClientKey) > 0):
		return "tls.crt and tls.key come together"
	}
	if len(o.ClientCert) > 0 {
		if _, err := tls.X509KeyPair(o.ClientCert, o.ClientKey); err != nil {
			return "tls.crt and tls.key are not a certificate and its key in PEM"
		}
	}
	return ""
}

func identityProblem(o *fluxgit.AuthOptions) string {
	var err error
	if o.Password != "" {
		_, err = ssh.ParsePrivateKeyWithPassphrase(o.Identity, []byte(o.Password))
	} else {
		_, err = ssh.ParsePrivateKey(o.Identity)
	}
	if err != nil {
		return "identity is no private key that can be read (password is its passphrase, where it has one)"
	}
	return ""
}
