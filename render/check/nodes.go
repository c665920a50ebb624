// SPDX-License-Identifier: Apache-2.0

package check

import (
	"cmp"
	"fmt"

	"github.com/espalier-dev/espalier/gpu/fit"
	"github.com/espalier-dev/espalier/gpu/sku"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// provider sees that the nodes are selected where the RepoSync or the installation, and
// not the Workspace, says that they exist.
func (c *checker) provider() {
	r := c.workspace.Spec.Resource
	if r.NodePool != "" || c.providerOf() != v1alpha1.ProviderExisting || len(r.Labels()) > 0 {
		return
	}
	by := ""
	switch {
	case r.Provider == "":
		by = "which --provider sets where neither a Workspace nor spec.defaults of its RepoSync has one"
	case repolayout.Defaulted(c.workspace, repolayout.DefaultedProvider):
		by = "which spec.defaults of the RepoSync sets where a Workspace has none"
	default:
		return // ValidateWorkspace says so
	}
	c.refuse(finding.MissingField, "spec.resource.labelSelector", "provider existing, %s, takes the nodes that matchLabels selects: name at least one label, or another provider", by)
}

// size computes how many nodes all copies take.
func (c *checker) size(out *Candidate) {
	c.shape(out)
	if c.workspace.Spec.Tuning != nil {
		out.Nodes, out.LeastNodes = out.CopyNodes, out.CopyNodes
		return
	}
	least, most := c.workspace.Spec.Inference.Copies()
	count := int(c.workspace.Spec.Resource.Count)
	out.LeastNodes, out.Nodes = max(out.NodesFor(int(least)), count), max(out.NodesFor(int(most)), count)
}

// shape says how one copy lies on nodes: as it was rendered before, else as the
// fit computes it today.
func (c *checker) shape(out *Candidate) {
	kept := c.facts.Resolved
	switch {
	case kept != nil && kept.Digest == c.out.Resolved.Digest && kept.InstanceType == out.InstanceType &&
		kept.Resource == ResourceDigest(c.workspace.Spec.Resource) && kept.GPUsPerPod > 0 && kept.NodesPerCopy > 0:
		out.PodGPUs, out.CopyNodes = int(kept.GPUsPerPod), int(kept.NodesPerCopy)
	case c.workspace.Spec.Tuning != nil:
		out.CopyNodes = max(1, out.Fit.Nodes)
		out.PodGPUs = max(1, out.Fit.GPUs/out.CopyNodes)
	default:
		out.CopyNodes = max(1, out.Fit.Nodes)
		out.PodGPUs = max(1, out.Fit.TensorParallel*out.Fit.PipelineParallel/out.CopyNodes)
	}
}

// copies of a service that the spec asks for; the most of one that scales by
// itself.
func (c *checker) copies() int {
	_, most := c.workspace.Spec.Inference.Copies()
	return int(most)
}

// count compares the number of nodes with spec.resource.count.
func (c *checker) count(out Candidate, add func(finding.Problem)) {
	count := int(c.workspace.Spec.Resource.Count)
	switch {
	case count == 0 || count == 1 && out.Nodes <= 1 || c.scales() || c.workspace.Spec.Tuning != nil:
	case out.Nodes > count:
		add(finding.Errorf(NodesUnsupported, "spec.resource.count", "%s %d nodes of %s: raise count, or leave it out", takes(c.copies()), out.Nodes, out.InstanceType))
	default:
		room := out.Nodes / out.CopyNodes * max(1, out.Instance.GPUs/out.PodGPUs)
		if out.CopyNodes > 1 {
			room = out.Nodes / out.CopyNodes
		}
		if c.copies() < room {
			add(finding.Warningf(NodesIdle, "spec.resource.count", "%d nodes have room for %d copies: raise replicas, or leave count out", out.Nodes, room))
		}
	}
}

func takes(copies int) string {
	if copies == 1 {
		return "one copy takes"
	}
	return fmt.Sprintf("%d copies take", copies)
}

// enough are GPUs that the task fits, of nodes that exist.
type enough struct {
	gpu    sku.Instance
	report fit.Report
}

// gpus of one node that a copy takes.
func (e enough) gpus() int {
	return max(1, e.report.TensorParallel*e.report.PipelineParallel/max(1, e.report.Nodes))
}

// less says that it asks less of nodes: one before several, what fits before what is
// tight, then the memory of all GPUs.
func (e enough) less(than enough) bool {
	total := func(of enough) float64 { return float64(of.gpus()) * of.gpu.VendorGB }
	tight := func(of enough) int {
		if of.report.Verdict == v1alpha1.Tight {
			return 1
		}
		return 0
	}
	return cmp.Or(cmp.Compare(e.report.Nodes, than.report.Nodes), cmp.Compare(tight(e), tight(than)),
		cmp.Compare(total(e), total(than)), cmp.Compare(e.gpus(), than.gpus())) < 0
}

// wouldDo ends a refusal on nodes that exist, for which nobody buys a size: with what would
// have to be in them.
func (c *checker) wouldDo() string {
	var best enough
	seen := map[string]bool{}
	for _, i := range sku.All() {
		kind := fmt.Sprint(i.GPUs, i.GPU, i.Arch)
		if i.Schedulable() != nil || i.Fraction != "" || seen[kind] {
			continue
		}
		seen[kind] = true
		i = c.onNodes(i)
		found := enough{i, c.judge(i, c.imageOn(i))}
		if found.report.Works() && (!best.report.Works() || found.less(best)) {
			best = found
		}
	}
	if !best.report.Works() {
		return "; no GPUs of the catalogue would do"
	}
	which := "nodes"
	if best.report.Nodes > 1 {
		which = fmt.Sprintf("%d nodes", best.report.Nodes)
	}
	gpus := "one GPU"
	if n := best.gpus(); n > 1 {
		gpus = fmt.Sprintf("%d GPUs", n)
	}
	return fmt.Sprintf("; %s with %s of %g GB (%s) would do", which, gpus, best.gpu.VendorGB, best.gpu.Chip())
}
