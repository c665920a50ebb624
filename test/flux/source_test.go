// SPDX-License-Identifier: Apache-2.0

package flux

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/example"
	"github.com/espalier-dev/espalier/test/harness"
)

const (
	served = "models/phi-4-mini/workspace.yaml"
	listed = "clusters/staging/workspaces/kustomization.yaml"
)

// sample is what `espalier init --flux` writes, for the project: one Workspace that
// serves, and reports within a second.
func (p *project) sample() map[string]string {
	p.t.Helper()
	files, err := example.Files(example.Options{Flux: true})
	must(p.t, err)
	syncFile, fluxFile := repolayout.PathSync(example.Staging), repolayout.PathFluxFile(example.Staging)
	for _, name := range []string{syncFile, fluxFile} {
		p.replace(files, name, example.CloneAddress, p.world.Git.URL(p.Repo))
		p.replace(files, name, "namespace: models", "namespace: "+p.Namespace)
	}
	p.replace(files, fluxFile, "name: models\n  annotations", "name: "+p.Namespace+"\n  annotations")
	p.replace(files, syncFile, "interval: 1m", "interval: 24h")
	p.replace(files, syncFile, "      secretRef:\n", "      minInterval: 1s\n      secretRef:\n")
	p.replace(files, listed, "- ../../../models/phi-3-dolly\n", "")
	return files
}

func (p *project) replace(files map[string]string, name, from, to string) {
	p.t.Helper()
	if !strings.Contains(files[name], from) {
		p.t.Fatalf("%s no longer says %q", name, from)
	}
	files[name] = strings.ReplaceAll(files[name], from, to)
}

// TestSource follows a push through the real Flux, with the files of `espalier init
// --flux` as they are: Flux fetches and applies the RepoSync, Espalier takes Flux's
// artifact, builds, serves and reports. Then an artifact that is not what Flux has
// recorded is refused, and taken again when it is.
func TestSource(t *testing.T) {
	p := newProject(t, "source")
	files := p.sample()
	first := p.push(files, "models: serve phi-4-mini")
	p.apply(files[repolayout.PathFluxFile(example.Staging)])
	p.until("RepoSync", "models", "applied at the first commit", func(s state) bool { return s.readyAt(first) })
	p.until("Workspace", harness.InferenceName, "Ready", func(s state) bool { return s.is("Ready", "True") })
	p.until("Kustomization", "models", "Ready", func(s state) bool { return s.readyAt(first) })
	p.reported(first)

	p.replace(files, served, "contextLength: 32768", "contextLength: 8192")
	second := p.push(files, "models: shorter context")
	p.until("Workspace", harness.InferenceName, "as the second commit wants it", func(s state) bool {
		return s.at("spec", "inference", "contextLength") == "8192" && strings.HasSuffix(s.at("metadata", "annotations", "espalier.dev/revision"), second)
	})
	p.reported(second)

	p.tampered(files)
}

// reported waits for the status branch to tell of a commit.
func (p *project) reported(commit string) {
	p.t.Helper()
	p.until("RepoSync", "models", "reported", func(state) bool {
		text, err := p.world.Git.ReadFile(p.Repo, p.StatusBranch(), "README.md")
		return err == nil && strings.Contains(text, commit[:7]) && strings.Contains(text, "✅ Ready")
	})
}

// tampered changes what source-controller serves, behind its back.
func (p *project) tampered(files map[string]string) {
	p.t.Helper()
	p.suspend("RepoSync", true)
	p.replace(files, served, "contextLength: 8192", "contextLength: 4096")
	third := p.push(files, "models: shorter still")
	repository := p.until("GitRepository", "models", "fetched", func(s state) bool {
		return strings.HasSuffix(s.at("status", "artifact", "revision"), third)
	})
	file := filepath.Join(p.flux.Artifacts, repository.at("status", "artifact", "path"))
	content, err := os.ReadFile(file)
	must(p.t, err)
	must(p.t, os.WriteFile(file, append(content, 0), 0o600))

	p.suspend("RepoSync", false)
	refused := p.until("RepoSync", "models", "refused", func(s state) bool { return s.is("SourceReady", "False SourceUnreachable") })
	if said := refused.condition("SourceReady"); !strings.Contains(said, "digest") {
		p.t.Errorf("the message says what is wrong: %s", said)
	}
	if w := p.until("Workspace", harness.InferenceName, "there", func(state) bool { return true }); w.at("spec", "inference", "contextLength") != "8192" {
		p.t.Errorf("what was tampered with is applied: %v", w.Object["spec"])
	}
	must(p.t, os.WriteFile(file, content, 0o600))
	p.until("RepoSync", "models", "applied at the third commit", func(s state) bool { return s.readyAt(third) })
}
