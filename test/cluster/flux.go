// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/espalier-dev/espalier/test/port"
)

// FluxRelease is one of the releases of Flux that tests run beside.
type FluxRelease string

// Releases of Flux. The newest is the newest that this module's Go compiles; of the one
// before there is source-controller, whose API is what we read, beside the others of the
// newest: docs/flux.md names the versions.
const (
	FluxNewest   FluxRelease = ""
	FluxPrevious FluxRelease = "previous"
)

// Flux's own controllers, those of the newest release of one module, so that they share
// what they are compiled from. They are no part of a control plane: only who asks for
// them builds and starts them.
var (
	sourceController = program{
		name: "source-controller", module: "flux", pkg: "github.com/fluxcd/source-controller",
		what: "what fetches sources for Flux", minutes: "4 to 15 minutes",
	}
	kustomizeController = program{
		name: "kustomize-controller", module: "flux", pkg: "github.com/fluxcd/kustomize-controller",
		what: "what applies for Flux", minutes: "1 to 3 minutes after the first",
	}
	notificationController = program{
		name: "notification-controller", module: "flux", pkg: "github.com/fluxcd/notification-controller",
		what: "what tells others for Flux", minutes: "1 to 3 minutes after the first",
	}
	previousSourceController = program{
		name: "source-controller-previous", module: "flux-previous", pkg: sourceController.pkg,
		what: sourceController.what, minutes: sourceController.minutes,
	}
)

// fluxNames are what the controllers are called in logs, of whatever release.
var fluxNames = []string{sourceController.name, kustomizeController.name, notificationController.name}

// programs of a release, in the order in which StartFluxWith starts them.
func (r FluxRelease) programs() ([]program, error) {
	switch r {
	case FluxNewest:
		return []program{sourceController, kustomizeController, notificationController}, nil
	case FluxPrevious:
		return []program{previousSourceController, kustomizeController, notificationController}, nil
	}
	return nil, fmt.Errorf("%q is no release of Flux that is built here: %q, or nothing for the newest", r, FluxPrevious)
}

// FluxBuildCommand is what a person runs to get Flux's controllers.
const FluxBuildCommand = "make e2e-flux"

// FluxNamespace is where Flux thinks that it runs.
const FluxNamespace = "flux-system"

// MissingFlux returns an error that says what to run when bin lacks one of them, or the
// registry that they fetch from.
func MissingFlux(bin string, release FluxRelease) error {
	programs, err := release.programs()
	if err != nil {
		return err
	}
	command := FluxBuildCommand
	if release != FluxNewest {
		command += " FLUX=" + string(release)
	}
	for _, p := range append(programs, registry) {
		if _, err := os.Stat(filepath.Join(bin, p.name)); err != nil {
			return fmt.Errorf("%s is not built (looked in %s): `%s` builds it", p.name, bin, command)
		}
	}
	return nil
}

// BuildFlux is Build for Flux's controllers, and for a registry that they fetch from.
func BuildFlux(ctx context.Context, bin string, out io.Writer) error {
	return FluxNewest.build(ctx, bin, out)
}

// BuildPreviousFlux is BuildFlux for the release before.
func BuildPreviousFlux(ctx context.Context, bin string, out io.Writer) error {
	return FluxPrevious.build(ctx, bin, out)
}

func (r FluxRelease) build(ctx context.Context, bin string, out io.Writer) error {
	programs, err := r.programs()
	if err != nil {
		return err
	}
	return buildAll(ctx, append(programs, registry), bin, out)
}

// Flux is where the controllers of Flux keep and take things.
type Flux struct {
	// Artifacts is the folder that source-controller serves, as
	// <kind>/<namespace>/<name>/<file>.
	Artifacts string
	// EventsAddr is the --events-addr that controllers give to
	// notification-controller's address.
	EventsAddr string
	// HookURL is where its Receivers are.
	HookURL string
}

// fluxPorts are the addresses of the controllers, each on loopback.
type fluxPorts struct {
	storage, events, hook string
	health                [3]string
}

// StartFlux installs the kinds of Flux and starts its controllers, which watch all
// namespaces as administrators, and returns when they are ready. For tests a
// Kustomization asks every second for what it depends on.
func (c *Cluster) StartFlux(ctx context.Context, release FluxRelease) (*Flux, error) {
	return c.StartFluxWith(ctx, release, "--requeue-dependency=1s")
}

// StartFluxWith is StartFlux with flags of kustomize-controller.
func (c *Cluster) StartFluxWith(ctx context.Context, release FluxRelease, flags ...string) (*Flux, error) {
	programs, err := release.programs()
	if err != nil {
		return nil, err
	}
	if err := c.installFlux(ctx, programs); err != nil {
		return nil, err
	}
	ports, err := newFluxPorts()
	if err != nil {
		return nil, err
	}
	f := &Flux{Artifacts: filepath.Join(c.Dir, "artifacts"), EventsAddr: "http://" + ports.events + "/", HookURL: "http://" + ports.hook}
	if err := os.MkdirAll(f.Artifacts, 0o755); err != nil {
		return nil, err
	}
	kubeconfig, err := filepath.Abs(c.Kubeconfig)
	if err != nil {
		return nil, err
	}
	env := []string{"KUBECONFIG=" + kubeconfig, "RUNTIME_NAMESPACE=" + FluxNamespace}
	for i, args := range [][]string{
		{"--events-addr=" + f.EventsAddr, "--storage-path=" + f.Artifacts, "--storage-addr=" + ports.storage, "--storage-adv-addr=" + ports.storage},
		append([]string{"--events-addr=" + f.EventsAddr}, flags...),
		{"--events-addr=" + ports.events, "--receiverAddr=" + ports.hook},
	} {
		args = append(args, "--metrics-addr=0", "--health-addr="+ports.health[i], "--watch-all-namespaces", "--enable-leader-election=false")
		if err := c.runWith(programs[i].name, fluxNames[i], env, args); err != nil {
			return nil, err
		}
	}
	return f, c.waitFlux(ctx, ports)
}

// StopFlux ends the controllers of Flux, so that they can be started anew.
func (c *Cluster) StopFlux() { c.end(fluxNames...) }

// installFlux applies the kinds of Flux out of the modules it is built from.
func (c *Cluster) installFlux(ctx context.Context, programs []program) error {
	root, err := Root()
	if err != nil {
		return err
	}
	for _, p := range programs {
		cmd := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", p.pkg)
		cmd.Dir = p.folder(root)
		cmd.Env = append(os.Environ(), "GOWORK=off")
		source, err := cmd.Output()
		if err != nil {
			return fmt.Errorf("finding the kinds of %s: %w", p.name, err)
		}
		if err := InstallCRDs(ctx, c.Config, filepath.Join(strings.TrimSpace(string(source)), "config", "crd", "bases")); err != nil {
			return err
		}
	}
	_, err = c.KubectlInput(ctx, []byte("apiVersion: v1\nkind: Namespace\nmetadata: {name: "+FluxNamespace+"}\n"), "apply", "-f", "-")
	return err
}

func newFluxPorts() (fluxPorts, error) {
	p := fluxPorts{}
	for _, address := range []*string{&p.storage, &p.events, &p.hook, &p.health[0], &p.health[1], &p.health[2]} {
		var err error
		if *address, err = port.FreeAddress(); err != nil {
			return p, err
		}
	}
	return p, nil
}

// waitFlux waits until every controller is ready and events can be told.
func (c *Cluster) waitFlux(ctx context.Context, ports fluxPorts) error {
	for i, address := range ports.health {
		err := c.waitFor(ctx, func(ctx context.Context) bool {
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/readyz", http.NoBody)
			if err != nil {
				return false
			}
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				return false
			}
			defer res.Body.Close()
			return res.StatusCode == http.StatusOK
		})
		if err != nil {
			return fmt.Errorf("waiting for %s: %w", fluxNames[i], err)
		}
	}
	return nil
}
