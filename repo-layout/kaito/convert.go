// SPDX-License-Identifier: Apache-2.0

// Package kaito reads documents of kaito.sh (v1alpha1 and v1beta1 Workspace and
// InferenceSet) and says in our own Workspace what they mean.
//
// What cannot be said there is an error with the reason and what to do instead;
// a field that KAITO itself never reads is a warning; nothing is dropped in
// silence but the name of a tuning input, which only names a container there.
// It never looks at a catalogue, a cluster or the network, and judges
// no value that the native form judges as well: that is left to
// repolayout.ValidateWorkspace, which spells fields as the document does.
package kaito

import (
	"maps"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/internal/strict"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

const (
	// Group is KAITO's API group.
	Group = "kaito.sh"

	// AnnotationConvertedFrom is on a Workspace that was written as a document
	// of kaito.sh: its apiVersion and kind, as "kaito.sh/v1alpha1 Workspace".
	AnnotationConvertedFrom = "espalier.dev/converted-from"

	// DefaultInstanceType is what the CRD of kaito.sh/v1alpha1 fills in.
	// v1beta1 has no default.
	DefaultInstanceType = "Standard_NC24ads_A100_v4"

	v1alpha1Version = Group + "/v1alpha1"
	v1beta1Version  = Group + "/v1beta1"

	// Transformers is the name of the runtime that is KAITO's transformers engine.
	Transformers = "kaito-transformers"

	workspaceKind    = "Workspace"
	inferenceSetKind = "InferenceSet"
)

// Convert reads one YAML document of kaito.sh. The Workspace is nil when one
// of the problems is an error.
func Convert(doc []byte) (*v1alpha1.Workspace, []finding.Problem) {
	tree, problems := strict.Parse(doc)
	if len(problems) > 0 {
		return nil, problems
	}
	return ConvertTree(tree)
}

// ConvertTree is Convert for a document that is parsed already. It does not
// change tree.
func ConvertTree(tree map[string]any) (*v1alpha1.Workspace, []finding.Problem) {
	w, problems := Read(tree)
	if finding.HasError(problems) {
		return nil, problems
	}
	return w, problems
}

// Read is ConvertTree that gives what it has also where one of the problems is an
// error: without the fields that the errors are about. It is for judging the rest of
// the document, and nil where that could not be read at all.
func Read(tree map[string]any) (*v1alpha1.Workspace, []finding.Problem) {
	c := converter{}
	c.version, _ = tree["apiVersion"].(string)
	c.kind, _ = tree["kind"].(string)
	if c.version != v1alpha1Version && c.version != v1beta1Version {
		return nil, []finding.Problem{finding.Errorf(finding.VersionNotKnown, "apiVersion",
			"this version of kaito.sh is not known; known are %s and %s", v1alpha1Version, v1beta1Version)}
	}
	tree = maps.Clone(tree)
	delete(tree, "status") // never an input
	switch c.kind {
	case workspaceKind:
		c.workspace(tree)
	case inferenceSetKind:
		c.inferenceSet(tree)
	default:
		return nil, []finding.Problem{Unsupported(c.kind)}
	}
	if c.out.Kind == "" { // it was not converted
		return nil, c.problems
	}
	return &c.out, c.problems
}

// hints answer what people write in place of a name.
var hints = map[string]string{
	"inference.preset":               "write name: and the model under it",
	"tuning.preset":                  "write name: and the model under it",
	"spec.template.inference.preset": "write name: and the model under it",
	"inference.config":               "it is the name of a ConfigMap, whose key inference_config.yaml holds the configuration",
	"spec.template.inference.config": "it is the name of a ConfigMap, whose key inference_config.yaml holds the configuration",
	"tuning.config":                  "it is the name of a ConfigMap, whose key training_config.yaml holds the configuration",
}

type converter struct {
	version, kind string
	out           v1alpha1.Workspace
	problems      []finding.Problem
	// What annotations say of an inference: the field of kaito.sh/use-local-weights
	// where it is on, and the mode with its own.
	local, modeField string
	mode             v1alpha1.PerformanceMode
	// registry has what annotations say of a static mirror, and account who reads it.
	registry *v1alpha1.ModelRegistry
	account  string
	// transformers is the field of kaito.sh/runtime where it chooses that engine.
	transformers string
}

func (c *converter) refuse(code, field, format string, args ...any) {
	c.problems = append(c.problems, finding.Errorf(code, field, format, args...))
}

func (c *converter) warn(code, field, format string, args ...any) {
	c.problems = append(c.problems, finding.Warningf(code, field, format, args...))
}

// dead warns of a field that is set and that KAITO itself never reads.
func (c *converter) dead(set bool, field, instead string) {
	if set {
		c.warn(finding.DeadField, field, "KAITO itself never reads this field, and Espalier does not either; %s", instead)
	}
}

// since refuses a field that only v1beta1 has, as KAITO's admission does.
func (c *converter) since(set bool, field string) bool {
	if set && c.version == v1alpha1Version {
		c.refuse(finding.OtherVersionField, field, "%s does not have this field: write apiVersion: %s", v1alpha1Version, v1beta1Version)
		return false
	}
	return set
}

func (c *converter) workspace(tree map[string]any) {
	if c.wrapped(tree) {
		return
	}
	var in Workspace
	if c.problems = append(c.problems, strict.Into(tree, &in, hints)...); len(c.problems) > 0 {
		return
	}
	c.metadata(in.Metadata, "metadata", in.Tuning != nil)
	ownPod := in.Inference != nil && in.Inference.Template != nil && in.Inference.Preset == nil
	copies := in.Resource.Count
	if ownPod { // there KAITO reads it, as the number of pods
		in.Resource.Count = nil
	}
	c.resource(in.Resource, in.Tuning != nil)
	if in.Inference != nil {
		c.out.Spec.Inference = c.inference(*in.Inference, "inference")
	}
	if ownPod && copies != nil {
		c.out.Spec.Inference.Replicas = c.copies(*copies)
	}
	if in.Tuning != nil {
		c.out.Spec.Tuning = c.tuning(*in.Tuning)
	}
}

// copies of a pod template, each on a node of its own in KAITO.
func (c *converter) copies(count int) *int32 {
	if count < 1 || count > maxCopies {
		c.refuse(finding.OutOfRange, "resource.count", "want 1 to %d: with a template it is the number of pods", maxCopies)
		return nil
	}
	return new(int32(count))
}

// maxCopies bounds replicas of the native form.
const maxCopies = 1000

// wrapped answers the most common mistake: KAITO's Workspace has no spec.
func (c *converter) wrapped(tree map[string]any) bool {
	inner, ok := tree["spec"]
	if !ok {
		return false
	}
	c.refuse(finding.SpecWrapper, "spec", "a Workspace of kaito.sh has no spec: write %s at the top level, "+
		"or write apiVersion: %s, whose Workspace has one", partsOf(inner), v1alpha1.GroupVersion)
	return true
}

func partsOf(inner any) string {
	m, _ := inner.(map[string]any)
	var parts []string
	for _, p := range []string{"resource", "inference", "tuning"} {
		if _, ok := m[p]; ok {
			parts = append(parts, p)
		}
	}
	if len(parts) == 0 {
		return "resource and inference or tuning"
	}
	return strings.Join(parts, " and ")
}

// metadata keeps name, namespace, labels and annotations but KAITO's own,
// which are honoured or answered one by one.
func (c *converter) metadata(m metav1.ObjectMeta, path string, tunes bool) {
	c.out.TypeMeta = metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: v1alpha1.WorkspaceKind}
	c.out.ObjectMeta = m
	c.out.Labels = c.labels(m.Labels, path+".labels")
	c.out.Annotations = c.annotations(m.Annotations, path+".annotations", tunes)
	if c.out.Annotations == nil {
		c.out.Annotations = map[string]string{}
	}
	c.out.Annotations[AnnotationConvertedFrom] = c.version + " " + c.kind
}

func (c *converter) resource(r Resource, tunes bool) {
	const path = "resource."
	c.nodes(r.InstanceType, c.version == v1alpha1Version)
	c.out.Spec.Resource.LabelSelector = c.selector(r.LabelSelector, path+"labelSelector")
	c.selected(path + "instanceType")
	c.dead(len(r.PreferredNodes) > 0, path+"preferredNodes", "to use nodes that exist, declare a GPUNodePool with provider existing")
	if c.since(r.Partition != nil, path+"partition") {
		c.partition(*r.Partition, path+"partition", r.InstanceType, tunes)
	}
	c.count(r.Count, path+"count", tunes)
}

// count: with the default runtime KAITO computes the number of nodes of an
// inference and never reads count; tuning runs on one node.
func (c *converter) count(count *int, field string, tunes bool) {
	switch {
	case count == nil || *count == 1: // the CRD's default
	case *count < 1:
		c.refuse(finding.OutOfRange, field, "want 1 or more; leave it out and the number of nodes is computed")
	case c.transformers != "":
		c.refuse(finding.OutOfRange, field, "with the transformers engine a copy has one node, and KAITO refuses more: remove count; copies are spec.replicas of an InferenceSet")
	case tunes:
		c.refuse(finding.MultiNodeTuning, field, "KAITO refuses tuning on several nodes: remove count, or write it as an espalier.dev/v1alpha1 Workspace, whose spec.resource.count spreads a run")
	default:
		c.warn(finding.DeadField, field, "with vLLM KAITO itself never reads count, and Espalier does not either: the number of nodes is computed from the model; "+
			"to set it, write an espalier.dev/v1alpha1 Workspace (espalier convert) with spec.resource.count")
	}
}

// selector keeps matchLabels and expressions that say the same: a key In one
// value. KAITO refuses every other one.
func (c *converter) selector(s *metav1.LabelSelector, field string) *metav1.LabelSelector {
	if s == nil {
		return nil
	}
	labels := map[string]string{}
	for k, v := range s.MatchLabels {
		if reserved(k) {
			c.warn(finding.LabelReserved, finding.Key(field+".matchLabels", k), "KAITO strips its own labels from a selector, and so does Espalier: remove it")
			continue
		}
		labels[k] = v
	}
	for i, e := range s.MatchExpressions {
		if e.Operator != metav1.LabelSelectorOpIn || len(e.Values) != 1 {
			c.refuse(finding.SelectorUnsupported, finding.Index(field+".matchExpressions", i),
				"only an In with a single value is possible, here and in KAITO, because the labels are put on nodes: write it under matchLabels")
			continue
		}
		if reserved(e.Key) {
			c.warn(finding.LabelReserved, finding.Index(field+".matchExpressions", i), "KAITO strips its own labels from a selector, and so does Espalier: remove it")
			continue
		}
		if old, twice := labels[e.Key]; twice && old != e.Values[0] {
			c.refuse(finding.SelectorUnsupported, finding.Index(field+".matchExpressions", i),
				"matchLabels gives this label another value, and no node has two: keep one")
			continue
		}
		labels[e.Key] = e.Values[0]
	}
	if len(labels) == 0 {
		return nil
	}
	return &metav1.LabelSelector{MatchLabels: labels}
}

// inferenceSet becomes one Workspace with replicas.
func (c *converter) inferenceSet(tree map[string]any) {
	if _, ok := tree["spec"]; !ok {
		c.refuse(finding.SpecWrapper, "", "an InferenceSet, unlike a Workspace of kaito.sh, has a spec: put replicas, labelSelector and template under it")
		return
	}
	var in InferenceSet
	if c.problems = append(c.problems, strict.Into(tree, &in, hints)...); len(c.problems) > 0 {
		return
	}
	t := in.Spec.Template
	c.templateMetadata(in.Metadata, t.Metadata)
	c.nodes(t.Resource.InstanceType, false)
	c.out.Spec.Resource.LabelSelector = c.selector(in.Spec.LabelSelector, "spec.labelSelector")
	c.selected("spec.template.resource.instanceType")
	if c.since(t.Resource.Partition != nil, "spec.template.resource.partition") {
		c.partition(*t.Resource.Partition, "spec.template.resource.partition", t.Resource.InstanceType, false)
	}
	scaled := c.scale(in)
	c.dead(in.Spec.NodeCountLimit != 0 && scaled == nil, "spec.nodeCountLimit", "bound the cost with spec.budget.maxUSDPerHour of an espalier.dev/v1alpha1 Workspace")
	c.dead(in.Spec.UpdateStrategy != nil, "spec.updateStrategy", "remove it")
	if c.since(in.Spec.AutoUpgrade != nil, "spec.autoUpgrade") && in.Spec.AutoUpgrade.Enabled {
		c.warn(finding.UpgradePolicy, "spec.autoUpgrade", "ignored: an upgrade of Espalier moves no running model; a newer runtime is a commit that sets spec.runtime.version")
	}
	if t.Inference == nil {
		c.refuse(finding.TaskMissing, "spec.template", "an InferenceSet needs spec.template.inference with a preset")
		return
	}
	c.out.Spec.Inference = c.inference(*t.Inference, "spec.template.inference")
	c.out.Spec.Inference.Replicas, c.out.Spec.Inference.Autoscale = in.Spec.Replicas, scaled
	if scaled != nil {
		c.out.Spec.Inference.Replicas = nil
	}
}

// templateMetadata joins the set's own metadata with what its Workspaces would
// get from the template; the set's own wins.
func (c *converter) templateMetadata(own, template metav1.ObjectMeta) {
	c.dead(template.Name != "" || template.Namespace != "", "spec.template.metadata.name",
		"the Workspace is named after the InferenceSet")
	labels := c.labels(template.Labels, "spec.template.metadata.labels")
	annotations := c.annotations(template.Annotations, "spec.template.metadata.annotations", false)
	c.metadata(own, "metadata", false)
	c.out.Labels = merged(labels, c.out.Labels)
	c.out.Annotations = merged(annotations, c.out.Annotations)
}

func merged(low, high map[string]string) map[string]string {
	if len(low) == 0 {
		return high
	}
	all := maps.Clone(low)
	maps.Copy(all, high)
	return all
}
