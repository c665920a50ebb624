// SPDX-License-Identifier: Apache-2.0

package settings

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/espalier-dev/espalier/presets/runtimes"
	"github.com/espalier-dev/espalier/render/internal/yamltext"
	"github.com/espalier-dev/espalier/repo-layout/finding"
)

// Serving is what a ConfigMap says on serving.
type Serving struct {
	// Args are engine arguments of vLLM by name without the leading dashes;
	// the value "" is a flag.
	Args map[string]string
	// Lists are arguments that take several values.
	Lists map[string][]string
	// What the memory fit needs of them; zero where not given.
	Context, BatchTokens, Sequences, TensorParallel, KVElementBytes, AdapterRank int
	Utilization                                                                  float64
	// ShardedAdapters is fully-sharded-loras.
	ShardedAdapters bool
}

// serving reads inference_config.yaml.
type serving struct {
	Serving
	known    runtimes.Arguments // nil: not known, and so not checked
	version  string             // of vLLM, for messages
	field    string             // of the Workspace that names the ConfigMap
	root     *yaml.Node
	problems []finding.Problem
}

// ParseServing reads inference_config.yaml for a version of vLLM. field is the
// field of the Workspace that names the ConfigMap, for problems.
func ParseServing(data map[string]string, r runtimes.Runtime, field string) (Serving, []finding.Problem) {
	doc, problems := document(data, ServingKey, field)
	if problems != nil {
		return Serving{}, problems
	}
	s := serving{Serving: Serving{Args: map[string]string{}}, known: r.Arguments(), version: r.VLLM(), field: field, root: doc.root}
	var ignored []string
	for _, key := range slices.Sorted(maps.Keys(doc.tree)) {
		switch key {
		case "vllm":
		case "max_probe_steps":
			ignored = append(ignored, key)
		default:
			s.refuse([]string{key}, "engine arguments go below vllm")
		}
	}
	values, ok := doc.tree["vllm"].(map[string]any)
	if !ok && doc.tree["vllm"] != nil {
		s.refuse([]string{"vllm"}, "it is no mapping of engine arguments")
	}
	for _, key := range slices.Sorted(maps.Keys(values)) {
		if err := s.add(key, values[key]); err != nil {
			s.refuse([]string{"vllm", key}, "%s", err)
		}
	}
	if len(ignored) > 0 {
		s.problems = append(s.problems, finding.Warningf(ConfigIgnored, field, "%s has no effect here", strings.Join(ignored, ", ")).
			In(finding.Entry{Key: ServingKey, Line: keyLine(doc.root, ignored[:1])}))
	}
	s.measure()
	return s.Serving, s.problems
}

// refuse adds a problem with a key, by its line within the ConfigMap's entry.
func (s *serving) refuse(path []string, format string, args ...any) {
	s.problems = append(s.problems, finding.Errorf(ConfigInvalid, s.field, "%.80s: %s", strings.Join(path, "."), fmt.Sprintf(format, args...)).
		In(finding.Entry{Key: ServingKey, Line: keyLine(s.root, path)}))
}

// keyLine is the line of a key of nested mappings, 0 where it is not there.
func keyLine(node *yaml.Node, path []string) int {
	for n, key := range path {
		if node == nil || node.Kind != yaml.MappingNode {
			return 0
		}
		for i := 0; i+1 < len(node.Content); i += 2 {
			if n == len(path)-1 && node.Content[i].Value == key {
				return node.Content[i].Line
			}
		}
		node = yamltext.Field(node, key)
	}
	return 0
}

// measure reads the arguments that change how much memory is needed.
func (s *serving) measure() {
	read := func(name string, low, high float64) float64 {
		text, ok := s.Args[name]
		if !ok || text == "auto" || text == "-1" {
			return 0
		}
		n, ok := sizeOf(text)
		if !ok || n < low || n > high {
			s.refuse([]string{"vllm", s.written(name)}, "%.40q is not a number between %v and %v", text, low, high)
			return 0
		}
		return n
	}
	s.Context = int(read("max-model-len", 1, 1<<24))
	s.BatchTokens = int(read("max-num-batched-tokens", 1, 1<<24))
	s.Sequences = int(read("max-num-seqs", 1, 1<<16))
	s.TensorParallel = int(read("tensor-parallel-size", 1, 64))
	s.AdapterRank = int(read("max-lora-rank", 1, 512))
	_, s.ShardedAdapters = s.Args["fully-sharded-loras"]
	s.Utilization = read("gpu-memory-utilization", 0.05, 1)
	if strings.HasPrefix(s.Args["kv-cache-dtype"], "fp8") {
		s.KVElementBytes = 1
	}
}

// written is the key that an argument was given by: with dashes or underscores.
func (s *serving) written(name string) string {
	for _, spelling := range []string{strings.ReplaceAll(name, "-", "_"), "--" + name} {
		if keyLine(s.root, []string{"vllm", spelling}) > 0 {
			return spelling
		}
	}
	return name
}
