// SPDX-License-Identifier: Apache-2.0

package render

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// weightsPath is where weights are mounted.
const weightsPath = "/weights"

// keyPath is where the key file of a Secret is mounted.
const keyPath = "/var/run/secrets/weights"

// AnyAccount in Options.WeightsAccounts or RegistryAccounts allows every ServiceAccount.
const AnyAccount = "*"

// installed says why this installation does not reach the weights of a Workspace, or
// lets its pods be nobody in the cloud; the error begins with the field.
func (in Input) installed() error {
	spec := in.Workspace.Spec
	if err := allowedAccount("spec.serviceAccountName", spec.ServiceAccountName, "--registry-service-account", in.Options.RegistryAccounts); err != nil {
		return err
	}
	if spec.Inference == nil || spec.Inference.Weights == nil {
		return nil
	}
	w := spec.Inference.Weights
	if w.Local != "" && in.Options.LocalWeights == "" {
		return fmt.Errorf("spec.inference.weights.local: this installation vouches for no directory of the nodes, and only whoever runs the controller can (--local-weights): keep the weights on a claim, or ask for one")
	}
	return allowedAccount("spec.inference.weights.serviceAccountName", w.ServiceAccountName, "--weights-service-account", in.Options.WeightsAccounts)
}

// allowedAccount refuses an account that the controller does not list.
func allowedAccount(field, account, flag string, allowed []string) error {
	if account == "" || slices.Contains(allowed, account) || slices.Contains(allowed, AnyAccount) {
		return nil
	}
	which := "allows none"
	if len(allowed) > 0 {
		which = "allows " + strings.Join(allowed, ", ")
	}
	return fmt.Errorf("%s: the controller %s (%s): a pod has the cloud's rights of its account", field, which, flag)
}

// located is where vLLM finds the model: its repository, or its weights.
func (j job) located() string {
	switch w := j.spec.Inference.Weights; {
	case w == nil:
		return j.Assessment.Preset.ID
	case w.URL != "":
		return w.URL
	}
	return weightsPath
}

// weightsArguments are those of vLLM for weights that are not downloaded.
func (j job) weightsArguments(chosen map[string]string) {
	w := j.spec.Inference.Weights
	if w == nil {
		return
	}
	delete(chosen, "revision")
	delete(chosen, "tokenizer-revision")
	if w.Streams() {
		chosen["load-format"] = "runai_streamer"
	}
}

// placed puts the weights into the pod: a volume of files, or what signs in to an
// object store.
func (j job) placed(pod, container object) {
	w := j.spec.Inference.Weights
	if w == nil {
		return
	}
	if w.ServiceAccountName != "" {
		pod["serviceAccountName"] = w.ServiceAccountName
	}
	if w.URL != "" {
		add(container, "env", j.store(*w)...)
		if w.Store() == "gs" && w.Secret != "" {
			add(pod, "volumes", object{"name": "weights-key", "secret": object{
				"secretName": w.Secret, "items": []any{object{"key": googleKey, "path": googleKey}},
			}})
			add(container, "volumeMounts", mount("weights-key", keyPath))
		}
		return
	}
	// The files are there, and an answer of the model hub must change nothing.
	add(container, "env", variable("HF_HUB_OFFLINE", "1"))
	at := mount("weights", weightsPath)
	volume := object{"name": "weights"}
	switch {
	case w.Registry != nil:
		volume["emptyDir"] = object{}
	case w.Claim != "":
		volume["persistentVolumeClaim"] = object{"claimName": w.Claim, "readOnly": true}
		if w.Path != "" {
			at["subPath"] = w.Path
		}
	default:
		volume["hostPath"] = object{"path": path.Join(j.Options.LocalWeights, w.Local), "type": "Directory"}
	}
	add(pod, "volumes", volume)
	add(container, "volumeMounts", at)
}

// googleKey is the key of a Secret that holds the key file of a Google account.
const googleKey = "key.json"

// credentials are the environment variables that a store reads, which are keys of the
// Secret; one that is not there is left out.
var credentials = map[string][]string{
	"az": {"AZURE_CLIENT_ID", "AZURE_TENANT_ID", "AZURE_CLIENT_SECRET"},
	"s3": {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION"},
}

// store is the environment of a pod that streams from an object store.
func (j job) store(w v1alpha1.Weights) []any {
	var env []any
	if w.StorageAccount != "" {
		env = append(env, variable("AZURE_STORAGE_ACCOUNT_NAME", w.StorageAccount))
	}
	if w.Endpoint != "" {
		// Stores of one's own seldom have a name for each bucket, and are not asked for
		// credentials of the machine.
		env = append(env, variable("AWS_EC2_METADATA_DISABLED", "true"), variable("AWS_ENDPOINT_URL", w.Endpoint), variable("RUNAI_STREAMER_S3_USE_VIRTUAL_ADDRESSING", "0"))
	}
	if w.Secret == "" {
		return env
	}
	if w.Store() == "gs" {
		return append(env, variable("GOOGLE_APPLICATION_CREDENTIALS", path.Join(keyPath, googleKey)))
	}
	for _, key := range credentials[w.Store()] {
		env = append(env, object{"name": key, "valueFrom": object{
			"secretKeyRef": object{"name": w.Secret, "key": key, "optional": true},
		}})
	}
	return env
}

// add appends to a list of an object.
func add(o object, key string, values ...any) {
	list, _ := o[key].([]any)
	set(o, key, append(list, values...))
}

func variable(name, value string) object { return object{"name": name, "value": value} }
