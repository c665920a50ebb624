// SPDX-License-Identifier: Apache-2.0

package build

import (
	"context"
	"maps"
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
	// Objects in the order of the build; none when there is an error finding.
	Objects []Object
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

	reads packed
	links *links // nil: none
}

// Reads are the files the build consulted, in order.
func (u *Unit) Reads() []string {
	var list []string
	for r := range u.reads.each() {
		list = append(list, r.path(u.Path))
	}
	return list
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
	reads := packer{dir: p.path}
	for _, file := range slices.Sorted(maps.Keys(sc.files)) {
		reads.add(read{path: file}, -1)
	}
	t.unit.reads = reads.packed()
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
	if t.done {
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
		u.Objects, u.Findings = nil, append(slices.Clone(u.Findings), f)
		return u
	}
	u.Objects = make([]Object, 0, len(built))
	for _, b := range built {
		b.opened = u.Decrypted
		u.Objects = append(u.Objects, b.Object)
	}
	u.links = linksOf(built)
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
func collisions(units []Unit) (none bool, names firsts) {
	first, none := newFirsts(len(units)), true
	for i := range units {
		u := &units[i]
		for _, o := range u.Objects {
			other := first.of(&o.id, i)
			if other == i {
				continue
			}
			none = false
			file, line := o.At("metadata.name")
			u.add(v1alpha1.Finding{
				Severity: finding.Error, Code: DuplicateObject, File: file, Line: line, Object: o.String(),
				Message: o.String() + " is in " + units[other].Path + " too: give one of them another name",
			})
		}
		u.drop()
	}
	if !none {
		return false, firsts{}
	}
	return true, first
}

// firsts are the units that have an object first. Most names are there once, and are
// compared alone.
type firsts struct {
	names map[string]owned
	more  map[id]int // of names that several objects have, beside the first of each
}

type owned struct {
	object *id
	unit   int
}

// is says that the first of a name is an object.
func (o owned) is(object *id) bool { return o.object != nil && *o.object == *object }

func newFirsts(units int) firsts {
	return firsts{names: make(map[string]owned, 2*units), more: map[id]int{}}
}

// of is the unit that has an object first, when a unit has it.
func (f firsts) of(object *id, unit int) int {
	first, taken := f.names[object.name]
	if first.is(object) {
		return first.unit
	}
	if other, taken := f.more[*object]; taken {
		return other
	}
	if taken {
		f.more[*object] = unit
	} else {
		f.names[object.name] = owned{object, unit}
	}
	return unit
}

// exchange takes the objects of units out, and puts in those of others, whichever
// units these are now. False: two have the same object, or nothing is known, and the
// names are of no use any more.
func (f firsts) exchange(out, in []Unit) bool {
	if f.names == nil {
		return false
	}
	for _, u := range out {
		for _, o := range u.Objects {
			if f.names[o.name].is(&o.id) {
				delete(f.names, o.name)
			} else {
				delete(f.more, o.id)
			}
		}
	}
	for i, u := range in {
		for _, o := range u.Objects {
			if mine := -1 - i; f.of(&o.id, mine) != mine {
				return false
			}
		}
	}
	for _, u := range in { // a number stands for one of these units alone
		for _, o := range u.Objects {
			f.settle(&o.id)
		}
	}
	return true
}

// settle forgets which unit has an object: that is only asked while comparing.
func (f firsts) settle(object *id) {
	if f.names[object.name].is(object) {
		f.names[object.name] = owned{object, 0}
	} else {
		f.more[*object] = 0
	}
}

// add adds a finding to a unit, whose own list may be shared with others.
func (u *Unit) add(f v1alpha1.Finding) {
	u.Findings = append(slices.Clip(u.Findings), f)
}

// drop leaves nothing of a unit that is refused but why.
func (u *Unit) drop() {
	if finding.Refused(u.Findings) {
		u.Objects, u.Key = nil, ""
	}
}
