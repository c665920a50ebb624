// SPDX-License-Identifier: Apache-2.0

package desired

import (
	"bytes"
	"slices"
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
	settled   string  // what the RepoSync makes of documents
	units     []*made // in the order of the last revision
	documents int     // of that
	ties      ties    // of those
}

// made is what a unit was assembled to.
type made struct {
	path, key string
	assembly
	said  said // by the entries
	light bool // of the documents no more than what they are known by is there
}

func newMade(sync *v1alpha1.RepoSync, u build.Unit, settled string) *made {
	m := &made{path: u.Path, key: u.Key, assembly: assembleUnit(sync, u, settled)}
	m.said = saidBy(m.entries)
	return m
}

// Lighten drops the objects of the documents that Units returned last, but for those that are
// compared with others: Units returns those of a unit that is the same with no more than
// what tells them apart, for somebody who knows by their keys what was made of them.
func (m *Memory) Lighten() {
	for _, u := range m.units {
		if u.light || u.key == "" || m.ties.tie(u.said) {
			continue
		}
		u.light, u.entries = true, nil
		for i, d := range u.documents {
			u.documents[i] = Document{Unit: d.Unit, Name: d.Name, Key: d.Key, object: d.object, namespace: d.namespace}
		}
	}
}

// whole assembles units again whose documents were dropped, and are to be compared now.
func (m *Memory) whole(sync *v1alpha1.RepoSync, units []build.Unit, now []*made) {
	for i, u := range now {
		if u.light && m.ties.tie(u.said) {
			now[i] = newMade(sync, units[i], m.settled)
		}
	}
}

// Units assembles what units of a build want. The findings are those of the
// build and of its documents, in that order. What is remembered from then on are
// these units.
func (m *Memory) Units(sync *v1alpha1.RepoSync, units []build.Unit) ([]Document, []v1alpha1.Finding) {
	if settled := settling(sync); settled != m.settled {
		*m = Memory{settled: settled}
	}
	now, fresh := m.recall(sync, units)
	m.ties.exchange(left(m.units, now), fresh)
	m.whole(sync, units, now)
	documents := make([]Document, 0, max(m.documents, len(units))+16)
	var findings, own []v1alpha1.Finding
	for i, u := range units {
		findings = append(findings, u.Findings...)
		own = append(own, now[i].findings...)
		documents = append(documents, now[i].documents...)
	}
	findings = append(append(findings, own...), m.ties.compare(now)...)
	m.units, m.documents = now, len(documents)
	markCollisions(documents, findings)
	return documents, findings
}

// recall takes what is remembered of units, and assembles the others: the fresh ones.
func (m *Memory) recall(sync *v1alpha1.RepoSync, units []build.Unit) (now, fresh []*made) {
	now = make([]*made, len(units))
	var byKey map[string]*made // where units stand in another place
	for i, u := range units {
		var before *made // in its place
		if i < len(m.units) {
			before = m.units[i]
		}
		if before != nil && before.key == u.Key && u.Key != "" {
			now[i] = before
			continue
		}
		if before == nil || before.path != u.Path {
			if byKey == nil {
				byKey = m.byKey()
			}
			now[i] = byKey[u.Key]
		}
		if now[i] == nil {
			now[i] = newMade(sync, u, m.settled)
			fresh = append(fresh, now[i])
		}
	}
	return now, fresh
}

func (m *Memory) byKey() map[string]*made {
	all := make(map[string]*made, len(m.units))
	for _, u := range m.units {
		if u.key != "" {
			all[u.key] = u
		}
	}
	return all
}

// left are the units of before that are none of now.
func left(before, now []*made) []*made {
	var apart []*made // that stand elsewhere, or are gone
	for i, u := range before {
		if i < len(now) && now[i] == u {
			continue
		}
		apart = append(apart, u)
	}
	if len(apart) == 0 {
		return nil
	}
	here := make(map[*made]bool, len(apart))
	for i, u := range now {
		if i >= len(before) || before[i] != u {
			here[u] = true
		}
	}
	return slices.DeleteFunc(apart, func(u *made) bool { return here[u] })
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
	return check.Sum(sync.Namespace, sync.Name, Target(sync), sync.Spec.Substitutions, sync.Spec.Defaults, sync.Spec.PostBuild, sync.Spec.Decryption != nil) + "/"
}

func assembleUnit(sync *v1alpha1.RepoSync, u build.Unit, settled string) assembly {
	var a assembly
	variables := variablesOf(sync)
	for i, o := range u.Objects {
		decoded, problems := decodeObject(o, u, variables)
		if u.Decrypted {
			problems = readable(problems)
		}
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
	return repolayout.Decoded{Workspace: d.Workspace.DeepCopy(), Pool: d.Pool.DeepCopy(), Input: d.Input.DeepCopy(), Encrypted: d.Encrypted}
}

// decodeObject decodes what a unit has built: what no variable changes is decoded
// once for all who build the same.
func decodeObject(o build.Object, u build.Unit, variables map[string]v1alpha1.VariableValue) (repolayout.Decoded, []v1alpha1.Finding) {
	if variables == nil || !bytes.Contains(o.YAML, []byte("$")) {
		return o.Decode()
	}
	return decode(Text{YAML: o.YAML, Position: o, Opened: u.Decrypted, Encrypted: u.Encrypted}, variables)
}
