// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// program is one binary of the cluster and how it is built. Its module, apart
// from the product's, is a folder beside this file.
type program struct {
	name    string
	module  string   // the folder of its module; empty: that of its name
	pkg     string   // package to build, within the program's module
	ldflags string   // beyond -s -w
	tags    string   // of the build, with cgo if there are any: Gitea's SQLite and runc need them
	links   []string // other names it is called by
	what    string   // what it is, for a person who waits for it
	minutes string   // how long a first build took on 2 cores, for the same person
}

// kubernetesVersion is what the API server reports; it must be the version in
// kubernetes/go.mod, and a test says so. A build from a module knows no version,
// and kubectl cannot parse the placeholder that stands there instead.
const kubernetesVersion = "v1.37.2"

var (
	etcd = program{
		name: "etcd", pkg: "go.etcd.io/etcd/server/v3",
		what: "the store below the API server", minutes: "1 to 2 minutes",
	}
	kwok = program{
		name: "kwok", pkg: "sigs.k8s.io/kwok/cmd/kwok",
		what: "the kubelet of simulated nodes", minutes: "2 to 7 minutes",
	}
	kubernetes = program{
		name: "kubernetes", pkg: ".", ldflags: versionFlags(kubernetesVersion),
		links:   []string{"kubectl"},
		what:    "kube-apiserver, kube-controller-manager, kube-scheduler and kubectl " + kubernetesVersion + " in one binary",
		minutes: "5 to 15 minutes",
	}
	gitea = program{
		name: "gitea", pkg: "code.gitea.io/gitea", tags: "sqlite sqlite_unlock_notify",
		what: "a real forge, for make e2e-forge; its SQLite needs a C compiler", minutes: "10 to 20 minutes",
	}
	programs = []program{etcd, kwok, kubernetes}
)

func versionFlags(version string) string {
	parts := strings.Split(strings.TrimPrefix(version, "v"), ".")
	set := func(name, value string) string { return " -X k8s.io/component-base/version." + name + "=" + value }
	return set("gitVersion", version) + set("gitMajor", parts[0]) + set("gitMinor", parts[1]) +
		set("gitTreeState", "clean") + set("gitCommit", version)
}

// BuildCommand is what a person runs to get the programs.
const BuildCommand = "make control-plane"

// Missing returns an error that says what to run when bin lacks a program.
func Missing(bin string) error {
	for _, p := range programs {
		if _, err := os.Stat(filepath.Join(bin, p.name)); err != nil {
			return fmt.Errorf("%s is not built (looked in %s): run `%s` in the root of the repository", p.name, bin, BuildCommand)
		}
	}
	return nil
}

// DefaultBin is the folder bin of this checkout.
func DefaultBin() (string, error) {
	root, err := Root()
	return filepath.Join(root, "bin"), err
}

// Root is the folder of the repository's go.mod, found upwards from the working
// folder.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		data, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && strings.HasPrefix(string(data), "module github.com/espalier-dev/espalier\n") {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("not within a checkout of github.com/espalier-dev/espalier")
		}
		dir = parent
	}
}

// Build builds into bin every program that is missing there or whose module has
// changed since, and tells out about it. Two builds at once wait for each other.
func Build(ctx context.Context, bin string, out io.Writer) error {
	return buildAll(ctx, programs, bin, out)
}

// BuildForge builds Gitea into bin as Build builds the control plane, which it
// is no part of: `make test` needs no forge and no C compiler.
func BuildForge(ctx context.Context, bin string, out io.Writer) error {
	return buildAll(ctx, []program{gitea}, bin, out)
}

// ForgeIsBuilt tells whether bin has Gitea.
func ForgeIsBuilt(bin string) bool {
	_, err := os.Stat(filepath.Join(bin, gitea.name))
	return err == nil
}

func buildAll(ctx context.Context, programs []program, bin string, out io.Writer) error {
	root, err := Root()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return err
	}
	unlock, err := lock(ctx, filepath.Join(bin, ".lock"), out)
	if err != nil {
		return err
	}
	defer unlock()
	for _, p := range programs {
		if err := p.build(ctx, p.folder(root), bin, out); err != nil {
			return fmt.Errorf("building %s: %w", p.name, err)
		}
	}
	return nil
}

// folder of the program's module.
func (p program) folder(root string) string {
	return filepath.Join(root, "test", "cluster", cmp.Or(p.module, p.name))
}

// build builds the program from its module unless the digest beside the binary
// says that it was built from just that.
func (p program) build(ctx context.Context, module, bin string, out io.Writer) error {
	digest, err := p.digest(module)
	if err != nil {
		return err
	}
	binary, stamp := filepath.Join(bin, p.name), filepath.Join(bin, "."+p.name+".digest")
	if p.upToDate(binary, stamp, digest) {
		return p.link(bin)
	}
	fmt.Fprintf(out, "Building %s (%s) from its Go module: %s when nothing is cached, much less when it is.\n", p.name, p.what, p.minutes)
	started := time.Now()
	unfinished := binary + ".unfinished"
	cmd := exec.CommandContext(ctx, "go", p.args(unfinished)...)
	cmd.Dir = module
	cmd.Env = append(os.Environ(), "CGO_ENABLED="+p.cgo(), "GOWORK=off")
	if err := WatchBuild(cmd, p.name, out); err != nil {
		return err
	}
	if err := os.Rename(unfinished, binary); err != nil {
		return err
	}
	if err := os.WriteFile(stamp, []byte(digest), 0o644); err != nil {
		return err
	}
	fmt.Fprintf(out, "Built %s in %s.\n", p.name, time.Since(started).Round(time.Second))
	return p.link(bin)
}

// args of the go command. -v makes it name the packages as it compiles them.
func (p program) args(output string) []string {
	args := []string{"build", "-v", "-mod=readonly", "-ldflags=-s -w" + p.ldflags, "-o", output}
	if p.tags != "" {
		args = append(args, "-tags="+p.tags)
	}
	return append(args, p.pkg)
}

func (p program) cgo() string {
	if p.tags != "" {
		return "1"
	}
	return "0"
}

// digest covers everything that decides what the binary is, but for the Go
// version: a newer Go needs no new control plane.
func (p program) digest(module string) (string, error) {
	h := sha256.New()
	fmt.Fprintln(h, p.args(p.name))
	files, err := filepath.Glob(filepath.Join(module, "*.go"))
	if err != nil {
		return "", err
	}
	for _, file := range append(files, filepath.Join(module, "go.mod"), filepath.Join(module, "go.sum")) {
		data, err := os.ReadFile(file)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(h, "%s %x\n", filepath.Base(file), sha256.Sum256(data))
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func (p program) upToDate(binary, stamp, digest string) bool {
	if _, err := os.Stat(binary); err != nil {
		return false
	}
	built, err := os.ReadFile(stamp)
	return err == nil && string(built) == digest
}

func (p program) link(bin string) error {
	for _, name := range p.links {
		link := filepath.Join(bin, name)
		if to, err := os.Readlink(link); err == nil && to == p.name {
			continue
		}
		if err := os.RemoveAll(link); err != nil {
			return err
		}
		if err := os.Symlink(p.name, link); err != nil {
			return err
		}
	}
	return nil
}
