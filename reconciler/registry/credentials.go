// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"errors"
	"fmt"
	"io"

	"github.com/docker/cli/cli/config"
	"github.com/docker/cli/cli/config/configfile"
	"github.com/docker/cli/cli/config/types"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
)

// dockerConfig is a keychain over one Docker configuration file.
type dockerConfig struct{ file *configfile.ConfigFile }

// ErrNoConfig says that the text is no Docker configuration. The parser's own error may
// repeat a part of it.
var ErrNoConfig = errors.New("it is not a Docker configuration")

// Credentials reads a Docker configuration file, as a Secret of type
// kubernetes.io/dockerconfigjson holds it.
func Credentials(r io.Reader) (authn.Keychain, error) {
	parsed, err := config.LoadFromReader(r)
	if err != nil {
		return nil, ErrNoConfig
	}
	parsed.CredentialsStore, parsed.CredentialHelpers = "", nil // programs, which a repository must not start
	return dockerConfig{parsed}, nil
}

// Resolve returns the credential of a repository, else of its registry, else none.
func (d dockerConfig) Resolve(target authn.Resource) (authn.Authenticator, error) {
	for _, key := range []string{target.String(), target.RegistryStr()} {
		if key == name.DefaultRegistry {
			key = authn.DefaultAuthKey
		}
		found, err := d.file.GetAuthConfig(key)
		if err != nil {
			return nil, fmt.Errorf("reading the credential of %s: %w", target.RegistryStr(), err)
		}
		found.ServerAddress = "" // set whether there is a credential or not
		if found != (types.AuthConfig{}) {
			return authn.FromConfig(authn.AuthConfig{
				Username: found.Username, Password: found.Password, Auth: found.Auth,
				IdentityToken: found.IdentityToken, RegistryToken: found.RegistryToken,
			}), nil
		}
	}
	return authn.Anonymous, nil
}
