// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// karpenter is Karpenter's core with its cloud of simulated nodes. It is no part
// of a control plane: only who asks for it builds and starts it.
var karpenter = program{
	name: "karpenter", pkg: "sigs.k8s.io/karpenter/kwok",
	what: "Karpenter with its kwok cloud", minutes: "3 to 8 minutes",
}

// KarpenterBuildCommand is what a person runs to get Karpenter.
const KarpenterBuildCommand = "make e2e-karpenter"

// MissingKarpenter returns an error that says what to run when bin lacks it.
func MissingKarpenter(bin string) error {
	if _, err := os.Stat(filepath.Join(bin, karpenter.name)); err != nil {
		return fmt.Errorf("%s is not built (looked in %s): `%s` builds it", karpenter.name, bin, KarpenterBuildCommand)
	}
	return nil
}

// BuildKarpenter is Build for Karpenter alone.
func BuildKarpenter(ctx context.Context, bin string, out io.Writer) error {
	return buildAll(ctx, []program{karpenter}, bin, out)
}

func karpenterModule(root string) string {
	return filepath.Join(root, "test", "cluster", karpenter.name)
}

// InstanceType is what the simulated cloud of Karpenter offers, on demand and as
// spot, in one zone.
type InstanceType struct {
	Name           string
	CPU, MemoryGiB int
	GPUs           int
	Zone           string
	USD            float64 // per hour
}

// StartKarpenter installs Karpenter's kinds and starts it, with a cloud that
// offers some instance types. Its nodes are played by kwok; their device plugin
// is the NodeClaim, whose requested GPUs they have from the beginning.
func (c *Cluster) StartKarpenter(ctx context.Context, types []InstanceType) error {
	root, err := Root()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/karpenter")
	cmd.Dir = karpenterModule(root)
	cmd.Env = append(os.Environ(), "GOWORK=off")
	source, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("finding Karpenter's kinds: %w", err)
	}
	for _, folder := range []string{"pkg/apis/crds", "kwok/apis/crds"} {
		if err := InstallCRDs(ctx, c.Config, filepath.Join(strings.TrimSpace(string(source)), folder)); err != nil {
			return err
		}
	}
	offers, err := json.Marshal(offers(types))
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(c.Dir, "instance-types.json"), offers, 0o644); err != nil {
		return err
	}
	kubeconfig, err := filepath.Abs(c.Kubeconfig)
	if err != nil {
		return err
	}
	return c.runWith(karpenter.name, "karpenter", []string{"KUBECONFIG=" + kubeconfig}, []string{
		"--instance-types-file-path=instance-types.json", "--disable-leader-election=true",
		"--metrics-port=0", "--health-probe-port=0", "--log-level=info",
	})
}

// StopKarpenter ends Karpenter; its kinds stay.
func (c *Cluster) StopKarpenter() { c.end(karpenter.name) }

// offers are instance types as Karpenter's kwok cloud reads them.
func offers(types []InstanceType) []map[string]any {
	requirement := func(key, value string) map[string]any {
		return map[string]any{"key": key, "operator": "In", "values": []string{value}}
	}
	var all []map[string]any
	for _, t := range types {
		var offerings []map[string]any
		for capacity, usd := range map[string]float64{"on-demand": t.USD, "spot": t.USD / 2} {
			offerings = append(offerings, map[string]any{
				"Price": usd, "Available": true,
				"Requirements": []any{requirement("karpenter.sh/capacity-type", capacity), requirement("topology.kubernetes.io/zone", t.Zone)},
			})
		}
		all = append(all, map[string]any{
			"name": t.Name, "architecture": "amd64", "operatingSystems": []string{"linux"}, "offerings": offerings,
			"resources": map[string]string{
				"cpu": fmt.Sprint(t.CPU), "memory": fmt.Sprintf("%dGi", t.MemoryGiB), "ephemeral-storage": "256Gi",
				"nvidia.com/gpu": fmt.Sprint(t.GPUs),
			},
		})
	}
	return all
}
