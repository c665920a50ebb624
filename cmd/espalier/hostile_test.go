// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

const honest = "apiVersion: espalier.dev/v1alpha1\nkind: Workspace\nmetadata: {name: a}\nspec:\n  resource: {instanceType: Standard_NC24ads_A100_v4}\n" +
	"  inference: {preset: phi-4-mini-instruct, revision: 0123456789abcdef0123456789abcdef01234567}\n"

// hostile are texts made to hurt whoever reads them. Each gets one line, as a
// file (or on stdin) and in a folder; "" is none: the text is right.
var hostile = map[string]struct {
	reason     string
	text       func() string
	file, tree string
}{
	"TenMiB": {
		reason: "nothing of this size can be applied", text: func() string { return honest + "x: " + strings.Repeat("a", 10<<20) + "\n" },
		file: "f.yaml:1: error: the document has 10240 KiB; Kubernetes stores at most 1536 KiB in one object: split it (DocumentTooLarge)",
		tree: "f.yaml: error: f.yaml is larger than 2097152 bytes (TooLarge)",
	},
	"Aliases": {
		reason: "a kilobyte that stands for gigabytes", text: bomb,
		file: "f.yaml:8: error: aliases expand to more than 10000 values (InvalidYAML)",
		tree: "f.yaml:12: error: aliases expand to too much: more than 1048576 bytes (AliasBomb)",
	},
	"Documents": {
		reason: "a hundred thousand mistakes are one line, not a hundred thousand", text: func() string { return strings.Repeat("---\na: 1\n", 100_000) },
		file: "f.yaml:1: error: 100000 documents in one file; at most 20000 are read: split it (TooManyDocuments)",
		tree: "f.yaml:1: warning: no document with apiVersion and kind: the file is left out (NotAnObject)",
	},
	"ManyObjects": {
		reason: "objects that are right are too many as well", text: func() string { return strings.Repeat("---\n"+honest, 100_000) },
		file: "f.yaml:1: error: 100000 documents in one file; at most 20000 are read: split it (TooManyDocuments)",
		tree: "f.yaml: error: f.yaml is larger than 2097152 bytes (TooLarge)",
	},
	"SmallObjects": {
		reason: "Kustomize compares every object with every other: 20,000 take it minutes", text: small,
		tree: "f.yaml: error: the build takes together more than 2000 objects, with every base counted as often as it is listed: make several units of it, by a root kustomization that only lists folders (TooLarge)",
	},
	"UTF8": {
		reason: "text that is no UTF-8", text: func() string { return strings.Replace(honest, "{name: a}", "{name: \"\xff\xfe\xc3\x28\"}", 1) },
		file: "f.yaml:3: error: this is no YAML: invalid leading UTF-8 octet; save the file as UTF-8 (InvalidYAML)",
		tree: "f.yaml:3: error: this is no YAML: invalid leading UTF-8 octet; save the file as UTF-8 (InvalidYAML)",
	},
	"Tabs": {
		reason: "YAML indents with spaces", text: func() string { return strings.Replace(honest, "  resource", "\tresource", 1) },
		file: "f.yaml:5: error: this is no YAML: found character that cannot start any token; indent with spaces, never tabs, and quote text that begins with a special character (InvalidYAML)",
		tree: "f.yaml:5: error: this is no YAML: found character that cannot start any token; indent with spaces, never tabs, and quote text that begins with a special character (InvalidYAML)",
	},
	"Twice": {
		reason: "two values for one key", text: func() string { return honest + "kind: GPUNodePool\n" },
		file: "f.yaml:7: error: kind is set twice, first on line 2 of this document: keep one (InvalidYAML)",
		tree: "f.yaml:7: error: kind is set twice, first on line 2: keep one (InvalidYAML)",
	},
	"NUL": {
		reason: "a control character", text: func() string { return strings.Replace(honest, "phi-4", "phi\x00-4", 1) },
		file: "f.yaml:6: error: this is no YAML: control characters are not allowed; remove the character, or write it as an escape in double quotes (InvalidYAML)",
		tree: "f.yaml:6: error: this is no YAML: control characters are not allowed; remove the character, or write it as an escape in double quotes (InvalidYAML)",
	},
	"Deep": {
		reason: "a recursion per bracket", text: func() string { return honest + "x: " + strings.Repeat("{a: ", 20_000) + "\n" },
		file: "f.yaml:7: error: this is no YAML: exceeded max depth of 10000; close the brackets (InvalidYAML)",
		tree: "f.yaml:7: error: this is no YAML: exceeded max depth of 10000; close the brackets (InvalidYAML)",
	},
	"DeepClosed": {
		reason: "the same, and valid YAML: Kustomize indents every level again, 26 GB for these 27 KB",
		text: func() string {
			return honest + "x: " + strings.Repeat("{a: ", 9_000) + "1" + strings.Repeat("}", 9_000) + "\n"
		},
		file: "f.yaml:7: error: nested deeper than 100 levels (InvalidYAML)",
		tree: "f.yaml:7: error: nested deeper than 100 levels (InvalidYAML)",
	},
	"HugeInteger": {
		reason: "a number that no type holds", text: func() string { return honest + "  suspend: " + strings.Repeat("9", 400) + "\n" },
		file: "f.yaml:7: error: spec.suspend: want true or false, found text (WrongType)",
		tree: "f.yaml:7: error: spec.suspend: want true or false, found text (WrongType)",
	},
	"HugeExponent": {
		reason: "a short number that is long", text: func() string { return honest + "  suspend: 1e999999999\n" },
		file: "f.yaml:7: error: spec.suspend: want true or false, found text (WrongType)",
		tree: "f.yaml:7: error: spec.suspend: want true or false, found text (WrongType)",
	},
	"OwnAlias": {
		reason: "an anchor within itself", text: func() string { return honest + "x: &x {y: *x}\n" },
		file: `f.yaml:7: error: alias "x" contains itself (InvalidYAML)`,
		tree: `f.yaml:7: error: alias "x" contains itself (InvalidYAML)`,
	},
	"MergeCycle": {
		reason: "a merge of itself", text: func() string { return honest + "x: &x {<<: *x}\n" },
		file: `f.yaml:7: error: alias "x" contains itself (InvalidYAML)`,
		tree: `f.yaml:7: error: alias "x" contains itself (InvalidYAML)`,
	},
	"LongKey": {
		reason: "a key as long as a book", text: func() string { return honest + "? " + strings.Repeat("k", 1<<20) + "\n: 1\n" },
		file: "f.yaml:7: error: a key of 1048576 bytes; at most 1024 are possible (InvalidYAML)",
		tree: "f.yaml:7: error: a key of 1048576 bytes; at most 1024 are possible (InvalidYAML)",
	},
	"Merge": {reason: "anchors and merge keys have their uses", text: func() string {
		return strings.Replace(honest, "{preset: phi-4-mini-instruct,", "{<<: &base {preset: phi-4-mini-instruct}, contextLength: &n 4096,", 1)
	}},
	"CRLF":  {reason: "the line ends of Windows are no mistake", text: func() string { return strings.ReplaceAll(honest, "\n", "\r\n") }},
	"BOM":   {reason: "a byte order mark is no mistake", text: func() string { return "\ufeff" + honest }},
	"UTF16": {reason: "nor is another encoding that YAML knows", text: func() string { return "\xff\xfe" + strings.Join(strings.Split(honest, ""), "\x00") + "\x00" }},
}

func bomb() string {
	text := honest + "x:\n- &a [" + strings.TrimSuffix(strings.Repeat("b, ", 20), ", ") + "]\n"
	for name := 'b'; name < 'u'; name++ {
		text += fmt.Sprintf("- &%c [%s]\n", name, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*%c, ", name-1), 20), ", "))
	}
	return text
}

func small() string {
	var text strings.Builder
	for i := range 19_500 {
		fmt.Fprintf(&text, "---\n{apiVersion: v1, kind: ConfigMap, metadata: {name: a%d}}\n", i)
	}
	return text.String()
}

// maxAllocated is what any of the texts may make a run allocate over its whole
// life, in MiB; the largest is 19,500 ConfigMaps that are right.
const maxAllocated = 1024

// TestHostile: one clear line each, and bounded memory. Time is printed and not
// judged: the machine may be busy.
func TestHostile(t *testing.T) {
	for name, c := range hostile {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			t.Chdir(dir)
			if err := os.WriteFile(filepath.Join(dir, "f.yaml"), []byte(c.text()), 0o600); err != nil {
				t.Fatal(err)
			}
			for target, want := range map[string]string{"f.yaml": c.file, ".": c.tree} {
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				start := time.Now()
				var out, talk bytes.Buffer
				code := run(t.Context(), []string{"validate", target}, nil, &out, &talk)
				took := time.Since(start)
				runtime.ReadMemStats(&after)
				allocated := (after.TotalAlloc - before.TotalAlloc) >> 20
				t.Logf("%-6s %v, %d MiB allocated", target, took.Round(time.Millisecond), allocated)
				if got := strings.TrimSuffix(out.String(), "\n"); got != want {
					t.Errorf("%s: validate %s says\n%.1000s\nwant\n%s", c.reason, target, got, want)
				}
				if refused := strings.Contains(want, ": error: "); refused != (code == exitRefused) || !refused && code != exitOK {
					t.Errorf("%s: validate %s ends with %d: %s", c.reason, target, code, talk.String())
				}
				if allocated > maxAllocated {
					t.Errorf("%s: validate %s allocated %d MiB, want at most %d", c.reason, target, allocated, maxAllocated)
				}
			}
		})
	}
}
