// SPDX-License-Identifier: Apache-2.0

package api

import "maps"

// syncCases are of RepoSyncs: what others apply, and what comes first.
var syncCases = map[string]written{
	"ShortInterval": {
		reason: "An interval of nothing would be a loop without rest.",
		base:   sync, set: `spec: {interval: 500ms}`,
		want: "interval: at least 1s",
	},
	"ActsAs": {
		reason: "An account of the namespace, whose rights everything is written with.",
		base:   sync, set: `spec: {serviceAccountName: models}`,
	},
	"ActsAsElsewhere": {
		reason: "An account is named, and never one of another namespace.",
		base:   sync, set: `spec: {serviceAccountName: "flux-system:admin"}`,
		want: "spec.serviceAccountName",
	},
	"Verified": {
		reason: "The mode is the commit's signature where none is named.",
		base:   sync, set: `spec: {source: {git: {verify: {secretRef: {name: keys}}}}}`,
	},
	"VerifiedTag": {
		reason: "A tag can be demanded to be signed where one is followed.",
		base:   sync, set: `spec: {source: {git: {ref: {tag: v1}, verify: {mode: TagAndHEAD, secretRef: {name: keys}}}}}`,
	},
	"VerifiedTagOfABranch": {
		reason: "A branch has no tag whose signature could be looked at.",
		base:   sync, set: `spec: {source: {git: {verify: {mode: Tag, secretRef: {name: keys}}}}}`,
		want: "verify.mode Tag and TagAndHEAD need ref.tag",
	},
	"VerifiedTagOfACommit": {
		reason: "A pinned commit is read by its hash, whatever the tag is.",
		base:   sync, set: `spec: {source: {git: {ref: {tag: v1, commit: "4f5c2a9c0d3b1e6f7a8b9c0d1e2f3a4b5c6d7e8f"}, verify: {mode: Tag, secretRef: {name: keys}}}}}`,
		want: "verify.mode Tag and TagAndHEAD need ref.tag, without ref.commit",
	},
	"Reviewed": {
		reason: "Pull requests are answered, and the commit that is synced gets a status.",
		base:   sync, set: `spec: {review: {provider: Gitea, secretRef: {name: forge}, commands: true}, report: {statuses: true, pullRequest: true}}`,
	},
	"ReviewedByAnotherForge": {
		reason: "A forge that nobody talks to is refused rather than ignored.",
		base:   sync, set: `spec: {review: {provider: Gerrit, secretRef: {name: forge}}}`,
		want: "spec.review.provider: Unsupported value",
	},
	"ReviewedOnLines": {
		reason: "What is said on lines is one of three.",
		base:   sync, set: `spec: {review: {provider: Gitea, secretRef: {name: forge}, lineComments: Suggestions}}`,
		want: "spec.review.lineComments: Unsupported value",
	},
	"ReviewedWithoutBranch": {
		reason: "Nobody asks to merge into a tag.",
		base:   sync, set: `spec: {source: {git: {ref: {tag: v1}}}, review: {provider: Gitea, secretRef: {name: forge}}}`,
		want: "review needs source.git with a branch",
	},
	"StatusesWithoutForge": {
		reason: "Without a token nobody could set one.",
		base:   sync, set: `spec: {report: {statuses: true}}`,
		want: "report.statuses needs review",
	},
	"ProgressOfOthers": {
		reason: "What Flux applies may be a commit behind what was read.",
		base:   sync, set: `spec: {mode: ReportOnly, workspaceSelector: {matchLabels: {a: b}}, review: {provider: Gitea, secretRef: {name: forge}}, report: {pullRequest: true}}`,
		want: "report.pullRequest follows what the RepoSync applies",
	},
	"ProgressWithoutForge": {
		reason: "There is no comment to say it in.",
		base:   sync, set: `spec: {report: {pullRequest: true}}`,
		want: "report.pullRequest needs review",
	},
	"ReportBeside": {
		reason: "A report in a folder of the synced branch, beside what is synced.",
		base:   sync, set: `spec: {path: clusters/prod, report: {commit: {branch: main, path: status/prod}}}`,
	},
	"ReportInFolderSigned": {
		reason: "Where commits must be signed, reports are.",
		base:   sync, set: `spec: {path: clusters/prod, source: {git: {verify: {secretRef: {name: keys}}}}, report: {commit: {branch: main, path: status, signing: {secretRef: {name: key}}}}}`,
	},
	"ReportInFolderUnsigned": {
		reason: "The newest commit of the branch would be unsigned.",
		base:   sync, set: `spec: {path: clusters/prod, source: {git: {verify: {secretRef: {name: keys}}}}, report: {commit: {branch: main, path: status}}}`,
		want: "report.commit.path with source.git.verify needs report.commit.signing",
	},
	"ReportInFolderOfNoBranch": {
		reason: "Whoever writes a path alone may think that the synced branch is meant.",
		base:   sync, set: `spec: {path: clusters/prod, report: {commit: {path: status}}}`,
		want: "report.commit.path is a folder of the branch that is synced",
	},
	"ReportInFolderOfOtherBranch": {
		reason: "A branch of its own needs no folder.",
		base:   sync, set: `spec: {path: clusters/prod, report: {commit: {branch: status, path: status}}}`,
		want: "report.commit.path is a folder of the branch that is synced",
	},
	"ReportInFolderOfArtifact": {
		reason: "An artifact has no branch that could be told.",
		base:   sync, set: `spec: {path: clusters/prod, source: {git: null, ref: {kind: GitRepository, name: models}}, report: {commit: {url: "https://git.example.com/models.git", branch: main, path: status}}}`,
		want: "report.commit.path is a folder of the branch that is synced",
	},
	"ReportInWhatIsSynced": {
		reason: "A unit could read what is said of it.",
		base:   sync, set: `spec: {path: clusters, report: {commit: {branch: main, path: clusters/status}}}`,
		want: "must lie beside each other",
	},
	"ReportAroundWhatIsSynced": {
		reason: "The whole of it would be left out.",
		base:   sync, set: `spec: {path: clusters/prod, report: {commit: {branch: main, path: clusters}}}`,
		want: "must lie beside each other",
	},
	"ReportInWholeRepository": {
		reason: "Everything lies in it.",
		base:   sync, set: `spec: {report: {commit: {branch: main, path: status}}}`,
		want: "must lie beside each other",
	},
	"ReportInFolderForFlux": {
		reason: "Flux cannot be kept from being woken.",
		base:   sync, set: `spec: {path: clusters/prod, mode: ReportOnly, workspaceSelector: {matchLabels: {a: b}}, report: {commit: {branch: main, path: status}}}`,
		want: "report.commit.path is not for mode ReportOnly",
	},
	"ReportOutside": {
		reason: "Nothing leads out of the branch.",
		base:   sync, set: `spec: {path: clusters/prod, report: {commit: {branch: main, path: status/../clusters}}}`,
		want: "path: a folder of the branch",
	},
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
		want: "substitutions, decryption, postBuild and defaults change what is applied",
	},
	"DecryptsWhatOthersApply": {
		reason: "Nothing would be decrypted.",
		base:   sync, set: `spec: {mode: ReportOnly, workspaceSelector: {matchLabels: {team: a}}, decryption: {provider: sops, secretRef: {name: a}}}`,
		want: "substitutions, decryption, postBuild and defaults change what is applied",
	},
	"DecryptedByOther": {
		reason: "Nobody opens what another program has encrypted.",
		base:   sync, set: `spec: {decryption: {provider: vault, secretRef: {name: a}}}`,
		want: "spec.decryption.provider: Unsupported value",
	},
	"DecryptedByAVault": {
		reason: "A vault may have the key: no Secret is needed.",
		base:   sync, set: `spec: {decryption: {provider: sops, serviceAccountName: sops}}`,
	},
	"DecryptedAsNobody": {
		reason: "An account has the name of an object.",
		base:   sync, set: `spec: {decryption: {provider: sops, serviceAccountName: No_Name}}`,
		want: "spec.decryption.serviceAccountName",
	},
	"VariableWithoutName": {
		reason: "A document could not name it.",
		base:   sync, set: `spec: {postBuild: {substitute: {1a: b}}}`,
		want: "names of variables have letters, digits and underscores",
	},
	"NoVariables": {
		reason: "It would turn every $ of the documents into an error, for nothing.",
		base:   sync, set: `spec: {postBuild: {}}`,
		want: "spec.postBuild.substitute: Required value",
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
	"AnotherCluster": {
		reason: "A kubeconfig of the namespace says where to apply, and its key is Flux's unless it is named.",
		base:   sync, set: `spec: {kubeConfig: {secretRef: {name: spoke, key: value.yaml}}, serviceAccountName: models}`,
	},
	"AnotherClusterAndOnlyReports": {
		reason: "Nothing is applied there, and what Flux applied there is not watched.",
		base:   sync, set: `spec: {mode: ReportOnly, workspaceSelector: {matchLabels: {team: a}}, kubeConfig: {secretRef: {name: spoke}}}`,
		want: "kubeConfig is where a RepoSync applies",
	},
	"AnotherClusterAndMerges": {
		reason: "The status tells whoever follows merged pull requests of the Workspaces there.",
		base:   sync, set: `spec: {kubeConfig: {secretRef: {name: spoke}}, review: {provider: Gitea, secretRef: {name: token}}, report: {pullRequest: true}}`,
	},
	"AnotherClusterOfNoName": {
		reason: "A Secret has a name.",
		base:   sync, set: `spec: {kubeConfig: {secretRef: {name: ""}}}`,
		want: "spec.kubeConfig.secretRef.name",
	},
	"AnotherClusterByConfigMap": {
		reason: "Without a kubeconfig an account of the namespace signs in, as a ConfigMap says.",
		base:   sync, set: `spec: {kubeConfig: {configMapRef: {name: spoke}}}`,
	},
	"AnotherClusterTwice": {
		reason: "A kubeconfig and an account may lead to two clusters.",
		base:   sync, set: `spec: {kubeConfig: {secretRef: {name: spoke}, configMapRef: {name: spoke}}}`,
		want: "exactly one of kubeConfig.secretRef, a kubeconfig, and kubeConfig.configMapRef",
	},
	"AnotherClusterByNothing": {
		reason: "Without both it would be this cluster, silently.",
		base:   sync, set: `spec: {kubeConfig: {}}`,
		want: "exactly one of kubeConfig.secretRef, a kubeconfig, and kubeConfig.configMapRef",
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
	maps.Copy(every, weightsCases)
	maps.Copy(every, poolCases)
	maps.Copy(every, kaitoCases)
	return every
}
