// SPDX-License-Identifier: Apache-2.0

package settings

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/espalier-dev/espalier/repo-layout/finding"
)

// Serving is what a ConfigMap says on serving.
type Serving struct {
	// Args are engine arguments of vLLM by name without the leading dashes;
	// the value "" is a flag.
	Args map[string]string
	// What the memory fit needs of them; zero where not given.
	Context, BatchTokens, Sequences, TensorParallel, KVElementBytes, AdapterRank int
	Utilization                                                                  float64
}

// argument matches names of engine arguments; vLLM takes nested settings with dots.
var argument = regexp.MustCompile(`^[a-z][a-z0-9-]*(\.[A-Za-z0-9_-]+)*$`)

// refused are arguments that have a field of their own, or that a tenant of a
// cluster may not set for a server within it.
var refused = map[string]string{
	"model":                    "set spec.inference.preset",
	"model-tag":                "set spec.inference.preset",
	"revision":                 "set spec.inference.revision",
	"code-revision":            "set spec.inference.revision",
	"tokenizer":                "the tokenizer is the model's own",
	"tokenizer-revision":       "set spec.inference.revision",
	"hf-config-path":           "the configuration is the model's own",
	"served-model-name":        "requests use the name of the preset",
	"enable-lora":              "set spec.inference.adapters",
	"lora-modules":             "set spec.inference.adapters",
	"max-loras":                "set spec.inference.adapters",
	"pipeline-parallel-size":   "one pod serves on one node",
	"data-parallel-size":       "set spec.inference.replicas",
	"nnodes":                   "one pod serves on one node",
	"node-rank":                "one pod serves on one node",
	"host":                     "the Service reaches the pod on every address",
	"port":                     "the Service reaches port 8000",
	"uds":                      "the Service reaches port 8000",
	"root-path":                "requests go to the root of the Service",
	"config":                   "the file would have to be in the image",
	"download-dir":             "the cache is a volume of the pod",
	"api-key":                  "a key in an argument can be read by whoever reads the pod",
	"hf-token":                 "set spec.inference.accessSecret",
	"trust-remote-code":        "it runs code of the model repository in the pod",
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
	"speculative-config":       "it loads a second model that is neither pinned nor in the memory sum",
	"hf-overrides":             "the configuration is the model's own",
	"kv-transfer-config":       "it loads connectors and talks to other servers",
	"ec-transfer-config":       "it loads connectors and talks to other servers",
	"kv-events-config":         "it talks to other servers",
	"ssl-keyfile":              "the probes and the Service speak plain HTTP within the cluster",
	"ssl-certfile":             "the probes and the Service speak plain HTTP within the cluster",
	"ssl-ca-certs":             "the probes and the Service speak plain HTTP within the cluster",
}

// forbidden returns the refused argument that a name stands for, and why.
// Python's argparse takes every unambiguous beginning of a name for the name.
func forbidden(name string) (full, why string) {
	if why, ok := refused[name]; ok {
		return name, why
	}
	for _, full := range slices.Sorted(maps.Keys(refused)) {
		if strings.HasPrefix(full, name) {
			return full, refused[full]
		}
	}
	return "", ""
}

// ParseServing reads inference_config.yaml. field is the field of the Workspace
// that names the ConfigMap, for problems.
func ParseServing(data map[string]string, field string) (Serving, []finding.Problem) {
	tree, problems := document(data, ServingKey, field)
	if problems != nil {
		return Serving{}, problems
	}
	var ignored []string
	for _, key := range slices.Sorted(maps.Keys(tree)) {
		switch key {
		case "vllm":
		case "max_probe_steps":
			ignored = append(ignored, key)
		default:
			problems = append(problems, finding.Errorf(ConfigInvalid, field, "%s: %.60q is not known: engine arguments go below vllm", ServingKey, key))
		}
	}
	s := Serving{Args: map[string]string{}}
	values, ok := tree["vllm"].(map[string]any)
	if !ok && tree["vllm"] != nil {
		problems = append(problems, finding.Errorf(ConfigInvalid, field, "%s: vllm is no mapping of engine arguments", ServingKey))
	}
	for _, key := range slices.Sorted(maps.Keys(values)) {
		if p := s.add(key, values[key], field); p != nil {
			problems = append(problems, *p)
		}
	}
	if len(ignored) > 0 {
		problems = append(problems, finding.Warningf(ConfigIgnored, field, "%s: %s has no effect here", ServingKey, strings.Join(ignored, ", ")))
	}
	problems = append(problems, s.measure(field)...)
	return s, problems
}

func (s *Serving) add(key string, value any, field string) *finding.Problem {
	refuse := func(format string, args ...any) *finding.Problem {
		p := finding.Errorf(ConfigInvalid, field, "%s: vllm.%.60s: %s", ServingKey, key, fmt.Sprintf(format, args...))
		return &p
	}
	// vLLM takes dashes and underscores alike; what comes after a dot is a key
	// within a JSON value and stays as it is.
	base, rest, nested := strings.Cut(strings.TrimLeft(key, "-"), ".")
	base = strings.ReplaceAll(base, "_", "-")
	name := base
	if nested {
		name += "." + rest
	}
	if !argument.MatchString(name) {
		return refuse("no name of an engine argument")
	}
	if full, why := forbidden(strings.TrimPrefix(base, "no-")); full != "" {
		return refuse("%s is not taken from the configuration: %s", full, why)
	}
	if _, twice := s.Args[name]; twice {
		return refuse("given twice")
	}
	if value == false {
		name = "no-" + name
	}
	text, err := argumentValue(value)
	if err != nil {
		return refuse("%s", err)
	}
	s.Args[name] = text
	return nil
}

// argumentValue writes a value as an argument takes it; a flag has none.
func argumentValue(value any) (string, error) {
	switch v := value.(type) {
	case bool:
		return "", nil
	case string:
		if v == "" || strings.ContainsAny(v, "\x00\n") {
			return "", fmt.Errorf("%q is no value", v)
		}
		return v, nil
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64), nil
	case map[string]any, []any:
		text, err := json.Marshal(v)
		return string(text), err
	}
	return "", errors.New("it has no value")
}

// measure reads the arguments that change how much memory is needed.
func (s *Serving) measure(field string) []finding.Problem {
	var problems []finding.Problem
	read := func(name string, low, high float64) float64 {
		text, ok := s.Args[name]
		if !ok || text == "auto" {
			return 0
		}
		n, err := strconv.ParseFloat(text, 64)
		if err != nil || n < low || n > high {
			problems = append(problems, finding.Errorf(ConfigInvalid, field, "%s: vllm.%s: %.40q is not a number between %v and %v", ServingKey, name, text, low, high))
			return 0
		}
		return n
	}
	s.Context = int(read("max-model-len", 1, 1<<24))
	s.BatchTokens = int(read("max-num-batched-tokens", 1, 1<<24))
	s.Sequences = int(read("max-num-seqs", 1, 1<<16))
	s.TensorParallel = int(read("tensor-parallel-size", 1, 64))
	s.AdapterRank = int(read("max-lora-rank", 1, 512))
	s.Utilization = read("gpu-memory-utilization", 0.05, 1)
	if strings.HasPrefix(s.Args["kv-cache-dtype"], "fp8") {
		s.KVElementBytes = 1
	}
	return problems
}
