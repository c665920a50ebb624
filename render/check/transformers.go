// SPDX-License-Identifier: Apache-2.0

package check

import (
	"strings"

	"github.com/espalier-dev/espalier/gpu/fit"
	"github.com/espalier-dev/espalier/presets"
	"github.com/espalier-dev/espalier/presets/runtimes"
	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/kaito"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// unpaged says that KAITO's transformers engine serves, which takes memory as requests
// come.
func (c *checker) unpaged() bool { return c.out.Runtime.Name == runtimes.KAITOTransformers }

// transformers refuses models that KAITO has no parameters for, and says what is not
// known of adapters.
func (c *checker) transformers() {
	p := c.out.Preset
	if _, known := runtimes.Transformers(p.ID); !known {
		c.refuse(finding.RuntimeUnsupported, "spec.runtime.name", "KAITO starts its transformers engine with no parameters for %s, and refuses it there: serve it with vLLM, which the runtime is without a name, or one of %s",
			p.Name(), strings.Join(ofTransformers(), ", "))
	}
	if s := c.workspace.Spec.Inference; len(s.Adapters) > 0 {
		c.warn(AdapterFormat, "spec.inference.adapters[0]", "PEFT 0.11.1 of the image reads no adapter_config.json with settings that it does not know, and the pod ends: those of newer versions have some, "+
			"adapters that Espalier has tuned among them; remove from it what PEFT 0.11.1 does not have, or serve with vLLM")
	}
}

// NoImage says that a Workspace runs KAITO's base image and that nobody names it; nil:
// somebody does, or it runs another.
func NoImage(w *v1alpha1.Workspace) *finding.Problem {
	r := w.Spec.Runtime
	if r == nil || !runtimes.Unpinned(r.Name) || r.Image != "" {
		return nil
	}
	p := finding.Errorf(finding.ImageInvalid, "spec.runtime.image", "no digest of KAITO's base image is known here: name it by digest, with its version and cuda, in spec.defaults.kaitoImage of the RepoSync, "+
		"or in spec.runtime of an espalier.dev/v1alpha1 Workspace")
	p.Field = kaito.Spelling(w, p.Field)
	return &p
}

// ofTransformers lists the models that the engine is started with, by their names.
func ofTransformers() []string {
	var names []string
	for _, m := range runtimes.TransformersModels() {
		if p, known := presets.Lookup(m.ID); known {
			names = append(names, p.Name())
		}
	}
	return names
}

// unbounded warns of requests that the engine takes and that do not fit: the process
// ends with them, and the others that it was answering.
func (c *checker) unbounded(out Candidate, field string, add func(finding.Problem)) {
	if !c.unpaged() || out.Fit.MaxContext >= c.out.Preset.Model.MaxContext {
		return
	}
	add(finding.Warningf(ContextUnbounded, field, "a request of more than %s tokens, prompt and answer together, takes more memory than %s has, and this engine refuses none: it may end the process. "+
		"Bound requests before they get here, or serve with vLLM, which does", fit.Thousands(out.Fit.MaxContext), out.InstanceType))
}
