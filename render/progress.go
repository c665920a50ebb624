// SPDX-License-Identifier: Apache-2.0

package render

import "path"

// Where the trainer finds what it needs to say how far it is.
const (
	authorityFile = "progress-ca.crt"
	progressPath  = "/var/run/secrets/espalier.dev/progress"
	progressToken = "token"
)

// tokenSeconds is how long a token is good for; the kubelet changes it before.
const tokenSeconds = 3600

// add gives the container of the trainer the variables of Kubeflow's status
// protocol, with which transformers reports by itself, and its files the authority
// of the server. It returns the volume of the one token in the pod, which is good
// for nothing but saying how far this pod is.
func (p *Progress) add(train, files object) []any {
	if p == nil {
		return nil
	}
	files[authorityFile] = p.Authority
	env, _ := train["env"].([]any)
	train["env"] = append(env,
		object{"name": "KUBEFLOW_TRAINER_SERVER_URL", "value": p.URL},
		object{"name": "KUBEFLOW_TRAINER_SERVER_CA_CERT", "value": path.Join(configPath, authorityFile)},
		object{"name": "KUBEFLOW_TRAINER_SERVER_TOKEN", "value": path.Join(progressPath, progressToken)},
	)
	mounts, _ := train["volumeMounts"].([]any)
	train["volumeMounts"] = append(mounts, object{"name": "progress", "mountPath": progressPath, "readOnly": true})
	return []any{object{"name": "progress", "projected": object{"sources": []any{
		object{"serviceAccountToken": object{"audience": p.Audience, "expirationSeconds": int64(tokenSeconds), "path": progressToken}},
	}}}}
}
