// SPDX-License-Identifier: Apache-2.0

package finding

import (
	"slices"
	"strings"
	"sync"
)

// Rule is what a code stands for: the one source of docs/findings.md and of the
// help in SARIF. A test asks for one for every code in the tree.
type Rule struct {
	Code string
	// Severity is Error, Warning or Either.
	Severity string
	// Group is the heading that the rule stands under.
	Group string
	// Meaning says in a phrase what was found, Remedy in a sentence what to do.
	Meaning, Remedy string
}

// Either is the Severity of a rule whose findings may be errors or warnings.
const Either = "error or warning"

// Groups of rules, in the order of the reference.
const (
	GroupDocument = "How a document is written"
	GroupKAITO    = "Documents of kaito.sh"
	GroupContent  = "What a Workspace, GPUNodePool or RepoSync says"
	GroupBuild    = "Building the repository"
	GroupTask     = "What the catalogue says of a task"
)

// ReferenceURL is where the reference is read, with the code in lower case as
// its anchor.
const ReferenceURL = "https://github.com/espalier-dev/espalier/blob/main/docs/findings.md"

// HelpURL is where the rule is explained.
func (r Rule) HelpURL() string { return ReferenceURL + "#" + strings.ToLower(r.Code) }

// Rules lists every rule, by group and code.
func Rules() []Rule { return slices.Clone(sorted()) }

// RuleOf returns the rule of a code.
func RuleOf(code string) (Rule, bool) {
	r, known := byCode()[code]
	return r, known
}

var sorted = sync.OnceValue(func() []Rule {
	var all []Rule
	for _, g := range []struct {
		name  string
		rules []Rule
	}{
		{GroupDocument, documentRules}, {GroupKAITO, kaitoRules}, {GroupContent, contentRules},
		{GroupBuild, buildRules}, {GroupTask, taskRules},
	} {
		group := slices.Clone(g.rules)
		slices.SortFunc(group, func(a, b Rule) int { return strings.Compare(a.Code, b.Code) })
		for _, r := range group {
			r.Group = g.name
			all = append(all, r)
		}
	}
	return all
})

var byCode = sync.OnceValue(func() map[string]Rule {
	rules := map[string]Rule{}
	for _, r := range sorted() {
		rules[r.Code] = r
	}
	return rules
})
