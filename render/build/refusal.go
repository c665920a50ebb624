// SPDX-License-Identifier: Apache-2.0

package build

import (
	"errors"
	"fmt"

	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// Codes of this package's findings, beside finding.InvalidYAML. They are
// stable: scripts and forges match on them.
const (
	BuildFailed     = "BuildFailed"     // Kustomize says no
	BuildTimeout    = "BuildTimeout"    // the deadline passed
	RemoteReference = "RemoteReference" // a URL or a remote base
	PathOutsideTree = "PathOutsideTree" // an absolute path, or one that leaves the repository
	Symlink         = "Symlink"         // a symbolic link, device or socket
	PluginRefused   = "PluginRefused"   // exec and container functions, helm, plugins
	FieldRefused    = "FieldRefused"    // vars, and openapi that is not the built-in schema
	FileMissing     = "FileMissing"     // a path that names nothing
	TooLarge        = "TooLarge"        // a file, a tree, a build or its output over a limit
	AliasBomb       = "AliasBomb"       // aliases that expand to too much
	Cycle           = "Cycle"           // a kustomization that leads back to itself
	NameElsewhere   = "NameElsewhere"   // a name that another unit has changed
	UnknownField    = finding.UnknownField
	DuplicateObject = finding.NameCollision
	NotAnObject     = finding.NotAnObject
)

// refusal is something in the repository that is not built, with its reason.
type refusal struct {
	code    string
	at      place
	message string
}

func (r *refusal) Error() string { return r.message }

func refuse(code, format string, args ...any) *refusal {
	return &refusal{code: code, message: fmt.Sprintf(format, args...)}
}

// asFinding turns any error into a finding; where a refusal does not know its
// place, it is the one of the reference that led to it.
func asFinding(err error, from place) v1alpha1.Finding {
	f := v1alpha1.Finding{
		Severity: finding.Error, Code: BuildFailed,
		File: from.file, Line: from.line, Message: err.Error(),
	}
	var r *refusal
	if errors.As(err, &r) {
		f.Code, f.Message = r.code, r.message
		if r.at.file != "" {
			f.File, f.Line = r.at.file, r.at.line
		}
	}
	return f
}
