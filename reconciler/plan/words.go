// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/espalier-dev/espalier/gpu/fit"
	"github.com/espalier-dev/espalier/presets/runtimes"
	"github.com/espalier-dev/espalier/render/desired"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// words collects what changes, in the words of the spec.
type words []string

func (w *words) add(format string, args ...any) { *w = append(*w, fmt.Sprintf(format, args...)) }

// change adds "name a → b" where the two differ; "" reads as none.
func (w *words) change(name, a, b string) {
	if a == b {
		return
	}
	if a == "" {
		a = "none"
	}
	if b == "" {
		b = "none"
	}
	w.add("%s %s → %s", name, a, b)
}

// describe says what differs between two Workspaces of one name.
func (c *comparer) describe(from, to *desired.Workspace) []string {
	var w words
	was, is := *from, *to
	a, b := &was.Workspace.Spec, &is.Workspace.Spec
	w.change("task", task(a), task(b))
	w.model(was, is)
	w.resource(a.Resource, b.Resource)
	w.provider(a.Resource, b.Resource, c.base.State.ProviderOf(was.Workspace), c.head.State.ProviderOf(is.Workspace))
	w.driver(was.Assessment.Resolved.Driver, is.Assessment.Resolved.Driver)
	if moved := is.Workspace.Annotations[repolayout.AnnotationSubstituted]; moved != was.Workspace.Annotations[repolayout.AnnotationSubstituted] && moved != "" {
		w.add("substituted by the RepoSync: %s", moved)
	}
	if a.Inference != nil && b.Inference != nil {
		w.inference(a.Inference, b.Inference)
	}
	if a.Tuning != nil && b.Tuning != nil {
		w.tuning(a.Tuning, b.Tuning)
		w.trainedOn(was, is)
		w.change("rows", rowsOf(was.Assessment.Format()), rowsOf(is.Assessment.Format()))
	}
	w.config(was, is)
	w.lock(was, is)
	w.rest(was, is)
	return w
}

func task(s *v1alpha1.WorkspaceSpec) string {
	if s.Tuning != nil {
		return "tuning"
	}
	return "inference"
}

func (w *words) model(was, is desired.Workspace) {
	a, b := was.Workspace.Spec.Model(), is.Workspace.Spec.Model()
	if a == nil || b == nil {
		return
	}
	w.change("model", modelOf(a), modelOf(b))
	w.pod(was.Assessment.Pod, is.Assessment.Pod)
	before, after := was.Assessment.Resolved, is.Assessment.Resolved
	w.change("revision", short(before.ModelRevision), short(after.ModelRevision))
	if before.Runtime == after.Runtime {
		w.change(after.Runtime, before.Version, after.Version)
	} else if runtimes.Unpinned(before.Runtime) || runtimes.Unpinned(after.Runtime) {
		w.change("runtime", before.Runtime, after.Runtime)
		w.merging(is.Workspace.Spec.Inference, before.Runtime, after.Runtime)
	}
	w.change("runtime image", imageOf(&was.Workspace.Spec), imageOf(&is.Workspace.Spec))
	w.change("access secret", a.AccessSecret, b.AccessSecret)
}

// modelOf names a model as the spec does.
func modelOf(m *v1alpha1.ModelRef) string {
	if m.Model != nil {
		return m.Model.ID
	}
	return m.Preset
}

// short is the beginning of a commit hash.
func short(hash string) string { return hash[:min(len(hash), 7)] }

func (w *words) resource(a, b v1alpha1.ResourceSpec) {
	w.change("instance", instances(a), instances(b))
	w.change("node pool", a.NodePool, b.NodePool)
	w.change("GPUs a copy", fewest(a.GPUs), fewest(b.GPUs))
	w.change("slices", a.MIG, b.MIG)
	if a.Count != b.Count {
		w.change("count", count(a.Count), count(b.Count))
	}
	if !reflect.DeepEqual(a.LabelSelector, b.LabelSelector) {
		w.add("node labels")
	}
}

// provider says where nodes of the Workspace's own come from, also by the controller's
// word, which is what was and is.
func (w *words) provider(a, b v1alpha1.ResourceSpec, was, is v1alpha1.Provider) {
	switch {
	case a.Provider == b.Provider:
	case a.NodePool != "" || b.NodePool != "":
		w.change("provider", string(a.Provider), string(b.Provider))
	case was != is:
		w.change("provider", string(was), string(is))
	case b.Provider != "":
		w.add("provider %s is said in Git", is)
	default:
		w.add("provider %s is no longer said in Git", is)
	}
}

// driver says what Git says of it, where no cloud installs it.
func (w *words) driver(was, is string) {
	w.change("driver", cmp.Or(was, "not said"), cmp.Or(is, "not said"))
}

func count(n int32) string {
	if n == 0 {
		return "computed"
	}
	return fmt.Sprint(n)
}

func instances(r v1alpha1.ResourceSpec) string {
	var list []string
	for _, c := range r.CandidateList() {
		list = append(list, candidate{c.InstanceType, string(c.Priority), joined(c.Zones)}.String())
	}
	return strings.Join(list, ", then ")
}

func (w *words) inference(a, b *v1alpha1.InferenceSpec) {
	w.change("replicas", copiesOf(a), copiesOf(b))
	w.autoscale(a.Autoscale, b.Autoscale)
	w.change("context", tokens(a.ContextLength), tokens(b.ContextLength))
	w.adapters(a.Adapters, b.Adapters)
	w.change("route", routeOf(a.Route), routeOf(b.Route))
	w.change("weights kept", cacheOf(a.Cache), cacheOf(b.Cache))
	w.change("weights", weightsOf(a.Weights), weightsOf(b.Weights))
	w.change("performance mode", string(a.PerformanceMode), string(b.PerformanceMode))
	w.others(a, b, "template", "preset", "model", "revision", "accessSecret", "config", "replicas", "autoscale", "contextLength", "adapters", "route", "cache", "weights", "performanceMode")
}

func tokens(n int32) string {
	if n == 0 {
		return "the longest that fits"
	}
	return fit.Thousands(int64(n))
}

// config compares what the ConfigMap is read as: arguments of vLLM, or settings
// of the trainer. Where that is the same and the content is not, it says so.
func (w *words) config(was, is desired.Workspace) {
	if task(&was.Workspace.Spec) != task(&is.Workspace.Spec) {
		return
	}
	if w.elsewhere(was, is) {
		return
	}
	before, after := settingsOf(was), settingsOf(is)
	if is.Workspace.Spec.Tuning != nil && was.Assessment.Resolved.Runtime != is.Assessment.Resolved.Runtime {
		before, after = nil, nil // those of one trainer are not another's
	}
	said := len(*w)
	for _, key := range union(before, after) {
		w.keyed("config", key, before, after)
	}
	a, b := was.ConfigMaps[was.Workspace.Spec.ConfigName()], is.ConfigMaps[is.Workspace.Spec.ConfigName()]
	switch {
	case len(*w) > said:
	case !maps.Equal(a, b):
		w.add("text of the configuration")
	case a == nil || b == nil:
		w.change("config", was.Workspace.Spec.ConfigName(), is.Workspace.Spec.ConfigName())
	}
}

// lock says that the lock file of the model of the same task is another.
func (w *words) lock(was, is desired.Workspace) {
	if task(&was.Workspace.Spec) == task(&is.Workspace.Spec) && !maps.Equal(was.ConfigMaps[was.Workspace.Spec.LockName()], is.ConfigMaps[is.Workspace.Spec.LockName()]) {
		w.add("lock file of the model")
	}
}

// elsewhere names another configuration that Git does not hold, before or after: what it
// says is not known, and the defaults that stand for it are no change.
func (w *words) elsewhere(was, is desired.Workspace) bool {
	a, b := was.Workspace.Spec.ConfigName(), is.Workspace.Spec.ConfigName()
	held := func(d desired.Workspace, name string) bool { return name == "" || d.ConfigMaps[name] != nil }
	from, to := held(was, a), held(is, b)
	switch {
	case from && to, a == b && from == to:
		return false
	case a != b:
		w.change("config", a, b)
	case from:
		w.add("config %s is no longer in Git", a)
	default:
		w.add("config %s is in Git now", a)
	}
	return true
}

func settingsOf(w desired.Workspace) map[string]string {
	all := maps.Clone(w.Assessment.Serving.Args)
	if w.Workspace.Spec.Tuning == nil {
		return all
	}
	t := w.Assessment.Training
	all = map[string]string{
		"r": fmt.Sprint(t.Rank), "max_seq_length": fmt.Sprint(t.SequenceLength), "per_device_train_batch_size": fmt.Sprint(t.MicroBatch),
		"target_modules": joined(t.Targets), "optim": t.Optimizer,
		"gradient_checkpointing": fmt.Sprint(!t.NoCheckpointing), "bnb_4bit_use_double_quant": fmt.Sprint(!t.SingleQuantization),
	}
	for name, value := range t.Axolotl {
		all[name] = fmt.Sprint(value)
	}
	return all
}

// rest are the fields that every task has.
func (w *words) rest(was, is desired.Workspace) {
	a, b := &was.Workspace.Spec, &is.Workspace.Spec
	w.change("budget", budget(a.Budget), budget(b.Budget))
	w.change("images from", mirror(a.Runtime), mirror(b.Runtime))
	w.change("image volumes", imageVolumes(a), imageVolumes(b))
	w.change("queue", a.Queue, b.Queue)
	w.change("signs in to registries as", a.ServiceAccountName, b.ServiceAccountName)
	if a.Suspend != b.Suspend {
		w.change("suspend", fmt.Sprint(a.Suspend), fmt.Sprint(b.Suspend))
	}
	if !reflect.DeepEqual(a.Patches, b.Patches) {
		w.add("patches")
	}
	w.secrets(was, is)
	if pool := b.Resource.NodePool; pool != "" && pool == a.Resource.NodePool && !reflect.DeepEqual(was.Assessment.Pool, is.Assessment.Pool) {
		w.add("node pool %s itself", pool)
	}
	w.others(a, b, "inference", "tuning", "resource", "budget", "queue", "suspend", "patches", "runtime", "serviceAccountName")
	if !maps.Equal(was.Workspace.Labels, is.Workspace.Labels) {
		w.add("labels")
	}
	if !maps.Equal(userKeys(was.Workspace.Annotations), userKeys(is.Workspace.Annotations)) {
		w.add("annotations")
	}
	if from, to := fileOf(was.Document), fileOf(is.Document); from != to {
		w.add("moved from %s", from)
	}
}

func (w *words) secrets(was, is desired.Workspace) {
	for _, secret := range union(was.Versions, is.Versions) {
		if was.Versions[secret] != is.Versions[secret] {
			w.add("content of %s", secret)
		}
	}
	if !slices.Equal(was.Workspace.Spec.Secrets(), is.Workspace.Spec.Secrets()) && len(*w) == 0 {
		w.add("secrets")
	}
}

// userKeys leaves out what Espalier itself notes.
func userKeys(annotations map[string]string) map[string]string {
	kept := maps.Clone(annotations)
	delete(kept, repolayout.AnnotationSubstituted)
	delete(kept, repolayout.AnnotationDefaulted)
	return kept
}

func budget(b *v1alpha1.Budget) string {
	if b == nil {
		return ""
	}
	var limits []string
	if b.MaxUSDPerHour != "" {
		limits = append(limits, "$"+b.MaxUSDPerHour+"/h")
	}
	if b.MaxUSD != "" {
		limits = append(limits, "$"+b.MaxUSD+" in all")
	}
	return strings.Join(limits, " and ")
}

func mirror(r *v1alpha1.RuntimeSpec) string {
	if r == nil {
		return ""
	}
	return r.Mirror
}

func imageVolumes(s *v1alpha1.WorkspaceSpec) string {
	if s.CopiesImages() {
		return "copied"
	}
	return "mounted"
}

func fileOf(d desired.Document) string {
	file, _ := at(d, "")
	return file
}

func at(d desired.Document, field string) (string, int) {
	if d.Position == nil {
		return "", 0
	}
	return d.Position.At(field)
}

// introduce says what a new Workspace is.
func introduce(w desired.Workspace) []string {
	var out words
	spec := &w.Workspace.Spec
	if pod := w.Assessment.Pod; pod != nil {
		out.add("a pod of your own, %s", imagesOf(pod))
	} else if m := spec.Model(); m != nil {
		out.add("%s %s", task(spec), modelOf(m))
	}
	switch {
	case spec.Resource.NodePool != "":
		out.add("on node pool %s", spec.Resource.NodePool)
	default:
		out.add("on %s", instances(spec.Resource))
	}
	if n := spec.Resource.GPUs; n > 0 {
		out.add("%d GPUs a copy", n)
	}
	if spec.Resource.MIG != "" {
		out.add("in slices of %s", spec.Resource.MIG)
	}
	if s := spec.Inference; s != nil {
		if n := copiesOf(s); n != "1" {
			number, scaled := strings.CutSuffix(n, byLoad)
			out.add("%s copies%s", number, map[bool]string{true: byLoad}[scaled])
		}
		if s.Weights != nil {
			out.add("weights %s", weightsOf(s.Weights))
		}
		if s.PerformanceMode != "" {
			out.add("performance mode %s", s.PerformanceMode)
		}
		for _, a := range s.Adapters {
			out.add("adapter %s", a.Name)
		}
	}
	if spec.ServiceAccountName != "" {
		out.add("signs in to registries as %s", spec.ServiceAccountName)
	}
	return out
}
