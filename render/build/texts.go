// SPDX-License-Identifier: Apache-2.0

package build

import (
	"math"
	"sync"
	"weak"

	"go.yaml.in/yaml/v3"

	"github.com/espalier-dev/espalier/render/internal/yamltext"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
)

// texts are the YAML files of a unit. They are parsed when somebody asks for a
// field, and again when the memory was needed meanwhile: most are never asked.
type texts struct {
	files map[string][]byte

	mu     sync.Mutex
	parsed weak.Pointer[parsedTexts]
}

// parsedTexts are texts, parsed. They are not changed once made.
type parsedTexts struct {
	docs   map[string][]*yaml.Node
	places map[string]places
}

func (t *texts) parse() *parsedTexts {
	t.mu.Lock()
	defer t.mu.Unlock()
	if known := t.parsed.Value(); known != nil {
		return known
	}
	p := &parsedTexts{docs: map[string][]*yaml.Node{}, places: map[string]places{}}
	for name, text := range t.files {
		p.docs[name], _ = yamltext.Parse(text, math.MaxInt32) // the scan has parsed and bounded it
		p.places[name] = placesIn(name, text)
	}
	t.parsed = weak.Make(p)
	return p
}

// places are the documents of a file by kind and name, the first of each; under
// no kind and name the only document, or the file.
type places map[id]repolayout.Position

func placesIn(file string, text []byte) places {
	documents := repolayout.Split(file, text)
	p := make(places, len(documents)+1)
	for _, d := range documents {
		key := id{}
		key.kind, key.name = d.Identity()
		if _, taken := p[key]; !taken {
			p[key] = d
		}
	}
	p[id{}] = fixed{file: file}
	if len(documents) == 1 {
		p[id{}] = documents[0]
	}
	return p
}

// of returns where a document of a kind and name is.
func (p places) of(document id) repolayout.Position {
	if found, ok := p[document]; ok {
		return found
	}
	return p[id{}]
}
