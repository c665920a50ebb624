// SPDX-License-Identifier: Apache-2.0

package kaito

import (
	"strconv"

	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// runtime reads kaito.sh/runtime, which means a model that is served.
func (c *converter) runtime(value, field string, tunes bool) {
	switch {
	case value == "vllm": // KAITO's default, and what serves here
	case value != "transformers":
		c.warn(finding.AnnotationIgnored, field, "ignored, as KAITO does: known are vllm and transformers")
	case tunes:
		c.warn(finding.AnnotationIgnored, field, "ignored, as KAITO does: it chooses what serves")
	default:
		c.transformers = field
	}
}

// engine puts the transformers engine in the place of vLLM, and answers what KAITO does
// not read then. Nothing is started in a pod of the user's own.
func (c *converter) engine(out *v1alpha1.InferenceSpec, path string) {
	if c.transformers == "" {
		return
	}
	if out.Template != nil {
		c.warn(finding.AnnotationIgnored, c.transformers, "ignored, as KAITO does: no engine is started in a pod of your own")
		c.transformers = ""
		return
	}
	c.out.Spec.Runtime = &v1alpha1.RuntimeSpec{Name: Transformers}
	if out.Config != "" {
		c.warn(finding.DeadField, path+".config", "with the transformers engine KAITO itself never reads what it holds, and Espalier does not either; remove it")
		out.Config = ""
	}
	const vllm = "ignored, as KAITO does: it is read where vLLM serves"
	if c.local != "" {
		c.warn(finding.AnnotationIgnored, c.local, vllm+", and the transformers engine downloads its weights")
		c.local = ""
	}
	if c.mode != "" {
		c.warn(finding.AnnotationIgnored, c.modeField, vllm)
		c.mode = ""
	}
}

// strength of an adapter: a weight for the transformers engine, which merges adapters
// into the model. vLLM has none, and 1 is what it does.
func (c *converter) strength(text, field string) string {
	value, err := strconv.ParseFloat(text, 64)
	switch {
	case c.transformers != "" && (err != nil || value < 0 || value > 1 || value != value):
		c.refuse(finding.AdapterStrength, field, "want a number from 0 to 1, in quotes")
	case c.transformers != "":
		return decimals(value)
	case err == nil && value == 1:
		c.warn(finding.AdapterStrength, field, "remove it: vLLM applies an adapter in full, and KAITO refuses strength with vLLM")
	default:
		c.refuse(finding.AdapterStrength, field, "vLLM applies an adapter in full and has no strength (KAITO refuses it with vLLM as well): "+
			"remove it, scale the adapter itself, by lora_alpha in its adapter_config.json, or add the annotation kaito.sh/runtime: transformers")
	}
	return ""
}

// decimals writes a strength as the native form does, which has six at most.
func decimals(value float64) string {
	rounded, err := strconv.ParseFloat(strconv.FormatFloat(value, 'f', 6, 64), 64)
	if err != nil {
		return ""
	}
	return strconv.FormatFloat(rounded, 'f', -1, 64)
}
