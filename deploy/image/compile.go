// SPDX-License-Identifier: Apache-2.0

package image

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Tags are those of the program. What exports traces takes grpc along, and that a page with
// templates, in which a method may be called by any name: then the linker keeps every method of
// every client of an API, a quarter of the program and of its pages in memory.
const Tags = "grpcnotrace"

// flags of go build. They are those of deploy/Dockerfile: no path of this
// machine, no state of the checkout, no symbols that nobody reads in a cluster.
var flags = []string{"build", "-trimpath", "-buildvcs=false", "-tags=" + Tags, "-ldflags=-s -w -buildid="}

// commitVariable is where the program keeps the commit that it was built of.
const commitVariable = "github.com/espalier-dev/espalier/cmd/espalier/version.commit"

// stamped are the flags for the commit that the annotations name, where they do: the same
// commit is the same bytes. What go build stamps by itself knows of files that no commit has.
func (o Options) stamped() []string {
	commit := o.Annotations[annotationRevision]
	if commit == "" {
		return flags
	}
	all := slices.Clone(flags)
	all[len(all)-1] += " -X " + commitVariable + "=" + commit
	return all
}

// environment is what the compiler goes by, said in full: a setting of whoever
// builds would give the same source other bytes.
func environment(platform v1.Platform) []string {
	return []string{
		"CGO_ENABLED=0", "GOOS=" + platform.OS, "GOARCH=" + platform.Architecture, "GOAMD64=v1", "GOARM64=v8.0",
		"GOFLAGS=-mod=readonly", "GOWORK=off", "GOEXPERIMENT=", "GOFIPS140=off",
	}
}

// compile returns the program, built for a platform.
func (o Options) compile(ctx context.Context, platform v1.Platform) ([]byte, error) {
	folder, err := os.MkdirTemp("", "espalier-image-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(folder)
	binary := filepath.Join(folder, o.name())
	o.say("Compiling %s for %s: seconds when it is cached, 2 to 6 minutes on two cores when nothing is.", o.Package, platform)
	started := time.Now()
	cmd := exec.CommandContext(ctx, "go", append(slices.Clip(o.stamped()), "-o", binary, o.Package)...)
	cmd.Dir, cmd.Env = o.Dir, append(os.Environ(), environment(platform)...)
	if talk, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w: %s", err, talk)
	}
	content, err := os.ReadFile(binary)
	if err != nil {
		return nil, err
	}
	o.say("Compiled %s for %s in %s: %d MB.", o.Package, platform, time.Since(started).Round(time.Second), len(content)/1_000_000)
	return content, nil
}

func (o Options) say(format string, a ...any) {
	if o.Progress != nil {
		fmt.Fprintf(o.Progress, format+"\n", a...)
	}
}
