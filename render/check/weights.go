// SPDX-License-Identifier: Apache-2.0

package check

import (
	"regexp"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/kaito"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// weights is where they are, nil where they are downloaded.
func (c *checker) weights() *v1alpha1.Weights {
	if c.workspace.Spec.Inference == nil {
		return nil
	}
	return c.workspace.Spec.Inference.Weights
}

// commit finds a commit hash in the name of a folder.
var commit = regexp.MustCompile(`(?:^|[^0-9A-Za-z])([0-9a-f]{40})(?:[^0-9A-Za-z]|$)`)

// commitIn is the commit of the model repository that the place of the weights is
// named after, "" where its name has none.
func commitIn(w *v1alpha1.Weights) string {
	found := commit.FindStringSubmatch(w.Claim + "/" + w.Path + "/" + w.URL + "/" + w.Local)
	if found == nil {
		return ""
	}
	return found[1]
}

// streamer is vLLM's name of Run:ai Model Streamer.
const streamer = "runai_streamer"

// weightsPlace says what is not known of weights that lie somewhere, and what the
// runtime cannot do with them.
func (c *checker) weightsPlace() {
	w := c.weights()
	if w == nil {
		return
	}
	if p := NoAccount(c.workspace); p != nil {
		c.out.Findings = append(c.out.Findings, c.place(*p))
	}
	const field = "spec.inference.weights"
	if commitIn(w) == "" && w.Registry == nil { // whose versions do not change
		c.warn(WeightsUnpinned, field, "what lies in %s is what is served, and nothing says which version that is: name the folder after the commit of %s that it holds, "+
			"so that another version is a change in Git", w.Place(), c.out.Preset.ID)
	}
	if !w.Streams() {
		return
	}
	if known, ok := c.out.Runtime.Arguments()["load-format"]; ok && !slices.Contains(known.Choices, streamer) {
		c.refuse(UnknownRuntime, field, "%s %s has no streamer: keep the weights on a claim, without stream", c.out.Runtime.Name, c.out.Runtime.Version)
	}
	if said := c.out.Serving.Args["load-format"]; said != "" && said != streamer && said != streamer+"_sharded" {
		c.refuse(ConfigInvalid, c.task()+".config", "load-format is %s there, which does not read %s as %s asks: remove it", said, w.Place(), field)
	}
	if c.out.Preset.Args["load-format"] == "mistral" {
		c.warn(finding.WeightsInvalid, field, "%s is read in Mistral's own format, of which only consolidated*.safetensors are, and the streamer reads every *.safetensors of the folder: keep no others in it", c.out.Preset.Name())
	}
}

// NoAccount says that nobody names the account that reads a registry; nil: somebody
// does, or the weights are elsewhere.
func NoAccount(w *v1alpha1.Workspace) *finding.Problem {
	s := w.Spec.Inference
	if s == nil || s.Weights == nil || s.Weights.Registry == nil || s.Weights.ServiceAccountName != "" {
		return nil
	}
	p := finding.Errorf(finding.WeightsInvalid, "spec.inference.weights.serviceAccountName", "whose workload identity reads the registry is not said: name the ServiceAccount that the identity trusts, "+
		"here or, for every Workspace of a RepoSync, in its spec.defaults.weightsServiceAccount")
	p.Field = kaito.Spelling(w, p.Field)
	return &p
}

// weightsModes sees that every pod can mount the claim of the weights.
func (c *checker) weightsModes(out Candidate, add func(finding.Problem)) {
	claim := c.workspace.Spec.WeightsClaim()
	if claim == "" {
		return
	}
	const field = "spec.inference.weights.claim"
	switch c.mounting(out, claim, corev1.ReadWriteMany, corev1.ReadOnlyMany) {
	case writersFit:
	case writersUnknown:
		add(finding.Warningf(WeightsShared, field, "pods on several nodes read claim %q: its access mode must be ReadOnlyMany or ReadWriteMany", claim))
	default:
		add(finding.Errorf(WeightsShared, field, "the pods may be on several nodes, and cannot all mount claim %q: use one with access mode ReadOnlyMany or ReadWriteMany", claim))
	}
}

// modeArgument is vLLM's argument of spec.inference.performanceMode.
const modeArgument = "performance-mode"

// performanceMode sees that the runtime has it, and that it is said once.
func (c *checker) performanceMode() {
	s := c.workspace.Spec.Inference
	if s == nil || s.PerformanceMode == "" {
		return
	}
	const field = "spec.inference.performanceMode"
	if known := c.out.Runtime.Arguments(); known != nil && !slices.Contains(known[modeArgument].Choices, string(s.PerformanceMode)) {
		c.refuse(UnknownRuntime, field, "%s %s has no %s %s: remove it", c.out.Runtime.Name, c.out.Runtime.Version, modeArgument, s.PerformanceMode)
	}
	if said := c.out.Serving.Args[modeArgument]; said != "" && said != string(s.PerformanceMode) {
		c.refuse(ConfigInvalid, c.task()+".config", "%s is %s there and %s is %s: give one of them", modeArgument, said, field, s.PerformanceMode)
	}
}

// throughput says that vLLM works on twice as much in a batch.
func (c *checker) throughput() bool {
	s := c.workspace.Spec.Inference
	return s != nil && (s.PerformanceMode == v1alpha1.ModeThroughput || c.out.Serving.Args[modeArgument] == string(v1alpha1.ModeThroughput))
}
