// SPDX-License-Identifier: Apache-2.0

// Command generate writes what is made from Go: the JSON schemas of
// repo-layout/schema, from the CRDs and from the types of repo-layout/kaito,
// docs/findings.md, from the rules of repo-layout/finding, docs/fields.md, from the
// CRDs, and the manifests in the Helm chart, from those of deploy/.
//
// `make generate` runs it at the root of the tree. What it writes depends on
// nothing else, so that `make verify` can compare.
package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
)

func main() {
	if err := write("."); err != nil {
		fmt.Fprintln(os.Stderr, "generate:", err)
		os.Exit(1)
	}
}

// write puts every generated file below root.
func write(root string) error {
	files, err := generate(root)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		file := filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(file, files[name], 0o644); err != nil {
			return err
		}
	}
	return nil
}

// generate returns the generated files by their path below root.
func generate(root string) (map[string][]byte, error) {
	files, err := schemas(root)
	if err != nil {
		return nil, err
	}
	files["docs/findings.md"] = findingsPage()
	if files["docs/fields.md"], err = fieldsPage(root); err != nil {
		return nil, err
	}
	manifests, err := chart(root)
	if err != nil {
		return nil, err
	}
	maps.Copy(files, manifests)
	return files, nil
}
