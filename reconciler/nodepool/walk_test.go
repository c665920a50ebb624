// SPDX-License-Identifier: Apache-2.0

package nodepool

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/gpu/aks"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/fakearm"
)

var (
	walkSeed  = flag.Uint64("walk.seed", 20261125, "seed of the random walk: the one that a failure printed repeats it")
	walkSteps = flag.Int("walk.steps", 3_000, "steps of the random walk; make nightly takes 10,000")
)

const walkPools = 50

// walk is one world in which things go wrong at random. Its clock is the fake's
// and its chance the seed's: the same seed is the same walk.
type walk struct {
	*world
	rand    *rand.Rand
	names   []string
	life    *life
	r       *Reconciler
	due     map[string]time.Time
	born    int               // objects that were created so far
	users   map[string]string // pools and the Workspace that names each
	stolen  map[string]string // agent pools of which a person changed the tag or the node label of the owner, and what it was
	seen    map[string]int    // faults by name
	watched int               // reconciles
}

// TestWalk: whatever happens to fifty pools, the invariants hold at every step,
// and once it stops the world becomes what is declared.
func TestWalk(t *testing.T) {
	t.Logf("seed %d: go test ./reconciler/nodepool -run TestWalk -walk.seed=%[1]d", *walkSeed)
	w := &walk{
		world: newWorldOf(t, fakearm.Options{
			Background: 3 * time.Second, Limits: true, CreateDelay: 20 * time.Second, GPUDelay: 3 * time.Second, DeleteDelay: 15 * time.Second,
		}), rand: rand.New(rand.NewPCG(*walkSeed, 1)),
		due: map[string]time.Time{}, stolen: map[string]string{}, users: map[string]string{}, seen: map[string]int{},
	}
	w.listSizes()
	w.arm.AddPool("foreign", a100, map[string]string{"team": "b"}, nil)
	w.arm.AddPool("foreign2", t4, map[string]string{aks.TagInstallation: "another", aks.TagOwner: "uid-p1", aks.TagAttempt: "1"}, map[string]string{aks.LabelOwner: "uid-p1"})
	before := w.foreign()
	for i := range walkPools {
		w.names = append(w.names, fmt.Sprintf("p%d", i))
		w.declare(w.names[i])
	}
	w.restart()
	for range *walkSteps {
		w.fault()
		w.tick(time.Duration(1+w.rand.IntN(5)) * time.Second)
	}
	w.calm()
	limit := w.arm.Now().Add(3 * 24 * time.Hour) // the longest that a candidate rests is a day
	for !w.asDeclared() {
		if w.arm.Now().After(limit) {
			t.Fatalf("seed %d: not as declared after the faults stopped: %s", *walkSeed, w.describe(w.unsettled()))
		}
		w.tick(10 * time.Minute)
	}
	if diff := cmp.Diff(before, w.foreign()); diff != "" {
		t.Errorf("foreign pools were touched: %s", diff)
	}
	var faults []string
	for _, name := range slices.Sorted(maps.Keys(w.seen)) {
		faults = append(faults, fmt.Sprintf("%s %d", name, w.seen[name]))
	}
	c := w.arm.Counts()
	t.Logf("%d steps, %d reconciles, %d pools ordered in %s of the fake's time; faults: %s", *walkSteps, w.watched, len(w.arm.Ordered()), w.arm.Now().Sub(time.Date(2026, 1, 5, 9, 0, 0, 0, time.UTC)), strings.Join(faults, ", "))
	t.Logf("requests: LIST %d, GET %d, PUT %d, DELETE %d, REMOVE %d, CLUSTER %d, USAGE %d, SKUS %d", c["LIST"], c["GET"], c["PUT"], c["DELETE"], c["REMOVE"], c["CLUSTER"], c["USAGE"], c["SKUS"])
}

// declare makes an object of a name, with a UID that no other had.
func (w *walk) declare(name string) {
	lists := [][]string{{t4}, {a100, t4}, {h100, a100, t4}, {t4 + "/spot", t4}, {a100 + "/spot", h100}}
	p := gpuPool(name, lists[w.rand.IntN(len(lists))]...)
	p.UID = types.UID(fmt.Sprintf("uid-%s-%d", name, w.born))
	w.born++
	scaledTo(int32(1 + w.rand.IntN(2)))(p)
	w.create(p)
	w.due[name] = w.arm.Now()
}

// restart kills the controller and starts another: nothing but the objects and
// the cloud remembers.
func (w *walk) restart() {
	if w.life != nil {
		w.life.cancel()
	}
	w.life = &life{}
	w.r, _ = w.controller(w.life)
	w.r.Deps.PollInterval, w.r.Deps.IdleInterval = 30*time.Second, 20*time.Minute
}

// tick moves the clock on and reconciles what is due.
func (w *walk) tick(d time.Duration) {
	w.t.Helper()
	w.arm.Advance(d)
	for _, name := range w.names {
		if w.due[name].After(w.arm.Now()) {
			continue
		}
		w.watched++
		res, err := w.r.Reconcile(w.ctx, ctrl.Request{NamespacedName: types.NamespacedName{Namespace: "team-a", Name: name}})
		wait := max(res.RequeueAfter, time.Second)
		if err != nil {
			wait = backoffMin
		}
		w.due[name] = w.arm.Now().Add(wait)
		if w.life.dead {
			w.restart()
		}
	}
	w.invariants()
}

// ours picks an agent pool of ours; nil: there is none.
func (w *walk) ours() *fakearm.Pool {
	pools := slices.DeleteFunc(w.arm.Pools(), func(p fakearm.Pool) bool { return strings.HasPrefix(p.Name, "foreign") })
	if len(pools) == 0 {
		return nil
	}
	return &pools[w.rand.IntN(len(pools))]
}

func (w *walk) one() string { return w.names[w.rand.IntN(len(w.names))] }

// change edits an object that is not being deleted, as a commit does.
func (w *walk) change(name string, edit func(*v1alpha1.GPUNodePool)) {
	p := w.get(name)
	if p == nil || p.DeletionTimestamp != nil {
		return
	}
	edit(p)
	p.Generation++
	if err := w.kube.Update(w.ctx, p); err != nil {
		w.t.Fatal(err)
	}
	w.due[name] = w.arm.Now()
}

// calm ends every fault, and makes good what only a person can.
func (w *walk) calm() {
	w.listSizes()
	for _, size := range []string{t4, a100, h100} {
		w.arm.Allow(size)
		w.arm.SetQuota(hardware[size].Family, 1<<30)
	}
	w.arm.SetQuota(fakearm.QuotaSpot, 1<<30)
	w.arm.Forgive()
	w.arm.NodesJoin(true)
	w.arm.NodesOfferGPUs(true)
	for _, name := range slices.Sorted(maps.Keys(w.users)) {
		if p := w.get(name); p == nil || p.DeletionTimestamp != nil {
			w.usesOf(name) // whoever uses a pool keeps it from going
		}
	}
	for name, uid := range w.stolen {
		w.mark(name, uid)
	}
	w.approve()
	var pods corev1.PodList
	if err := w.kube.List(w.ctx, &pods); err != nil {
		w.t.Fatal(err)
	}
	for i := range pods.Items {
		if err := w.kube.Delete(w.ctx, &pods.Items[i]); err != nil {
			w.t.Fatal(err)
		}
	}
}

// unsettled names the objects that are not as declared yet.
func (w *walk) unsettled() []string {
	var out []string
	for _, name := range w.names {
		p := w.get(name)
		switch {
		case p == nil:
			w.declare(name)
			out = append(out, name)
		case !w.ready(name)() || len(p.Status.Removing) > 0 || p.Status.ReadyNodes != w.wanted(p) && p.Spec.Autoscale() == nil:
			out = append(out, name)
		}
	}
	return out
}

// asDeclared says whether every object has its one agent pool with its machines,
// and the cloud has no other pool of ours.
func (w *walk) asDeclared() bool {
	if len(w.unsettled()) > 0 {
		return false
	}
	cloud := map[string]fakearm.Pool{}
	for _, p := range w.arm.Pools() {
		if !strings.HasPrefix(p.Name, "foreign") {
			cloud[p.Name] = p
		}
	}
	for _, name := range w.names {
		p := w.get(name)
		found, ok := cloud[p.Status.PoolName]
		if !ok && w.wanted(p) == 0 && p.Spec.Autoscale() == nil {
			continue
		}
		if !ok || !w.settledAs(found, p) || found.Tags[aks.TagOwner] != string(p.UID) {
			return false
		}
		delete(cloud, p.Status.PoolName)
	}
	return len(cloud) == 0
}

// fault does one thing that goes wrong, or that somebody does.
func (w *walk) fault() {
	all := w.faults()
	names := slices.Sorted(maps.Keys(all))
	name := names[w.rand.IntN(len(names))]
	if slices.Contains([]string{"quota", "refused", "stockout", "nodes", "gpus", "unlisted"}, name) && w.rand.IntN(12) > 0 {
		name = "nothing" // these make candidates rest for an hour or a day: too many, and nothing is left to go wrong
	}
	w.seen[name]++
	all[name]()
}

func (w *walk) faults() map[string]func() {
	kinds := []string{"LIST", http.MethodGet, http.MethodPut, http.MethodDelete, "REMOVE", "CLUSTER", "USAGE", "SKUS"}
	kind := kinds[w.rand.IntN(len(kinds))]
	sizes := []string{t4, a100, h100}
	size := sizes[w.rand.IntN(len(sizes))]
	once := w.rand.IntN(2) == 0
	return map[string]func(){
		"nothing":  func() {},
		"throttle": func() { w.next(kind, fakearm.Throttled(30*time.Second)) },
		"busy":     func() { w.next([]string{http.MethodPut, http.MethodDelete, "REMOVE"}[w.rand.IntN(3)], fakearm.Busy()) },
		"server": func() {
			w.next(kind, fakearm.Fault{Status: http.StatusServiceUnavailable, Code: "InternalServerError", Message: "down"})
		},
		"cut":  func() { w.next(kind, fakearm.Fault{Cut: true}) },
		"lost": func() { w.next(kind, fakearm.Fault{Lost: true}) },
		"etag": w.etagRace,
		"quota": func() {
			w.arm.SetQuota(hardware[size].Family, []int{0, 48, 96, 1 << 30, 1 << 30, 1 << 30, 1 << 30, 1 << 30}[w.rand.IntN(8)])
		},
		"stockout": func() { w.arm.FailNextCreateAsync(fakearm.AllocationFailed()) },
		"refused": func() {
			w.arm.Allow(size)
			if w.rand.IntN(12) == 0 {
				w.arm.Refuse(size, fakearm.SKUNotAvailable(size))
			}
		},
		"unlisted": func() {
			w.listSizes()
			if w.rand.IntN(20) == 0 {
				w.arm.ListSKU(fakearm.SKU{Name: size, Forbidden: once, Hidden: !once})
			}
		},
		"cluster": func() { w.arm.BeginClusterOperation("Upgrading", time.Duration(w.rand.IntN(20))*time.Second) },
		"nodes":   func() { w.arm.NodesJoin(w.rand.IntN(12) > 0) },
		"gpus":    func() { w.arm.NodesOfferGPUs(w.rand.IntN(12) > 0) },
		"kill":    func() { w.life.killAt, w.life.before = w.life.calls+1+w.rand.IntN(5), once },
		"evict": func() {
			if w.rand.IntN(5) == 0 {
				w.away(w.arm.Evict)
			}
		},
		"deleted": func() {
			if w.rand.IntN(3) == 0 {
				w.away(w.arm.Remove)
			}
		},
		"relabel": w.relabel,
		"commit": func() {
			w.change(w.one(), func(p *v1alpha1.GPUNodePool) { scaledTo(int32(w.rand.IntN(4)))(p) })
		},
		"candidates": func() {
			w.change(w.one(), func(p *v1alpha1.GPUNodePool) {
				p.Spec.Candidates = gpuPool("x", [][]string{{t4}, {a100, t4}, {h100, t4}}[w.rand.IntN(3)]...).Spec.Candidates
			})
		},
		"fewer":      w.fewer,
		"used":       w.uses,
		"idle":       w.idles,
		"dropped":    w.drop,
		"pod":        w.pods,
		"autoscale":  w.autoscales,
		"autoscaler": w.grows,
		"tune":       w.tunes,
	}
}

// next makes the next request of a kind fail, one at a time of each kind.
func (w *walk) next(kind string, f fakearm.Fault) {
	if !w.arm.Waiting(kind) {
		w.arm.FailNext(kind, f)
	}
}

// away lets the cloud, or a person, take machines: what ran on them is not ours
// to answer for.
func (w *walk) away(take func(string)) {
	if p := w.ours(); p != nil {
		w.evicting = true
		take(p.Name)
		w.evicting = false
	}
}

func (w *walk) etagRace() {
	if p := w.ours(); p != nil {
		w.arm.Touch(p.Name)
	}
	w.next([]string{http.MethodPut, http.MethodDelete}[w.rand.IntN(2)], fakearm.Fault{Status: http.StatusPreconditionFailed, Code: "PreconditionFailed", Message: "changed"})
}

// relabel changes a mark of a pool of ours, or changes it back.
func (w *walk) relabel() {
	for _, name := range slices.Sorted(maps.Keys(w.stolen)) {
		w.mark(name, w.stolen[name])
		delete(w.stolen, name)
		return
	}
	p := w.ours()
	if p == nil {
		return
	}
	w.stolen[p.Name] = p.Tags[aks.TagOwner]
	if w.rand.IntN(2) == 0 {
		w.arm.SetTag(p.Name, aks.TagOwner, "somebody")
		return
	}
	w.label(p.Name, "somebody")
}

// mark gives a pool both marks of an owner.
func (w *walk) mark(name, uid string) {
	w.arm.SetTag(name, aks.TagOwner, uid)
	w.label(name, uid)
}

// label changes the node label that names the owner of a pool.
func (w *walk) label(name, uid string) {
	for _, p := range w.arm.Pools() {
		if p.Name != name {
			continue
		}
		labels := map[string]any{}
		for k, v := range p.Labels {
			labels[k] = v
		}
		labels[aks.LabelOwner] = uid
		w.arm.SetProperty(name, "nodeLabels", labels)
	}
}

// drop deletes an object, as a commit that no longer has it does, or declares
// one that is gone again.
func (w *walk) drop() {
	name := w.one()
	switch p := w.get(name); {
	case p == nil:
		w.declare(name)
	case w.rand.IntN(2) == 0:
		if err := w.kube.Delete(w.ctx, p); client.IgnoreNotFound(err) != nil {
			w.t.Fatal(err)
		}
		w.due[name] = w.arm.Now()
	}
}

// pods starts work on a node, or ends some.
func (w *walk) pods() {
	var pods corev1.PodList
	if err := w.kube.List(w.ctx, &pods); err != nil {
		w.t.Fatal(err)
	}
	if n := len(pods.Items); n > 10 {
		if err := w.kube.Delete(w.ctx, &pods.Items[w.rand.IntN(n)]); err != nil {
			w.t.Fatal(err)
		}
		return
	}
	if nodes := w.nodes(); len(nodes) > 0 {
		name := nodes[w.rand.IntN(len(nodes))]
		if w.node(name).Spec.Unschedulable {
			return
		}
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "team-a", Name: fmt.Sprintf("foreign-%d", w.born)}}
		w.born++
		p.Spec.NodeName, p.Status.Phase = name, corev1.PodRunning
		w.create(p)
	}
}
