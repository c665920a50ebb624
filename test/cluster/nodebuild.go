// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
)

// What a real node runs, and the registry that it pulls from. None of it is part
// of the control plane: `make test` needs no C compiler and no root.
var (
	kubelet = program{
		name: "kubelet", pkg: "k8s.io/kubernetes/cmd/kubelet", ldflags: versionFlags(kubernetesVersion),
		what: "the agent of a real node, " + kubernetesVersion, minutes: "1 to 3 minutes",
	}
	containerd = program{
		name: "containerd", pkg: "github.com/containerd/containerd/v2/cmd/containerd",
		what: "what pulls images and runs containers", minutes: "2 to 4 minutes",
	}
	shim = program{
		name: "containerd-shim-runc-v2", module: "containerd", pkg: "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2",
		what: "the parent of a pod's processes", minutes: "half a minute",
	}
	ctr = program{
		name: "ctr", module: "containerd", pkg: "github.com/containerd/containerd/v2/cmd/ctr",
		what: "containerd's command line", minutes: "half a minute",
	}
	runc = program{
		name: "runc", pkg: "github.com/opencontainers/runc", tags: "seccomp",
		what: "what makes a container; needs a C compiler and libseccomp", minutes: "1 minute",
	}
	cniBridge = program{
		name: "cni-bridge", module: "cni", pkg: "github.com/containernetworking/plugins/plugins/main/bridge",
		what: "the network of pods", minutes: "half a minute",
	}
	cniHostLocal = program{
		name: "cni-host-local", module: "cni", pkg: "github.com/containernetworking/plugins/plugins/ipam/host-local",
		what: "the addresses of pods", minutes: "half a minute",
	}
	registry = program{
		name: "registry", pkg: "github.com/distribution/distribution/v3/cmd/registry",
		what: "a real OCI registry", minutes: "2 to 7 minutes",
	}
	nodePrograms = []program{kubelet, containerd, shim, ctr, runc, cniBridge, cniHostLocal, registry}
)

// NodeBuildCommand is what a person runs to get a node's programs.
const NodeBuildCommand = "make e2e-node"

// errNoSeccomp says what runc is built with.
var errNoSeccomp = errors.New("runc needs a C compiler, pkg-config and the headers of libseccomp: on Debian, `apt-get install gcc pkg-config libseccomp-dev`")

// BuildNode builds into bin, as Build does, what StartNode and StartRegistry run.
func BuildNode(ctx context.Context, bin string, out io.Writer) error {
	if _, err := os.Stat(filepath.Join(bin, runc.name)); err != nil { // said before minutes of building, not after
		if err := exec.CommandContext(ctx, "pkg-config", "--exists", "libseccomp").Run(); err != nil {
			return errNoSeccomp
		}
	}
	return buildAll(ctx, nodePrograms, bin, out)
}

// MissingNode returns an error that says what to run when bin lacks a program of a
// node.
func MissingNode(bin string) error {
	for _, p := range nodePrograms {
		if _, err := os.Stat(filepath.Join(bin, p.name)); err != nil {
			return fmt.Errorf("%s is not built (looked in %s): `%s` builds it", p.name, bin, NodeBuildCommand)
		}
	}
	return nil
}
