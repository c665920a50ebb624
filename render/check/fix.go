// SPDX-License-Identifier: Apache-2.0

package check

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/espalier-dev/espalier/gpu/sku"
	"github.com/espalier-dev/espalier/presets"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// slips is how many letters may be wrong for a name to be certainly another one: two
// swapped letters are two changes.
const slips = 2

// leastSlipped is the length from which that many make no other word.
const leastSlipped = 8

// withModel adds the one model of the catalogue whose name was misspelt.
func (c *checker) withModel(p finding.Problem, written string) finding.Problem {
	if near := misspelt(written, presets.Suggest(written)); near != "" {
		return p.Instead(written, near)
	}
	return p
}

// unknown is the finding on a size that the catalogue does not have.
func (c *checker) unknown(written, field string) finding.Problem {
	near, spelling, lists := misspelt(written, sku.Suggest(written)), "check the spelling,", "`espalier skus` lists the sizes"
	if meant := meantSize(written); meant != "" {
		spelling = "did you mean " + meant + "?"
	}
	if c.nodesExist() {
		lists = "`espalier skus --gpu` lists those with a GPU: name one with the GPU of the nodes, or with the nearest that has at most its memory (docs/own-nodes.md)"
	} else {
		lists += c.advice(sku.Azure)
	}
	put := putBy(c.workspace, written)
	p := finding.Errorf(UnknownInstanceType, field, "%.100q is not in the catalogue%s: %s %s", written, put, spelling, lists)
	if put != "" {
		return p // the line to mend is of another file
	}
	switch {
	case near != "":
		return c.withSize(p, written, near)
	case c.providerOf() == v1alpha1.ProviderAKS: // Karpenter may be on another cloud
		return c.withSize(p, written, c.sizeFor(sku.Azure))
	}
	return p
}

// Misput lists the substitutions, as old=new, that gave a Workspace sizes which the catalogue
// does not have.
func Misput(w *v1alpha1.Workspace) []string {
	said := w.Annotations[repolayout.AnnotationSubstituted]
	if said == "" {
		return nil
	}
	return slices.DeleteFunc(strings.Split(said, ","), func(moved string) bool {
		_, to, _ := strings.Cut(moved, "=")
		_, known := sku.Lookup(to)
		return known
	})
}

// Substitutions warns of sizes that a RepoSync substitutes and the catalogue does not have.
func Substitutions(table map[string]string) []finding.Problem {
	var problems []finding.Problem
	for _, from := range slices.Sorted(maps.Keys(table)) {
		to := table[from]
		if _, known := sku.Lookup(to); known {
			continue
		}
		spelling := ": check the spelling, `espalier skus` lists the sizes"
		if meant := meantSize(to); meant != "" {
			spelling = "; did you mean " + meant + "?"
		}
		problems = append(problems, finding.Warningf(UnknownInstanceType, finding.Key("spec.substitutions", from), "%.100q is not in the catalogue%s", to, spelling))
	}
	return problems
}

// meantSize is the size that a message asks for; "" where none is near.
func meantSize(written string) string {
	return cmp.Or(misspelt(written, sku.Suggest(written)), cutShort(written))
}

// putBy says that the RepoSync wrote a size in the place of the one that the line has.
func putBy(w *v1alpha1.Workspace, size string) string {
	for _, moved := range Misput(w) {
		if from, to, _ := strings.Cut(moved, "="); to == size {
			return ", and spec.substitutions of the RepoSync puts it in the place of " + from + ", which this line says"
		}
	}
	return ""
}

// cutShort is the one size of the catalogue that begins so; "" for none, or several.
func cutShort(written string) string {
	begins := func(name string) bool { return strings.HasPrefix(strings.ToLower(name), strings.ToLower(written)) }
	near := slices.DeleteFunc(sku.Suggest(written), func(name string) bool { return !begins(name) })
	if len(near) != 1 || len(written) < leastSlipped {
		return ""
	}
	return near[0]
}

// misspelt is the one name of a list, the nearest first, that is that near; "" for none,
// or several.
func misspelt(written string, near []string) string {
	distance := func(i int) int { return sku.Distance(strings.ToLower(written), strings.ToLower(near[i])) }
	if len(near) == 0 || len(written) < leastSlipped || distance(0) > slips || len(near) > 1 && distance(1) <= distance(0) {
		return ""
	}
	return near[0]
}

// sizeFor is the cheapest size that a message names; "" where there is none, or where
// it takes several.
func (c *checker) sizeFor(cloud string) string {
	if c.trial || c.ownsPod() {
		return ""
	}
	best, ok := c.cheapest(cloud)
	if !ok || best.Report.Nodes > 1 {
		return ""
	}
	return best.Instance.Name
}

// withSize adds the size to write in the place of one that cannot be had at all, where
// the Workspace is accepted with it. A size that is too small gets none: whether to pay
// for a larger one, or to ask for less, is not for a program to say.
func (c *checker) withSize(p finding.Problem, written, instead string) finding.Problem {
	if instead == "" || c.trial || c.workspace.Spec.Resource.NodePool != "" || c.providerOf() == v1alpha1.ProviderExisting || !c.accepted(written, instead) {
		return p
	}
	return p.Instead(written, instead)
}

// providerOf is where the nodes of the Workspace's own pool come from.
func (c *checker) providerOf() v1alpha1.Provider {
	if p := c.workspace.Spec.Resource.Provider; p != "" {
		return p
	}
	return c.facts.Provider
}

// accepted says whether the Workspace has no error on a size once it is written in the
// place of another.
func (c *checker) accepted(written, instead string) bool {
	w := c.workspace.DeepCopy()
	r := &w.Spec.Resource
	if r.InstanceType == written {
		r.InstanceType = instead
	}
	for i, candidate := range r.Candidates {
		switch candidate.InstanceType {
		case instead:
			return false // it is a candidate already
		case written:
			r.Candidates[i].InstanceType = instead
		}
	}
	facts := c.facts
	facts.Resolved = nil
	a := assess(&checker{workspace: w, facts: facts, trial: true})
	at := slices.IndexFunc(a.Candidates, func(k Candidate) bool { return k.InstanceType == instead })
	return at >= 0 && a.Candidates[at].Usable()
}
