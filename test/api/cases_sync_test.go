// SPDX-License-Identifier: Apache-2.0

package api

import "maps"

// syncCases are of RepoSyncs: what others apply, and what comes first.
var syncCases = map[string]written{
	"ReportsOnly": {
		reason: "Flux applies the Workspaces; the RepoSync reports on those of a label.",
		base:   sync, set: `spec: {mode: ReportOnly, workspaceSelector: {matchLabels: {team: a}}}`,
	},
	"ReportsOnNothing": {
		reason: "A report on every Workspace of a namespace would be on those of other RepoSyncs too.",
		base:   sync, set: `spec: {mode: ReportOnly}`,
		want: "mode ReportOnly and workspaceSelector belong together",
	},
	"SelectsWhatItApplies": {
		reason: "What is applied is reported on, whatever its labels.",
		base:   sync, set: `spec: {workspaceSelector: {matchLabels: {team: a}}}`,
		want: "mode ReportOnly and workspaceSelector belong together",
	},
	"DefaultsOfWhatOthersApply": {
		reason: "Nothing would honour them.",
		base:   sync, set: `spec: {mode: ReportOnly, workspaceSelector: {matchLabels: {team: a}}, defaults: {budget: {maxUSDPerHour: "1"}}}`,
		want: "substitutions and defaults change what is applied",
	},
	"ActsAsAndOnlyReports": {
		reason: "Nobody acts where nothing is applied.",
		base:   sync, set: `spec: {mode: ReportOnly, workspaceSelector: {matchLabels: {team: a}}, serviceAccountName: models}`,
		want: "serviceAccountName is as whom a RepoSync applies",
	},
	"DependsOn": {
		reason: "RepoSyncs are ordered by name, those of other namespaces too.",
		base:   sync, set: `spec: {dependsOn: [{name: pools}, {name: models, namespace: platform}]}`,
	},
	"DependsOnItself": {
		reason: "It would wait for ever.",
		base:   sync, set: `spec: {dependsOn: [{name: models}]}`,
		want: "a RepoSync cannot wait for itself",
	},
	"DependsOnAndOnlyReports": {
		reason: "Nothing is applied that could come too early.",
		base:   sync, set: `spec: {mode: ReportOnly, workspaceSelector: {matchLabels: {team: a}}, dependsOn: [{name: pools}]}`,
		want: "dependsOn orders what is applied",
	},
	"DependsOnNoName": {
		reason: "A name that no object can have is a mistake of writing.",
		base:   sync, set: `spec: {dependsOn: [{name: Pools}]}`,
		want: "spec.dependsOn[0].name",
	},
	"NoSuchMode": {
		reason: "A mode that nobody knows would apply or not, as it comes.",
		base:   sync, set: `spec: {mode: DryRun}`,
		want: "spec.mode: Unsupported value",
	},
}

// all are the cases of every kind.
func all() map[string]written {
	every := maps.Clone(cases)
	maps.Copy(every, syncCases)
	return every
}
