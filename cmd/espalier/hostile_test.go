// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

const honest = "apiVersion: espalier.dev/v1alpha1\nkind: Workspace\nmetadata: {name: a}\nspec:\n  resource: {instanceType: Standard_NC24ads_A100_v4}\n  inference: {preset: phi-4-mini-instruct}\n"

// hostile are texts made to hurt whoever reads them; file and tree are the one
// line that each gets, as a file (or on stdin) and in a folder.
var hostile = map[string]struct {
	reason     string
	text       func() string
	file, tree string
}{
	"TenMiB":       {reason: "nothing of this size can be applied", text: func() string { return honest + "x: " + strings.Repeat("a", 10<<20) + "\n" }},
	"Aliases":      {reason: "a kilobyte that stands for gigabytes", text: bomb},
	"Documents":    {reason: "a hundred thousand mistakes are one line, not a hundred thousand", text: func() string { return strings.Repeat("---\na: 1\n", 100_000) }},
	"ManyObjects":  {reason: "objects that are right are too many as well", text: func() string { return strings.Repeat("---\n"+honest, 100_000) }},
	"SmallObjects": {reason: "as many objects as a file of 2 MiB holds", text: small},
	"UTF8":         {reason: "text that is no UTF-8", text: func() string { return strings.Replace(honest, "{name: a}", "{name: \"\xff\xfe\xc3\x28\"}", 1) }},
	"Tabs":         {reason: "YAML indents with spaces", text: func() string { return strings.Replace(honest, "  resource", "\tresource", 1) }},
	"Twice":        {reason: "two values for one key", text: func() string { return honest + "kind: GPUNodePool\n" }},
	"NUL":          {reason: "a control character", text: func() string { return strings.Replace(honest, "phi-4", "phi\x00-4", 1) }},
	"Deep":         {reason: "a recursion per bracket", text: func() string { return honest + "x: " + strings.Repeat("{a: ", 20_000) + "\n" }},
	"DeepClosed":   {reason: "the same, and valid YAML", text: func() string { return honest + "x: " + strings.Repeat("{a: ", 9_000) + "1" + strings.Repeat("}", 9_000) + "\n" }},
	"HugeInteger":  {reason: "a number that no type holds", text: func() string { return honest + "  budget: " + strings.Repeat("9", 400) + "\n" }},
	"HugeExponent": {reason: "a short number that is long", text: func() string { return honest + "  suspend: 1e999999999\n" }},
	"OwnAlias":     {reason: "an anchor within itself", text: func() string { return honest + "x: &x {y: *x}\n" }},
	"MergeCycle":   {reason: "a merge of itself", text: func() string { return honest + "x: &x {<<: *x}\n" }},
	"LongKey":      {reason: "a key as long as a book", text: func() string { return honest + "? " + strings.Repeat("k", 1<<20) + "\n: 1\n" }},
	"CRLF":         {reason: "the line ends of Windows are no mistake", text: func() string { return strings.ReplaceAll(honest, "\n", "\r\n") }},
	"BOM":          {reason: "a byte order mark is no mistake", text: func() string { return "\ufeff" + honest }},
	"UTF16":        {reason: "another encoding", text: func() string { return "\xff\xfe" + strings.Join(strings.Split(honest, ""), "\x00") + "\x00" }},
}

func bomb() string {
	text := honest + "x:\n- &a0 [" + strings.TrimSuffix(strings.Repeat("b, ", 20), ", ") + "]\n"
	for i := range 20 {
		name, before := string(rune('b'+i)), string(rune('a'+i))
		if i == 0 {
			before = "a0"
		} else {
			before += "0"
		}
		text += "- &" + name + "0 [" + strings.TrimSuffix(strings.Repeat("*"+before+", ", 20), ", ") + "]\n"
	}
	return text
}

func TestHostile(t *testing.T) {
	for name, c := range hostile {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			file := filepath.Join(dir, "f.yaml")
			if err := os.WriteFile(file, []byte(c.text()), 0o600); err != nil {
				t.Fatal(err)
			}
			for _, target := range []string{file, dir} {
				var out, talk bytes.Buffer
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				start := time.Now()
				code := run(context.Background(), []string{"validate", target}, nil, &out, &talk)
				took := time.Since(start)
				runtime.ReadMemStats(&after)
				t.Logf("%v, %d MiB allocated, exit %d\n%.600s\n%s", took.Round(time.Millisecond), (after.TotalAlloc-before.TotalAlloc)>>20, code, strings.ReplaceAll(out.String(), dir, ""), talk.String())
			}
		})
	}
}

func small() string {
	var text strings.Builder
	for i := range 33_000 {
		fmt.Fprintf(&text, "---\n{apiVersion: v1, kind: ConfigMap, metadata: {name: a%d}}\n", i)
	}
	return text.String()
}
