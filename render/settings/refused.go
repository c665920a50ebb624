// SPDX-License-Identifier: Apache-2.0

package settings

import (
	"maps"
	"slices"
	"strings"

	"github.com/espalier-dev/espalier/presets/runtimes"
)

// refused are arguments that have a field of their own, or that a tenant of a
// cluster may not set for a server within it.
var refused = map[string]string{
	"model":                    "set spec.inference.preset or spec.inference.model",
	"model-tag":                "set spec.inference.preset or spec.inference.model",
	"revision":                 "set spec.inference.revision",
	"code-revision":            "set spec.inference.revision",
	"tokenizer":                "the tokenizer is the model's own",
	"tokenizer-revision":       "set spec.inference.revision",
	"hf-config-path":           "the configuration is the model's own",
	"served-model-name":        "requests use the name of the model",
	"enable-lora":              "set spec.inference.adapters",
	"lora-modules":             "set spec.inference.adapters",
	"max-loras":                "set spec.inference.adapters",
	"host":                     "the Service reaches the pod on every address",
	"port":                     "the Service reaches port 8000",
	"uds":                      "the Service reaches port 8000",
	"root-path":                "requests go to the root of the Service",
	"config":                   "the file would have to be in the image",
	"download-dir":             "the cache is a volume of the pod",
	"api-key":                  "a key in an argument can be read by whoever reads the pod",
	"hf-token":                 "set spec.inference.accessSecret",
	"trust-remote-code":        "set spec.inference.trustRemoteCode, which is shown to whoever reviews it",
	"middleware":               "it runs code that the image does not have",
	"tool-parser-plugin":       "it runs code that the image does not have",
	"reasoning-parser-plugin":  "it runs code that the image does not have",
	"io-processor-plugin":      "it runs code that the image does not have",
	"logits-processors":        "it runs code that a request names",
	"logits-processor-pattern": "it runs code that a request names",
	"worker-cls":               "it runs code that the image does not have",
	"worker-extension-cls":     "it runs code that the image does not have",
	"scheduler-cls":            "it runs code that the image does not have",
	"collect-detailed-traces":  "it sends requests out of the cluster",
	"otlp-traces-endpoint":     "it sends requests out of the cluster",
	"allowed-local-media-path": "it lets requests read files of the pod",
	"hf-overrides":             "the configuration is the model's own",
	"kv-transfer-config":       "it loads connectors and talks to other servers",
	"ec-transfer-config":       "it loads connectors and talks to other servers",
	"kv-events-config":         "it talks to other servers",
	"tool-server":              "it runs code that the model writes",
	"model-class-overrides":    "it runs code that the image does not have",
	"default-mm-loras":         "set spec.inference.adapters",
	"grpc":                     "the probes and the Service speak HTTP",
	"weight-transfer-config":   "it talks to other servers",
	"log-config-file":          "the file would have to be in the image",
	"profiler-config":          "it opens endpoints that whoever reaches the Service may call",
	"device-ids":               "the device plugin chooses the GPUs",
	"shutdown-timeout":         "the pod's grace period decides",
	"ssl-keyfile":              "the probes and the Service speak plain HTTP within the cluster",
	"ssl-certfile":             "the probes and the Service speak plain HTTP within the cluster",
	"ssl-ca-certs":             "the probes and the Service speak plain HTTP within the cluster",
}

// refusedGroups are beginnings of names for which one reason holds.
var refusedGroups = map[string]string{
	"data-parallel-":               "set spec.inference.replicas",
	"pipeline-parallel-size":       "the number of nodes follows from the memory fit",
	"prefill-context-parallel":     "it takes GPUs that are not in the memory sum",
	"nnodes":                       "the number of nodes follows from the memory fit",
	"node-rank":                    "the number of nodes follows from the memory fit",
	"master-":                      "the number of nodes follows from the memory fit",
	"headless":                     "the number of nodes follows from the memory fit",
	"distributed-executor-backend": "the number of nodes follows from the memory fit",
	"enable-elastic-ep":            "the number of nodes follows from the memory fit",
	"spec-":                        "speculative decoding is not in the memory sum",
	"speculative-config":           "it loads a second model that is neither pinned nor in the memory sum",
}

// refusedKeys are keys of objects that name Python code.
var refusedKeys = map[string]string{
	"structured-outputs-config.reasoning_parser_plugin": "it runs code that the image does not have",
	"compilation-config.backend":                        "it names Python code to run",
	"compilation-config.inductor_passes":                "it names Python code to run",
}

// forbidden returns the refused argument that a name stands for, and why.
// Python's argparse takes every unambiguous beginning of a name for the name.
func forbidden(name string, known runtimes.Arguments) (full, why string) {
	if why, ok := refused[name]; ok {
		return name, why
	}
	for _, beginning := range slices.Sorted(maps.Keys(refusedGroups)) {
		if strings.HasPrefix(name, beginning) {
			return name, refusedGroups[beginning]
		}
	}
	if _, ok := known[name]; ok {
		return "", ""
	}
	for _, full := range slices.Sorted(maps.Keys(refused)) {
		if strings.HasPrefix(full, name) {
			return full, refused[full]
		}
	}
	return "", ""
}
