// SPDX-License-Identifier: Apache-2.0

package adapter

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/docker/cli/cli/config"
	"github.com/docker/cli/cli/config/configfile"
	"github.com/docker/cli/cli/config/types"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
)

// dockerConfig is a keychain over one Docker configuration file.
type dockerConfig struct{ file *configfile.ConfigFile }

// DockerConfig reads the credentials of a folder: config.json as Docker names
// the file, or .dockerconfigjson as a mounted Secret of Kubernetes does. An
// empty dir is that of DOCKER_CONFIG, without which it is Docker's own default.
func DockerConfig(dir string) (authn.Keychain, error) {
	if dir == "" {
		dir = os.Getenv("DOCKER_CONFIG")
	}
	if dir == "" {
		return authn.DefaultKeychain, nil
	}
	for _, file := range []string{"config.json", ".dockerconfigjson"} {
		r, err := os.Open(filepath.Join(dir, file))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("opening the registry credentials: %w", err)
		}
		defer r.Close()
		parsed, err := config.LoadFromReader(r)
		if err != nil {
			// The parser's error may repeat a part of the file.
			return nil, refused("%s in %s is not a Docker configuration", file, dir)
		}
		return dockerConfig{parsed}, nil
	}
	return nil, refused("%s holds neither config.json nor .dockerconfigjson: mount a Secret of type kubernetes.io/dockerconfigjson there", dir)
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
