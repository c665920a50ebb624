// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/espalier-dev/espalier/render"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// rendered is what one revision makes of a Workspace, read for what decides the
// effect of a change.
type rendered struct {
	objects  []*unstructured.Unstructured
	kind     string         // of the workload: Deployment, StatefulSet or Job
	name     string         // of the workload
	template any            // of its pods, of a Deployment or Job
	sets     map[string]any // the copies over several nodes: the spec of each StatefulSet
	selector any
	replicas int64
	gpus     int64 // of one pod
	pods     int64 // of a run, on a node each; 0 for 1
	on       any   // the pool that its nodes are of; nil: they exist
	roll     roll
	pool     *pool
	claims   map[string]claim
}

// pool is what a GPUNodePool asks for.
type pool struct {
	provider   string
	candidates []candidate
	replicas   int64  // the most, where an autoscaler decides
	between    string // "0 to 4", where an autoscaler decides
	autoscaler string // who that is
	labels     any
}

// nodes is how many there are: "2 nodes", or "0 to 4 nodes".
func (p *pool) nodes() string {
	if p.between != "" {
		return p.between + " nodes"
	}
	return counted(int(p.replicas), "node", "nodes")
}

// candidate is how a pool tells candidates apart: a node of one that is no longer
// listed is given back (gpu/pool).
type candidate struct{ instance, priority, zones string }

func (c candidate) String() string {
	s := c.instance
	if c.priority == string(v1alpha1.Spot) {
		s += " (spot)"
	}
	if c.zones != "" {
		s += " in zone " + c.zones
	}
	return s
}

// claim is what can and what cannot change of a claim.
type claim struct {
	storage resource.Quantity
	fixed   any // the spec without the size
}

// roll is how a Deployment replaces its pods.
type roll struct {
	recreate           bool
	surge, unavailable int // pods
}

// read takes rendered objects apart.
func read(out render.Output) rendered {
	r := rendered{objects: out.Objects(), claims: map[string]claim{}, sets: map[string]any{}}
	for _, o := range r.objects {
		switch o.GetKind() {
		case v1alpha1.GPUNodePoolKind:
			r.pool = readPool(o)
		case "PersistentVolumeClaim":
			r.claims[o.GetName()] = readClaim(o)
		case "Deployment", "Job":
			r.readWorkload(o)
		case "StatefulSet":
			r.readCopy(o)
		}
	}
	return r
}

func (r *rendered) readWorkload(o *unstructured.Unstructured) {
	r.kind, r.name = o.GetKind(), o.GetName()
	r.template, r.selector = field(o, "spec", "template"), field(o, "spec", "selector")
	r.replicas, _ = number(field(o, "spec", "replicas"))
	r.gpus, r.on = podGPUs(o), field(o, "spec", "template", "spec", "nodeSelector", repolayout.LabelPool)
	r.pods, _ = number(field(o, "spec", "parallelism"))
	if r.kind == "Deployment" {
		r.roll = readRoll(o, int(r.replicas))
	}
}

// readCopy reads one copy over several nodes. A copy that is suspended has no pods.
func (r *rendered) readCopy(o *unstructured.Unstructured) {
	if r.kind == "" {
		r.kind, r.name, r.gpus = o.GetKind(), o.GetName(), podGPUs(o)
	}
	r.sets[o.GetName()] = field(o, "spec")
	if pods, _ := number(field(o, "spec", "replicas")); pods > 0 {
		r.replicas++
	}
}

// job says whether it is a tuning run.
func (r rendered) job() bool { return r.kind == "Job" }

func field(o *unstructured.Unstructured, path ...string) any {
	v, _, _ := unstructured.NestedFieldNoCopy(o.Object, path...)
	return v
}

func number(v any) (int64, bool) {
	switch n := v.(type) {
	case int64:
		return n, true
	case float64:
		return int64(n), true
	case string:
		q, err := resource.ParseQuantity(n)
		return q.Value(), err == nil
	}
	return 0, false
}

// podGPUs is the number of GPUs that one pod takes: containers run after one
// another, so the greatest counts.
func podGPUs(o *unstructured.Unstructured) int64 {
	var most int64
	for _, list := range []string{"initContainers", "containers"} {
		containers, _ := field(o, "spec", "template", "spec", list).([]any)
		for _, c := range containers {
			container, _ := c.(map[string]any)
			limits, _, _ := unstructured.NestedMap(container, "resources", "limits")
			for name, v := range limits {
				if name == v1alpha1.ResourceGPU || strings.HasPrefix(name, "nvidia.com/mig-") {
					n, _ := number(v)
					most = max(most, n)
				}
			}
		}
	}
	return most
}

// readRoll resolves the strategy as Kubernetes does: a surge is rounded up, what
// may be unavailable down, both are a quarter by default and never both zero.
func readRoll(o *unstructured.Unstructured, replicas int) roll {
	if kind, _ := field(o, "spec", "strategy", "type").(string); kind == "Recreate" {
		return roll{recreate: true}
	}
	r := roll{
		surge:       scaled(field(o, "spec", "strategy", "rollingUpdate", "maxSurge"), replicas, true),
		unavailable: scaled(field(o, "spec", "strategy", "rollingUpdate", "maxUnavailable"), replicas, false),
	}
	if r.surge == 0 && r.unavailable == 0 {
		r.unavailable = 1
	}
	return r
}

func scaled(v any, replicas int, up bool) int {
	value := intstr.FromString("25%")
	switch x := v.(type) {
	case int64:
		value = intstr.FromInt32(int32(min(x, 1000))) //nolint:gosec // bounded by min
	case string:
		value = intstr.FromString(x)
	}
	n, err := intstr.GetScaledValueFromIntOrPercent(&value, replicas, up)
	if err != nil {
		return 0
	}
	return n
}

func readPool(o *unstructured.Unstructured) *pool {
	p := &pool{labels: field(o, "spec", "nodeLabels")}
	p.provider, _ = field(o, "spec", "provider").(string)
	n, ok := number(field(o, "spec", "replicas"))
	if p.replicas = n; !ok {
		p.replicas = 1
	}
	list, _ := field(o, "spec", "candidates").([]any)
	for _, entry := range list {
		c, _ := entry.(map[string]any)
		zones, _, _ := unstructured.NestedStringSlice(c, "zones")
		slices.Sort(zones)
		instance, _ := c["instanceType"].(string)
		priority, _ := c["priority"].(string)
		if priority == "" {
			priority = string(v1alpha1.OnDemand)
		}
		p.candidates = append(p.candidates, candidate{instance, priority, strings.Join(zones, ", ")})
	}
	return p
}

// dropped lists the candidates that another pool no longer lists.
func (p *pool) dropped(now *pool) []candidate {
	var gone []candidate
	for _, c := range p.candidates {
		if !slices.Contains(now.candidates, c) {
			gone = append(gone, c)
		}
	}
	return gone
}

func readClaim(o *unstructured.Unstructured) claim {
	spec, _, _ := unstructured.NestedMap(o.Object, "spec")
	text, _, _ := unstructured.NestedString(spec, "resources", "requests", "storage")
	unstructured.RemoveNestedField(spec, "resources")
	c := claim{fixed: spec}
	c.storage, _ = resource.ParseQuantity(text)
	return c
}

// refusal says why the API server refuses to turn a claim in Git into another, "" when
// it does not: a claim can grow, where its StorageClass allows it, and nothing else.
func (c claim) refusal(name string, now claim) string {
	switch {
	case now.storage.Cmp(c.storage) < 0:
		return fmt.Sprintf("claim %s cannot shrink from %s to %s", name, c.storage.String(), now.storage.String())
	case !reflect.DeepEqual(c.fixed, now.fixed):
		return fmt.Sprintf("the spec of claim %s cannot be changed, other than to a larger size", name)
	}
	return ""
}

// refusals says what of a change the API server does not take.
func refusals(was, is rendered) []string {
	var list []string
	if was.kind == "Deployment" && is.kind == "Deployment" && !reflect.DeepEqual(was.selector, is.selector) {
		list = append(list, "the selector of Deployment "+is.name+" cannot be changed")
	}
	return list
}

// growing names the claims that must become larger. The controller never asks one
// to shrink or to change its class, so that only this can fail.
func growing(was, is rendered) string {
	for _, name := range slices.Sorted(maps.Keys(is.claims)) {
		before, ok := was.claims[name]
		if now := is.claims[name]; ok && now.storage.Cmp(before.storage) > 0 {
			return fmt.Sprintf("claim %s must grow from %s to %s", name, before.storage.String(), now.storage.String())
		}
	}
	return ""
}

// sameObjects says whether both revisions render to the same.
func sameObjects(was, is rendered) bool {
	return slices.EqualFunc(was.objects, is.objects, func(a, b *unstructured.Unstructured) bool {
		return reflect.DeepEqual(a.Object, b.Object)
	})
}
