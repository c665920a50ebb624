// SPDX-License-Identifier: Apache-2.0

// Package desired says what a revision of a repository wants in the cluster: its
// documents decoded, moved by the RepoSync's substitutions and put into its
// namespace (Assemble), and its Workspaces judged (Judge) and rendered on demand.
//
// `espalier validate`, `render` and `plan` and the RepoSync controller all take
// this way, so that what is said before a merge is what happens after it. The
// package is pure: it never asks a cluster, a network or a clock.
package desired

import (
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/espalier-dev/espalier/render/build"
	"github.com/espalier-dev/espalier/render/check"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// NamespaceNotAllowed is the code of a document in a namespace that its RepoSync
// does not write to.
const NamespaceNotAllowed = finding.NamespaceNotAllowed

// Document is one object that a revision wants, decoded: substituted, and in the
// namespace of the RepoSync where that is known.
type Document struct {
	repolayout.Decoded
	Position repolayout.Position
	// Unit is the path of the unit that builds it.
	Unit string
	// Name is kind/namespace/name as the build says it, before the RepoSync moved it.
	Name string
	// Key is the same for two documents only if they are equal, and so are their
	// places. "": not known.
	Key string
	// Collides says that another document stands for the same object: neither is
	// applied, since nobody can say which was meant.
	Collides bool

	object    string // kind/name
	namespace string
	names     []string // the inputs that a Workspace names, as kind/name
	rests     []string // those, and its node pool
}

// Text is one document as it was built or written.
type Text struct {
	YAML     []byte
	Position repolayout.Position
	Unit     string
	Name     string
	// Opened and Encrypted say that a file of its unit was decrypted, or is encrypted.
	Opened, Encrypted bool
}

// Texts lists the documents of units in the order of the build, and the findings
// of the build.
func Texts(units []build.Unit) ([]Text, []v1alpha1.Finding) {
	var texts []Text
	var findings []v1alpha1.Finding
	for _, u := range units {
		findings = append(findings, u.Findings...)
		for _, o := range u.Objects() {
			texts = append(texts, Text{YAML: o.YAML(), Position: o, Unit: u.Path, Name: o.String(), Opened: u.Decrypted, Encrypted: u.Encrypted})
		}
	}
	return texts, findings
}

// Assemble decodes documents into what is wanted. What is wrong with one is a
// finding and leaves that one out. Sync is nil where no RepoSync is known: then
// nothing is substituted, and every namespace is allowed.
func Assemble(sync *v1alpha1.RepoSync, texts []Text) ([]Document, []v1alpha1.Finding) {
	type result struct {
		decoded  repolayout.Decoded
		problems []v1alpha1.Finding
	}
	results := make([]result, len(texts))
	eachBeside(len(texts), func(i int) {
		results[i].decoded, results[i].problems = decode(texts[i], variablesOf(sync))
	})
	var all assembly
	for i, t := range texts {
		all.add(sync, Document{Decoded: results[i].decoded, Position: t.Position, Unit: t.Unit, Name: t.Name}, results[i].problems)
	}
	return all.documents, append(append(all.findings, repolayout.Collisions(all.entries)...), repolayout.Promotions(all.entries)...)
}

// decode reads a document with its variables in place.
func decode(t Text, variables map[string]v1alpha1.VariableValue) (repolayout.Decoded, []v1alpha1.Finding) {
	text, problems := withVariables(t, variables)
	if len(problems) > 0 {
		return repolayout.Decoded{}, problems
	}
	if t.Opened {
		return repolayout.DecodeOpened(text, t.Position)
	}
	return repolayout.Decode(text, t.Position)
}

// eachBeside does something for each of n, on all processors.
func eachBeside(n int, do func(i int)) {
	var all sync.WaitGroup
	var next atomic.Int64
	for range min(n, runtime.GOMAXPROCS(0)) {
		all.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				do(i)
			}
		})
	}
	all.Wait()
}

// assembly is what documents are assembled to, before they are compared with
// each other. Nothing of it is changed once it is made.
type assembly struct {
	documents []Document
	findings  []v1alpha1.Finding
	entries   []repolayout.Entry
	said      []mention // by the entries
}

// add adds a document that was decoded with these findings.
func (a *assembly) add(sync *v1alpha1.RepoSync, d Document, problems []v1alpha1.Finding) {
	a.findings = append(a.findings, problems...)
	if finding.Refused(problems) {
		return
	}
	if d.Encrypted {
		said := d.sealed(sync)
		if a.findings = append(a.findings, said); said.Severity == finding.Error {
			return
		}
	}
	d.object = d.Kind() + "/" + d.ObjectName()
	if d.object == d.Name {
		d.object = d.Name // held once
	}
	a.entries = append(a.entries, repolayout.Entry{Decoded: d.Decoded, Position: d.Position})
	a.said = append(a.said, mentions(d.Decoded, d.object)...)
	if refusal := d.settle(sync); refusal != nil {
		a.findings = append(a.findings, *refusal)
		return
	}
	d.namespace = d.Namespace()
	if w := d.Workspace; w != nil {
		d.names = named(&w.Spec)
		d.rests = d.names
		if pool := w.Spec.Resource.NodePool; pool != "" {
			d.rests = append(slices.Clip(d.names), poolObject(pool))
		}
	}
	a.documents = append(a.documents, d)
}

// markCollisions marks documents that stand for one object, and the one that the
// build kept of two (its finding names the other).
func markCollisions(documents []Document, findings []v1alpha1.Finding) {
	collide := colliding(len(documents), func(i int) known { return documents[i].known() }, findings)
	for i := range documents {
		documents[i].Collides = collide(i)
	}
}

// colliding says which of n documents collide.
func colliding(n int, of func(i int) known, findings []v1alpha1.Finding) func(i int) bool {
	collided := map[string]bool{}
	for _, f := range findings {
		if f.Code == finding.NameCollision {
			collided[f.Object] = true
		}
	}
	if len(collided) == 0 {
		return func(int) bool { return false }
	}
	times := make(map[string]int, n)
	for i := range n {
		times[of(i).id()]++
	}
	return func(i int) bool { return times[of(i).id()] > 1 || collided[of(i).name] }
}

// Kind of the object.
func (d Document) Kind() string {
	switch {
	case d.Workspace != nil:
		return v1alpha1.WorkspaceKind
	case d.Pool != nil:
		return v1alpha1.GPUNodePoolKind
	case d.Input != nil:
		return d.Input.GetKind()
	}
	return ""
}

// ObjectName is the name of the object, without kind and namespace.
func (d Document) ObjectName() string {
	switch {
	case d.Workspace != nil:
		return d.Workspace.Name
	case d.Pool != nil:
		return d.Pool.Name
	case d.Input != nil:
		return d.Input.GetName()
	}
	return ""
}

func (d Document) known() known { return known{d.object, d.namespace, d.Name} }

// settle substitutes instance types, fills in the defaults of the RepoSync and puts
// the document into its namespace, or says why it may not be where it wants to be.
func (d Document) settle(sync *v1alpha1.RepoSync) *v1alpha1.Finding {
	if sync == nil {
		return nil
	}
	if d.Workspace != nil && !sync.ReportsOnly() {
		Substitute(d.Workspace, sync.Spec.Substitutions)
		FillIn(d.Workspace, sync.Spec.Defaults)
		for _, p := range []*finding.Problem{check.LikeNothing(d.Workspace), check.NoImage(d.Workspace), check.NoAccount(d.Workspace)} {
			if p != nil { // the API server would not take it
				refusal := p.At(d.Position, d.Name)
				return &refusal
			}
		}
	}
	if refusal := checkNamespace(sync, d); refusal != nil {
		return refusal
	}
	target := Target(sync)
	switch {
	case target == "", sync.ReportsOnly() && d.Namespace() != "":
	case d.Workspace != nil:
		d.Workspace.Namespace = target
	case d.Pool != nil:
		d.Pool.Namespace = target
	case d.Input != nil:
		d.Input.SetNamespace(target)
	}
	return nil
}

// Target is the one namespace that a RepoSync writes to; "" where a RepoSync in a
// file leaves its own to kubectl.
func Target(s *v1alpha1.RepoSync) string {
	if s.Spec.TargetNamespace != "" {
		return s.Spec.TargetNamespace
	}
	return s.Namespace
}

// checkNamespace says why an object may not be where it wants to be, nil when it
// may. Where the target is not known, or others apply it, nothing can be said.
func checkNamespace(s *v1alpha1.RepoSync, d Document) *v1alpha1.Finding {
	namespace := d.Namespace()
	if namespace == "" || Target(s) == "" || namespace == Target(s) || s.ReportsOnly() {
		return nil
	}
	file, line := "", 0
	if d.Position != nil {
		file, line = d.Position.At("metadata.namespace")
	}
	return &v1alpha1.Finding{Severity: finding.Error, Code: NamespaceNotAllowed, File: file, Line: line, Message: fmt.Sprintf(
		"metadata.namespace is not %s, the only one that RepoSync %s/%s writes to: drop it, or set spec.targetNamespace of the RepoSync", Target(s), s.Namespace, s.Name)}
}
