// SPDX-License-Identifier: Apache-2.0

package render

import (
	"encoding/json"
	"fmt"
	"path"
	"slices"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
)

// maxAdapter bounds what is downloaded of one adapter: many times what the largest
// have, and less than the disk of any node.
const maxAdapter = "16Gi"

// loaded is what a pod needs for the adapters of its model, in the order of the spec.
type loaded struct {
	volumes, mounts, init []any
	secrets               []string
}

// adapters of the service. All of them are mounted for reading: an image, the
// folder of a claim, or a folder that an init container has downloaded to.
func (j job) adapters() (loaded, error) {
	var l loaded
	claims := map[string]string{}
	for _, claim := range []string{j.spec.CacheClaim(), j.spec.WeightsClaim()} {
		claims[claim] = weightsVolume // which is there already
	}
	for _, a := range j.spec.Inference.Adapters {
		volume := repolayout.ShortName(63, "adapter-"+a.Name)
		at := mount(volume, j.adapterPath(a.Name))
		switch {
		case a.Claim != "":
			if same, known := claims[a.Claim]; known { // a pod has each claim once
				at["name"] = same
			} else {
				claims[a.Claim] = volume
				l.volumes = append(l.volumes, object{"name": volume, "persistentVolumeClaim": object{"claimName": a.Claim, "readOnly": true}})
			}
			if a.Path != "" {
				at["subPath"] = a.Path
			}
		case len(a.URLs) > 0 || j.spec.CopiesImages():
			if err := j.needHelper("downloading adapter " + a.Name); err != nil {
				return loaded{}, err
			}
			l.volumes = append(l.volumes, object{"name": volume, "emptyDir": object{}})
			init, secrets := j.fetch(a, volume)
			l.init = append(l.init, init)
			l.share(secrets)
		default:
			l.volumes = append(l.volumes, imageVolume(volume, a.Image))
		}
		if a.Image != "" && a.Path != "" && j.kaito() { // its program looks into no folder below
			at["subPath"] = a.Path
		}
		l.mounts = append(l.mounts, at)
		l.secrets = append(l.secrets, a.PullSecrets...)
	}
	return l, nil
}

// share adds volumes that are not there yet.
func (l *loaded) share(volumes []any) {
	for _, v := range volumes {
		if !slices.ContainsFunc(l.volumes, func(there any) bool { return there.(object)["name"] == v.(object)["name"] }) {
			l.volumes = append(l.volumes, v)
		}
	}
}

// fetch is the init container that downloads an adapter, and the volumes of its
// credentials. It is no user of the model's and needs no more than the network, a
// folder and those.
func (j job) fetch(a v1alpha1.Adapter, volume string) (container object, secrets []any) {
	to := j.adapterPath(a.Name)
	command, from := []any{"espalier", "data", "fetch"}, a.URLs
	mounts := []any{object{"name": volume, "mountPath": to}}
	if a.Image != "" {
		var more []any
		command, from = []any{"espalier", "adapter", "pull"}, []string{a.Image}
		from, more, secrets = j.pullsWith(a.Image, from, a.PullSecrets)
		mounts = append(mounts, more...)
	}
	return object{
		"name": volume, "image": j.Assessment.Resolved.HelperImage, "command": command,
		"args": texts(append([]string{"--to", to, "--max-size", maxAdapter}, from...)),
		"securityContext": object{
			"runAsNonRoot": true, "runAsUser": 65532, "runAsGroup": 65532,
			"readOnlyRootFilesystem": true, "allowPrivilegeEscalation": false,
			"capabilities": object{"drop": []any{"ALL"}},
		},
		"resources":    object{"requests": object{"cpu": "100m", "memory": "256Mi"}},
		"volumeMounts": mounts,
	}, secrets
}

// pullsWith lets a container that pulls use Secrets: more arguments, their mounts,
// and their volumes, which containers that need the same ones share. Without any it may
// sign in as who it is.
func (j job) pullsWith(image string, args, secrets []string) (more []string, mounts, volumes []any) {
	if j.spec.SignsIn(image, secrets...) {
		args = append(args, withIdentity)
	}
	for i, s := range secrets {
		if slices.Contains(secrets[:i], s) {
			continue
		}
		name := repolayout.VolumeName("pull-" + s)
		args = append(args, "--docker-config", "/pull/"+s)
		mounts = append(mounts, mount(name, "/pull/"+s))
		volumes = append(volumes, object{"name": name, "secret": object{
			"secretName": s, "defaultMode": 0o444,
			"items": []any{object{"key": ".dockerconfigjson", "path": "config.json"}},
		}})
	}
	return args, mounts, volumes
}

// fetches says that pods download adapters, or the model, before they start.
func (j job) fetches() bool {
	if j.spec.Inference == nil {
		return false
	}
	if w := j.spec.Inference.Weights; w != nil && w.Registry != nil {
		return true
	}
	for _, a := range j.spec.Inference.Adapters {
		if len(a.URLs) > 0 || a.Image != "" && j.spec.CopiesImages() {
			return true
		}
	}
	return false
}

// adapterPath is where vLLM is told to look, or KAITO's program looks.
func (j job) adapterPath(name string) string {
	if j.kaito() {
		return "/mnt/adapter/" + name
	}
	return "/adapters/" + name
}

// adapterModules are the values of --lora-modules, in the order of the spec.
func (j job) adapterModules() ([]string, error) {
	if j.kaito() {
		return nil, nil // it serves every folder of /mnt/adapter, by its name
	}
	var modules []string
	for _, a := range j.spec.Inference.Adapters {
		at := j.adapterPath(a.Name)
		if a.Image != "" { // mounted as a whole: image volumes have no subPath before Kubernetes 1.33
			at = path.Join(at, a.Path)
		}
		text, err := json.Marshal(map[string]string{
			"name": a.Name, "path": at, "base_model_name": j.Assessment.Preset.Name(),
		})
		if err != nil {
			return nil, fmt.Errorf("naming adapter %s: %w", a.Name, err)
		}
		modules = append(modules, string(text))
	}
	return modules, nil
}

// files is the volume of training data from ConfigMaps and Secrets.
func files(name string, list []v1alpha1.FileSource) object {
	var sources []any
	for _, f := range list {
		kind, source := "configMap", object{"name": f.ConfigMap}
		if f.Secret != "" {
			kind, source = "secret", object{"name": f.Secret}
		}
		var items []any
		for _, i := range f.Items {
			items = append(items, object{"key": i.Key, "path": i.Path})
		}
		set(source, "items", items)
		sources = append(sources, object{kind: source})
	}
	return object{"name": name, "projected": object{"sources": sources}}
}
