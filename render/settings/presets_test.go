// SPDX-License-Identifier: Apache-2.0

package settings_test

import (
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/espalier-dev/espalier/presets"
	"github.com/espalier-dev/espalier/render/settings"
)

// TestPresets holds what the catalogue tells vLLM of each model to the
// arguments of the pinned version: a parser that is gone stops the server at
// its start, on a node that is paid.
func TestPresets(t *testing.T) {
	told := 0
	for _, p := range presets.All() {
		args := map[string]string{}
		for name, value := range p.Args {
			args[name] = value
		}
		args["tool-call-parser"], args["reasoning-parser"] = p.ToolParser, p.ReasoningParser
		values := map[string]any{}
		for name, value := range args {
			_, flag := p.Args[name]
			switch {
			case value == "" && flag:
				values[name] = true
			case value != "":
				values[name] = value
			}
		}
		config, err := yaml.Marshal(map[string]any{"vllm": values})
		if err != nil {
			t.Fatal(err)
		}
		_, problems := settings.ParseServing(map[string]string{settings.ServingKey: string(config)}, vllm(), "f")
		if len(problems) > 0 {
			t.Errorf("%s:\n%s", p.ID, text(problems))
		}
		told += len(values)
	}
	t.Logf("%d arguments of %d models", told, len(presets.All()))
	if len(presets.All()) < 60 || told < 100 {
		t.Errorf("%d arguments of %d models were looked at", told, len(presets.All()))
	}
}
