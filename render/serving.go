// SPDX-License-Identifier: Apache-2.0

package render

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/espalier-dev/espalier/presets/runtimes"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
)

// serving patches the base of vLLM.
func (j job) serving(l *layer) error {
	pod, err := j.server()
	if err != nil {
		return err
	}
	if j.spread() {
		return j.nodes(l, pod)
	}
	replicas := j.copies()
	if j.spec.Suspend {
		replicas = 0
	}
	l.patches = append(l.patches,
		patch{kind: "Deployment", name: "workspace", body: object{
			"metadata": j.deploymentMeta(),
			"spec": object{
				"replicas": replicas,
				"selector": object{"matchLabels": j.selector()},
				"strategy": object{"rollingUpdate": j.rollout()},
				"template": j.template(pod),
			},
		}, operations: []object{j.tolerate()}},
		patch{kind: "Service", name: "workspace", body: object{
			"metadata": j.serviceMeta(),
			"spec":     object{"selector": j.selector()},
		}},
		j.budget(),
	)
	return nil
}

func (j job) template(pod object) object {
	metadata := object{"annotations": object{repolayout.AnnotationInputDigest: j.digest}}
	if labels := j.identityLabels(); labels != nil {
		metadata["labels"] = labels
	}
	template := object{"metadata": metadata, "spec": pod}
	j.signsIn(template)
	return template
}

func (j job) budget() patch {
	return patch{kind: "PodDisruptionBudget", name: "workspace", body: object{
		"metadata": object{"name": j.name},
		"spec":     object{"selector": object{"matchLabels": j.selector()}},
	}}
}

// server is the patch of the pod's spec.
func (j job) server() (object, error) {
	s := j.spec.Inference
	args, err := j.arguments()
	if err != nil {
		return nil, err
	}
	container := object{
		"name": j.container(), "image": j.image(), "args": texts(args), "resources": j.gpus(),
	}
	if !j.spread() {
		container["startupProbe"] = object{"failureThreshold": startupFailures(j.Assessment.Preset.Model.WeightBytes)}
	}
	set(container, "env", append(j.token(s.AccessSecret), j.strengths()...))
	pod := object{"nodeSelector": j.nodeSelector(), "containers": []any{container}}
	j.keepOff(pod)
	adapters, err := j.adapters()
	if err != nil {
		return nil, err
	}
	volumes, mounts := adapters.volumes, adapters.mounts
	if volume := j.weights(pod); volume != nil {
		volumes = append(volumes, volume)
		mounts = append(mounts, j.cacheMount())
	}
	set(container, "volumeMounts", mounts)
	set(pod, "volumes", volumes)
	j.placed(pod, container)
	set(pod, "imagePullSecrets", pullSecrets(adapters.secrets))
	model, err := j.fromRegistry()
	if err != nil {
		return nil, err
	}
	set(pod, "initContainers", append(model, adapters.init...))
	return pod, nil
}

// weightsVolume is the volume of the cache of weights.
const weightsVolume = "weights"

// weights is the volume that keeps what is downloaded, nil where that is the
// node's disk. Only the weights: compiled code of one Workspace is nothing for
// another.
func (j job) weights(pod object) object {
	c := j.spec.Inference.Cache
	if c == nil {
		return nil
	}
	// The group of the user that vLLM runs as, so that it can write.
	pod["securityContext"] = object{"fsGroup": 2000, "fsGroupChangePolicy": "OnRootMismatch"}
	if c.Claim != "" {
		return object{"name": weightsVolume, "persistentVolumeClaim": object{"claimName": c.Claim}}
	}
	claim := object{"accessModes": []any{"ReadWriteOnce"}, "resources": object{"requests": object{"storage": c.Size}}}
	if c.StorageClass != "" { // "" would mean a volume that an administrator has made by hand
		claim["storageClassName"] = c.StorageClass
	}
	return object{"name": weightsVolume, "ephemeral": object{"volumeClaimTemplate": object{"spec": claim}}}
}

// cacheMount is where the volume of the cache is mounted: as the home of the hub's
// program, or a folder of a claim as what that keeps its models in.
func (j job) cacheMount() object {
	at := object{"name": "weights", "mountPath": "/cache/huggingface"}
	switch folder := j.spec.Inference.Cache.Path; folder {
	case "":
	case ".":
		at["mountPath"] = "/cache/huggingface/hub"
	default:
		at["mountPath"], at["subPath"] = "/cache/huggingface/hub", folder
	}
	return at
}

// copies of the service that the spec asks for, or that its autoscaler does.
func (j job) copies() int {
	least, most := j.spec.Inference.Copies()
	if j.Copies != nil {
		return int(min(max(*j.Copies, least), most))
	}
	return int(least)
}

// rollout says whether the next copy may come before an old one goes: only
// where the Workspace's own nodes have the GPUs for it. Of a shared pool, and of
// nodes that exist, others use GPUs too; where the nodes follow an autoscaler there
// are never more than the copies take.
func (j job) rollout() object {
	c := j.Candidate
	room := c.Nodes * (c.Instance.GPUs / max(1, c.PodGPUs))
	own := j.spec.Resource.NodePool == "" && j.provider() != v1alpha1.ProviderExisting
	if own && j.spec.Inference.Autoscale == nil && room > j.copies() {
		return object{"maxSurge": 1, "maxUnavailable": 0}
	}
	return object{"maxSurge": 0, "maxUnavailable": 1}
}

// drain is how long running requests may take to end, in seconds: part of the
// grace period of the base.
const drain = 120

// kaito says that a program of KAITO's base image starts the engine.
func (j job) kaito() bool { return runtimes.Unpinned(j.Assessment.Runtime.Name) }

// startupFailures is the number of probes, ten seconds apart, that starting may
// take: half an hour, and another for every 64 GiB of weights to download and
// load. The steps are coarse, so that a corrected size in the catalogue restarts
// no pod.
func startupFailures(weightBytes int64) int {
	return 180 * (1 + int(weightBytes>>36))
}

// chosen are the engine arguments that are decided here.
func (j job) chosen() map[string]string {
	preset, spec, revision := j.Assessment.Preset, j.spec.Inference, j.Assessment.Resolved.ModelRevision
	chosen := map[string]string{
		"served-model-name":      preset.Name(),
		"tensor-parallel-size":   strconv.Itoa(j.Candidate.PodGPUs),
		"gpu-memory-utilization": "0.9",
		"dtype":                  j.Candidate.Fit.DType,
		// "auto" lets vLLM take the longest that fits: a number computed here
		// would change with the estimate, and restart pods on an upgrade.
		"max-model-len": "auto",
		// The default of 0 aborts what runs.
		"shutdown-timeout": strconv.Itoa(drain),
	}
	maps.Copy(chosen, j.spreadArguments())
	maps.Copy(chosen, preset.Args)
	for name, value := range map[string]string{
		"revision": revision, "tokenizer-revision": revision,
		"tool-call-parser": preset.ToolParser, "reasoning-parser": preset.ReasoningParser,
	} {
		if value != "" {
			chosen[name] = value
		}
	}
	j.weightsArguments(chosen)
	if spec.PerformanceMode != "" {
		chosen["performance-mode"] = string(spec.PerformanceMode)
	}
	if preset.ToolParser != "" {
		chosen["enable-auto-tool-choice"] = ""
	}
	if spec.ContextLength > 0 {
		chosen["max-model-len"] = strconv.Itoa(int(spec.ContextLength))
	}
	if spec.TrustRemoteCode {
		chosen["trust-remote-code"], chosen["code-revision"] = "", revision
	}
	if n := len(spec.Adapters); n > 0 {
		chosen["enable-lora"] = ""
		chosen["max-loras"] = strconv.Itoa(n)
		chosen["max-lora-rank"] = strconv.Itoa(j.Assessment.AdapterRank())
	}
	return chosen
}

// arguments of vLLM: the model, then engine arguments in the order of their
// names. The user's configuration wins over what is chosen here; it cannot hold
// what has a field of its own (render/settings).
func (j job) arguments() ([]string, error) {
	if j.unpaged() {
		return j.transformers()
	}
	s, chosen := j.Assessment.Serving, j.chosen()
	modules, err := j.adapterModules()
	if err != nil {
		return nil, err
	}
	for name, value := range s.Args {
		delete(chosen, strings.TrimPrefix(name, "no-"))
		chosen[name] = value
	}
	for name := range s.Lists {
		delete(chosen, name)
	}
	// The positional form: --model is deprecated for `vllm serve`.
	args := []string{j.located()}
	if j.kaito() {
		args = []string{"--model=" + j.located()}
	}
	for _, name := range slices.Sorted(maps.Keys(chosen)) {
		if chosen[name] == "" {
			args = append(args, "--"+name)
			continue
		}
		args = append(args, "--"+name+"="+chosen[name])
	}
	for _, name := range slices.Sorted(maps.Keys(s.Lists)) {
		args = append(append(args, "--"+name), s.Lists[name]...)
	}
	if len(modules) > 0 {
		args = append(append(args, "--lora-modules"), modules...)
	}
	return args, nil
}
