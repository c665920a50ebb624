// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
)

// registryConfig: all of it in a folder, read by nobody's environment.
const registryConfig = `version: 0.1
log: {level: warn}
storage:
  filesystem: {rootdirectory: %q}
  delete: {enabled: true}
http: {addr: %q}
`

// StartRegistry starts a real OCI registry, without TLS and open to all, on an
// address of this machine, and returns its host and port when it answers. It ends
// with the cluster.
func (c *Cluster) StartRegistry(ctx context.Context, address string) (host string, err error) {
	if _, err := os.Stat(filepath.Join(c.options.Bin, registry.name)); err != nil {
		return "", fmt.Errorf("%s is not built (looked in %s): `%s` or `%s` builds it", registry.name, c.options.Bin, NodeBuildCommand, FluxBuildCommand)
	}
	listener, err := net.Listen("tcp", net.JoinHostPort(address, "0"))
	if err != nil {
		return "", fmt.Errorf("finding a port for the registry: %w", err)
	}
	host = net.JoinHostPort(address, strconv.Itoa(listener.Addr().(*net.TCPAddr).Port))
	if err := listener.Close(); err != nil {
		return "", err
	}
	config, err := filepath.Abs(filepath.Join(c.Dir, "registry.yaml"))
	if err != nil {
		return "", err
	}
	text := fmt.Sprintf(registryConfig, filepath.Join(filepath.Dir(config), "registry"), host)
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		return "", err
	}
	if err := c.run(registry.name, "registry", []string{"serve", config}); err != nil {
		return "", err
	}
	var last error
	err = c.waitFor(ctx, func(ctx context.Context) bool {
		last = answers(ctx, "http://"+host+"/v2/")
		return last == nil
	})
	if err != nil {
		return "", fmt.Errorf("waiting for the registry: %w", errors.Join(err, last))
	}
	return host, nil
}

// answers says whether a server answers.
func answers(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", url, res.Status)
	}
	return nil
}
