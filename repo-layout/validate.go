// SPDX-License-Identifier: Apache-2.0

package repolayout

import (
	"regexp"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/internal/strict"
	"github.com/espalier-dev/espalier/repo-layout/kaito"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// Bounds of the CRDs; a test compares them.
const (
	maxName       = 48
	maxCandidates = 16
	maxAdapters   = 32
	maxPatches    = 16
	maxURLs       = 64
	maxCount      = 1000
	maxPodGPUs    = 64
	minOSDiskGiB  = 64
	maxOSDiskGiB  = 2048
	maxSaveSteps  = 1_000_000
	maxKept       = 100 // checkpoints
	maxRetries    = 20
	minRunTimeout = time.Minute
)

// ValidateWorkspace returns the findings on a Workspace that need no
// catalogue: the rules of the CRD again, with file and line, and what a schema
// cannot say. A Workspace that was converted from kaito.sh is spoken of in the
// words of its document. Decode calls it: it is for Workspaces that come from
// elsewhere, such as a cluster.
func ValidateWorkspace(w *v1alpha1.Workspace, pos Position) []v1alpha1.Finding {
	return place(workspaceProblems(w), pos, object(v1alpha1.WorkspaceKind, w.Namespace, w.Name))
}

func workspaceProblems(w *v1alpha1.Workspace) []finding.Problem {
	v := validator{spell: func(native string) string { return kaito.Spelling(w, native) }}
	v.metadata(w.Name, w.Namespace, w.Labels)
	v.task(w.Spec)
	v.picksItself(w)
	v.resource(w.Spec.Resource)
	v.runtime(w.Spec)
	v.transformers(w.Spec)
	v.kaitoTrainer(w.Spec)
	v.budget("spec.budget", w.Spec.Budget)
	if b := w.Spec.Budget; b != nil && b.MaxUSD != "" && w.Spec.Tuning == nil && w.Spec.Inference != nil {
		v.refuse(finding.BudgetInvalid, "spec.budget.maxUSD", "is for tuning runs, which end: a service that stopped when its money is spent would be an outage; bound it by budget.maxUSDPerHour, or stop it by spec.suspend")
	}
	v.share(w.Spec)
	v.queue(w.Spec)
	v.account(w.Spec)
	v.patches(w.Spec.Patches)
	return v.problems
}

type validator struct {
	problems []finding.Problem
	// spell names a field as its document does; nil: as it is.
	spell func(native string) string
}

// field spells a field of the Workspace as its document does.
func (v *validator) field(native string) string {
	if v.spell == nil {
		return native
	}
	return v.spell(native)
}

// name is the last part of a field's spelling, for use within a sentence.
func (v *validator) name(native string) string {
	f := v.field(native)
	return f[strings.LastIndexByte(f, '.')+1:]
}

func (v *validator) refuse(code, native, format string, args ...any) {
	v.problems = append(v.problems, finding.Errorf(code, v.field(native), format, args...))
}

func (v *validator) warn(code, native, format string, args ...any) {
	v.problems = append(v.problems, finding.Warningf(code, v.field(native), format, args...))
}

// plainName is the form of names that become a part of other names.
var plainName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`)

func (v *validator) metadata(name, namespace string, labels map[string]string) {
	switch {
	case name == "":
		v.refuse(finding.NameInvalid, "metadata.name", "a name is required; generateName cannot be kept in Git")
	case v.placeholder("metadata.name", name):
	case !plainName.MatchString(name) || len(name) > maxName:
		v.refuse(finding.NameInvalid, "metadata.name", "want at most %d lower-case letters, digits and dashes, because Service and Job names are made from it", maxName)
	}
	if namespace != "" && len(validation.IsDNS1123Label(namespace)) > 0 {
		v.refuse(finding.NameInvalid, "metadata.namespace", "this is no namespace: want at most 63 lower-case letters, digits and dashes")
	}
	v.labels("metadata.labels", labels)
}

func (v *validator) labels(path string, labels map[string]string) {
	for _, key := range sortedKeys(labels) {
		field := finding.Key(path, key)
		if len(validation.IsQualifiedName(key)) > 0 {
			v.refuse(finding.LabelInvalid, field, "a label's name has at most 63 letters, digits, '-', '_' and '.', and may begin with a domain and '/'")
		}
		if len(validation.IsValidLabelValue(labels[key])) > 0 && !v.placeholder(field, labels[key]) {
			v.refuse(finding.LabelInvalid, field, "a label's value has at most 63 letters, digits, '-', '_' and '.', and begins and ends with a letter or digit")
		}
	}
}

// nodeLabels checks labels that are put on nodes.
func (v *validator) nodeLabels(path string, labels map[string]string) {
	if _, found := labels[LabelPool]; found {
		v.refuse(finding.LabelReserved, finding.Key(path, LabelPool), "Espalier gives each pool's nodes this label: remove it")
	}
}

func (v *validator) task(s v1alpha1.WorkspaceSpec) {
	switch {
	case s.Inference == nil && s.Tuning == nil:
		v.refuse(finding.TaskMissing, "spec", "exactly one of %s and %s is required: a Workspace either serves a model or tunes one",
			v.field("spec.inference"), v.field("spec.tuning"))
	case s.Inference != nil && s.Tuning != nil:
		v.refuse(finding.TaskAmbiguous, "spec.tuning", "%s is set as well: a Workspace either serves a model or tunes one; make two, and serve the adapter when it is there",
			v.field("spec.inference"))
	}
	if s.Inference != nil {
		v.inference(*s.Inference)
	}
	if s.Tuning != nil {
		v.tuning(*s.Tuning)
	}
}

func (v *validator) resource(r v1alpha1.ResourceSpec) {
	const path = "spec.resource"
	set := 0
	for _, one := range []bool{r.InstanceType != "", len(r.Candidates) > 0, r.NodePool != ""} {
		if one {
			set++
		}
	}
	switch {
	case set == 0 && r.Provider == v1alpha1.ProviderExisting:
		// spec.defaults.instanceType of the RepoSync may say it: render/check knows.
	case set == 0:
		v.refuse(finding.ResourceMissing, path, "exactly one of instanceType, candidates and nodePool is required")
	case set > 1:
		v.refuse(finding.ResourceAmbiguous, path, "exactly one of instanceType, candidates and nodePool is possible: keep one")
	}
	v.instanceType(path+".instanceType", r.InstanceType, false)
	v.candidates(path+".candidates", r.Candidates)
	v.between(path+".count", int(r.Count), 0, maxCount, "leave it out and it is computed")
	v.reference(path+".nodePool", "GPUNodePool", r.NodePool)
	v.selector(path+".labelSelector", r)
	v.provider(path+".provider", r.Provider, false)
	v.between(path+".gpus", int(r.GPUs), 0, maxPodGPUs, "leave it out for as few as the model fits")
	v.slice(path+".mig", r.MIG)
	v.driverOf(path+".driver", r)
	switch {
	case r.Provider != "" && r.NodePool != "":
		v.refuse(finding.ProviderMismatch, path+".provider", "is for nodes of the Workspace's own, and GPUNodePool %s has its own provider: remove one of them", r.NodePool)
	case r.Provider == v1alpha1.ProviderExisting && len(r.Labels()) == 0:
		v.refuse(finding.MissingField, path+".labelSelector", "provider existing takes the nodes that matchLabels selects: name at least one label")
	}
}

func (v *validator) candidates(path string, list []v1alpha1.Candidate) {
	v.atMost(path, len(list), maxCandidates)
	for i, c := range list {
		at := finding.Index(path, i)
		v.instanceType(at+".instanceType", c.InstanceType, true)
		switch c.Priority {
		case "", v1alpha1.OnDemand, v1alpha1.Spot:
		default:
			v.refuse(finding.NotOneOf, at+".priority", "want %s or %s", v1alpha1.OnDemand, v1alpha1.Spot)
			meant(v, c.Priority, v1alpha1.OnDemand, v1alpha1.Spot)
		}
	}
}

var instanceTypeName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)

func (v *validator) instanceType(field, name string, required bool) {
	switch {
	case name == "" && !required:
	case name == "":
		v.refuse(finding.InstanceTypeInvalid, field, "name an instance type, such as Standard_NC24ads_A100_v4; espalier skus lists them")
	case v.placeholder(field, name):
	case !instanceTypeName.MatchString(name):
		v.refuse(finding.InstanceTypeInvalid, field, "this is no name of an instance type; espalier skus lists them")
	}
}

func (v *validator) selector(path string, r v1alpha1.ResourceSpec) {
	if r.LabelSelector == nil {
		return
	}
	if len(r.LabelSelector.MatchExpressions) > 0 {
		v.refuse(finding.SelectorUnsupported, path+".matchExpressions", "the labels are put on nodes, so only matchLabels is possible: write them there")
	}
	v.labels(path+".matchLabels", r.LabelSelector.MatchLabels)
	v.nodeLabels(path+".matchLabels", r.LabelSelector.MatchLabels)
}

// runtime names, and the task each is for.
var runtimes = map[string]string{"vllm": "inference", v1alpha1.RuntimeKAITO: "either", kaito.Transformers: "inference", "axolotl": "tuning"}

func (v *validator) runtime(s v1alpha1.WorkspaceSpec) {
	if s.Runtime == nil {
		return
	}
	v.mirror("spec.runtime.mirror", s.Runtime.Mirror)
	v.imageVolumes("spec.runtime.imageVolumes", s.Runtime.ImageVolumes)
	v.runtimeImage("spec.runtime", *s.Runtime)
	if s.Runtime.Name == "" {
		return
	}
	task, known := runtimes[s.Runtime.Name]
	switch {
	case !known:
		v.refuse(finding.NotOneOf, "spec.runtime.name", "want vllm or kaito-transformers, which serve, axolotl, which tunes, or kaito, which does both")
		meant(v, s.Runtime.Name, sortedKeys(runtimes)...)
	case task == "inference" && s.Inference == nil && s.Tuning != nil:
		v.refuse(finding.NotOneOf, "spec.runtime.name", "%s serves and does not tune: write axolotl or leave it out", s.Runtime.Name)
	case task == "tuning" && s.Tuning == nil && s.Inference != nil:
		v.refuse(finding.NotOneOf, "spec.runtime.name", "axolotl tunes and does not serve: write vllm or leave it out")
	}
}

var amount = regexp.MustCompile(`^[0-9]+(\.[0-9]{1,4})?$`)

func (v *validator) budget(path string, b *v1alpha1.Budget) {
	if b == nil {
		return
	}
	if b.MaxUSDPerHour != "" && !amount.MatchString(b.MaxUSDPerHour) {
		v.refuse(finding.BudgetInvalid, path+".maxUSDPerHour", `want US dollars per hour as digits with at most 4 decimals, in quotes: "16" or "0.75"`)
	}
	if b.MaxUSD != "" && !amount.MatchString(b.MaxUSD) {
		v.refuse(finding.BudgetInvalid, path+".maxUSD", `want US dollars as digits with at most 4 decimals, in quotes: "40" or "7.50"`)
	}
}

// registry is the host of a registry, with port and path where it has them.
var registry = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]{1,5})?(/[a-z0-9]+([._-]+[a-z0-9]+)*)*$`)

const maxMirror = 255

func (v *validator) mirror(path, mirror string) {
	if mirror != "" && (len(mirror) > maxMirror || !registry.MatchString(mirror)) {
		v.refuse(finding.ImageInvalid, path, "want a registry and the path in it, in lower case, without https:// and a / at the end: registry.example.com/mirror")
	}
}

// reference checks the name of an object of the same namespace.
func (v *validator) reference(field, kind, name string) {
	if name == "" || v.placeholder(field, name) {
		return
	}
	if len(validation.IsDNS1123Subdomain(name)) > 0 {
		v.refuse(finding.ReferenceInvalid, field, "no %s can have this name: want lower-case letters, digits, '-' and '.'", kind)
	}
}

func (v *validator) references(path, kind string, names []string) {
	for i, name := range names {
		at := finding.Index(path, i)
		if name == "" {
			v.refuse(finding.ReferenceInvalid, at, "name the %s", kind)
		}
		v.reference(at, kind, name)
	}
}

func (v *validator) between(field string, n, low, high int, remedy string) {
	if n < low || n > high {
		v.refuse(finding.OutOfRange, field, "want %d to %d; %s", low, high, remedy)
	}
}

func (v *validator) atMost(field string, n, most int) {
	if n > most {
		v.refuse(finding.OutOfRange, field, "at most %d are possible, found %d", most, n)
	}
}

// placeholder reports an unfilled placeholder and says whether there was one:
// nothing else need be said of the value then.
func (v *validator) placeholder(field, value string) bool {
	message := strict.Placeholder(value)
	if message == "" {
		return false
	}
	v.refuse(finding.Placeholder, field, "%s", message)
	return true
}

// meant gives the last problem the value of a list that was meant, where that is
// certain.
func meant[T ~string](v *validator, written T, known ...T) {
	names := make([]string, len(known))
	for i, k := range known {
		names[i] = string(k)
	}
	last := &v.problems[len(v.problems)-1]
	if near := strict.Meant(string(written), names); near != "" {
		*last = last.Instead(string(written), near)
	}
}
