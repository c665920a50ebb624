// SPDX-License-Identifier: Apache-2.0

// Package version says which build of Espalier this is.
//
// It is what Go has written into the program: the version of the module, and the commit
// where it was built in a checkout. An image is built without looking at the checkout,
// whose state would change its bytes, and has the commit from its linker
// (deploy/image), where the checkout was just that commit.
package version

import (
	"runtime/debug"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
)

// commit is the one that deploy/image has linked in; "" in other builds.
var commit string

// devel stands for the version of a build of no release.
const devel = "devel"

// Build is a build of the program. What is not known is "".
type Build struct {
	Version  string `json:"version"`            // of the module: a tag, what Go makes of a commit, or devel
	Revision string `json:"revision,omitempty"` // commit, with +dirty where the checkout had changes
	Go       string `json:"goVersion"`
}

// Current is the build that runs.
func Current() Build {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = &debug.BuildInfo{}
	}
	return of(info, commit)
}

func of(info *debug.BuildInfo, linked string) Build {
	b := Build{Version: info.Main.Version, Revision: linked, Go: info.GoVersion}
	if b.Version == "" || b.Version == "(devel)" {
		b.Version = devel
	}
	if linked != "" {
		return b
	}
	settings := map[string]string{}
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	if b.Revision = settings["vcs.revision"]; b.Revision != "" && settings["vcs.modified"] == "true" {
		b.Revision += "+dirty"
	}
	return b
}

// String is a build in one line.
func (b Build) String() string {
	parts := []string{b.Version}
	if b.Revision != "" {
		parts = append(parts, "commit "+b.Revision)
	}
	if b.Go != "" {
		parts = append(parts, b.Go)
	}
	return strings.Join(parts, ", ")
}

// Short is what tells this build from others in one word: a version, or of no release the
// commit.
func (b Build) Short() string {
	if b.Version == devel && b.Revision != "" {
		return b.Revision
	}
	return b.Version
}

// Metric says which build a process is, always 1.
func (b Build) Metric() prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "espalier_build_info", Help: "Which build runs: always 1.",
		ConstLabels: prometheus.Labels{"version": b.Version, "revision": b.Revision, "goversion": b.Go},
	}, func() float64 { return 1 })
}
