// SPDX-License-Identifier: Apache-2.0

package check

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/espalier-dev/espalier/gpu/pool"
	"github.com/espalier-dev/espalier/gpu/sku"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// Claim is what a Workspace wants of the shared pool that it names.
type Claim struct {
	Workspace string
	GPUs      int // or slices of them
}

// Claim is what a Workspace wants of its shared pool at the least. Who is refused or suspended
// has no pods, and those of a run in a queue wait by design.
func (a Assessment) Claim(w *v1alpha1.Workspace) Claim {
	claim, spec := Claim{Workspace: w.Name}, &w.Spec
	if spec.Suspend || spec.Queue != "" || a.Refused() {
		return claim
	}
	copies := int32(1)
	if spec.Inference != nil {
		copies, _ = spec.Inference.Copies()
	}
	first := a.Usable()[0]
	claim.GPUs = int(copies) * first.CopyNodes * first.PodGPUs
	return claim
}

// mostClaims bounds the Workspaces that a message names.
const mostClaims = 5

// Claims warns of a pool that has fewer GPUs than the Workspaces want that name it: all at
// once they need not run, so that it refuses nothing. Of nodes that exist there may be more
// than are declared, and of a size that is not in the catalogue nothing is known.
func Claims(p *v1alpha1.GPUNodePool, claims []Claim, pos repolayout.Position) []v1alpha1.Finding {
	_, most := p.Spec.Nodes()
	node, nodes, want := nodeGPUs(&p.Spec), int(most), 0
	for _, c := range claims {
		want += c.GPUs
	}
	if p.Spec.Provider == v1alpha1.ProviderExisting || node == 0 || want <= node*nodes {
		return nil
	}
	upTo, unit := "", "GPU"
	if p.Spec.Autoscale() != nil {
		upTo = "at most "
	}
	if p.Spec.Slices() != "" {
		unit = "GPU slice"
	}
	return []v1alpha1.Finding{finding.Warningf(PoolTooSmall, p.Spec.MostField(),
		"GPUNodePool %s has %s%s (%s of %d), and the Workspaces that name it want %d (%s): pods beyond that wait; raise it to %d, or suspend a Workspace, give it fewer copies or nodes of its own",
		p.Name, upTo, numbered(node*nodes, unit), numbered(nodes, "node"), node, want, largest(claims), (want+node-1)/node).At(pos, poolObject(p))}
}

// nodeGPUs is how many GPUs, or slices of them, a node of a pool has: of the first size that
// can be had, or of the largest where Karpenter chooses. 0: that is not known.
func nodeGPUs(s *v1alpha1.GPUNodePoolSpec) int {
	most := 0
	for _, c := range s.Candidates {
		instance, ok := sku.Lookup(c.InstanceType)
		if !ok {
			return 0
		}
		if instance.Schedulable() != nil || pool.Unsuited(s, c, pool.SizeOf(instance)) != "" {
			continue
		}
		if profile := s.Slices(); profile != "" {
			instance, _ = instance.Slice(profile) // that it can be cut was seen above
		}
		if most = max(most, instance.GPUs); !s.ByKarpenter() {
			break
		}
	}
	return most
}

// largest names who wants most.
func largest(claims []Claim) string {
	claims = slices.DeleteFunc(slices.Clone(claims), func(c Claim) bool { return c.GPUs == 0 })
	slices.SortFunc(claims, func(a, b Claim) int {
		return cmp.Or(b.GPUs-a.GPUs, strings.Compare(a.Workspace, b.Workspace))
	})
	var named []string
	for _, c := range claims[:min(len(claims), mostClaims)] {
		named = append(named, fmt.Sprintf("%s %d", c.Workspace, c.GPUs))
	}
	text := strings.Join(named, ", ")
	if more := len(claims) - mostClaims; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

func numbered(n int, unit string) string {
	if n == 1 {
		return "1 " + unit
	}
	return fmt.Sprintf("%d %ss", n, unit)
}

func poolObject(p *v1alpha1.GPUNodePool) string {
	return v1alpha1.GPUNodePoolKind + "/" + p.Namespace + "/" + p.Name
}

// Pool is what the catalogue has against a GPUNodePool that Git declares: the node
// pool controller passes such candidates over. A size that is not in the catalogue
// is the cloud's to judge.
func Pool(p *v1alpha1.GPUNodePool, pos repolayout.Position) []v1alpha1.Finding {
	var found []v1alpha1.Finding
	for i, c := range p.Spec.Candidates {
		instance, ok := sku.Lookup(c.InstanceType)
		if !ok {
			continue
		}
		why := pool.Unsuited(&p.Spec, c, pool.SizeOf(instance))
		if why == "" {
			continue
		}
		found = append(found, finding.Errorf(finding.OutOfRange, indexed("spec.candidates", i)+".instanceType", "%s", why).At(pos, poolObject(p)))
	}
	if len(found) < len(p.Spec.Candidates) {
		for i := range found {
			found[i].Severity = finding.Warning // the next candidate is taken
		}
	}
	return found
}
