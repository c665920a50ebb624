// SPDX-License-Identifier: Apache-2.0

package repolayout_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// lines prints findings as LINE: severity: message (Code).
func lines(findings []v1alpha1.Finding) []string {
	var out []string
	for _, f := range findings {
		out = append(out, fmt.Sprintf("%d: %s: %s (%s)", f.Line, f.Severity, f.Message, f.Code))
	}
	return out
}

// decode reads the only document of a text.
func decode(text string) (repolayout.Decoded, []v1alpha1.Finding) {
	doc := repolayout.Split("f.yaml", []byte(text))[0]
	return repolayout.Decode(doc.Text, doc)
}

const serving = `# a comment
apiVersion: espalier.dev/v1alpha1
kind: Workspace
metadata:
  name: phi
spec:
  resource:
    instanceType: Standard_NC24ads_A100_v4
  inference:
    preset: phi-4
`

func TestDecodeFindings(t *testing.T) {
	for name, c := range map[string]struct {
		reason string
		text   string
		want   []string
	}{
		"Good": {
			reason: "A minimal document needs nothing else.",
			text:   serving,
		},
		"UnknownFields": {
			reason: "All of them at once, each on its line with the name that was meant.",
			text: `apiVersion: espalier.dev/v1alpha1
kind: Workspace
metadata: {name: phi, label: {a: b}}
spec:
  resource:
    instancetype: A
    preferredNodes: [a]
  inference:
    preset: phi-4
    adapters:
    - name: a
      imagePullSecrets: [b]
  budgets: {}
extra: 1
`,
			want: []string{
				"3: error: metadata.label: no such field; did you mean labels? (UnknownField)",
				"6: error: spec.resource.instancetype: no such field; did you mean instanceType? (UnknownField)",
				"7: error: spec.resource.preferredNodes: no such field; known are candidates, count, driver, gpus, instanceType, labelSelector, mig, nodePool, provider (UnknownField)",
				"12: error: spec.inference.adapters[0].imagePullSecrets: no such field; did you mean pullSecrets? (UnknownField)",
				"13: error: spec.budgets: no such field; did you mean budget? (UnknownField)",
				"14: error: extra: no such field; known are apiVersion, kind, metadata, spec, status (UnknownField)",
			},
		},
		"WrongTypes": {
			reason: "A number where text is wanted is the most common of them, and quotes are the remedy.",
			text: `apiVersion: espalier.dev/v1alpha1
kind: Workspace
metadata: {name: phi, labels: {a: 1}}
spec:
  resource: {count: many, candidates: {instanceType: a}}
  inference: {preset: {name: phi-4}, contextLength: 1.5, replicas: 99999999999, trustRemoteCode: "${TRUSTED}"}
  budget: {maxUSDPerHour: 16}
  suspend: "yes"
  patches: none
`,
			want: []string{
				"3: error: metadata.labels.a: want text, found a number; put it in quotes (WrongType)",
				"5: error: spec.resource.candidates: want a list, found a mapping (WrongType)",
				"5: error: spec.resource.count: want a whole number, found text (WrongType)",
				"6: error: spec.inference.contextLength: want a whole number, found a number (WrongType)",
				"6: error: spec.inference.preset: want text, found a mapping; write the model itself: preset: phi-4-mini-instruct (WrongType)",
				"6: error: spec.inference.replicas: want a whole number of at most 2147483647 (OutOfRange)",
				"6: error: spec.inference.trustRemoteCode: ${TRUSTED} is a placeholder: write the value itself, or set the variable in spec.postBuild.substitute of the RepoSync (Placeholder)",
				"7: error: spec.budget.maxUSDPerHour: want text, found a number; put it in quotes (WrongType)",
				"8: error: spec.suspend: want true or false, found text (WrongType)",
				"9: error: spec.patches: want a list, found text; begin the line with a dash (WrongType)",
			},
		},
		"SpecMissing": {
			reason: "KAITO's shape under our apiVersion is a mistake that people make while moving over.",
			text:   "apiVersion: espalier.dev/v1alpha1\nkind: Workspace\nmetadata: {name: a}\nresource: {}\n",
			want: []string{"4: error: resource: a Workspace of espalier.dev has a spec: indent this under it, or write apiVersion: kaito.sh/v1beta1, " +
				"whose Workspace has none (SpecWrapper)"},
		},
		"NoSpecAtAll": {
			reason: "Nothing is asked for.",
			text:   "apiVersion: espalier.dev/v1alpha1\nkind: Workspace\nmetadata: {name: a}\n",
			want:   []string{"1: error: spec: spec is missing (MissingField)"},
		},
		"ReservedKeys": {
			reason: "Git does not know its own commit; a label of ours would attach objects to another RepoSync.",
			text: strings.Replace(serving, "  name: phi\n", `  name: phi
  labels:
    espalier.dev/reposync-name: other
  annotations:
    espalier.dev/prune: disabled
    espalier.dev/revision: main
`, 1),
			want: []string{
				"7: error: metadata.labels[espalier.dev/reposync-name]: Espalier writes this itself: remove it (LabelReserved)",
				"10: error: metadata.annotations[espalier.dev/revision]: Espalier writes this itself: remove it (LabelReserved)",
			},
		},
		"ServerFields": {
			reason: "What kubectl get -o yaml adds is dropped with a word, and null says nothing.",
			text:   strings.Replace(serving, "  name: phi\n", "  name: phi\n  generation: 3\n  creationTimestamp: null\n", 1) + "status: {revision: a}\n",
			want: []string{
				"6: warning: metadata.generation: ignored: only the cluster writes it; remove it from Git (ServerField)",
				"13: warning: status: ignored: only the cluster writes it; remove it from Git (ServerField)",
			},
		},
		"OtherVersion": {
			reason: "A version that this Espalier does not know may mean anything.",
			text:   "apiVersion: espalier.dev/v1\nkind: Workspace\nmetadata: {name: a}\n",
			want:   []string{"1: error: apiVersion: this version is not known: write apiVersion: espalier.dev/v1alpha1 (VersionNotKnown)"},
		},
		"MisspeltKind": {
			reason: "The nearest kind is named.",
			text:   "apiVersion: espalier.dev/v1alpha1\nkind: WorkSpace\nmetadata: {name: a}\n",
			want:   []string{"2: error: kind: espalier.dev has no such kind; did you mean Workspace? (KindNotAllowed)"},
		},
		"RepoSync": {
			reason: "A repository must not be able to point the cluster at another repository.",
			text:   "apiVersion: espalier.dev/v1alpha1\nkind: RepoSync\nmetadata: {name: a}\n",
			want: []string{"2: error: kind: a RepoSync applies no RepoSync: apply this one with kubectl or Flux, and keep it in a folder " +
				"that no kustomization under the RepoSync's path lists (KindNotAllowed)"},
		},
		"Deployment": {
			reason: "Whatever could run code with the controller's rights is none of ours.",
			text:   "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\n",
			want: []string{"2: error: kind: a RepoSync applies Workspace and GPUNodePool of espalier.dev, Workspace and InferenceSet of kaito.sh, " +
				"and ConfigMap, Secret and PersistentVolumeClaim; apply a Deployment with Flux or kubectl, from another folder (KindNotAllowed)"},
		},
		"ServiceAccount": {
			reason: "The core group is no exception.",
			text:   "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: a}\n",
			want: []string{"2: error: kind: a RepoSync applies Workspace and GPUNodePool of espalier.dev, Workspace and InferenceSet of kaito.sh, " +
				"and ConfigMap, Secret and PersistentVolumeClaim; apply a ServiceAccount with Flux or kubectl, from another folder (KindNotAllowed)"},
		},
		"Kustomization": {
			reason: "Under another file name a kustomization would be listed as a resource.",
			text:   "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n",
			want: []string{"2: error: kind: a Kustomization is built, not applied: it belongs into a file named kustomization.yaml, " +
				"and its folder into the list of the one above (KindNotAllowed)"},
		},
		"List": {
			reason: "kubectl get -o yaml of several objects makes one.",
			text:   "apiVersion: v1\nkind: List\nitems: []\n",
			want:   []string{"2: error: kind: write the items of the List as documents of their own, with --- between them (KindNotAllowed)"},
		},
		"NoKind": {
			reason: "A values file under the path is no object.",
			text:   "replicas: 3\n",
			want: []string{"1: error: apiVersion is missing; a RepoSync applies Workspace and GPUNodePool of espalier.dev, Workspace and InferenceSet of kaito.sh, " +
				"and ConfigMap, Secret and PersistentVolumeClaim (KindMissing)"},
		},
		"TokenSecret": {
			reason: "Whoever can push would hold the rights of any service account of the namespace.",
			text:   "apiVersion: v1\nkind: Secret\nmetadata: {name: a, annotations: {kubernetes.io/service-account.name: b}}\ntype: kubernetes.io/service-account-token\n",
			want:   []string{"4: error: type: Kubernetes would fill this Secret with the token of a service account, which no repository may ask for (SecretType)"},
		},
		"PlainSecret": {
			reason: "It is applied, and whoever reviews it should know who else reads it.",
			text:   "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\nstringData: {token: hunter2}\n",
			want: []string{"1: warning: whoever can read the repository can read this Secret: encrypt it with SOPS, or let an external secrets operator bring it " +
				"into the cluster and name it here only (SecretInGit)"},
		},
		"SecretData": {
			reason: "The message says what is wrong with a value and never the value.",
			text:   "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\ntype: Opaque\ndata: {token: hunter2}\nstringData: {port: 5432}\n",
			want: []string{
				"1: warning: whoever can read the repository can read this Secret: encrypt it with SOPS, or let an external secrets operator bring it " +
					"into the cluster and name it here only (SecretInGit)",
				"5: error: data.token: want text in base64; a Secret takes plain text under stringData (WrongType)",
				"6: error: stringData.port: want text, found a number; put it in quotes (WrongType)",
			},
		},
		"ClaimFields": {
			reason: "Inputs are as strict as our own kinds: a misspelt field there is as silent.",
			text: "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: a}\nspec:\n  accessModes: [ReadWriteOnce]\n" +
				"  resources: {requests: {storage: ten}}\n  storageClass: fast\n",
			want: []string{
				"6: error: spec.resources.requests.storage: want a quantity such as 500m, 2 or 16Gi, found text (WrongType)",
				"7: error: spec.storageClass: no such field; did you mean storageClassName? (UnknownField)",
			},
		},
		"InputWithoutName": {
			reason: "generateName would make another object at every sync.",
			text:   "apiVersion: v1\nkind: ConfigMap\nmetadata: {generateName: a}\n",
			want:   []string{"3: error: metadata.name: a name is required; generateName cannot be kept in Git (NameInvalid)"},
		},
		"PoolTimeout": {
			reason: "A duration reads itself, and its error is ours.",
			text: "apiVersion: espalier.dev/v1alpha1\nkind: GPUNodePool\nmetadata: {name: a}\nspec:\n  provider: aks\n" +
				"  candidates: [{instanceType: A}]\n  timeouts: {provision: soon}\n",
			want: []string{"7: error: spec.timeouts.provision: want a duration such as 90s, 20m or 1h30m, found text (WrongType)"},
		},
		"Syntax": {
			reason: "The line is the file's, also where nothing could be read.",
			text:   "# one\n# two\napiVersion: v1\nkind: [\n",
			want:   []string{"4: error: this is no YAML: did not find expected node content (InvalidYAML)"},
		},
		"Tabs": {
			reason: "Tabs are invisible in a review.",
			text:   "apiVersion: v1\nkind: ConfigMap\nmetadata:\n\tname: a\n",
			want: []string{"4: error: this is no YAML: found character that cannot start any token; indent with spaces, never tabs, " +
				"and quote text that begins with a special character (InvalidYAML)"},
		},
		"DuplicateKey": {
			reason: "Which of the two holds is nobody's guess.",
			text:   serving + "    config: a\n    config: b\n",
			want:   []string{"12: error: spec.inference.config is set twice, first on line 11 of this document: keep one (InvalidYAML)"},
		},
		"NotAnObject": {
			reason: "A list is no object.",
			text:   "- a\n",
			want:   []string{"1: error: this is no Kubernetes object: begin with apiVersion and kind (NotAnObject)"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			d, findings := decode(c.text)
			if diff := cmp.Diff(c.want, lines(findings)); diff != "" {
				t.Errorf("%s\n-want +got:\n%s", c.reason, diff)
			}
			set := 0
			for _, one := range []bool{d.Workspace != nil, d.Pool != nil, d.Input != nil} {
				if one {
					set++
				}
			}
			if want := 1; finding.Refused(findings) == (set == want) {
				t.Errorf("%d fields are set with the findings %v", set, lines(findings))
			}
			for _, f := range findings {
				if f.File != "f.yaml" || strings.Contains(f.Message, "hunter2") {
					t.Errorf("%+v", f)
				}
			}
		})
	}
}

func TestDefaults(t *testing.T) {
	d, findings := decode(strings.Replace(serving, "instanceType: Standard_NC24ads_A100_v4",
		"candidates: [{instanceType: A}, {instanceType: B, priority: Spot}]", 1))
	if len(findings) > 0 {
		t.Fatal(lines(findings))
	}
	if got := *d.Workspace.Spec.Inference.Replicas; got != 1 {
		t.Errorf("replicas is %d", got)
	}
	if c := d.Workspace.Spec.Resource.Candidates; c[0].Priority != v1alpha1.OnDemand || c[1].Priority != v1alpha1.Spot {
		t.Errorf("priorities are %v", c)
	}
	d, findings = decode("apiVersion: espalier.dev/v1alpha1\nkind: GPUNodePool\nmetadata: {name: a}\nspec: {provider: aks, candidates: [{instanceType: A}]}\n")
	if len(findings) > 0 {
		t.Fatal(lines(findings))
	}
	s := d.Pool.Spec
	if *s.Replicas != 1 || s.OSDiskSizeGiB != 256 || s.Timeouts.Provision.Duration != 20*time.Minute ||
		s.Timeouts.GPUReady.Duration != 15*time.Minute || s.DeletionPolicy != v1alpha1.Delete {
		t.Errorf("the defaults of a pool are %+v", s)
	}
}

// Unsafe input is ordinary input: one clear line each, in bounded time.
func TestHostileDocuments(t *testing.T) {
	bomb := "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
	for i := 'b'; i < 'k'; i++ {
		bomb += fmt.Sprintf("%c: &%c [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*%c,", i-1), 10), ","))
	}
	for name, c := range map[string]struct {
		reason string
		text   []byte
		want   string
	}{
		"TenMiB":      {"nothing larger than etcd takes can be applied", bytes.Repeat([]byte("a: 1\n"), 2<<20), "DocumentTooLarge"},
		"AliasBomb":   {"a few lines that expand to ten billion values", []byte(bomb), "InvalidYAML"},
		"AliasCycle":  {"an alias within its own anchor never ends", []byte("a: &a\n  b: *a\n"), "InvalidYAML"},
		"Deep":        {"a recursion per level would use up the stack", []byte("a: " + strings.Repeat("[", 9000) + strings.Repeat("]", 9000)), "InvalidYAML"},
		"InvalidUTF8": {"text that is none", []byte("a: \xff\xfe\xfa\n"), "InvalidYAML"},
		"NUL":         {"a control character", []byte("a: \x00\n"), "InvalidYAML"},
		"KeyMapping":  {"a key that is a mapping", []byte("{a: b}: c\n"), "InvalidYAML"},
		"TwoDocs":     {"the caller splits; what it missed is no part of the first", []byte("a: b\n---\nc: d\n"), "NotAnObject"},
		"Empty":       {"nothing", nil, "NotAnObject"},
		"LongKey":     {"a key of a megabyte is refused before it is a field", []byte("apiVersion: espalier.dev/v1alpha1\nkind: Workspace\nspec: {? " + strings.Repeat("k", 1<<20) + " : 1}\n"), "InvalidYAML"},
	} {
		t.Run(name, func(t *testing.T) {
			began := time.Now()
			d, findings := repolayout.Decode(c.text, nil)
			if len(findings) == 0 || findings[0].Code != c.want || d != (repolayout.Decoded{}) {
				t.Errorf("%s: got %.300v", c.reason, lines(findings))
			}
			for _, f := range findings {
				if len(f.Message) > 500 {
					t.Errorf("a message of %d bytes", len(f.Message))
				}
			}
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("%s: took %s", c.reason, took)
			}
		})
	}
}

// A document with many mistakes is no reason for a status of a megabyte.
func TestManyFindings(t *testing.T) {
	for name, c := range map[string]struct {
		reason string
		text   string
		want   string
	}{
		"Errors": {
			reason: "the rest is counted",
			text:   serving + strings.Join(numbered(100, "x%d: 1\n"), ""),
			want:   "2: error: and 50 findings more (UnknownField)",
		},
		"Warnings": {
			reason: "warnings alone refuse nothing, however many",
			text: "apiVersion: kaito.sh/v1beta1\nkind: Workspace\nmetadata:\n  name: a\n  annotations:\n" +
				strings.Join(numbered(60, "    kaito.sh/x%d: a\n"), "") + "resource: {instanceType: A}\ninference: {preset: {name: phi-4}}\n",
			want: "1: warning: and 10 findings more (AnnotationIgnored)",
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, findings := decode(c.text)
			if len(findings) != 51 || lines(findings)[50] != c.want {
				t.Errorf("%s: got %d, the last %s", c.reason, len(findings), lines(findings)[len(findings)-1])
			}
		})
	}
}

func TestManyDocuments(t *testing.T) {
	text := bytes.Repeat([]byte("---\na: 1\n"), 100_000)
	began := time.Now()
	docs := repolayout.Split("f.yaml", text)
	if len(docs) != 100_000 {
		t.Fatalf("got %d documents", len(docs))
	}
	if _, line := docs[99_999].At("a"); line != 200_000 {
		t.Errorf("the last is on line %d", line)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("took %s", took)
	}
}

func TestYAMLForms(t *testing.T) {
	for name, c := range map[string]struct {
		reason string
		data   string
		want   map[string]any
	}{
		"Merge":     {"own keys win over merged ones", "data: {b: '3', <<: *x}", map[string]any{"a": "1", "b": "3"}},
		"MergeLate": {"in either order", "data: {<<: *x, b: '3'}", map[string]any{"a": "1", "b": "3"}},
		"MergeList": {"of several the first wins", "data: {<<: [{a: '4'}, *x]}", map[string]any{"a": "4", "b": "2"}},
		"Alias":     {"an alias is its value", "data: *x", map[string]any{"a": "1", "b": "2"}},
		"Date":      {"a date stays the text it was", "data: {a: 2026-01-31}", map[string]any{"a": "2026-01-31"}},
		"Infinity":  {"JSON has none", "data: {a: .inf}", map[string]any{"a": ".inf"}},
		"OldYes":    {"YAML 1.1's yes is text here", "data: {a: yes}", map[string]any{"a": "yes"}},
		"Multiline": {"a block keeps its lines", "data:\n  a: |\n    x\n    y\n", map[string]any{"a": "x\ny\n"}},
	} {
		t.Run(name, func(t *testing.T) {
			d, findings := decode("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, annotations: &x {a: '1', b: '2'}}\n" + c.data + "\n")
			if d.Input == nil {
				t.Fatalf("%s: %v", c.reason, lines(findings))
			}
			if diff := cmp.Diff(c.want, d.Input.Object["data"]); diff != "" {
				t.Errorf("%s\n-want +got:\n%s", c.reason, diff)
			}
		})
	}
}

func TestCollisions(t *testing.T) {
	text := serving + `---
apiVersion: kaito.sh/v1alpha1
kind: Workspace
metadata:
  name: phi
inference:
  preset:
    name: phi-4
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: phi
  namespace: one
---
apiVersion: v1
kind: ConfigMap
metadata: {name: phi, namespace: two}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: phi}
`
	var entries []repolayout.Entry
	for _, doc := range repolayout.Split("f.yaml", []byte(text)) {
		d, findings := repolayout.Decode(doc.Text, doc)
		if len(findings) > 0 {
			t.Fatal(lines(findings))
		}
		entries = append(entries, repolayout.Entry{Decoded: d, Position: doc})
	}
	want := []string{
		"15: error: metadata.name: f.yaml:5 stands for the same object: rename or remove one (NameCollision)",
		"32: error: metadata.name: f.yaml:23 stands for the same object: rename or remove one (NameCollision)",
	}
	if diff := cmp.Diff(want, lines(repolayout.Collisions(entries))); diff != "" {
		t.Errorf("KAITO's document and ours stand for one Workspace, a ConfigMap of that name does not; without a namespace it goes where another goes\n-want +got:\n%s", diff)
	}
}

func TestEncode(t *testing.T) {
	for name, text := range map[string]string{
		"Workspace": serving,
		"Pool":      "apiVersion: espalier.dev/v1alpha1\nkind: GPUNodePool\nmetadata: {name: a}\nspec: {provider: aks, candidates: [{instanceType: A}]}\n",
		"Input":     "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {a: b}\n",
	} {
		t.Run(name, func(t *testing.T) {
			first, findings := decode(text)
			if len(findings) > 0 {
				t.Fatal(lines(findings))
			}
			native, err := repolayout.Encode(first)
			if err != nil {
				t.Fatal(err)
			}
			second, findings := repolayout.Decode(native, nil)
			if diff := cmp.Diff(first, second); diff != "" || len(findings) > 0 {
				t.Errorf("native → YAML → native is no identity: %v\n%s", lines(findings), diff)
			}
		})
	}
	if _, err := repolayout.Encode(repolayout.Decoded{}); err == nil {
		t.Error("nothing was encoded without an error")
	}
}
