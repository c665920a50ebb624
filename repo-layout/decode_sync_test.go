// SPDX-License-Identifier: Apache-2.0

package repolayout_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

func decodeSync(text string) (*v1alpha1.RepoSync, []v1alpha1.Finding) {
	doc := repolayout.Split("sync.yaml", []byte(text))[0]
	return repolayout.DecodeSync(doc.Text, doc)
}

func TestDecodeSync(t *testing.T) {
	for name, c := range map[string]struct {
		reason string
		text   string
		want   []string
	}{
		"Good": {reason: "The least that follows a repository.", text: following},
		"Chain": {
			reason: "One step is taken, so a chain would end on a size that was meant to be left.",
			text:   following + "  substitutions:\n    A: B\n    B: C\n",
			want: []string{"7: error: spec.substitutions.A: what it becomes is substituted itself, and only one step is taken: " +
				"write the last instance type (NotOneOf)"},
		},
		"Defaults": {
			reason: "A class, a provider and the driver of nodes that exist, for all that name none.",
			text:   following + "  defaults: {storageClass: azurefile-csi-premium, provider: karpenter, driver: '580'}\n",
		},
		"DefaultsWrong": {
			reason: "What no Workspace could have is no default.",
			text:   following + "  defaults: {storageClass: 'A B', provider: gke, driver: 580-open}\n",
			want: []string{
				"6: error: spec.defaults.driver: want the oldest NVIDIA driver of the nodes in quotes, as a branch such as \"580\" or a version such as \"580.95.05\"; nvidia-smi prints it on a node (NotOneOf)",
				"6: error: spec.defaults.provider: want aks, karpenter or existing (NotOneOf)",
				"6: error: spec.defaults.storageClass: no StorageClass can have this name: want lower-case letters, digits, '-' and '.' (ReferenceInvalid)",
			},
		},
		"ReportOnly": {
			reason: "Flux applies, and a label says what is reported on.",
			text:   following + "  mode: ReportOnly\n  workspaceSelector: {matchLabels: {team: a}}\n",
		},
		"ReportOnlyWrong": {
			reason: "What nothing would honour is refused, each with what to do.",
			text:   following + "  mode: ReportOnly\n  substitutions: {A: B}\n  defaults: {registryMirror: mirror.example.com}\n",
			want: []string{
				"4: error: spec.workspaceSelector: mode ReportOnly needs it: name a label of the Workspaces to report on (MissingField)",
				"7: error: spec.substitutions: changes what is applied, and mode ReportOnly applies nothing: remove it (NotOneOf)",
				"8: error: spec.defaults: changes what is applied, and mode ReportOnly applies nothing: remove it (NotOneOf)",
			},
		},
		"SelectorOfSync": {
			reason: "What is applied is reported on.",
			text:   following + "  workspaceSelector: {matchLabels: {team: a}}\n",
			want:   []string{"6: error: spec.workspaceSelector: is for mode ReportOnly: with mode Sync the report is on what the RepoSync applies (NotOneOf)"},
		},
		"SelectorWrong": {
			reason: "The API server would take it, and nothing would be selected.",
			text:   following + "  mode: ReportOnly\n  workspaceSelector: {matchExpressions: [{key: team, operator: In}]}\n",
			want:   []string{"7: error: spec.workspaceSelector.matchExpressions[0]: want a key, an operator (In, NotIn, Exists, DoesNotExist), and values for In and NotIn alone (LabelInvalid)"},
		},
		"SSHByColon": {
			reason: "git's short form is no URL, and would be read as a relative path.",
			text:   strings.Replace(following, "https://git.example.com/a.git", "git@git.example.com:a.git", 1),
			want:   []string{"5: error: spec.source.git.url: want an address that begins with https://, http:// or ssh:// (URLInvalid)"},
		},
		"Credentials": {
			reason: "The message does not repeat the token.",
			text:   strings.Replace(following, "git.example.com", "bot:hunter2@git.example.com", 1),
			want:   []string{"5: error: spec.source.git.url: no credentials in the address: put them into a Secret and name it in secretRef (URLCredentials)"},
		},
		"AccountElsewhere": {
			reason: "An account is one of the RepoSync's namespace.",
			text:   following + "  serviceAccountName: flux-system:admin\n",
			want:   []string{"6: error: spec.serviceAccountName: no ServiceAccount can have this name: want lower-case letters, digits, '-' and '.' (ReferenceInvalid)"},
		},
		"DependsOnAnother": {
			reason: "One of another namespace is allowed, as the controller's flag has it.",
			text:   following + "  dependsOn: [{name: pools}, {name: models, namespace: platform}]\n",
		},
		"DependsOnItself": {
			reason: "It would wait for ever.",
			text:   following + "  dependsOn: [{name: pools}, {name: a}]\n",
			want:   []string{"6: error: spec.dependsOn[1]: a RepoSync cannot wait for itself (ReferenceInvalid)"},
		},
		"DependsOnNobody": {
			reason: "A name is required, and one that there can be.",
			text:   following + "  dependsOn: [{namespace: models}, {name: Pools}]\n",
			want: []string{
				"6: error: spec.dependsOn[0].name: name the RepoSync to wait for (MissingField)",
				"6: error: spec.dependsOn[1].name: no RepoSync can have this name: want lower-case letters, digits, '-' and '.' (ReferenceInvalid)",
			},
		},
		"VerifiedTag": {
			reason: "A branch has no tag whose signature could be looked at.",
			text:   strings.Replace(verified, "verify: {", "verify: {mode: Tag, ", 1),
			want:   []string{"5: error: spec.source.git.verify.mode: Tag needs ref.tag, without ref.commit: there is no tag whose signature could be looked at (MissingField)"},
		},
		"VerifiedMode": {
			reason: "Flux's old spelling is answered with today's.",
			text:   strings.Replace(verified, "verify: {", "verify: {mode: head, ", 1),
			want:   []string{"5: error: spec.source.git.verify.mode: want HEAD, Tag or TagAndHEAD (NotOneOf)"},
		},
		"ReportInWhatIsSynced": {
			reason: "A report must be found by nobody who builds.",
			text:   following + "  path: clusters\n  report: {commit: {branch: main, path: clusters/status}}\n",
			want: []string{"7: error: spec.report.commit.path: lies in spec.path, or spec.path in it: name a folder beside it, and sync a folder where the whole repository is synced; " +
				"what is reported is not to be synced (ReferenceInvalid)"},
		},
		"DecryptionByOther": {
			reason: "SOPS alone, with a Secret.",
			text:   following + "  decryption: {provider: vault, secretRef: {}}\n",
			want: []string{
				"6: error: spec.decryption.provider: want sops, which is what files can be encrypted with (NotOneOf)",
				"6: error: spec.decryption.secretRef.name: name the Secret (ReferenceInvalid)",
			},
		},
		"DecryptionByVault": {
			reason: "A vault may have the key, and an account has a name.",
			text:   following + "  decryption: {provider: sops, serviceAccountName: No_Name}\n",
			want:   []string{"6: error: spec.decryption.serviceAccountName: no ServiceAccount can have this name: want lower-case letters, digits, '-' and '.' (ReferenceInvalid)"},
		},
		"ClusterByAccount": {
			reason: "An account of the hub may sign in, without a kubeconfig.",
			text:   following + federated,
		},
		"ClusterByNothing": {
			reason: "Without both it would be this cluster, silently.",
			text:   following + "  kubeConfig: {}\n",
			want:   []string{"6: error: spec.kubeConfig: want exactly one of secretRef, a Secret with a kubeconfig, and configMapRef, a ConfigMap that says which account signs in to which cluster (MissingField)"},
		},
		"ClusterByBoth": {
			reason: "They may lead to two clusters.",
			text:   following + "  kubeConfig: {secretRef: {name: a}, configMapRef: {name: a}}\n",
			want:   []string{"6: error: spec.kubeConfig: want exactly one of secretRef, a Secret with a kubeconfig, and configMapRef, a ConfigMap that says which account signs in to which cluster (MissingField)"},
		},
		"ClusterByNobody": {
			reason: "A ConfigMap has a name, and one that there can be.",
			text:   following + "  kubeConfig: {configMapRef: {name: West_1}}\n",
			want:   []string{"6: error: spec.kubeConfig.configMapRef.name: no ConfigMap can have this name: want lower-case letters, digits, '-' and '.' (ReferenceInvalid)"},
		},
		"ClusterWithKey": {
			reason: "Flux knows no key of the ConfigMap either.",
			text:   following + "  kubeConfig: {configMapRef: {name: a, key: b}}\n",
			want:   []string{"6: error: spec.kubeConfig.configMapRef.key: no such field; known are name (UnknownField)"},
		},
		"UnknownField": {
			reason: "As strict as every other kind.",
			text:   following + "  prunes: true\n",
			want:   []string{"6: error: spec.prunes: no such field; did you mean prune? (UnknownField)"},
		},
		"OtherKind": {
			reason: "The file that --sync names is a RepoSync.",
			text:   serving,
			want:   []string{"3: error: kind: want a RepoSync of espalier.dev/v1alpha1 (KindNotAllowed)"},
		},
		"NoYAML": {
			reason: "One line, whatever it is.",
			text:   "a: [\n",
			want:   []string{"1: error: this is no YAML: did not find expected node content (InvalidYAML)"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, findings := decodeSync(c.text)
			if diff := cmp.Diff(c.want, lines(findings)); diff != "" {
				t.Errorf("%s\n-want +got:\n%s", c.reason, diff)
			}
			if (s == nil) != (len(c.want) > 0) {
				t.Errorf("%s: got %v", c.reason, s)
			}
		})
	}
}

func TestSyncDefaults(t *testing.T) {
	s, findings := decodeSync(following + "  report: {commit: {}}\n")
	if len(findings) > 0 {
		t.Fatal(lines(findings))
	}
	if s.Spec.Source.Git.Ref.Branch != "main" || s.Spec.Interval.Duration != time.Minute || !*s.Spec.Prune ||
		s.Spec.Report.Commit.Author.Name != "Espalier" {
		t.Errorf("%+v", s.Spec)
	}
}
