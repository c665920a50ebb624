// SPDX-License-Identifier: Apache-2.0

package render

import (
	"encoding/json"
	"fmt"

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
		case len(a.URLs) > 0:
			if err := j.needHelper("downloading adapter " + a.Name); err != nil {
				return loaded{}, err
			}
			l.volumes = append(l.volumes, object{"name": volume, "emptyDir": object{}})
			l.init = append(l.init, j.fetch(a, volume))
		default:
			l.volumes = append(l.volumes, imageVolume(volume, a.Image))
		}
		l.mounts = append(l.mounts, at)
		l.secrets = append(l.secrets, a.PullSecrets...)
	}
	return l, nil
}

// fetch is the init container that downloads an adapter. It is no user of the
// model's and needs no more than the network and a folder.
func (j job) fetch(a v1alpha1.Adapter, volume string) object {
	to := j.adapterPath(a.Name)
	return object{
		"name": volume, "image": j.Assessment.Resolved.HelperImage, "command": []any{"espalier", "data", "fetch"},
		"args": texts(append([]string{"--to", to, "--max-size", maxAdapter}, a.URLs...)),
		"securityContext": object{
			"runAsNonRoot": true, "runAsUser": 65532, "runAsGroup": 65532,
			"readOnlyRootFilesystem": true, "allowPrivilegeEscalation": false,
			"capabilities": object{"drop": []any{"ALL"}},
		},
		"resources":    object{"requests": object{"cpu": "100m", "memory": "256Mi"}},
		"volumeMounts": []any{object{"name": volume, "mountPath": to}},
	}
}

// fetches says that pods download adapters before they start.
func (j job) fetches() bool {
	if j.spec.Inference == nil {
		return false
	}
	for _, a := range j.spec.Inference.Adapters {
		if len(a.URLs) > 0 {
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
		text, err := json.Marshal(map[string]string{
			"name": a.Name, "path": j.adapterPath(a.Name), "base_model_name": j.Assessment.Preset.Name(),
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
