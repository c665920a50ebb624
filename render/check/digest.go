// SPDX-License-Identifier: Apache-2.0

package check

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"

	"sigs.k8s.io/yaml"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// Digest identifies what a Workspace asks to be run: its task, runtime and
// patches, and the content of the ConfigMaps it names. Where it runs (resource), how often
// (replicas, autoscale), who reaches it (route), in which queue, for how much (budget), whether just now (suspend), from which
// registry (runtime.mirror), with whose credentials, what is kept on the way, for how long
// it may go on (checkpoints, timeout, retries) and what is demanded of its numbers (thresholds of
// the evaluation) are no part of it: moving a finished tuning run to another size,
// as substitutions do to a whole fleet, repeats nothing.
func Digest(w *v1alpha1.Workspace, configMaps map[string]map[string]string) string {
	spec := asked(w)
	if spec.Inference != nil && spec.Inference.Template != nil {
		return podDigest(spec, configMaps)
	}
	// The name of the ConfigMap says nothing that its content does not: a
	// generator's suffix may change with the version of Kustomize.
	config, lock := configMaps[spec.ConfigName()], configMaps[spec.LockName()]
	if spec.Inference != nil && config != nil {
		spec.Inference.Config = ""
	}
	if spec.Tuning != nil && config != nil {
		spec.Tuning.Config = ""
	}
	values := []any{spec, config}
	if lock != nil {
		spec.Model().Model.Lock = ""
		values = append(values, saidBy(lock[repolayout.LockFile]))
	}
	if data := trainedOn(spec, configMaps); data != nil {
		values = append(values, data)
	}
	return Sum(values...)
}

// trainedOn are the contents of the ConfigMaps that hold training data, whose names
// it takes out of the spec.
func trainedOn(spec *v1alpha1.WorkspaceSpec, configMaps map[string]map[string]string) []map[string]string {
	if spec.Tuning == nil {
		return nil
	}
	var contents []map[string]string
	for i, f := range spec.Tuning.Input.Files {
		content, held := configMaps[f.ConfigMap]
		if held && f.ConfigMap != "" {
			spec.Tuning.Input.Files[i].ConfigMap = "content"
		}
		contents = append(contents, content)
	}
	return contents
}

// asked is the spec without what is no part of the digest.
func asked(w *v1alpha1.Workspace) *v1alpha1.WorkspaceSpec {
	spec := w.Spec.DeepCopy()
	spec.Resource = v1alpha1.ResourceSpec{}
	spec.Budget, spec.Queue, spec.Suspend, spec.ServiceAccountName = nil, "", false, ""
	if r := spec.Runtime; r != nil {
		if r.Mirror, r.ImageVolumes = "", ""; *r == (v1alpha1.RuntimeSpec{}) {
			spec.Runtime = nil
		}
	}
	if m := spec.Model(); m != nil {
		m.AccessSecret = ""
	}
	if s := spec.Inference; s != nil {
		s.Replicas, s.Autoscale, s.Route = nil, nil, nil
		if s.Weights != nil {
			s.Weights.Secret = ""
		}
		for i := range s.Adapters {
			s.Adapters[i].PullSecrets = nil
		}
	}
	if t := spec.Tuning; t != nil {
		t.Input.PullSecrets, t.Output.PushSecret, t.Output.SigningSecret = nil, "", ""
		t.Checkpoints, t.Timeout, t.Retries, t.Promote = nil, nil, nil, nil
		t.Evaluation = t.Evaluation.WithoutThresholds()
	}
	return spec
}

// saidBy is what a lock file says, without its comments and its order: none of
// that reaches a pod. One that cannot be read is refused elsewhere.
func saidBy(lock string) any {
	var v map[string]any
	if err := yaml.Unmarshal([]byte(lock), &v); err != nil || v == nil {
		return lock
	}
	return v
}

// podDigest is that of a pod of the user's own: its template in the order of
// Kubernetes, however it was written, and the ConfigMaps that it names.
func podDigest(spec *v1alpha1.WorkspaceSpec, configMaps map[string]map[string]string) string {
	named := map[string]map[string]string{}
	for _, name := range spec.ConfigMaps() {
		named[name] = configMaps[name]
	}
	pod, err := spec.Inference.Pod()
	if err != nil {
		return Sum(spec, named)
	}
	spec.Inference.Template = nil
	return Sum(spec, pod, named)
}

// ResourceDigest identifies the nodes that a Workspace asks for, but where they
// come from, which moves none that is there, and their driver, which decides on the image.
func ResourceDigest(r v1alpha1.ResourceSpec) string {
	r.Provider, r.Driver = "", ""
	return Sum(r)
}

// Sum is the digest of values as JSON, whose maps are written in order.
func Sum(values ...any) string {
	h := sha256.New()
	for _, v := range values {
		text, err := json.Marshal(v)
		if err != nil {
			panic("render/check: digest of a value that is no JSON: " + err.Error())
		}
		h.Write(text)
		h.Write([]byte{0})
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil))
}
