// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"cmp"
	"fmt"
	"maps"
	"path"
	"reflect"
	"slices"
	"strings"

	"github.com/espalier-dev/espalier/render/desired"
	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// pools compares the GPUNodePools that Git declares.
func (c *comparer) pools() {
	before, after := poolsOf(c.base.State), poolsOf(c.head.State)
	for _, name := range union(before, after) {
		from, was := before[name]
		to, is := after[name]
		if !is {
			to = from
		}
		ch := Change{
			Kind: v1alpha1.GPUNodePoolKind, Namespace: to.Pool.Namespace, Name: to.Pool.Name, Words: []string{}, Quota: noQuota,
		}
		ch.File, ch.Line = at(to, "")
		if was {
			ch.Price.Before = poolAmount(from.Pool, c.base.State.Region)
		}
		if is {
			ch.Price.After = poolAmount(to.Pool, c.head.State.Region)
		}
		changes := !was || !is || !reflect.DeepEqual(from.Pool.Spec, to.Pool.Spec)
		switch {
		case !changes:
		case !was:
			ch.Words = declared(to.Pool.Spec)
			ch.Effect = Effect{Kind: Created, Message: poolBought(&to.Pool.Spec)}
		case !is:
			c.poolDeleted(&ch, from)
		default:
			c.poolChanged(&ch, from, to)
		}
		if changes {
			c.plan.Changes = append(c.plan.Changes, ch)
		}
		c.plan.Summary.Monthly.add(ch.Price.Before, ch.Price.After, changes)
	}
}

// declared says what a new pool is.
func declared(s v1alpha1.GPUNodePoolSpec) []string {
	w := append([]string{"declared: " + poolWords(readSpec(&s))}, aksWords(s)...)
	if s.Driver != "" {
		w = append(w, "driver "+s.Driver+" or newer")
	}
	if idle := idleWords(s.Idle); idle != kept {
		w = append(w, "unused nodes are "+idle)
	}
	return w
}

func poolsOf(s desired.State) map[string]desired.Document {
	index := map[string]desired.Document{}
	for _, d := range s.Documents {
		if d.Pool != nil && !d.Collides {
			index[d.Pool.Namespace+"/"+d.Pool.Name] = d
		}
	}
	return index
}

// readSpec reads a declared pool as a rendered one is read.
func readSpec(s *v1alpha1.GPUNodePoolSpec) *pool {
	least, most := s.Nodes()
	p := &pool{provider: string(s.Provider), labels: s.NodeLabels, replicas: int64(most)}
	if s.Autoscale() != nil {
		p.between, p.autoscaler = fmt.Sprintf("%d to %d", least, most), s.Autoscaler()
	}
	for _, c := range s.Candidates {
		priority := c.Priority
		if priority == "" {
			priority = v1alpha1.OnDemand
		}
		p.candidates = append(p.candidates, candidate{c.InstanceType, string(priority), joined(slices.Sorted(slices.Values(c.Zones)))})
	}
	return p
}

// unbudgeted are the pools that come to cost more, where the RepoSync limits what an hour of
// a Workspace costs.
func (c *comparer) unbudgeted() (pools []string, limit string) {
	sync := c.head.Sync
	if sync == nil || sync.Spec.Defaults == nil || sync.Spec.Defaults.Budget == nil {
		return nil, ""
	}
	if limit = sync.Spec.Defaults.Budget.MaxUSDPerHour; limit == "" {
		return nil, ""
	}
	for _, ch := range c.plan.Changes {
		was, is := ch.Price.Before, ch.Price.After
		if ch.Kind == v1alpha1.GPUNodePoolKind && is != nil && (was == nil || is.USDPerHour > was.USDPerHour) {
			pools = append(pools, ch.Name)
		}
	}
	return pools, limit
}

// poolBought says when the nodes of a new pool are bought.
func poolBought(s *v1alpha1.GPUNodePoolSpec) string {
	bought := rendered{pool: readSpec(s)}.nodesWanted()
	switch {
	case s.Autoscale() != nil:
		return bought
	case s.Idle == nil:
		return bought + ", whether or not a Workspace uses them"
	}
	return bought + " when a Workspace names the pool"
}

// kept is what becomes of nodes that nobody uses, unless the spec says otherwise.
const kept = "kept"

func orPlain(words []string) string {
	if len(words) == 0 {
		return "as AKS makes them"
	}
	return joined(words)
}

// idleWords says what becomes of nodes that nobody uses.
func idleWords(i *v1alpha1.PoolIdle) string {
	switch {
	case i == nil:
		return kept
	case i.Action == v1alpha1.IdleDelete:
		return "given back after " + i.After.Duration.String() + ", with their node pool"
	}
	return "given back after " + i.After.Duration.String()
}

func poolWords(p *pool) string {
	var names []string
	for _, c := range p.candidates {
		names = append(names, c.String())
	}
	return fmt.Sprintf("%s of %s", p.nodes(), strings.Join(names, ", then "))
}

// users names the Workspaces of a state that share a pool.
func users(s desired.State, name string) (all []string, services bool) {
	for _, w := range s.Workspaces {
		if w.Workspace.Spec.Resource.NodePool == name {
			all = append(all, w.Workspace.Name)
			services = services || w.Workspace.Spec.Inference != nil
		}
	}
	return all, services
}

func (c *comparer) poolDeleted(ch *Change, from desired.Document) {
	ch.Words = []string{"removed"}
	ch.Effect = c.fates.of(from)
	if ch.Effect.Kind != Deleted {
		ch.Price.After = ch.Price.Before
		return
	}
	ch.Effect.Message = "the nodes are given back, once no pod of others runs on them"
	if from.Pool.Spec.Provider == v1alpha1.ProviderExisting {
		ch.Effect.Message = "the nodes exist without it and stay"
	}
	if left, services := users(c.head.State, ch.Name); len(left) > 0 {
		ch.Effect.Downtime = services
		ch.Effect.Message += "; Workspaces that still name it lose their nodes: " + joined(left)
	}
	c.warn(PoolDeleted, from, "", "GPUNodePool %s is deleted: %s", ch.Name, ch.Effect.Message)
}

func (c *comparer) poolChanged(ch *Change, from, to desired.Document) {
	was, is := readSpec(&from.Pool.Spec), readSpec(&to.Pool.Spec)
	var w words
	w.change("provider", was.provider, is.provider)
	w.change("nodes", cmp.Or(was.between, fmt.Sprint(was.replicas)), cmp.Or(is.between, fmt.Sprint(is.replicas)))
	if !slices.Equal(was.candidates, is.candidates) {
		w.add("candidates %s → %s", candidatesOf(was), candidatesOf(is))
	}
	w.change("unused nodes", idleWords(from.Pool.Spec.Idle), idleWords(to.Pool.Spec.Idle))
	w.change("empty nodes", emptyWords(from.Pool.Spec), emptyWords(to.Pool.Spec))
	fixed := fixedOf(from.Pool.Spec, to.Pool.Spec)
	w.change("agent pools", orPlain(aksWords(from.Pool.Spec)), orPlain(aksWords(to.Pool.Spec)))
	w.driver(from.Pool.Spec.Driver, to.Pool.Spec.Driver)
	w.change("GPUs of a node", partOf(from.Pool.Spec), partOf(to.Pool.Spec))
	if is.provider == string(v1alpha1.ProviderAKS) && !maps.Equal(from.Pool.Spec.NodeLabels, to.Pool.Spec.NodeLabels) {
		w.add("node labels")
	}
	w = append(w, fixed...)
	fixed = append(fixed, fixedAKS(from.Pool.Spec, to.Pool.Spec)...)
	if len(w) == 0 {
		w.add("settings")
	}
	ch.Words = w
	on, services := users(c.head.State, ch.Name)
	affected := ""
	if len(on) > 0 {
		affected = "; on it are " + joined(on)
	}
	t := transition{was: rendered{pool: was}, is: rendered{pool: is}}
	old, now, moved := t.replaced()
	switch {
	case was.provider != is.provider:
		ch.Effect = Effect{Kind: Refused, Message: "the API server refuses another provider: declare a pool of another name; the pool stays as it is"}
		ch.Price.After = ch.Price.Before
		c.immutable(to, "spec.provider", "the provider of GPUNodePool %s cannot be changed from %s to %s: the API server refuses it; declare a pool of another name, and move the Workspaces to it", ch.Name, was.provider, is.provider)
	case c.filled(ch, from, to, affected):
	case moved:
		ch.Effect = Effect{Kind: Replaced, Downtime: services, Message: fmt.Sprintf("the nodes of %s are given back first, then %s is requested%s%s", old, now, affected, failing(services))}
		c.warn(NodesReplaced, to, "spec.candidates", "GPUNodePool %s gets other nodes: the old ones go first%s", ch.Name, affected)
	case len(fixed) > 0 && bought(is.provider):
		ch.Effect = Effect{Kind: Configured, Message: "nodes that exist keep their " + joined(fixed) + ": the pool says Drifted until it is replaced" + affected}
		c.dangers = append(c.dangers, finding.Warningf(ImmutableChanged, "",
			"%s: nodes that exist keep their %s, which no cloud changes in place: declare a pool of another name and move the Workspaces to it, or delete this one to have it made anew", ch.Name, joined(fixed)).At(placeOf(to, "spec"), objectOf(to)))
	case was.nodes() != is.nodes():
		ch.Effect = Effect{Kind: Scales, Message: fmt.Sprintf("%s → %s%s%s", cmp.Or(was.between, fmt.Sprint(was.replicas)), is.nodes(), counting(was, is)+keptLabels(from.Pool.Spec, to.Pool.Spec), affected)}
	default:
		ch.Effect = Effect{Kind: Configured, Message: "no node is replaced" + keptLabels(from.Pool.Spec, to.Pool.Spec) + affected}
	}
}

// counting says who decides on the number of nodes from now on.
func counting(was, is *pool) string {
	switch {
	case is.between != "":
		return ", as pods need them: " + is.autoscaler + " decides"
	case was.between != "":
		return ", from as many as there are: the autoscaler is turned off first"
	}
	return ""
}

// keptLabels says that a label which is no longer listed stays on nodes that exist.
func keptLabels(was, is v1alpha1.GPUNodePoolSpec) string {
	for k := range was.NodeLabels {
		if _, listed := is.NodeLabels[k]; !listed && bought(string(is.Provider)) {
			return "; labels that are no longer listed stay on nodes that exist"
		}
	}
	return ""
}

func failing(services bool) string {
	if services {
		return ", and requests fail meanwhile"
	}
	return ""
}

func candidatesOf(p *pool) string {
	var names []string
	for _, c := range p.candidates {
		names = append(names, c.String())
	}
	return strings.Join(names, ", then ")
}

// fixedOf names what a cloud cannot change on nodes that exist.
func fixedOf(was, is v1alpha1.GPUNodePoolSpec) []string {
	var names []string
	if was.OSDiskSizeGiB != is.OSDiskSizeGiB {
		names = append(names, "system disk")
	}
	if !maps.Equal(was.NodeLabels, is.NodeLabels) && is.Provider != v1alpha1.ProviderAKS { // AKS changes them in place
		names = append(names, "node labels")
	}
	if !reflect.DeepEqual(classOf(was), classOf(is)) {
		names = append(names, "node class")
	}
	return names
}

// fixedAKS names likewise what only agent pools have.
func fixedAKS(was, is v1alpha1.GPUNodePoolSpec) []string {
	var names []string
	a, b := aksOf(was), aksOf(is)
	for _, f := range []struct {
		name    string
		differs bool
	}{
		{"kind of system disk", a.OSDiskType != b.OSDiskType}, {"GPU driver", a.GPUDriver != b.GPUDriver}, {"MIG slices", a.MIG != b.MIG},
		{"capacity reservation", a.CapacityReservationGroup != b.CapacityReservationGroup},
	} {
		if f.differs {
			names = append(names, f.name)
		}
	}
	return names
}

func aksOf(s v1alpha1.GPUNodePoolSpec) v1alpha1.AKSSpec {
	if s.AKS == nil {
		return v1alpha1.AKSSpec{}
	}
	return *s.AKS
}

// aksWords say what the agent pools of a spec have that others have not.
func aksWords(s v1alpha1.GPUNodePoolSpec) []string {
	a := aksOf(s)
	var w []string
	if a.OSDiskType != "" {
		w = append(w, fmt.Sprintf("system disk %s, %d GiB", a.OSDiskType, s.OSDiskSizeGiB))
	}
	if a.GPUDriver == v1alpha1.DriverNone {
		w = append(w, "no GPU driver of AKS")
	}
	if a.MIG != "" {
		w = append(w, "GPUs in slices of "+string(a.MIG))
	}
	if a.CapacityReservationGroup != "" {
		w = append(w, "from capacity reservations "+path.Base(a.CapacityReservationGroup))
	}
	if a.Upgrade != nil {
		set := a.Upgrade.Settings()
		w = append(w, fmt.Sprintf("upgraded with maxSurge %s, maxUnavailable %s", set.MaxSurge, set.MaxUnavailable))
	}
	return w
}

// bought says that a provider makes the nodes, and cannot change some of what
// they are once they exist.
func bought(provider string) bool { return provider != string(v1alpha1.ProviderExisting) }
