// SPDX-License-Identifier: Apache-2.0

package repolayout

import (
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/internal/strict"
	"github.com/espalier-dev/espalier/repo-layout/kaito"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// Decoded is what a document stands for. Exactly one object is set when there
// was no error finding, none otherwise.
type Decoded struct {
	// Workspace, written natively or converted from kaito.sh, with defaults.
	Workspace *v1alpha1.Workspace
	// Pool is a GPUNodePool that is declared in Git, with defaults.
	Pool *v1alpha1.GPUNodePool
	// Input is a ConfigMap, Secret or PersistentVolumeClaim: applied as it stands.
	Input *unstructured.Unstructured
	// Encrypted says that SOPS encrypted values of the Input, which are not known here.
	Encrypted bool
}

// allowed is what KindNotAllowed tells the reader.
const allowed = "a RepoSync applies Workspace and GPUNodePool of espalier.dev, Workspace and InferenceSet of kaito.sh, " +
	"and ConfigMap, Secret and PersistentVolumeClaim"

// Decode reads one document of the repository and returns every finding on it
// that needs no catalogue. It is strict: every unknown field and every value of
// a wrong type is an error finding of its own; what decodes is judged by
// ValidateWorkspace and ValidatePool. It never panics and never touches the
// network.
func Decode(doc []byte, pos Position) (Decoded, []v1alpha1.Finding) {
	return decodeText(doc, pos, false)
}

// DecodeOpened is Decode of what was built of files of which some were decrypted:
// only there MarkDecrypted is one. In Git it would be anybody's word.
func DecodeOpened(doc []byte, pos Position) (Decoded, []v1alpha1.Finding) {
	return decodeText(doc, pos, true)
}

func decodeText(doc []byte, pos Position, marked bool) (Decoded, []v1alpha1.Finding) {
	tree, problems := strict.Parse(doc)
	if len(problems) > 0 {
		return Decoded{}, place(problems, pos, "")
	}
	d, problems := decode(tree, marked)
	if !finding.HasError(problems) {
		problems = append(problems, d.validate()...)
	}
	findings := place(problems, pos, identify(tree))
	if finding.Refused(findings) {
		return Decoded{}, findings
	}
	return d, findings
}

// place gives problems their lines, in the order of the file.
func place(problems []finding.Problem, pos Position, object string) []v1alpha1.Finding {
	var findings []v1alpha1.Finding
	for _, p := range problems {
		findings = append(findings, p.At(pos, object))
	}
	finding.Sort(findings)
	more := len(findings) - maxFindings
	if more <= 0 {
		return findings
	}
	last := finding.Warningf(findings[maxFindings].Code, "", "and %d findings more", more)
	if finding.Refused(findings) {
		last.Severity = finding.Error
	}
	return append(findings[:maxFindings], last.At(pos, object))
}

// maxFindings bounds what is said of one document: nobody reads more.
const maxFindings = 50

// identify is kind/namespace/name, as far as they are there.
func identify(tree map[string]any) string {
	meta, _ := tree["metadata"].(map[string]any)
	var parts []string
	for _, v := range []any{tree["kind"], meta["namespace"], meta["name"]} {
		if s, _ := v.(string); s != "" {
			parts = append(parts, s)
		}
	}
	return strings.Join(parts, "/")
}

func decode(tree map[string]any, marked bool) (Decoded, []finding.Problem) {
	version, _ := tree["apiVersion"].(string)
	kind, _ := tree["kind"].(string)
	for _, field := range []struct{ name, value string }{{"apiVersion", version}, {"kind", kind}} {
		if field.value == "" {
			return Decoded{}, []finding.Problem{finding.Errorf(finding.KindMissing, "", "%s is missing; %s", field.name, allowed)}
		}
	}
	how, sealedWrong := unseal(tree, marked)
	if len(sealedWrong) > 0 {
		return Decoded{}, sealedWrong
	}
	problems := append(dropServerFields(tree), reservedKeys(tree)...)
	d, more := decodeKind(version, kind, tree, how)
	return d, append(problems, more...)
}

func (d Decoded) validate() []finding.Problem {
	switch {
	case d.Workspace != nil:
		return workspaceProblems(d.Workspace)
	case d.Pool != nil:
		return poolProblems(d.Pool)
	}
	return nil
}

func decodeKind(version, kind string, tree map[string]any, how sealing) (Decoded, []finding.Problem) {
	group, _, hasGroup := strings.Cut(version, "/")
	switch {
	case group == kaito.Group:
		w, problems := kaito.Read(tree)
		if w == nil {
			return Decoded{}, problems
		}
		Default(w)
		if finding.HasError(problems) {
			return Decoded{}, append(problems, besides(w, problems)...)
		}
		return Decoded{Workspace: w}, problems
	case group == v1alpha1.Group:
		return decodeNative(version, kind, tree)
	case !hasGroup && version == "v1":
		return decodeInput(kind, tree, how)
	}
	return Decoded{}, []finding.Problem{notAllowed(group, kind)}
}

func notAllowed(group, kind string) finding.Problem {
	switch group {
	case "kustomize.config.k8s.io":
		return finding.Errorf(finding.KindNotAllowed, "kind", "a %s is built, not applied: it belongs into a file named kustomization.yaml, and its folder into the list of the one above", kind)
	case "kustomize.toolkit.fluxcd.io", "source.toolkit.fluxcd.io":
		return finding.Errorf(finding.KindNotAllowed, "kind", "a %s of Flux is applied by Flux: move it out of the path of the RepoSync; %s", kind, allowed)
	}
	if near := strict.Nearest(group, []string{kaito.Group, v1alpha1.Group}); near != "" || ours[kind] {
		return finding.Errorf(finding.VersionNotKnown, "apiVersion", "a %s of this group is not known: write apiVersion: %s, or %s/v1beta1 for one of KAITO's", kind, v1alpha1.GroupVersion, kaito.Group)
	}
	if near := strict.Nearest(kind, []string{"ConfigMap", "Secret", "PersistentVolumeClaim"}); near != "" && group == "" {
		return finding.Errorf(finding.KindNotAllowed, "kind", "did you mean %s? %s", near, allowed)
	}
	return finding.Errorf(finding.KindNotAllowed, "kind", "%s; apply a %s with Flux or kubectl, from another folder", allowed, kind)
}

// ours are kinds that are hardly meant of another group.
var ours = map[string]bool{v1alpha1.WorkspaceKind: true, v1alpha1.GPUNodePoolKind: true, v1alpha1.RepoSyncKind: true, "InferenceSet": true}

func decodeNative(version, kind string, tree map[string]any) (Decoded, []finding.Problem) {
	if version != v1alpha1.GroupVersion.String() {
		p := finding.Errorf(finding.VersionNotKnown, "apiVersion", "this version is not known: write apiVersion: %s", v1alpha1.GroupVersion)
		return Decoded{}, []finding.Problem{p.Instead(version, v1alpha1.GroupVersion.String())}
	}
	switch kind {
	case v1alpha1.WorkspaceKind, v1alpha1.GPUNodePoolKind:
		if p, bare := specMissing(kind, tree); bare {
			return Decoded{}, []finding.Problem{p}
		}
	case v1alpha1.RepoSyncKind:
		return Decoded{}, []finding.Problem{finding.Errorf(finding.KindNotAllowed, "kind", "a RepoSync applies no RepoSync: apply this one with kubectl or Flux, "+
			"and keep it in a folder that no kustomization under the RepoSync's path lists")}
	default:
		return Decoded{}, []finding.Problem{finding.Errorf(finding.KindNotAllowed, "kind", "%s has no such kind; %s",
			v1alpha1.Group, strict.Advice(kind, []string{v1alpha1.WorkspaceKind, v1alpha1.GPUNodePoolKind}))}
	}
	if kind == v1alpha1.WorkspaceKind {
		w := &v1alpha1.Workspace{}
		problems := strict.Into(tree, w, hints)
		Default(w)
		return Decoded{Workspace: w}, problems
	}
	p := &v1alpha1.GPUNodePool{}
	problems := strict.Into(tree, p, nil)
	DefaultPool(p)
	return Decoded{Pool: p}, problems
}

// hints answer what people write in place of a name, or know from KAITO.
var hints = map[string]string{
	"spec.inference.preset":           "write the model itself: preset: phi-4-mini-instruct",
	"spec.tuning.preset":              "write the model itself: preset: phi-4-mini-instruct",
	"spec.inference.model":            "it is the repository id of the model and the ConfigMap with its lock file: model: {id: owner/name, lock: NAME}; a model of the catalogue is written as preset: phi-4-mini-instruct",
	"spec.tuning.model":               "it is the repository id of the model and the ConfigMap with its lock file: model: {id: owner/name, lock: NAME}; a model of the catalogue is written as preset: phi-4-mini-instruct",
	"spec.inference.config":           "it is the name of a ConfigMap, whose key inference_config.yaml holds the configuration",
	"spec.tuning.config":              "it is the name of a ConfigMap, whose key training_config.yaml holds the configuration",
	"spec.tuning.input.volumeSource":  "a claim is written as claim: and its name",
	"spec.tuning.output.volumeSource": "a claim is written as claim: and its name",
	"spec.inference.template":         "pods are changed with spec.patches",
}

// specMissing answers a document of ours that is written the way KAITO writes
// its Workspace, without spec.
func specMissing(kind string, tree map[string]any) (finding.Problem, bool) {
	if _, ok := tree["spec"].(map[string]any); ok {
		return finding.Problem{}, false
	}
	for _, part := range []string{"resource", "inference", "tuning"} {
		if _, ok := tree[part]; ok {
			return finding.Errorf(finding.SpecWrapper, part, "a %s of %s has a spec: indent this under it, or write apiVersion: kaito.sh/v1beta1, whose Workspace has none",
				kind, v1alpha1.Group), true
		}
	}
	return finding.Errorf(finding.MissingField, "spec", "spec is missing"), true
}

func decodeInput(kind string, tree map[string]any, how sealing) (Decoded, []finding.Problem) {
	var typed any
	switch kind {
	case "ConfigMap":
		typed = &corev1.ConfigMap{}
	case "Secret":
		typed = &corev1.Secret{}
	case "PersistentVolumeClaim":
		typed = &corev1.PersistentVolumeClaim{}
	case "List":
		return Decoded{}, []finding.Problem{finding.Errorf(finding.KindNotAllowed, "kind", "write the items of the List as documents of their own, with --- between them")}
	default:
		return Decoded{}, []finding.Problem{notAllowed("", kind)}
	}
	encrypted := how == sealed || kind != "PersistentVolumeClaim" && holdsEncrypted(tree)
	if encrypted && kind == "ConfigMap" {
		return Decoded{}, []finding.Problem{finding.Errorf(finding.EncryptedField, "", "a ConfigMap may not hold what SOPS encrypted: plans, statuses and reports quote what it says; "+
			"take a Secret, or the file in plain text")}
	}
	looked := tree
	if how == sealed {
		looked = opaque(tree)
	}
	problems := append(strict.Into(looked, typed, nil), inputProblems(kind, tree, how == open && !encrypted)...)
	return Decoded{Input: &unstructured.Unstructured{Object: tree}, Encrypted: encrypted}, problems
}

// serverFields of metadata are written by servers and controllers; in Git they
// are left over from a kubectl get.
var serverFields = []string{"uid", "resourceVersion", "generation", "creationTimestamp", "deletionTimestamp",
	"deletionGracePeriodSeconds", "selfLink", "managedFields", "ownerReferences"}

const lastApplied = "kubectl.kubernetes.io/last-applied-configuration"

// dropServerFields removes what no repository decides, with a warning for each
// that says something.
func dropServerFields(tree map[string]any) []finding.Problem {
	var problems []finding.Problem
	drop := func(m map[string]any, key, path string) {
		v, there := m[key]
		if !there {
			return
		}
		delete(m, key)
		if empty, isMap := v.(map[string]any); v == nil || isMap && len(empty) == 0 {
			return
		}
		problems = append(problems, finding.Warningf(finding.ServerField, finding.Key(path, key), "ignored: only the cluster writes it; remove it from Git"))
	}
	drop(tree, "status", "")
	meta, _ := tree["metadata"].(map[string]any)
	for _, key := range serverFields {
		drop(meta, key, "metadata")
	}
	if annotations, ok := meta["annotations"].(map[string]any); ok {
		drop(annotations, lastApplied, "metadata.annotations")
	}
	return problems
}

// written are labels and annotations that Espalier itself puts on what it
// applies; in Git they would speak of another commit.
var written = map[string]bool{
	LabelWorkspace: true, LabelPool: true, LabelSyncName: true, LabelSyncNamespace: true, LabelSyncHub: true,
	AnnotationRevision: true, AnnotationDigest: true, AnnotationInputDigest: true, AnnotationSource: true, AnnotationSubstituted: true, AnnotationDefaulted: true,
	kaito.AnnotationConvertedFrom: true,
}

func reservedKeys(tree map[string]any) []finding.Problem {
	var problems []finding.Problem
	meta, _ := tree["metadata"].(map[string]any)
	for _, part := range []string{"labels", "annotations"} {
		values, _ := meta[part].(map[string]any)
		for _, key := range sortedKeys(values) {
			if written[key] {
				problems = append(problems, finding.Errorf(finding.LabelReserved, finding.Key("metadata."+part, key), "Espalier writes this itself: remove it"))
			}
		}
	}
	return problems
}

// object is the form of Finding.Object: kind/namespace/name, without the
// namespace where there is none.
func object(kind, namespace, name string) string {
	parts := []string{kind, namespace, name}
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), "/")
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
