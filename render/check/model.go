// SPDX-License-Identifier: Apache-2.0

package check

import (
	"fmt"
	"slices"
	"strings"

	"github.com/espalier-dev/espalier/gpu/fit"
	"github.com/espalier-dev/espalier/presets"
	"github.com/espalier-dev/espalier/presets/runtimes"
	"github.com/espalier-dev/espalier/render/settings"
	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/kaito"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// model finds the preset.
func (c *checker) model() {
	m := c.workspace.Spec.Model()
	if m == nil || c.ownsPod() {
		return // ValidateWorkspace says so, or no model is named
	}
	field := c.task() + ".preset"
	if m.Model != nil {
		field = c.task() + ".model.lock"
		c.out.Preset, c.known = c.locked(*m.Model, field)
	} else if c.out.Preset, c.known = presets.Lookup(m.Preset); !c.known {
		p := finding.Errorf(UnknownModel, field, "%s%s", presets.Unknown(m.Preset), c.convertFirst())
		c.out.Findings = append(c.out.Findings, c.place(c.withModel(p, m.Preset)))
	}
	if !c.known {
		return
	}
	if c.out.Preset.Gated && m.AccessSecret == "" && c.weights() == nil {
		c.refuse(ModelGated, c.task()+".accessSecret", "%s is gated: name a Secret whose key HF_TOKEN holds the token of an account that has accepted its licence (%s)", c.out.Preset.ID, c.out.Preset.License)
	}
	if t := c.workspace.Spec.Tuning; t != nil && !c.out.Preset.Tunable {
		c.refuse(NotTunable, field, "how much memory tuning %s takes is not known here, so it is not tuned; models that are: %s", c.out.Preset.Name(), strings.Join(tunable(), ", "))
	}
}

// convertFirst ends the advice to use a lock file where the document has no
// place for one.
func (c *checker) convertFirst() string {
	if c.workspace.Annotations[kaito.AnnotationConvertedFrom] == "" {
		return ""
	}
	return "; a document of kaito.sh has no place for it, so write this one as `espalier convert` does first"
}

// tunable lists the models that can be tuned, the smallest first.
func tunable() []string {
	all := presets.All()
	slices.SortStableFunc(all, func(a, b presets.Preset) int { return int((a.Model.WeightBytes - b.Model.WeightBytes) >> 20) })
	var names []string
	for _, p := range all {
		if p.Tunable {
			names = append(names, p.Name())
		}
	}
	return names
}

// configuration reads the ConfigMap of the task's configuration.
func (c *checker) configuration() {
	name, field := c.workspace.Spec.ConfigName(), c.task()+".config"
	config := c.facts.ConfigMaps[name]
	if name != "" && config == nil {
		c.refuse(InputMissing, field, "ConfigMap %q is not there", name)
	}
	t := c.workspace.Spec.Tuning
	if t != nil {
		c.out.Training = settings.DefaultTraining(c.out.Runtime)
		defer c.format()
	}
	if name == "" || config == nil {
		return
	}
	if t != nil {
		training, problems := settings.ParseTraining(config, c.out.Runtime, t.Method, field)
		c.out.Training = training
		for _, p := range problems {
			c.out.Findings = append(c.out.Findings, c.place(p))
		}
		c.fusedTargets(field)
		return
	}
	if !c.unpaged() { // else ValidateWorkspace refuses it
		c.servingConfig(config, field)
	}
}

// servingConfig reads the configuration of a service.
func (c *checker) servingConfig(config map[string]string, field string) {
	serving, problems := settings.ParseServing(config, c.out.Runtime, field)
	c.out.Serving = serving
	for _, p := range problems {
		c.out.Findings = append(c.out.Findings, c.place(p))
	}
	if own := int(c.workspace.Spec.Inference.ContextLength); own > 0 && serving.Context > 0 && own != serving.Context {
		c.refuse(ConfigInvalid, field, "max-model-len is %d there and spec.inference.contextLength is %d: give one of them", serving.Context, own)
	}
}

// overModel refuses a context for which the model was not made: no size is the remedy.
func (c *checker) overModel() {
	asked, most := c.asked(), c.out.Preset.Model.MaxContext
	if most == 0 || int64(asked) <= most {
		return
	}
	over := fmt.Sprintf("%s tokens are more than the %s that %s was made for: lower it", fit.Thousands(int64(asked)), fit.Thousands(most), c.out.Preset.Name())
	p := finding.Errorf(finding.OutOfRange, "spec.inference.contextLength", "%s", over)
	if c.workspace.Spec.Inference.ContextLength == 0 {
		p = finding.Errorf(ConfigInvalid, "spec.inference.config", "max-model-len: %s", over).In(finding.Entry{Key: settings.ServingKey})
	}
	c.out.Findings = append(c.out.Findings, c.place(p))
}

// asked is the longest request that the Workspace or its configuration asks for; 0: none.
func (c *checker) asked() int {
	if c.workspace.Spec.Inference == nil {
		return 0
	}
	return max(int(c.workspace.Spec.Inference.ContextLength), c.out.Serving.Context)
}

// context is the longest request that sizes are judged with: no more than the model takes,
// of which overModel says the rest.
func (c *checker) context() int {
	if most := c.out.Preset.Model.MaxContext; most > 0 {
		return int(min(int64(c.asked()), most))
	}
	return c.asked()
}

// fusedNames are the matrices that models of the Phi-3 family keep as one.
var fusedNames = map[string]string{
	"q_proj": "qkv_proj", "k_proj": "qkv_proj", "v_proj": "qkv_proj",
	"gate_proj": "gate_up_proj", "up_proj": "gate_up_proj",
}

// fusedTargets renames target modules: KAITO's examples for Phi-3 name matrices
// that the model does not have, and peft would leave them out in silence.
func (c *checker) fusedTargets(field string) {
	if !c.known || !c.out.Preset.Model.FusedProjections {
		return
	}
	var renamed []string
	targets := slices.Clone(c.out.Training.Targets)
	for i, t := range targets {
		if fused, ok := fusedNames[t]; ok {
			renamed = append(renamed, t+" is part of "+fused)
			targets[i] = fused
		}
	}
	if len(renamed) == 0 {
		return
	}
	slices.Sort(targets)
	c.out.Training.Targets = slices.Compact(targets)
	c.warn(ConfigIgnored, field, "target_modules of %s: %s; tuned are %s", c.out.Preset.Name(), strings.Join(renamed, ", "), strings.Join(c.out.Training.Targets, ", "))
}

// runtime chooses the software, or keeps what was chosen before.
func (c *checker) runtime() {
	task, name := runtimes.Inference, runtimes.VLLM
	if c.workspace.Spec.Tuning != nil {
		task, name = runtimes.Tuning, runtimes.Axolotl
	}
	digest := Digest(c.workspace, c.facts.ConfigMaps)
	c.out.Resolved = v1alpha1.Resolved{Digest: digest, Preset: c.out.Preset.ID, Driver: c.saidDriver()}
	if kept := c.facts.Resolved; kept != nil && kept.Digest == digest && kept.Image != "" && c.stays(*kept, task) {
		return
	}
	spec := c.workspace.Spec.Runtime
	switch {
	case c.ownsPod():
		c.ownRuntime(spec)
	case spec == nil || spec.Name == "" && spec.Version == "":
		r, _ := runtimes.Default(task, c.driver())
		c.setRuntime(r)
	default:
		c.namedRuntime(*spec, task, name)
	}
}

// keepRuntime stays with what was chosen before for the same inputs.
func (c *checker) keepRuntime(kept v1alpha1.Resolved, task string) {
	r, ok := runtimes.Image(kept.Image)
	if !ok { // one's own, or of a release that pinned another
		r, _ = runtimes.Lookup(kept.Runtime, kept.Version, c.driver())
		r = c.ownImage(r)
	}
	r.Name, r.Version, r.Image = kept.Runtime, kept.Version, kept.Image
	r = r.For(task)
	c.out.Resolved.HelperImage = kept.HelperImage
	c.setRuntime(r)
}

// namedRuntime takes the software that the spec names; name is what does the task
// where it names only a version.
func (c *checker) namedRuntime(spec v1alpha1.RuntimeSpec, task, name string) {
	if runtimes.Does(spec.Name, task) {
		name = spec.Name
	}
	if spec.Name != "" && spec.Name != name {
		c.refuse(UnknownRuntime, "spec.runtime.name", "%s does no %s: %s does", spec.Name, task, name)
		return
	}
	r, ok := runtimes.Lookup(name, spec.Version, c.driver())
	if !ok {
		c.refuse(UnknownRuntime, "spec.runtime.version", "%s %.40q is not known; versions: %s", name, spec.Version, strings.Join(runtimes.Versions(name), ", "))
		return
	}
	if p := NoImage(c.workspace); p != nil {
		c.out.Findings = append(c.out.Findings, c.place(*p))
		return
	}
	c.setRuntime(c.ownImage(r.For(task)))
}

// served refuses a model that an older version of vLLM does not know: the pod
// would say so on a paid node.
func (c *checker) served() {
	r, p := c.out.Runtime, c.out.Preset
	if c.workspace.Spec.Inference == nil {
		return
	}
	if c.unpaged() {
		c.transformers()
	}
	if r.Name != runtimes.KAITO {
		return
	}
	if !r.Serves(p.Architecture) {
		c.refuse(UnknownRuntime, "spec.runtime.name", "the vLLM in %s %s does not know the architecture of %s (%s): leave runtime.name out", r.Name, r.Version, p.Name(), p.Architecture)
	}
	for _, needs := range []struct{ argument, value string }{{"tool-call-parser", p.ToolParser}, {"reasoning-parser", p.ReasoningParser}} {
		if choices := r.Arguments()[needs.argument].Choices; needs.value != "" && !slices.Contains(choices, needs.value) {
			c.refuse(UnknownRuntime, "spec.runtime.name", "the vLLM in %s %s has no %s %s, which %s needs: leave runtime.name out", r.Name, r.Version, needs.argument, needs.value, p.Name())
		}
	}
}

func (c *checker) setRuntime(r runtimes.Runtime) {
	c.out.Runtime = r
	c.out.Resolved.Runtime, c.out.Resolved.Version, c.out.Resolved.Image = r.Name, r.Version, r.Image
}

// revision pins the model.
func (c *checker) revision() {
	m := c.workspace.Spec.Model()
	kept := c.facts.Resolved
	if w := c.weights(); w != nil {
		c.out.Resolved.ModelRevision = commitIn(w)
		return
	}
	switch {
	case m.Revision != "":
		c.out.Resolved.ModelRevision = m.Revision
	case kept != nil && kept.Digest == c.out.Resolved.Digest:
		c.out.Resolved.ModelRevision = kept.ModelRevision
	default:
		c.out.Resolved.ModelRevision = c.out.Preset.Revision
	}
	if c.out.Resolved.ModelRevision == "" {
		source := "the catalogue"
		if m.Model != nil {
			source = "its lock file"
		}
		remedy := "set revision to a commit of the model repository"
		if c.workspace.Annotations[kaito.AnnotationConvertedFrom] != "" {
			remedy = "only the native form can pin one: espalier convert writes it, then " + remedy
		}
		remedy += fmt.Sprintf("; git ls-remote https://huggingface.co/%s HEAD prints the newest", c.out.Preset.ID)
		c.warn(ModelRevisionUnpinned, c.task()+".revision", "no commit of %s is pinned, neither here nor in %s: a restarted pod may load other weights; %s", c.out.Preset.ID, source, remedy)
	}
}

// remoteCode shows that code of the model repository runs in the pod.
func (c *checker) remoteCode() {
	s := c.workspace.Spec.Inference
	if s == nil || !s.TrustRemoteCode {
		return
	}
	const field = "spec.inference.trustRemoteCode"
	commit := c.out.Resolved.ModelRevision
	if commit == "" {
		c.refuse(RemoteCode, field, "no commit of %s is pinned, so that its code could change after the review: set spec.inference.revision", c.out.Preset.ID)
		return
	}
	c.warn(RemoteCode, field, "Python code of %s at commit %s runs in the pod, beside the model token where there is one: read it before this is merged", c.out.Preset.ID, commit)
}
