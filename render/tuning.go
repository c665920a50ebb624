// SPDX-License-Identifier: Apache-2.0

package render

import (
	"cmp"
	"fmt"
	"path"
	"slices"

	"sigs.k8s.io/yaml"

	"github.com/espalier-dev/espalier/presets"
	"github.com/espalier-dev/espalier/presets/runtimes"
	"github.com/espalier-dev/espalier/render/check"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
)

// Paths within the pods of a run.
const (
	workPath   = "/work"
	dataPath   = "/data"
	outputPath = "/output"
	// signingPath is where the publisher finds the key of cosign.
	signingPath = "/signing"
)

// tuning patches the base of the trainer.
func (j job) tuning(l *layer) error {
	t := j.spec.Tuning
	name, config, err := j.told()
	if err != nil {
		return err
	}
	if j.kaitoTrains() {
		l.folder = kaitoTuning
	}
	files := object{name: config}
	if err := j.evaluated(files); err != nil {
		return err
	}
	train := object{"name": "train", "image": j.image(), "resources": j.gpus()}
	train["env"] = append(j.token(t.AccessSecret), object{"name": "RUN_OUTPUT", "value": j.outputFolder()})
	train["env"] = append(train["env"].([]any), j.onGPUs()...)
	volumes := append(j.Options.Progress.add(train, files),
		object{"name": "config", "configMap": object{"name": j.name + "-config"}},
		object{"name": "work", "persistentVolumeClaim": object{"claimName": repolayout.WorkClaimName(j.name)}},
	)
	data, mounted, err := j.input()
	if err != nil {
		return err
	}
	before := append([]any{data}, j.resumes()...)
	pod := object{"nodeSelector": j.nodeSelector(), "initContainers": before, "volumes": append(volumes, mounted...)}
	j.keepOff(pod)
	set(pod, "imagePullSecrets", pullSecrets(t.Input.PullSecrets))
	if err := j.result(l, pod, train, config); err != nil {
		return err
	}
	l.objects = append(l.objects, object{
		"apiVersion": "v1", "kind": "ConfigMap",
		"metadata": object{"name": j.name + "-config"},
		"data":     files,
	})
	run := j.run(pod)
	if j.trainers() {
		if err := j.together(l, &run); err != nil {
			return err
		}
	}
	template := run.body["spec"].(object)["template"].(object)
	j.signsIn(template)
	if labels := j.identityLabels(); labels != nil {
		template["metadata"].(object)["labels"] = labels
	}
	l.patches = append(l.patches, run, j.work())
	return nil
}

// resumes patches the container that looks at the checkpoints of earlier pods; KAITO's trainer
// goes on from none.
func (j job) resumes() []any {
	if j.kaitoTrains() {
		return nil
	}
	look := object{"name": "resume", "image": j.image(), "env": []any{object{"name": "RUN_OUTPUT", "value": j.outputFolder()}}}
	if j.spec.Tuning.Output.Claim != "" {
		add(look, "volumeMounts", object{"name": "output", "mountPath": outputPath})
	}
	return []any{look}
}

// result adds the trainer to the pod, and what becomes of the adapter that it trains by
// its configuration.
func (j job) result(l *layer, pod, train object, config string) error {
	init, volumes := pod["initContainers"].([]any), pod["volumes"].([]any)
	claim := j.spec.Tuning.Output.Claim
	if claim != "" {
		mounts, _ := train["volumeMounts"].([]any)
		train["volumeMounts"] = append(mounts, object{"name": "output", "mountPath": outputPath})
		volumes = append(volumes, object{"name": "output", "persistentVolumeClaim": object{"claimName": claim}})
	}
	switch {
	case claim != "" && j.spec.Tuning.Evaluation == nil:
		// The component has moved train among the containers.
		l.components = append(l.components, path.Join(l.folder, "claim"))
		pod["containers"] = []any{train}
	case claim != "":
		judge, err := j.judge()
		if err != nil {
			return err
		}
		l.components = append(l.components, "judge")
		init, pod["containers"] = append(init, j.scored(l, train)...), []any{judge}
	default:
		publish, mounted, err := j.publish(config)
		if err != nil {
			return err
		}
		init, pod["containers"] = append(init, j.scored(l, train)...), []any{publish}
		volumes = append(volumes, mounted...)
	}
	pod["initContainers"], pod["volumes"] = init, volumes
	return nil
}

// run is the patch of the Job.
func (j job) run(pod object) patch {
	spec := object{
		"suspend": j.spec.Suspend,
		"template": object{
			"metadata": object{"annotations": object{repolayout.AnnotationInputDigest: j.digest}},
			"spec":     pod,
		},
	}
	if d := j.spec.Tuning.Timeout; d != nil {
		spec["activeDeadlineSeconds"] = int64(d.Seconds())
	}
	if n := j.spec.Tuning.Retries; n != nil {
		spec["backoffLimit"] = *n
	}
	meta := object{"name": repolayout.RunName(j.name, j.digest)}
	if j.spec.Queue != "" {
		// Kueue lets it go when there is quota; the nodes are bought then.
		meta["labels"] = object{repolayout.LabelQueue: j.spec.Queue}
		spec["suspend"] = true
	}
	return patch{kind: "Job", name: "workspace-run", body: object{
		"metadata": meta, "spec": spec,
	}, operations: []object{j.tolerate()}}
}

// work is the patch of the claim for checkpoints.
func (j job) work() patch {
	kept := j.spec.Tuning.Kept()
	size := kept.Size
	if size == "" {
		size = fmt.Sprintf("%dGi", check.WorkGiB(j.Assessment.Preset.Model.WeightBytes))
	}
	spec := object{"resources": object{"requests": object{"storage": size}}}
	if j.trainers() {
		spec["accessModes"] = []any{"ReadWriteMany"}
	}
	if c := cmp.Or(kept.StorageClass, j.Options.StorageClass); c != "" {
		spec["storageClassName"] = c
	}
	return patch{kind: "PersistentVolumeClaim", name: "workspace-work", body: object{
		"metadata": object{"name": repolayout.WorkClaimName(j.name)}, "spec": spec,
	}}
}

// input is the patch of the container that fetches the data, and the volumes with
// them and with the credentials for that.
func (j job) input() (container object, volumes []any, err error) {
	in := j.spec.Tuning.Input
	none := object{"name": "data", "$patch": "delete"}
	switch {
	case in.Claim != "":
		return none, []any{object{"name": "data", "persistentVolumeClaim": object{"claimName": in.Claim, "readOnly": true}}}, nil
	case in.Image != "" && !j.spec.CopiesImages():
		return none, []any{imageVolume("data", in.Image)}, nil
	case len(in.Files) > 0:
		return none, []any{files("data", in.Files)}, nil
	}
	if err := j.needHelper("fetching the data"); err != nil {
		return nil, nil, err
	}
	empty := object{"name": "data", "emptyDir": object{}}
	if in.Image != "" {
		args, mounts, secrets := j.pullsWith(in.Image, []string{in.Image, "--to", dataPath}, in.PullSecrets)
		container = object{"name": "data", "image": j.Options.HelperImage, "command": []any{"espalier", "data", "pull"}, "args": texts(args)}
		set(container, "volumeMounts", mounts)
		return container, append(secrets, empty), nil
	}
	args := append([]string{"--to", dataPath}, in.URLs...)
	if e := j.spec.Tuning.Evaluation; e != nil {
		args = append(args, e.URLs...)
	}
	return object{"name": "data", "image": j.Options.HelperImage, "args": texts(args)}, []any{empty}, nil
}

// publish is the patch of the container that pushes the adapter, and the volumes
// with the credential in the form that every registry client reads, and with the
// key that signs.
func (j job) publish(config string) (container object, volumes []any, err error) {
	if err := j.needHelper("pushing the adapter"); err != nil {
		return nil, nil, err
	}
	out := j.spec.Tuning.Output
	args := append([]string{"--from", j.outputFolder(), "--to", out.Image}, j.lineage(config)...)
	container = object{"name": "publish", "image": j.Options.HelperImage}
	add(container, "volumeMounts", object{"name": "data", "mountPath": dataPath, "readOnly": true})
	if out.PushSecret == "" {
		args = append(args, withIdentity)
		container["env"] = []any{object{"name": "DOCKER_CONFIG", "$patch": "delete"}}
		add(container, "volumeMounts", object{"mountPath": "/docker", "$patch": "delete"})
	} else {
		volumes = []any{object{"name": "docker", "secret": object{
			"secretName":  out.PushSecret,
			"defaultMode": 0o400,
			"items":       []any{object{"key": ".dockerconfigjson", "path": "config.json"}},
		}}}
	}
	if out.SigningSecret != "" {
		args = append(args, "--key", signingPath)
		add(container, "volumeMounts", object{"name": "signing", "mountPath": signingPath, "readOnly": true})
		volumes = append(volumes, object{"name": "signing", "secret": object{
			"secretName": out.SigningSecret, "defaultMode": 0o400,
		}})
	}
	container["args"] = texts(args)
	return j.measured(container), volumes, nil
}

// runFolder keeps runs of other inputs on the same claim apart: one must not go
// on from the checkpoints of another.
func (j job) runFolder() string { return repolayout.RunFolder(j.digest) }

func (j job) outputFolder() string {
	if j.spec.Tuning.Output.Claim != "" {
		return path.Join(outputPath, repolayout.RunName(j.name, j.digest))
	}
	return path.Join(workPath, j.runFolder(), "out")
}

// axolotl is the configuration file of the trainer. Names and values are those
// of Axolotl 0.19's schema (src/axolotl/utils/schemas).
func (j job) axolotl() (string, error) {
	t, a := j.spec.Tuning, j.Assessment
	config := map[string]any{
		"base_model":       a.Preset.ID,
		"adapter":          string(t.Method),
		"load_in_4bit":     t.Method == v1alpha1.QLoRA,
		"lora_r":           a.Training.Rank,
		"sequence_len":     a.Training.SequenceLength,
		"micro_batch_size": a.Training.MicroBatch,
		"optimizer":        a.Training.Optimizer,
		// The image has no flash-attn; sdpa keeps packed samples apart too.
		"attn_implementation":          "sdpa",
		"gradient_checkpointing":       !a.Training.NoCheckpointing,
		"datasets":                     j.datasets(),
		"dataset_prepared_path":        j.preparedPath(),
		"output_dir":                   j.outputFolder(),
		"auto_resume_from_checkpoints": true,
		"save_first_step":              true, // fails early where the volume cannot be written
	}
	// GPUs before Ampere have no bfloat16.
	half := j.Candidate.Fit.DType == "float16"
	config["bf16"], config["fp16"] = !half, half
	if half {
		// Packed samples go to FlashAttention by itself, which these GPUs cannot run.
		config["sdpa_varlen"] = false
	}
	if !rewritten(a.Preset) || j.biased() {
		config["lora_qkv_kernel"] = false // and with it the others
	}
	if a.Resolved.ModelRevision != "" {
		config["model_revision"] = a.Resolved.ModelRevision
	}
	if len(a.Training.Targets) > 0 {
		config["lora_target_modules"] = a.Training.Targets
	} else {
		config["lora_target_linear"] = true
	}
	for name, value := range a.Training.Axolotl {
		config[name] = value
	}
	j.measuring(config)
	j.saves(config)
	text, err := yaml.Marshal(config)
	if err == nil {
		err = valid(a.Runtime.Schema(), text)
	}
	if err != nil {
		return "", fmt.Errorf("writing axolotl.yaml: %w", err)
	}
	return string(text), nil
}

// rewrittenArchitectures have an attention that Axolotl 0.19 rewrites for its own kernels
// for adapters (monkeypatch/lora_kernels.py). It turns these on by itself where none
// of them is said, and a run of another model may end with "Original QKV code not
// found", as those of Phi do.
var rewrittenArchitectures = []string{
	"Gemma3ForCausalLM", "GraniteForCausalLM", "LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM",
}

// rewritten says whether the kernels may be on.
func rewritten(p presets.Preset) bool {
	return slices.Contains(rewrittenArchitectures, p.Architecture)
}

// biased says that Axolotl's kernels would end the run: with DoRA they add the bias of q, k and
// v, which QLoRA keeps in 32 bit, to what they computed in 16, and the way back ends with "self
// and mat2 must have the same dtype". Of the architectures above Qwen2's has one.
func (j job) biased() bool {
	a := j.Assessment
	return a.Preset.Architecture == "Qwen2ForCausalLM" && j.spec.Tuning.Method == v1alpha1.QLoRA && a.Training.DoRA()
}

// saveNow is the file in the output folder that asks Axolotl for a checkpoint
// after the step it is in; the base's script writes it when the pod is told to go.
const saveNow = "save-now"

// saves says how often a checkpoint is written and how many are kept.
func (j job) saves(config map[string]any) {
	config["dynamic_checkpoint"] = object{"enabled": true, "check_interval": 1, "trigger_file_path": saveNow}
	kept := j.spec.Tuning.Kept()
	if kept.SaveSteps > 0 {
		delete(config, "saves_per_epoch")
		config["save_steps"] = kept.SaveSteps
	}
	if kept.Keep > 0 {
		config["save_total_limit"] = kept.Keep
	}
}

// valid holds the file as written to the trainer's own schema, where this
// version's is known: what Axolotl would refuse, it would refuse on a paid node.
func valid(schema *runtimes.Schema, text []byte) error {
	if schema == nil {
		return nil
	}
	var file map[string]any
	if err := yaml.Unmarshal(text, &file); err != nil {
		return err
	}
	return schema.Validate(file)
}
