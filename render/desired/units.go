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
	said      []mention
	of        []trace // of each document of which something was made
	// whole is the rest; once something was made of the documents, what was found alone, nil
	// where that is nothing.
	whole *assembly
	light bool // that is so
}

// trace is what is left of a document once something was made of it.
type trace struct {
	object    string // kind/name
	elsewhere *known // nil: that is its name, and its namespace that of the RepoSync
	made      any
}

// known is what a document is known by where documents collide.
type known struct {
	object, namespace string
	name              string // as the build says it
}

func (k known) id() string { return k.namespace + "/" + k.object }

func newMade(sync *v1alpha1.RepoSync, u build.Unit, settled string) *made {
	whole := assembleUnit(sync, u, settled)
	return &made{path: u.Path, key: u.Key, said: slices.Clip(whole.said), whole: &whole}
}

// make makes something of each document.
func (u *made) make(sync *v1alpha1.RepoSync, of func(Document) any) {
	u.of = make([]trace, len(u.whole.documents))
	for i, d := range u.whole.documents {
		u.of[i] = trace{object: d.object, made: of(d)}
		if d.Name != d.object || d.namespace != targetOf(sync) {
			elsewhere := d.known()
			u.of[i].elsewhere = &elsewhere
		}
	}
}

// known is what its document was known by.
func (t trace) known(sync *v1alpha1.RepoSync) known {
	if t.elsewhere != nil {
		return *t.elsewhere
	}
	return known{t.object, targetOf(sync), t.object}
}

func targetOf(sync *v1alpha1.RepoSync) string {
	if sync == nil {
		return ""
	}
	return Target(sync)
}

// lighten drops the documents of which something was made.
func (u *made) lighten() {
	u.light = true
	if found := u.whole.findings; len(found) > 0 {
		u.whole = &assembly{findings: found}
	} else {
		u.whole = nil
	}
}

// findings on the documents.
func (u *made) findings() []v1alpha1.Finding {
	if u.whole == nil {
		return nil
	}
	return u.whole.findings
}

// settle has documents whole where they are compared with others, and nowhere else where
// something was made of them: those of a unit that was dropped too early are decoded again.
func (m *Memory) settle(sync *v1alpha1.RepoSync, units []build.Unit, now []*made) {
	for i, u := range now {
		switch tied := m.ties.tie(u.said); {
		case tied && u.light:
			now[i] = newMade(sync, units[i], m.settled)
			now[i].of = u.of
		case !tied && u.of != nil && !u.light:
			u.lighten()
		}
	}
}

// Units assembles what units of a build want. The findings are those of the
// build and of its documents, in that order. What is remembered from then on are
// these units.
func (m *Memory) Units(sync *v1alpha1.RepoSync, units []build.Unit) ([]Document, []v1alpha1.Finding) {
	findings := m.assemble(sync, units, nil)
	documents := make([]Document, 0, max(m.documents, len(units))+16)
	for _, u := range m.units {
		documents = append(documents, u.whole.documents...)
	}
	m.documents = len(documents)
	markCollisions(documents, findings)
	return documents, findings
}

// Make is Units for somebody who makes something of each document, once, and does not change
// it any more: of each unit after the other, so that documents are there only until then, but
// for those that are compared with others. A Memory makes one thing of documents: it belongs
// to Make or to Units. What was made is returned in the order of the documents, without what
// was made of those that collide.
func (m *Memory) Make(sync *v1alpha1.RepoSync, units []build.Unit, of func(Document) any) ([]any, []v1alpha1.Finding) {
	findings := m.assemble(sync, units, of)
	all := make([]trace, 0, max(m.documents, len(units))+16)
	for _, u := range m.units {
		all = append(all, u.of...)
	}
	m.documents = len(all)
	list := make([]any, 0, len(all))
	collide := colliding(len(all), func(i int) known { return all[i].known(sync) }, findings)
	for i, t := range all {
		if !collide(i) {
			list = append(list, t.made)
		}
	}
	return list, findings
}

// assemble remembers units, and returns what is wrong with them and their documents.
func (m *Memory) assemble(sync *v1alpha1.RepoSync, units []build.Unit, of func(Document) any) []v1alpha1.Finding {
	if settled := settling(sync); settled != m.settled {
		*m = Memory{settled: settled}
	}
	now, fresh := m.recall(sync, units, of)
	m.ties.exchange(left(m.units, now), fresh)
	m.settle(sync, units, now)
	var findings, own []v1alpha1.Finding
	for i, u := range units {
		findings = append(findings, u.Findings...)
		own = append(own, now[i].findings()...)
	}
	m.units = now
	return append(append(findings, own...), m.ties.compare(now)...)
}

// recall takes what is remembered of units, and assembles the others: the fresh ones.
func (m *Memory) recall(sync *v1alpha1.RepoSync, units []build.Unit, of func(Document) any) (now, fresh []*made) {
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
			now[i] = m.assembleFresh(sync, u, of)
			fresh = append(fresh, now[i])
		}
	}
	return now, fresh
}

// assembleFresh keeps the documents of a unit only where they are likely to be compared.
func (m *Memory) assembleFresh(sync *v1alpha1.RepoSync, u build.Unit, of func(Document) any) *made {
	now := newMade(sync, u, m.settled)
	if of == nil {
		return now
	}
	now.make(sync, of)
	if !m.ties.tie(now.said) && !slices.ContainsFunc(now.said, func(s mention) bool { return s.relation == promotes }) {
		now.lighten()
	}
	return now
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
	for i, o := range u.Objects() {
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
	if variables == nil {
		return o.Decode()
	}
	text := o.YAML()
	if !bytes.Contains(text, []byte("$")) {
		return o.Decode()
	}
	return decode(Text{YAML: text, Position: o, Opened: u.Decrypted, Encrypted: u.Encrypted}, variables)
}
