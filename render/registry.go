// SPDX-License-Identifier: Apache-2.0

package render

// maxModel bounds what is downloaded of a model: more than the largest of the catalogue
// has.
const maxModel = "2Ti"

// fromRegistry is the init container that downloads a version of a model from a registry
// of Azure, nil where the weights come from elsewhere. It runs as who reads the volume.
func (j job) fromRegistry() ([]any, error) {
	w := j.spec.Inference.Weights
	if w == nil || w.Registry == nil {
		return nil, nil
	}
	if err := j.needHelper("downloading a model from its registry"); err != nil {
		return nil, err
	}
	return []any{object{
		"name": "model", "image": j.Assessment.Resolved.HelperImage, "command": []any{"espalier", "data", "model"},
		"args": texts([]string{"--to", weightsPath, "--max-size", maxModel, "--client-id", w.Registry.ClientID, w.Registry.URL}),
		"securityContext": object{
			"runAsNonRoot": true, "runAsUser": 65532, "runAsGroup": 65532,
			"readOnlyRootFilesystem": true, "allowPrivilegeEscalation": false,
			"capabilities": object{"drop": []any{"ALL"}},
		},
		"resources":    object{"requests": object{"cpu": "1", "memory": "512Mi"}},
		"volumeMounts": []any{object{"name": "weights", "mountPath": weightsPath}},
	}}, nil
}
