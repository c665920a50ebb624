// SPDX-License-Identifier: Apache-2.0

package build

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"strings"

	"go.yaml.in/yaml/v3"
	"sigs.k8s.io/kustomize/api/resource"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/finding"
)

var errUnread = errors.New("not read")

// shortest is the length in bytes of what is looked for: less is a part of many words.
const shortest = 8

// maxCompared bounds what a search compares beyond the first bytes of each value, in
// bytes: whoever pushes decides how often these are the same.
const maxCompared = 1 << 28

// needles are the values that were encrypted, by their first bytes.
type needles struct {
	by    map[uint64][]string
	first [1 << 16]bool // the two bytes that one begins with
	left  int           // bytes that may yet be compared
}

// needlesOf are the values that are long enough, and what a generator writes for them.
func needlesOf(values []string) *needles {
	n := &needles{by: map[uint64][]string{}, left: maxCompared}
	seen := map[string]bool{}
	for _, value := range values {
		if value = strings.TrimSpace(value); len(value) < shortest || seen[value] {
			continue
		}
		seen[value] = true
		for _, text := range []string{value, base64.StdEncoding.EncodeToString([]byte(value))} {
			beginning := binary.LittleEndian.Uint64([]byte(text[:shortest]))
			n.by[beginning] = append(n.by[beginning], text)
			n.first[beginning&0xffff] = true
		}
	}
	return n
}

// in calls yield with each needle in a text, as often as it is there. It returns false
// where that was given up.
func (n *needles) in(text string, yield func(needle string)) bool {
	for i := 0; i+shortest <= len(text); i++ {
		if !n.first[uint16(text[i])|uint16(text[i+1])<<8] {
			continue
		}
		for _, needle := range n.by[binary.LittleEndian.Uint64([]byte(text[i:i+shortest]))] {
			if n.left -= len(needle); n.left < 0 {
				return false
			}
			if strings.HasPrefix(text[i:], needle) {
				yield(needle)
			}
		}
	}
	return true
}

// refuseLeaks refuses a unit whose result has, in a place that everybody reads, what was
// encrypted. It looks at the result: whatever brought it there, it stays here.
func (t *task) refuseLeaks(built []builtObject) error {
	if len(t.secret.files) == 0 {
		return nil
	}
	hay, own := make([][]string, len(built)), make([]bool, len(built))
	for i, b := range built {
		texts, keeps, err := shown(b.item)
		if err != nil || b.sealed && !keeps && !b.secret() {
			return leaked(b.item)
		}
		hay[i], own[i] = texts, keeps
	}
	n := needlesOf(t.secret.values)
	open := t.inPlain(n, hay)
	for i, texts := range hay {
		for _, text := range texts {
			if !own[i] && repolayout.EncryptedText(text) || n.leaksInto(text, open) {
				return leaked(built[i].item)
			}
		}
	}
	return nil
}

// leaksInto says whether a text has a needle that is not open, or nobody can tell.
func (n *needles) leaksInto(text string, open map[string]bool) bool {
	found := false
	known := n.in(text, func(needle string) { found = found || !open[needle] })
	return found || !known
}

// inPlain are the needles that are found in the result and that the files of the unit say
// in plain text too: they tell nobody anything.
func (t *task) inPlain(n *needles, hay [][]string) map[string]bool {
	found, open := map[string]bool{}, map[string]bool{}
	for _, texts := range hay {
		for _, text := range texts {
			n.in(text, func(needle string) { found[needle] = true })
		}
	}
	if len(found) == 0 {
		return open
	}
	for file, text := range t.files {
		if _, isSecret := t.secret.files[file]; !isSecret {
			n.in(string(text), func(needle string) { open[needle] = true })
		}
	}
	return open
}

// holds says whether a file of resources is encrypted.
func (s *secrets) holds(file string) bool {
	_, is := s.files[file]
	return is
}

// made says whether an object came of an encrypted file, or of a generator of Secrets
// beside one.
func (s *secrets) made(origin *resource.Origin, by built) bool {
	switch {
	case origin == nil || len(s.files) == 0:
		return false
	case origin.ConfiguredIn != "":
		return origin.ConfiguredBy.Kind == "SecretGenerator"
	}
	return s.holds(by.inTree(origin.Path))
}

// leaked names no object: a name may be what must not be told.
func leaked(o *item) error {
	file, line := o.At("")
	return &refusal{finding.EncryptedField, place{file, line}, "what the folder builds to holds, outside of the values of a Secret, something that SOPS encrypted, which plans, statuses and reports would quote: " +
		"put the encrypted files into a folder of their own, and drop the patches that carry it here"}
}

// shown are the texts of an object that everybody may read: all of it, but what a Secret
// holds. What is written in base64 is there as it stands and as what it stands for. own:
// it has what SOPS keeps in it, so that whoever decodes it says what may be encrypted.
func shown(o *item) (texts []string, own bool, err error) {
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(o.text), &doc); err != nil || len(doc.Content) != 1 {
		return nil, false, errUnread
	}
	root := doc.Content[0]
	for i := 0; i+1 < len(root.Content); i += 2 {
		key, value := root.Content[i].Value, root.Content[i+1]
		if key == "sops" {
			own = own || value.Kind == yaml.MappingNode
			continue
		}
		if o.secret() && (key == "data" || key == "stringData") {
			continue
		}
		texts = textsOf(value, append(texts, key))
	}
	return texts, own, nil
}

// secret says whether an object is one of Kubernetes' own Secrets.
func (o *item) secret() bool { return o.kind == "Secret" && o.group == "" }

func textsOf(n *yaml.Node, texts []string) []string {
	if n.Kind == yaml.ScalarNode {
		texts = append(texts, n.Value)
		packed := strings.Join(strings.Fields(n.Value), "")
		if raw, err := base64.StdEncoding.DecodeString(packed); err == nil && len(raw) > 0 {
			texts = append(texts, string(raw))
		}
	}
	for _, child := range n.Content {
		texts = textsOf(child, texts)
	}
	return texts
}
