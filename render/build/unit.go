// SPDX-License-Identifier: Apache-2.0

package build

import (
	"context"
	"hash/maphash"
	"iter"
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/espalier-dev/espalier/render/internal/yamltext"
	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// Unit is what is built and judged on its own: a folder that the root
// kustomization lists, a root that does more than list folders, or a file where
// there is no kustomization.
type Unit struct {
	// Path is the folder or file, relative to the root of the tree.
	Path string
	// Findings; with one of severity error the unit has failed.
	Findings []v1alpha1.Finding
	// Decrypted says that a file among them was encrypted: what the unit holds of it may
	// be quoted nowhere.
	Decrypted bool
	// Encrypted says that a file among them is encrypted, or was.
	Encrypted bool
	// Key is the same for two units only if their Objects, and the places of
	// these, are the same. "": a Build without a Cache, or a unit that failed.
	Key string

	content *content // nil: none
	bare    bool     // there are no objects, whatever was built
}

// Objects in the order of the build; none when there is an error finding.
func (u Unit) Objects() []Object {
	if u.content == nil || u.bare {
		return nil
	}
	return u.content.objects()
}

// ids are what the Objects are called.
func (u Unit) ids() iter.Seq2[int, id] {
	if u.content == nil || u.bare {
		return func(func(int, id) bool) {}
	}
	return u.content.ids()
}

// links to other units, also of one that is refused.
func (u Unit) links() links {
	if u.content == nil {
		return links{}
	}
	return u.content.links()
}

// Reads are the files the build consulted, in order.
func (u Unit) Reads() []string {
	if u.content == nil {
		return nil
	}
	return u.content.reads()
}

// task is a unit between being read and being built.
type task struct {
	work
	unit   Unit
	reads  []read
	sizes  map[string]int64 // of all files that were read
	folder string           // hash of the unit's file or folder
	// done: there is nothing left to build.
	done bool
	// fleeting results may not be kept.
	fleeting bool
}

// prepare reads everything that the build of a unit would read.
func (s *source) prepare(p plan) *task {
	t := &task{unit: Unit{Path: p.path, Findings: p.problems}, done: true}
	if len(p.problems) > 0 {
		t.fleeting = true // it cost nothing
		return t
	}
	sc := newScan(s)
	sc.unit(p)
	sc.refuseCopies()
	finding.Sort(sc.problems)
	t.unit.Findings = sc.problems
	t.unit.Decrypted, t.unit.Encrypted = sc.secret.decrypted(), len(sc.secret.files) > 0
	t.work = work{plan: p, limits: s.limits, files: sc.files, docs: sc.trees, plain: sc.plain, secret: sc.secret}
	if s.hashing {
		t.reads, t.fleeting, t.folder = sc.seen(), sc.fleeting, s.folderHash(p.path)
		t.sizes = sc.sizes()
	}
	t.done = sc.foreign || finding.Refused(t.unit.Findings)
	s.forget(sc.view, p.path)
	return t
}

// build builds what prepare has read, with Kustomize where that is needed. It touches no source: units
// are built beside each other.
func (t *task) build(ctx context.Context) Unit {
	u := t.unit
	if len(t.plan.problems) > 0 {
		return u
	}
	if t.done {
		u.content = t.content(nil, links{})
		return u
	}
	built, err := t.make(ctx)
	if err == nil {
		err = t.refuseLeaks(built)
	}
	if err != nil {
		f := asFinding(err, t.plan.from)
		if u.Decrypted && f.Code == BuildFailed {
			f.Message = hushed
		}
		// Another time it may be done in time.
		t.fleeting = t.fleeting || f.Code == BuildTimeout
		built, u.Findings = nil, append(slices.Clone(u.Findings), f)
	}
	u.content = t.content(built, linksOf(built))
	return u
}

func (t *task) make(ctx context.Context) ([]builtObject, error) {
	if built, ok := t.quick(); ok {
		return built, nil
	}
	built, err := t.run(ctx)
	if err != nil {
		return nil, err
	}
	return t.objects(built)
}

// unit reads one unit.
func (s *scan) unit(p plan) {
	if !p.file {
		if err := s.kustomization(p.path, p.from).check(s.limits); err != nil {
			s.refused(err, p.from)
		}
		return
	}
	if s.notKubernetes(p.path) {
		s.foreign = true
		s.problems = []v1alpha1.Finding{{
			Severity: finding.Warning, Code: NotAnObject, File: p.path, Line: 1,
			Message: "no document with apiVersion and kind: the file is left out",
		}}
		return
	}
	if err := s.file(p.path, true, p.from).check(s.limits); err != nil {
		s.refused(err, p.from)
	}
}

// notKubernetes says whether no document of a file claims to be a Kubernetes
// object: repositories hold other YAML too.
func (s *scan) notKubernetes(file string) bool {
	if k, err := s.look(file); err != nil || k != regular {
		return false // the scan says what is wrong
	}
	docs, err := s.documents(file)
	return err == nil && !slices.ContainsFunc(docs, func(d *yaml.Node) bool {
		return yamltext.Field(d, "apiVersion") != nil || yamltext.Field(d, "kind") != nil
	})
}

// collisions reports objects that two units build: each alone is fine, a build
// of the whole would refuse them, and the two would overwrite each other. Where there
// are none it returns the names.
func collisions(units []Unit) (none bool, known names) {
	known = newNames(2 * len(units))
	if known.add(units) {
		return true, known
	}
	first, none := map[id]int{}, true
	for i := range units {
		u := &units[i]
		for at, called := range u.ids() {
			other, taken := first[called]
			if !taken {
				first[called] = i
			}
			if !taken || other == i {
				continue
			}
			none = false
			o := u.Objects()[at]
			file, line := o.At("metadata.name")
			u.add(v1alpha1.Finding{
				Severity: finding.Error, Code: DuplicateObject, File: file, Line: line, Object: o.String(),
				Message: o.String() + " is in " + units[other].Path + " too: give one of them another name",
			})
		}
		u.drop()
	}
	return none, names{}
}

// names are the objects of units, by a sum of what each is called, which nobody can tell
// beforehand: where two have the same, they are compared.
type names struct{ of map[uint64]struct{} }

func newNames(n int) names { return names{make(map[uint64]struct{}, n)} }

// add puts the objects of units in. False: two have the same sum, and the names are of no
// use any more.
func (n names) add(units []Unit) bool {
	for _, u := range units {
		for _, called := range u.ids() {
			sum := called.sum()
			if _, taken := n.of[sum]; taken {
				return false
			}
			n.of[sum] = struct{}{}
		}
	}
	return true
}

// exchange takes the objects of units out, and puts in those of others. False: two may have
// the same object, or nothing is known, and the names are of no use any more.
func (n names) exchange(out, in []Unit) bool {
	if n.of == nil {
		return false
	}
	for _, u := range out {
		for _, called := range u.ids() {
			delete(n.of, called.sum())
		}
	}
	return n.add(in)
}

// seed of the sums of this process.
var seed = maphash.MakeSeed()

func (i id) sum() uint64 {
	var h maphash.Hash
	h.SetSeed(seed)
	for _, word := range [...]string{i.group, i.kind, i.namespace, i.name} {
		_, _ = h.WriteString(word)
		_ = h.WriteByte(0)
	}
	return h.Sum64()
}

// add adds a finding to a unit, whose own list may be shared with others.
func (u *Unit) add(f v1alpha1.Finding) {
	u.Findings = append(slices.Clip(u.Findings), f)
}

// drop leaves nothing of a unit that is refused but why.
func (u *Unit) drop() {
	if finding.Refused(u.Findings) {
		u.bare, u.Key = true, ""
	}
}
