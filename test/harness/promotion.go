// SPDX-License-Identifier: Apache-2.0

package harness

import "fmt"

// The Workspaces of Promotion, and what is trained: at the tag that the service names at
// first, and by digest.
const (
	Trainer      = "dolly-run"
	Trained      = "phi-3"
	TrainedTag   = "registry.example.com/models/dolly:v1"
	TrainedImage = "registry.example.com/models/dolly@sha256:ab12ab12ab12ab12ab12ab12ab12ab12ab12ab12ab12ab12ab12ab12ab12ab12"
)

const trainer = `apiVersion: espalier.dev/v1alpha1
kind: Workspace
metadata: {name: ` + Trainer + `}
spec:
  resource: {instanceType: Standard_NC4as_T4_v3}
  tuning:
    preset: phi-3-mini-128k-instruct
    method: qlora
    input: {urls: ["https://data.example.com/dolly.parquet"]}
    output: {image: "` + TrainedTag + `", pushSecret: registry-push}
%s    promote: {to: ` + Trained + `}
  patches:
  - target: {kind: Job}
    patch: |
      apiVersion: batch/v1
      kind: Job
      metadata: {name: any}
      spec: {template: {metadata: {annotations: {simulation.example.com/termination: '{"adapter": "` + TrainedImage + `"%s}'}}}}
`

const trained = `# The model that answers, and what was trained for it.
apiVersion: espalier.dev/v1alpha1
kind: Workspace
metadata: {name: ` + Trained + `}
spec:
  resource: {instanceType: Standard_NC24ads_A100_v4}
  inference:
    preset: phi-3-mini-128k-instruct
    contextLength: 8192
    adapters:
    - name: dolly
      image: ` + TrainedTag + `   # by digest once it is trained
`

// Promotion are the files, below models, of a run that promotes its adapter to a service.
// The simulated pod of the run leaves behind what `espalier adapter push` does; tuning are
// more lines of spec.tuning, and said more of what the pod leaves.
func Promotion(tuning, said string) map[string]string {
	files := map[string]string{}
	for name, text := range map[string]string{Trainer: fmt.Sprintf(trainer, tuning, said), Trained: trained} {
		files["models/"+name+"/kustomization.yaml"] = "resources: [workspace.yaml]\n"
		files["models/"+name+"/workspace.yaml"] = text
	}
	return files
}
