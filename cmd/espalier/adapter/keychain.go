// SPDX-License-Identifier: Apache-2.0

package adapter

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/espalier-dev/espalier/reconciler/registry"
)

// DockerConfigs joins the credentials of several folders; of none they are those of
// DockerConfig("").
func DockerConfigs(dirs []string) (authn.Keychain, error) {
	if len(dirs) == 0 {
		return DockerConfig("")
	}
	var all []authn.Keychain
	for _, dir := range dirs {
		one, err := DockerConfig(dir)
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return authn.NewMultiKeychain(all...), nil
}

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
		keys, err := registry.Credentials(r)
		if err != nil {
			return nil, refused("%s in %s is not a Docker configuration", file, dir)
		}
		return keys, nil
	}
	return nil, refused("%s holds neither config.json nor .dockerconfigjson: mount a Secret of type kubernetes.io/dockerconfigjson there", dir)
}
