// SPDX-License-Identifier: Apache-2.0

package desired

import (
	"bytes"
	"strconv"

	"github.com/espalier-dev/espalier/render/build"
	"github.com/espalier-dev/espalier/render/check"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// Memory keeps what units were assembled to: a unit that another revision leaves
// as it is, is not assembled again. The zero value remembers nothing yet. It
// belongs to one goroutine.
type Memory struct {
	settled string              // what the RepoSync makes of documents
	units   map[string]assembly // by key of the unit
}

// Units assembles what units of a build want. The findings are those of the
// build and of its documents, in that order. What is remembered from then on are
// these units.
func (m *Memory) Units(sync *v1alpha1.RepoSync, units []build.Unit) ([]Document, []v1alpha1.Finding) {
	if settled := settling(sync); settled != m.settled {
		*m = Memory{settled: settled}
	}
	all := assembly{documents: make([]Document, 0, len(units)), entries: make([]repolayout.Entry, 0, len(units))}
	var findings []v1alpha1.Finding
	now := make(map[string]assembly, len(units))
	for _, u := range units {
		a, known := m.units[u.Key]
		if !known || u.Key == "" {
			a = assembleUnit(sync, u, m.settled)
		}
		if u.Key != "" {
			now[u.Key] = a
		}
		findings = append(findings, u.Findings...)
		all.documents = append(all.documents, a.documents...)
		all.findings = append(all.findings, a.findings...)
		all.entries = append(all.entries, a.entries...)
	}
	m.units = now
	findings = append(append(append(findings, all.findings...), repolayout.Collisions(all.entries)...), repolayout.Promotions(all.entries)...)
	markCollisions(all.documents, findings)
	return all.documents, findings
}

// Units assembles what units of a build want, with no memory.
func Units(sync *v1alpha1.RepoSync, units []build.Unit) ([]Document, []v1alpha1.Finding) {
	return new(Memory).Units(sync, units)
}

// settling identifies what a RepoSync makes of documents.
func settling(sync *v1alpha1.RepoSync) string {
	if sync == nil {
		return "-/"
	}
	return check.Sum(sync.Namespace, sync.Name, Target(sync), sync.Spec.Substitutions, sync.Spec.Defaults, sync.Spec.PostBuild) + "/"
}

func assembleUnit(sync *v1alpha1.RepoSync, u build.Unit, settled string) assembly {
	var a assembly
	variables := variablesOf(sync)
	for i, o := range u.Objects {
		decoded, problems := decodeObject(o, variables)
		d := Document{Decoded: copyOf(decoded), Position: o, Unit: u.Path, Name: o.String()}
		if u.Key != "" {
			d.Key = settled + u.Key + "/" + strconv.Itoa(i)
		}
		a.add(sync, d, problems)
	}
	return a
}

// copyOf a document, which is others' too: settling changes it.
func copyOf(d repolayout.Decoded) repolayout.Decoded {
	return repolayout.Decoded{Workspace: d.Workspace.DeepCopy(), Pool: d.Pool.DeepCopy(), Input: d.Input.DeepCopy()}
}

// decodeObject decodes what a unit has built: what no variable changes is decoded
// once for all who build the same.
func decodeObject(o build.Object, variables map[string]v1alpha1.VariableValue) (repolayout.Decoded, []v1alpha1.Finding) {
	if variables == nil || !bytes.Contains(o.YAML, []byte("$")) {
		return o.Decode()
	}
	return decode(Text{YAML: o.YAML, Position: o}, variables)
}
