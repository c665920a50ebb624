// SPDX-License-Identifier: Apache-2.0

package build

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"github.com/espalier-dev/espalier/repo-layout/finding"
)

// TestRefuseLeaks: whatever a build has done, its result tells nothing.
func TestRefuseLeaks(t *testing.T) {
	const value = "hunter2-hunter2"
	packed := base64.StdEncoding.EncodeToString([]byte("a file with " + value + " in it\n"))
	for name, c := range map[string]struct {
		reason string
		object string
		kind   string
		sealed bool
		plain  string // of another file of the unit
		leaks  bool
	}{
		"Secret":      {reason: "There it belongs.", kind: "Secret", object: "stringData: {a: hunter2-hunter2}"},
		"Plain":       {reason: "A part of it is a part of many words.", kind: "ConfigMap", object: "data: {a: hunter2}"},
		"Text":        {reason: "As a text.", kind: "ConfigMap", object: "data: {a: is hunter2-hunter2}", leaks: true},
		"Base64":      {reason: "As a generator writes it.", kind: "ConfigMap", object: "data: {a: " + base64.StdEncoding.EncodeToString([]byte(value)) + "}", leaks: true},
		"InFile":      {reason: "Within a file that a generator took.", kind: "ConfigMap", object: "data: {a: " + packed + "}", leaks: true},
		"Wrapped":     {reason: "On several lines, as Kustomize writes long ones.", kind: "ConfigMap", object: "data:\n  a: |\n    " + packed[:10] + "\n    " + packed[10:] + "\n", leaks: true},
		"Key":         {reason: "As a key.", kind: "Workspace", object: "spec: {hunter2-hunter2: a}", leaks: true},
		"Name":        {reason: "In what a Secret shows.", kind: "Secret", object: "metadata: {annotations: {a: hunter2-hunter2}}", leaks: true},
		"OtherKind":   {reason: "What came of an encrypted file is a Secret.", kind: "ConfigMap", object: "data: {}", sealed: true, leaks: true},
		"NotOpened":   {reason: "Without a key the values are known by how they begin.", kind: "ConfigMap", object: "data: {a: 'ENC[AES256_GCM,data:x]'}", leaks: true},
		"SaidInPlain": {reason: "What Git says in plain text is no secret.", kind: "ConfigMap", object: "data: {a: hunter2-hunter2}", plain: "hunter2-hunter2 and more"},
	} {
		t.Run(name, func(t *testing.T) {
			task := &task{work: work{
				files:  map[string][]byte{"a.yaml": []byte(value), "b.yaml": []byte(c.plain)},
				secret: &secrets{files: map[string]bool{"a.yaml": true}, values: []string{value, "short"}},
			}}
			err := task.refuseLeaks([]builtObject{{item: &item{id: id{kind: c.kind}, text: c.object}, sealed: c.sealed}})
			if (err != nil) != c.leaks {
				t.Fatalf("%s\ngot %v", c.reason, err)
			}
			var r *refusal
			if c.leaks && (!errors.As(err, &r) || r.code != finding.EncryptedField || strings.Contains(r.message, "hunter2")) {
				t.Errorf("%s\ngot %v", c.reason, err)
			}
		})
	}
}

// TestNeedlesAlike: values that begin alike cost no more than they may.
func TestNeedlesAlike(t *testing.T) {
	values := make([]string, 10_000)
	for i := range values {
		values[i] = strings.Repeat("a", 100+i)
	}
	if needlesOf(values).in(strings.Repeat("a", 1<<20), func(string) {}) {
		t.Error("the search has no end")
	}
}
