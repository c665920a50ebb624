// SPDX-License-Identifier: Apache-2.0

package runtimes

import (
	"fmt"
	"sync"

	"sigs.k8s.io/yaml"
)

// kaitoKeys panics on a malformed file: it is part of the binary and a test loads it.
var kaitoKeys = sync.OnceValue(func() map[string][]string {
	sections, err := loadKaitoKeys()
	if err != nil {
		panic("presets/runtimes: " + err.Error())
	}
	return sections
})

func loadKaitoKeys() (map[string][]string, error) {
	text, err := files.ReadFile("schemas/" + kaito.Name + "-" + kaito.Version + ".yaml")
	if err != nil {
		return nil, fmt.Errorf("reading the keys of KAITO's trainer: %w", err)
	}
	var doc struct {
		Sections map[string][]string `json:"sections"`
	}
	if err := yaml.UnmarshalStrict(text, &doc); err != nil {
		return nil, fmt.Errorf("parsing the keys of KAITO's trainer: %w", err)
	}
	return doc.Sections, nil
}

// KaitoKeys are the keys that KAITO's trainer takes in a section of training_config; at
// another it ends.
func KaitoKeys(section string) []string { return kaitoKeys()[section] }
