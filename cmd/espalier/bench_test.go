// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/espalier-dev/espalier/test/scale"
)

// BenchmarkValidate10000 is `espalier validate` over 10,000 Workspaces: in a
// folder of 100 units with a kustomization, half of them KAITO's, in one file, and
// in 10,000 folders with a kustomization each, five of eight of which generate a
// ConfigMap and one of eight patches a base.
func BenchmarkValidate10000(b *testing.B) {
	b.Run("Tree", func(b *testing.B) { benchmarkValidate(b, writeTree(b)) })
	b.Run("Folders", func(b *testing.B) { benchmarkValidate(b, writeFolders(b)) })
	b.Run("File", func(b *testing.B) { benchmarkValidate(b, writeFile(b)) })
}

func benchmarkValidate(b *testing.B, path string) {
	b.ReportAllocs()
	before := processor(b)
	for b.Loop() {
		var out, talk bytes.Buffer
		if code := run(b.Context(), []string{"validate", path}, nil, &out, &talk); code != exitOK {
			b.Fatalf("exit %d: %.300s%s", code, out.String(), talk.String())
		}
		if want := "10000 workspaces, 0 errors"; !bytes.Contains(talk.Bytes(), []byte(want)) {
			b.Fatalf("%s, want %s", talk.String(), want)
		}
	}
	used := processor(b) - before
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	b.ReportMetric(float64(m.Sys>>20), "MiB-of-process")
	b.ReportMetric(used.Seconds()/float64(b.N), "cpu-s/op")
}

// processor is the time that this process has had of processors: what a machine
// that is busy with others does not change much.
func processor(b *testing.B) time.Duration {
	b.Helper()
	var used unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

func writeFolders(b *testing.B) string {
	dir := b.TempDir()
	// The repository's root is where .git is: the overlays' base is beside them.
	if err := os.Mkdir(filepath.Join(dir, ".git"), 0o755); err != nil {
		b.Fatal(err)
	}
	for name, text := range scale.Fleet(10_000) {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			b.Fatal(err)
		}
	}
	return filepath.Join(dir, "workspaces")
}

func workspaceText(i int) string {
	if i%2 == 0 {
		return fmt.Sprintf("---\napiVersion: espalier.dev/v1alpha1\nkind: Workspace\nmetadata:\n  name: ws-%d\nspec:\n  resource:\n    instanceType: Standard_NC24ads_A100_v4\n"+
			"  inference:\n    preset: phi-4-mini-instruct\n    contextLength: %d\n", i, 4096+i)
	}
	return fmt.Sprintf("---\napiVersion: kaito.sh/v1beta1\nkind: Workspace\nmetadata:\n  name: ws-%d\nresource:\n  instanceType: Standard_NC24ads_A100_v4\n"+
		"  labelSelector: {matchLabels: {app: ws-%d}}\ntuning:\n  preset: {name: phi-3-mini-128k-instruct}\n  method: qlora\n"+
		"  input: {urls: ['https://data.example.com/%d.parquet']}\n  output: {image: 'registry.example.com/models/a:%d', imagePushSecret: push}\n", i, i, i, i)
}

func writeTree(b *testing.B) string {
	dir := b.TempDir()
	root := "resources:\n"
	for u := range 100 {
		unit := filepath.Join(dir, fmt.Sprintf("unit-%d", u))
		if err := os.MkdirAll(unit, 0o755); err != nil {
			b.Fatal(err)
		}
		root += fmt.Sprintf("- unit-%d\n", u)
		list := "resources:\n"
		for i := range 100 {
			name := fmt.Sprintf("ws-%d.yaml", i)
			list += "- " + name + "\n"
			if err := os.WriteFile(filepath.Join(unit, name), []byte(workspaceText(u*100+i)), 0o600); err != nil {
				b.Fatal(err)
			}
		}
		if err := os.WriteFile(filepath.Join(unit, "kustomization.yaml"), []byte(list), 0o600); err != nil {
			b.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "kustomization.yaml"), []byte(root), 0o600); err != nil {
		b.Fatal(err)
	}
	return dir
}

func writeFile(b *testing.B) string {
	var text bytes.Buffer
	for i := range 10_000 {
		text.WriteString(workspaceText(i))
	}
	file := filepath.Join(b.TempDir(), "all.yaml")
	if err := os.WriteFile(file, text.Bytes(), 0o600); err != nil {
		b.Fatal(err)
	}
	return file
}
