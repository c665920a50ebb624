// SPDX-License-Identifier: Apache-2.0

package kaito

import (
	"encoding/json"
	"strings"

	"k8s.io/apimachinery/pkg/runtime"

	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

func (c *converter) inference(in Inference, path string) *v1alpha1.InferenceSpec {
	out := &v1alpha1.InferenceSpec{Config: in.Config}
	switch {
	case in.Template != nil && in.Preset != nil:
		c.refuse(finding.TemplateInvalid, path+".template", "preset is set as well: keep one of them, as KAITO's admission asks")
	case in.Template != nil:
		out.Template = c.podTemplate(in.Template, path+".template")
		c.engine(out, path)
	case in.Preset == nil:
		c.refuse(finding.PresetMissing, path, "name the model in %s.preset.name; espalier presets lists them; or bring a pod of your own in %s.template", path, path)
	default:
		out.ModelRef = c.preset(*in.Preset, path+".preset")
		c.engine(out, path)
		c.weights(out, in.Preset.Options, path+".preset.presetOptions.")
	}
	c.layout(in.Adapters, path+".adapters")
	for i, a := range in.Adapters {
		if converted, ok := c.adapter(a, finding.Index(path+".adapters", i)); ok {
			out.Adapters = append(out.Adapters, converted)
		}
	}
	return out
}

// kaitoPort is where KAITO's Service sends requests, whatever the pod says.
const kaitoPort = 5000

// podTemplate keeps the template, and says in it which port KAITO means where it
// names none.
func (c *converter) podTemplate(template map[string]any, field string) *runtime.RawExtension {
	text, err := json.Marshal(template)
	if err != nil {
		c.refuse(finding.TemplateInvalid, field, "want a pod template: metadata and spec")
		return nil
	}
	var copied map[string]any
	if err := json.Unmarshal(text, &copied); err != nil {
		return &runtime.RawExtension{Raw: text}
	}
	spec, _ := copied["spec"].(map[string]any)
	list, _ := spec["containers"].([]any)
	first := map[string]any(nil)
	for i, item := range list {
		container, _ := item.(map[string]any)
		if container["ports"] != nil {
			return &runtime.RawExtension{Raw: text}
		}
		if i == 0 {
			first = container
		}
	}
	if first == nil {
		return &runtime.RawExtension{Raw: text} // judged where the native form is
	}
	first["ports"] = []any{map[string]any{"containerPort": kaitoPort}}
	if text, err = json.Marshal(copied); err != nil {
		return nil
	}
	return &runtime.RawExtension{Raw: text}
}

// preset: a v1beta1 field of the options works in an InferenceSet of either
// version, whose v1alpha1 CRD embeds the v1beta1 inference.
func (c *converter) preset(p Preset, path string) v1alpha1.ModelRef {
	o, options := p.Options, path+".presetOptions."
	c.dead(p.AccessMode != "", path+".accessMode", "remove it: no image holds weights here")
	c.dead(o.Image != "", options+"image", "remove it: no image holds weights here")
	c.dead(len(o.ImagePullSecrets) > 0, options+"imagePullSecrets", "remove it")
	if c.kind == workspaceKind && !c.since(o.ModelAccessSecret != "", options+"modelAccessSecret") {
		o.ModelAccessSecret = ""
	}
	if p.Name == "" {
		c.refuse(finding.PresetMissing, path+".name", "name the model; espalier presets lists them")
	}
	return v1alpha1.ModelRef{Preset: p.Name, AccessSecret: o.ModelAccessSecret}
}

// layout says once of all adapters from images where KAITO looks for them.
func (c *converter) layout(adapters []Adapter, path string) {
	for i, a := range adapters {
		if a.Source != nil && a.Source.Image != "" {
			c.warn(finding.AdapterLayout, finding.Index(path, i)+".source.image", "KAITO takes the folder /data of an image, and Espalier its root, where its own tuning puts an adapter: images that KAITO has pushed "+
				"need path: data beside image in an espalier.dev/v1alpha1 Workspace (espalier convert), or the pod does not start")
			return
		}
	}
}

func (c *converter) adapter(a Adapter, path string) (v1alpha1.Adapter, bool) {
	weight := ""
	if a.Strength != nil {
		weight = c.strength(*a.Strength, path+".strength")
	}
	s := a.Source
	if s == nil {
		c.refuse(finding.AdapterSource, path, "an adapter needs source.name, and source.image or source.volumeSource")
		return v1alpha1.Adapter{}, false
	}
	path += ".source"
	if s.Name == "" {
		c.refuse(finding.AdapterInvalid, path+".name", "name the adapter: requests use the name as the model")
		return v1alpha1.Adapter{}, false
	}
	out := v1alpha1.Adapter{Name: s.Name, Image: s.Image, PullSecrets: s.ImagePullSecrets, URLs: s.URLs, Strength: weight}
	if s.Volume != nil {
		c.adapterVolume(s.Volume, path+".volumeSource", &out)
	}
	if len(s.URLs) > 0 {
		c.warn(finding.AdapterSource, path+".urls", "KAITO accepts addresses of an adapter and downloads none: its pod pulls an image without a name. Here they are downloaded before the model starts")
	}
	return out, s.Volume == nil || out.Claim != "" || out.Image != ""
}

func (c *converter) tuning(in Tuning) *v1alpha1.TuningSpec {
	out := &v1alpha1.TuningSpec{Config: in.Config}
	if in.Preset == nil {
		c.refuse(finding.PresetMissing, "tuning", "name the model in tuning.preset.name; espalier presets lists them")
	} else {
		out.ModelRef = c.preset(*in.Preset, "tuning.preset")
		if o := in.Preset.Options; o.ModelWeightsPVC != "" || o.ModelWeightsSubPath != "" {
			c.refuse(finding.WeightsClaim, "tuning.preset.presetOptions.modelWeightsPVC", "is for inference alone, and KAITO refuses it in a tuning as well: remove it; the weights are kept with the checkpoints of the run")
		}
	}
	out.Method = c.method(in.Method)
	if in.Input == nil {
		c.refuse(finding.InputMissing, "tuning", "name the training data: tuning.input with one of urls, image and volumeSource")
	} else {
		out.Input = c.input(*in.Input)
	}
	if in.Output == nil {
		c.refuse(finding.OutputMissing, "tuning", "say where the adapter goes: tuning.output with image and imagePushSecret, or with volumeSource")
	} else {
		out.Output = c.output(*in.Output)
	}
	return out
}

// method: KAITO's admission compares without case and its renderer with it, so
// that QLoRA is accepted there and then not run as QLoRA.
func (c *converter) method(method string) v1alpha1.TuningMethod {
	m := v1alpha1.TuningMethod(strings.ToLower(method))
	switch {
	case m != v1alpha1.LoRA && m != v1alpha1.QLoRA:
		c.refuse(finding.NotOneOf, "tuning.method", "want %s or %s", v1alpha1.QLoRA, v1alpha1.LoRA)
	case string(m) != method:
		c.warn(finding.NotOneOf, "tuning.method", "read as %s, and better written so: KAITO accepts %s and then runs something else", m, method)
		last := &c.problems[len(c.problems)-1]
		*last = last.Instead(method, string(m))
	}
	return m
}

func (c *converter) input(s DataSource) v1alpha1.DataSource {
	const path = "tuning.input"
	c.exactlyOne(len(s.URLs) > 0, s.Volume != nil, s.Image != "", path)
	out := v1alpha1.DataSource{URLs: s.URLs, Image: s.Image, PullSecrets: s.ImagePullSecrets}
	if s.Volume != nil {
		c.inputVolume(s.Volume, path+".volumeSource", &out)
	}
	return out
}

func (c *converter) exactlyOne(urls, volume, image bool, path string) {
	n := 0
	for _, set := range []bool{urls, volume, image} {
		if set {
			n++
		}
	}
	switch {
	case n == 0:
		c.refuse(finding.InputMissing, path, "name the training data: one of urls, image and volumeSource")
	case n > 1:
		c.refuse(finding.InputAmbiguous, path, "exactly one of urls, image and volumeSource is possible: keep one")
	}
}

func (c *converter) output(d DataDestination) v1alpha1.DataDestination {
	const path = "tuning.output"
	switch {
	case d.Volume == nil && d.Image == "":
		c.refuse(finding.OutputMissing, path, "say where the adapter goes: image and imagePushSecret, or volumeSource")
	case d.Volume != nil && d.Image != "":
		c.refuse(finding.OutputAmbiguous, path, "image or volumeSource, not both: keep one")
	}
	out := v1alpha1.DataDestination{Image: d.Image, PushSecret: d.ImagePushSecret}
	if d.Volume != nil {
		out.Claim = c.outputVolume(d.Volume, path+".volumeSource")
	}
	return out
}
