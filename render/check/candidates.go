// SPDX-License-Identifier: Apache-2.0

package check

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/espalier-dev/espalier/gpu/fit"
	"github.com/espalier-dev/espalier/gpu/price"
	"github.com/espalier-dev/espalier/gpu/sku"
	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

func indexed(field string, i int) string { return finding.Index(field, i) }

// defaultAdapterRank is max-lora-rank without a configuration: adapters of
// QLoRA runs have ranks of up to 64, and vLLM's own default of 16 refuses them.
const defaultAdapterRank = 64

// AdapterRank is the largest rank of adapters that the service takes.
func (a Assessment) AdapterRank() int {
	if a.Serving.AdapterRank > 0 {
		return a.Serving.AdapterRank
	}
	return defaultAdapterRank
}

// listed are the candidates of the spec, or of the pool it shares, with the
// field each is written in.
func (c *checker) listed() (list []v1alpha1.Candidate, field func(int) string) {
	r := c.workspace.Spec.Resource
	switch {
	case r.NodePool != "":
		field = func(int) string { return "spec.resource.nodePool" }
		if c.facts.Pool != nil {
			list = c.facts.Pool.Candidates
		}
	case r.InstanceType != "":
		list = r.CandidateList()
		field = func(int) string { return "spec.resource.instanceType" }
	default:
		list = r.CandidateList()
		field = func(i int) string { return indexed("spec.resource.candidates", i) + ".instanceType" }
	}
	return list, field
}

// candidates judges every candidate. One that is refused beside one that can be
// used is a warning: the next in order is taken.
func (c *checker) candidates() {
	r := c.workspace.Spec.Resource
	list, field := c.listed()
	if p := LikeNothing(c.workspace); p != nil {
		c.out.Findings = append(c.out.Findings, c.place(*p))
	}
	if r.NodePool != "" && c.facts.Pool == nil {
		c.refuse(InputMissing, "spec.resource.nodePool", "GPUNodePool %q %s", r.NodePool, cmp.Or(c.facts.PoolAbsent, "is not there"))
	}
	c.poolBudget()
	for i, candidate := range list {
		judged := c.candidate(candidate, field(i))
		judged.Refused = finding.Refused(judged.Findings)
		c.out.Candidates = append(c.out.Candidates, judged)
	}
	usable := c.out.Usable()
	if len(usable) == 0 {
		return
	}
	if c.facts.Pool != nil && c.facts.Pool.ByKarpenter() {
		c.samePods(usable[0], field)
	} else {
		c.sameNodes(usable[0], field)
	}
	c.sameGPUs(usable[0], field)
	for _, candidate := range c.out.Candidates {
		for n := range candidate.Findings {
			candidate.Findings[n].Severity = finding.Warning
		}
	}
}

// sameNodes rules out what needs another number of nodes than the first that
// can be used: a pool has one number for all its candidates, and a fallback
// must not buy the nodes of another size.
func (c *checker) sameNodes(first Candidate, field func(int) string) {
	for i := range c.out.Candidates {
		other := &c.out.Candidates[i]
		if !other.Usable() || c.alike(*other, first) {
			continue
		}
		other.Refused = true
		other.Findings = append(other.Findings, c.place(finding.Warningf(NodesDiffer, field(i),
			"%s would need %d nodes where %s needs %d, and a pool has one number: it is not used; give it a Workspace of its own or leave it out",
			other.InstanceType, other.Nodes, first.InstanceType, first.Nodes)))
	}
}

func (c *checker) candidate(candidate v1alpha1.Candidate, field string) Candidate {
	out := Candidate{Candidate: candidate, Nodes: 1, LeastNodes: 1, CopyNodes: 1}
	if out.Priority == "" {
		out.Priority = v1alpha1.OnDemand
	}
	add := func(p finding.Problem) { out.Findings = append(out.Findings, c.place(p)) }
	instance, ok := sku.Lookup(candidate.InstanceType)
	if !ok {
		add(c.unknown(candidate.InstanceType, field))
		return out
	}
	// The catalogue's spelling: clouds compare names by letter.
	out.Instance, out.InstanceType = instance, instance.Name
	cut, err := c.cut(instance)
	if err != nil {
		add(finding.Errorf(finding.NotOneOf, c.sliced(field), "%v", err))
		return out
	}
	instance, out.Instance = cut, cut
	if c.out.Pod != nil {
		c.fitPod(&out, field, add)
		return out
	}
	if !c.hasGPUs(out, add) {
		return out
	}
	out.Fit = c.judge(instance, c.out.Runtime.Requires)
	c.size(&out)
	switch {
	case !out.Fit.Works():
		refusal := c.refusal(out, field)
		if refusal.Code == InstanceTypeRetired {
			refusal = c.withSize(refusal, candidate.InstanceType, c.sizeFor(instance.Cloud))
		}
		add(refusal)
		return out
	case out.Fit.Verdict == v1alpha1.Tight:
		add(finding.Warningf(FitTight, field, "%s fits %s only just: %s", c.out.Preset.Name(), instance.Name, reasons(out.Fit)))
	}
	c.unbounded(out, field, add)
	c.mountable(out.Candidate, field, add)
	c.cacheModes(out, add)
	c.weightsModes(out, add)
	c.adapterClaims(out, field, add)
	c.trainers(out, add)
	c.buy(&out, field, add)
	return out
}

// buy counts the nodes of a candidate, and holds their price against the budget.
func (c *checker) buy(out *Candidate, field string, add func(finding.Problem)) {
	c.count(*out, add)
	c.autoscale(*out, field, add)
	switch {
	case c.workspace.Spec.Resource.NodePool != "":
	case c.nodesExist():
		out.Exist = true // no budget is for them
	default:
		out.Price = price.AtMost(out.Instance, c.facts.Region, out.Nodes, out.Priority)
		out.LeastPrice = price.AtMost(out.Instance, c.facts.Region, out.LeastNodes, out.Priority)
		if out.LeastNodes == 0 {
			out.LeastPrice.USD = 0
		}
		c.budget(*out, field, add)
	}
	c.runBudget(*out, add)
}

// judge asks the memory fit.
func (c *checker) judge(i sku.Instance, image fit.Image) fit.Report {
	if c.workspace.Spec.Tuning != nil {
		return fit.Tune(c.out.Preset.Model, i, c.tuning(image))
	}
	return fit.Serve(c.out.Preset.Model, i, c.serving(i, image))
}

func (c *checker) tuning(image fit.Image) fit.Tuning {
	t := c.out.Training
	return fit.Tuning{
		Method: c.workspace.Spec.Tuning.Method, SequenceLength: t.SequenceLength, MicroBatch: t.MicroBatch,
		Rank: t.Rank, TargetModules: t.Targets, Optimizer32Bit: !t.EightBit(), NoCheckpointing: t.NoCheckpointing,
		SingleQuantization: t.SingleQuantization, Image: image, Nodes: int(c.workspace.Spec.Resource.Count),
		EvalBatch: c.evalBatch(), Tasks: len(c.workspace.Spec.Tuning.Evaluation.Benchmarks()) > 0,
		// What Axolotl holds with DoRA and without its own kernels was seen to take the room of
		// what it puts back.
		Recast: c.out.Runtime.Recasts() && !t.DoRA(), DoRA: t.DoRA(),
	}
}

// wholeMachine is the number of GPUs of the largest machines that clouds have: a
// model that does not fit one of them has no other way than several.
const wholeMachine = 8

// serving is for one copy on machines of one type. Nobody who wrote a small size
// gets several of them unasked: they are searched for on whole machines, and
// where spec.resource.count asks for more than one.
func (c *checker) serving(i sku.Instance, image fit.Image) fit.Serving {
	return c.servingOn(c.mayPipeline() && (i.GPUs >= wholeMachine || c.workspace.Spec.Resource.Count > 1), image)
}

// mayPipeline says whether this version of vLLM can spread the architecture.
func (c *checker) mayPipeline() bool {
	return c.out.Runtime.Pipelines(c.out.Preset.Architecture)
}

func (c *checker) servingOn(several bool, image fit.Image) fit.Serving {
	s, spec := c.out.Serving, c.workspace.Spec.Inference
	nodes := 1
	if several {
		nodes = 0
	}
	out := fit.Serving{
		Context: c.context(), Utilization: s.Utilization, Nodes: nodes,
		BatchTokens: s.BatchTokens, Sequences: s.Sequences, KVElementBytes: s.KVElementBytes,
		TensorParallel: max(s.TensorParallel, int(c.workspace.Spec.Resource.GPUs)), Image: image, Throughput: c.throughput(),
	}
	out.Unpaged = c.unpaged()
	if len(spec.Adapters) > 0 {
		out.Adapters, out.AdapterRank, out.ShardedAdapters = len(spec.Adapters), c.out.AdapterRank(), s.ShardedAdapters
	}
	return out
}

func nodes(n int, instance string) string {
	if n == 1 {
		return instance
	}
	return fmt.Sprintf("%d nodes of %s", n, instance)
}

// several names an instance type, and the number where it is not one.
func several(n int, instance string) string {
	if n == 1 {
		return instance
	}
	return fmt.Sprintf("%s (%d nodes)", instance, n)
}

func costs(n int) string {
	if n == 1 {
		return "costs"
	}
	return "cost"
}

// refusal explains why a candidate cannot be used, and what can.
func (c *checker) refusal(out Candidate, field string) finding.Problem {
	code := DoesNotFit
	switch {
	case out.Instance.Status == sku.Retired:
		code = InstanceTypeRetired
	case out.Fit.Verdict == v1alpha1.Unknown:
		code = FitUnknown
	}
	newer, field := c.newerDriver(out, field)
	advice := ""
	if newer == "" {
		advice = c.advice(out.Instance.Cloud) // of a driver of one's own no size is the remedy
	}
	return finding.Errorf(code, field, "%s%s%s%s%s", reasons(out.Fit), newer, c.otherCUDA(out), c.together(out), advice)
}

// together says how many nodes of a size that is too small would work as one.
func (c *checker) together(out Candidate) string {
	if c.workspace.Spec.Inference == nil || out.Fit.Blocked || out.Fit.Nodes != 1 || !c.mayPipeline() || c.scales() || c.workspace.Spec.Resource.NodePool != "" {
		return ""
	}
	r := fit.Serve(c.out.Preset.Model, out.Instance, c.servingOn(true, c.out.Runtime.Requires))
	if !r.Works() || r.Nodes < 2 {
		return ""
	}
	return fmt.Sprintf("; %d of them work as one, slower than one larger machine: spec.resource.count: %d asks for that", r.Nodes, r.Nodes*c.copies())
}

// information are reasons that decide nothing by themselves.
var information = map[string]bool{
	fit.CodeFloat16: true, fit.CodeEmulated: true, fit.CodeDriverUnknown: true, fit.CodeContextLimited: true,
	fit.CodeFits: true, fit.CodeMemoryEnough: true, fit.CodeMultiNode: true, fit.CodeRecurrentState: true,
}

// reasons joins what decided a verdict.
func reasons(r fit.Report) string {
	var list []string
	for _, reason := range r.Reasons {
		if !information[reason.Code] {
			list = append(list, reason.Message)
		}
	}
	if len(list) == 0 {
		return "it does not fit"
	}
	return strings.Join(list, "; ")
}

// cheapest size of a cloud that the task fits.
func (c *checker) cheapest(cloud string) (fit.Alternative, bool) {
	var among []sku.Instance
	for _, i := range sku.All() {
		if i.Cloud == cloud {
			among = append(among, i)
		}
	}
	return fit.Cheapest(among, c.facts.Region, func(i sku.Instance) fit.Report { return c.judge(i, c.imageOn(i)) })
}

// advice ends a refusal with what would work, of several candidates the first.
func (c *checker) advice(cloud string) string {
	if c.ownsPod() || c.advised[cloud] {
		return ""
	}
	if c.advised == nil {
		c.advised = map[string]bool{}
	}
	c.advised[cloud] = true
	if c.nodesExist() {
		return c.wouldDo()
	}
	best, ok := c.cheapest(cloud)
	if !ok {
		return "; no size in the catalogue works for it"
	}
	return "; " + c.name(best)
}

func (c *checker) name(best fit.Alternative) string {
	count := max(1, best.Report.Nodes)
	p := price.Hourly(best.Instance, c.facts.Region, count, v1alpha1.OnDemand)
	how, dtype := "fits", ""
	if best.Report.Verdict == v1alpha1.Tight {
		how = "fits only just"
	}
	if best.Report.DType == "float16" {
		dtype = " in float16"
	}
	return fmt.Sprintf("the cheapest size that works is %s, %s, which it %s%s: %s", several(count, best.Instance.Name), p, how, dtype, best.Report.Sum())
}
