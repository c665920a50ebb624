// SPDX-License-Identifier: Apache-2.0

package render

import (
	"fmt"

	"github.com/espalier-dev/espalier/presets/runtimes"
)

// unpaged says that KAITO's transformers engine serves.
func (j job) unpaged() bool { return j.Assessment.Runtime.Name == runtimes.KAITOTransformers }

// container is the name of the one that serves, in the base of its runtime.
func (j job) container() string {
	if j.unpaged() {
		return "transformers"
	}
	return "vllm"
}

// transformers are the arguments that KAITO gives its transformers engine, with the commit
// of the model, which KAITO leaves open, and the data type that the GPU has. Nothing bounds
// a request: the engine has no argument for it.
func (j job) transformers() ([]string, error) {
	preset, revision := j.Assessment.Preset, j.Assessment.Resolved.ModelRevision
	model, known := runtimes.Transformers(preset.ID)
	if !known {
		return nil, fmt.Errorf("KAITO has no parameters for %s", preset.ID)
	}
	args := []string{
		"--allow_remote_files=true",
		"--pipeline=text-generation",
		"--pretrained_model_name_or_path=" + preset.ID,
		"--served_model_name=" + preset.Name(),
		"--torch_dtype=" + j.Candidate.Fit.DType,
	}
	if model.ChatTemplate != "" {
		args = append(args, "--chat_template="+model.ChatTemplate)
	}
	if revision != "" {
		args = append(args, "--revision="+revision)
	}
	if j.spec.Inference.TrustRemoteCode {
		args = append(args, "--trust_remote_code=true")
	}
	return args, nil
}

// strengths of adapters, which the program reads from variables that are named like them.
func (j job) strengths() []any {
	var env []any
	for _, a := range j.spec.Inference.Adapters {
		if a.Strength != "" {
			env = append(env, object{"name": a.Name, "value": a.Strength})
		}
	}
	return env
}
