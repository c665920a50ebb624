// SPDX-License-Identifier: Apache-2.0

package git

import (
	"fmt"

	fluxgit "github.com/fluxcd/pkg/git"
	"github.com/fluxcd/pkg/ssh/knownhosts"
	"github.com/go-git/go-git/v5/plumbing/transport"
	githttp "github.com/go-git/go-git/v5/plumbing/transport/http"
	gitssh "github.com/go-git/go-git/v5/plumbing/transport/ssh"
	"golang.org/x/crypto/ssh"
)

// methodOf signs in as gogit does, which keeps its own to itself.
func methodOf(o *fluxgit.AuthOptions) (transport.AuthMethod, error) {
	switch {
	case o.Transport == fluxgit.SSH:
		return sshMethod(o)
	case o.Username != "" || o.Password != "":
		return &githttp.BasicAuth{Username: o.Username, Password: o.Password}, nil
	case o.BearerToken != "":
		return &githttp.TokenAuth{Token: o.BearerToken}, nil
	}
	return nil, nil
}

func sshMethod(o *fluxgit.AuthOptions) (transport.AuthMethod, error) {
	keys, err := gitssh.NewPublicKeys(o.Username, o.Identity, o.Password)
	if err != nil {
		return nil, fmt.Errorf("reading identity: %w", err)
	}
	callback, algorithms, err := knownhosts.New(o.KnownHosts)
	if err != nil {
		return nil, fmt.Errorf("reading known_hosts: %w", err)
	}
	if len(algorithms) == 1 && algorithms[0] == ssh.KeyAlgoRSA {
		algorithms = []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256, ssh.KeyAlgoRSA}
	}
	keys.HostKeyCallback = callback
	return &knownKeys{PublicKeys: keys, algorithms: algorithms}, nil
}

// knownKeys asks a server for the kind of host key that known_hosts holds.
type knownKeys struct {
	*gitssh.PublicKeys
	algorithms []string
}

// ClientConfig of the connection.
func (k *knownKeys) ClientConfig() (*ssh.ClientConfig, error) {
	config, err := k.PublicKeys.ClientConfig()
	if err == nil && len(k.algorithms) > 0 {
		config.HostKeyAlgorithms = k.algorithms
	}
	return config, err
}
