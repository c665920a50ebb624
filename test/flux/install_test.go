// SPDX-License-Identifier: Apache-2.0

package flux

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/espalier-dev/espalier/test/cluster"
	"github.com/espalier-dev/espalier/test/harness"
)

// TestInstall: Flux installs Espalier as deploy/flux/espalier.yaml has it, out of
// this repository, and then a folder of models, as deploy/flux/models.yaml has it.
// The Deployment runs on a simulated node, where no image is pulled; the controller
// that acts is a process, with the account that Flux has applied.
func TestInstall(t *testing.T) {
	p := newProject(t, "installed")
	must(t, p.world.Git.Create("espalier"))
	_, err := p.world.Git.Push("espalier", "main", manifests(t), "deploy: everything")
	must(t, err)
	p.secretForFlux()

	text, err := os.ReadFile("../../deploy/flux/espalier.yaml")
	must(t, err)
	p.applyIn(cluster.FluxNamespace, p.edited(string(text), map[string]string{
		"https://github.com/espalier-dev/espalier.git": p.world.Git.URL("espalier"),
		"  ignore: |": "  secretRef: {name: models-git}\n  ignore: |",
	}))
	files := p.sample()
	commit := p.push(files, "models: serve phi-4-mini")
	text, err = os.ReadFile("../../deploy/flux/models.yaml")
	must(t, err)
	p.apply(p.edited(string(text), map[string]string{
		"https://git.example.com/team/models.git":    p.world.Git.URL(p.Repo),
		"namespace: models\n":                        "namespace: " + p.Namespace + "\n",
		"kind: Namespace\nmetadata:\n  name: models": "kind: Namespace\nmetadata:\n  name: " + p.Namespace,
	}))
	p.until("Kustomization", "models", "Ready", func(s state) bool { return s.readyAt(commit) })
	p.until("Workspace", harness.InferenceName, "Ready", func(s state) bool { return s.is("Ready", "True") })

	system := &project{world: p.world, Team: &harness.Team{Stand: p.Stand(), Namespace: "espalier-system"}, t: t}
	d := system.until("Deployment", "espalier", "available", func(s state) bool { return s.at("status", "availableReplicas") == "1" })
	for _, want := range []string{"--events-addr=http://notification-controller.flux-system.svc.cluster.local./", "registry.example.com/espalier:dev"} {
		if !strings.Contains(d.at("spec", "template", "spec", "containers"), want) {
			t.Errorf("the Deployment lacks %s", want)
		}
	}
	t.Run("FromRegistry", p.fromRegistry)
}

// Stand is the one of both that the project is made of.
func (p *project) Stand() *harness.Stand { return p.world.Stand }

// edited replaces texts that must be there.
func (p *project) edited(text string, edits map[string]string) string {
	p.t.Helper()
	for from, to := range edits {
		if !strings.Contains(text, from) {
			p.t.Fatalf("the example no longer says %q", from)
		}
		text = strings.ReplaceAll(text, from, to)
	}
	return text
}

// manifests are the files of deploy/.
func manifests(t *testing.T) map[string]string {
	t.Helper()
	files := map[string]string{}
	root := filepath.Join("..", "..")
	err := filepath.WalkDir(filepath.Join(root, "deploy"), func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(name)
		files[filepath.ToSlash(strings.TrimPrefix(name, root+string(filepath.Separator)))] = string(text)
		return err
	})
	must(t, err)
	return files
}

// node is a simulated one without GPUs, for what is no model.
func node() *corev1.Node {
	all := corev1.ResourceList{
		corev1.ResourceCPU: resource.MustParse("8"), corev1.ResourceMemory: resource.MustParse("32Gi"), corev1.ResourcePods: resource.MustParse("110"),
		corev1.ResourceEphemeralStorage: resource.MustParse("100Gi"),
	}
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: "system", Annotations: map[string]string{cluster.AnnotationFakeNode: "fake"}},
		Status:     corev1.NodeStatus{Capacity: all, Allocatable: all},
	}
}

// secretForFlux puts the credential of the Git server where Flux has its own source.
func (p *project) secretForFlux() {
	p.t.Helper()
	must(p.t, p.world.Client.Create(p.t.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: cluster.FluxNamespace, Name: harness.GitSecret},
		StringData: map[string]string{"username": harness.GitUser, "password": harness.GitPassword, "ca.crt": string(p.world.Git.CA())},
	}))
}
