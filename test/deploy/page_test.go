// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// notRun are the commands of docs/install.md that no test runs, by their beginning,
// and why.
var notRun = map[string]string{
	"make image ":      "a test of its own builds the image, and no registry takes it here",
	"flux push ":       "the command of Flux is not there; test/flux pushes the same artifact",
	"kubectl delete ":  "nothing is installed that could be deleted",
	"kubectl get work": "nothing is installed that could be shown",
}

// TestInstallPage runs every command of docs/install.md on a real API server, as far
// as it changes nothing there: what would be written is taken.
func TestInstallPage(t *testing.T) {
	c := shared.Get(t)
	page, err := os.ReadFile("../../docs/install.md")
	if err != nil {
		t.Fatal(err)
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(folder, "espalier"), "../../cmd/espalier").CombinedOutput(); err != nil {
		t.Fatalf("building espalier: %v\n%s", err, out)
	}
	for _, args := range [][]string{{"-f", root + "/deploy/base/namespace.yaml"}, {"-k", root + "/deploy/crd"}} { // the first of what each way brings
		if _, err := c.Kubectl(t.Context(), append([]string{"apply", "--server-side", "--force-conflicts"}, args...)...); err != nil {
			t.Fatal(err)
		}
	}
	ran := 0
	for _, command := range commands(string(page)) {
		if excused(command) {
			continue
		}
		ran++
		words := strings.Fields(command)
		for i, w := range words {
			if strings.HasPrefix(w, "deploy/") {
				words[i] = filepath.Join(root, w)
			}
		}
		switch words[0] {
		case "kubectl":
			for i, w := range words {
				if w == "espalier.yaml" {
					words[i] = filepath.Join(folder, w)
				}
			}
			_, err = c.Kubectl(t.Context(), append(words[1:], "--dry-run=server", "--force-conflicts")...)
		case "espalier":
			err = writing(t, folder, words)
		case "helm":
			words[1] = "template"
			var text string
			if text, err = helm(t, words[1:]...); err == nil {
				_, err = c.KubectlInput(t.Context(), []byte(text), "apply", "--server-side", "--dry-run=server", "--force-conflicts", "-f", "-")
			}
		default:
			t.Errorf("say in notRun why this is not run: %s", command)
		}
		if err != nil {
			t.Errorf("%s: %v", command, err)
		}
	}
	if ran < 7 {
		t.Errorf("only %d commands were run", ran)
	}
}

func excused(command string) bool {
	for beginning := range notRun {
		if strings.HasPrefix(command, beginning) {
			return true
		}
	}
	return false
}

// writing runs a command whose output goes to a file of a folder.
func writing(t *testing.T, folder string, words []string) error {
	t.Helper()
	to := words[len(words)-1]
	cmd := exec.CommandContext(t.Context(), filepath.Join(folder, words[0]), words[1:len(words)-2]...)
	out, err := cmd.Output()
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(folder, filepath.Base(to)), out, 0o600)
}

// commands are the indented lines of a page, each joined with those that it goes on in.
func commands(page string) []string {
	var found []string
	goesOn := false
	for line := range strings.Lines(page) {
		text, indented := strings.CutPrefix(strings.TrimRight(line, "\n"), "    ")
		if !indented {
			goesOn = false
			continue
		}
		more := strings.HasSuffix(text, `\`)
		text = strings.TrimSpace(strings.TrimSuffix(text, `\`))
		if goesOn {
			found[len(found)-1] += " " + text
		} else if text != "" {
			found = append(found, text)
		}
		goesOn = more
	}
	return found
}
