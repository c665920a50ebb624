// SPDX-License-Identifier: Apache-2.0

// Package karpenter tests Espalier against the real Karpenter: its core, built
// from its Go module, with its own cloud of simulated nodes, on a real API
// server. `make e2e-karpenter` builds and runs it; where Karpenter is not built,
// these tests are skipped.
package karpenter

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/reconciler/condition"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/cluster"
	"github.com/espalier-dev/espalier/test/harness"
)

// patience bounds every wait: it is only used up when something is broken.
const patience = 2 * time.Minute

// t4 and h100 are the sizes that the simulated cloud has; a100 it does not.
const (
	t4   = "Standard_NC4as_T4_v3"
	a100 = "Standard_NC24ads_A100_v4"
	h100 = "Standard_NC40ads_H100_v5"
)

var stand struct {
	once sync.Once
	*harness.Stand
	err error
}

func TestMain(m *testing.M) {
	code := m.Run()
	os.Exit(harness.Ended(stand.Stand, code))
}

func theStand(t *testing.T) *harness.Stand {
	t.Helper()
	bin, err := cluster.DefaultBin()
	if err != nil {
		t.Fatal(err)
	}
	if err := cluster.MissingKarpenter(bin); err != nil {
		t.Skip(err)
	}
	stand.once.Do(func() { stand.Stand, stand.err = start(context.Background()) })
	if stand.err != nil {
		t.Fatal(stand.err)
	}
	t.Cleanup(func() {
		if !t.Failed() {
			return
		}
		seen, err := stand.Cluster.Kubectl(context.Background(), "get", "gpunodepools,nodepools,nodeclaims,nodes", "-A", "-o", "wide")
		t.Logf("what is there (%v):\n%s", err, seen)
		for _, name := range []string{stand.ControllerLog(), filepath.Join(stand.Cluster.Dir, "karpenter.log")} {
			log, _ := os.ReadFile(name)
			t.Logf("%s:\n%s", filepath.Base(name), log[max(0, len(log)-6000):])
		}
	})
	return stand.Stand
}

func start(ctx context.Context) (*harness.Stand, error) {
	s, err := harness.Start(ctx, harness.Options{
		JobDuration: time.Second, PollInterval: 500 * time.Millisecond, Out: os.Stderr,
		Provider: []string{"--provider", "karpenter", "--karpenter-node-class", harness.KarpenterClass},
		Roles:    []string{"rbac/karpenter"},
	})
	if err != nil {
		return nil, err
	}
	err = s.StartKarpenter(ctx,
		cluster.InstanceType{Name: t4, CPU: 4, MemoryGiB: 28, GPUs: 1, Zone: "westeurope-1", USD: 0.5},
		cluster.InstanceType{Name: h100, CPU: 40, MemoryGiB: 320, GPUs: 1, Zone: "westeurope-1", USD: 7},
	)
	if err != nil {
		return s, err
	}
	return s, s.StartController(ctx)
}

func patient(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func namespace(t *testing.T, s *harness.Stand, name string) {
	t.Helper()
	if err := s.Client.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}); err != nil {
		t.Fatal(err)
	}
}

// objects are what Karpenter has for a pool.
func objects(t *testing.T, s *harness.Stand, kind string, uid string) []unstructured.Unstructured {
	t.Helper()
	list, err := s.OfKarpenter(t.Context(), kind, map[string]string{"espalier.dev/owner-uid": uid})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// TestWorkspace: a Workspace whose first candidate Karpenter cannot launch gets
// the second, serves on it, and gives everything back.
func TestWorkspace(t *testing.T) {
	s := theStand(t)
	namespace(t, s, "serve")
	w := &v1alpha1.Workspace{
		ObjectMeta: metav1.ObjectMeta{Namespace: "serve", Name: "qwen"},
		Spec: v1alpha1.WorkspaceSpec{
			Resource:  v1alpha1.ResourceSpec{Candidates: []v1alpha1.Candidate{{InstanceType: a100}, {InstanceType: t4, Zones: []string{"1"}}}},
			Inference: &v1alpha1.InferenceSpec{ModelRef: v1alpha1.ModelRef{Preset: "qwen3-8b-awq"}},
		},
	}
	if err := s.Client.Create(t.Context(), w); err != nil {
		t.Fatal(err)
	}
	if err := harness.Until(patient(t), s, w, "Ready", func(w *v1alpha1.Workspace) bool { return condition.Is(w, v1alpha1.ConditionReady) }); err != nil {
		t.Fatal(err)
	}
	pool := &v1alpha1.GPUNodePool{}
	if err := s.Client.Get(t.Context(), client.ObjectKeyFromObject(w), pool); err != nil {
		t.Fatal(err)
	}
	st := pool.Status
	if st.Candidate == nil || st.Candidate.InstanceType != t4 || st.Candidate.Attempt != 2 || st.USDPerHour == "" {
		t.Errorf("the second candidate has a price: %+v", st)
	}
	if len(st.Skipped) != 1 || st.Skipped[0].Class != "CandidateRefused" || !strings.Contains(st.Skipped[0].Message, "instance type not found") {
		t.Errorf("the first is skipped, with what Karpenter said: %+v", st.Skipped)
	}
	claims, pools := objects(t, s, "NodeClaim", string(pool.UID)), objects(t, s, "NodePool", string(pool.UID))
	if len(claims) != 1 || len(pools) != 1 || pools[0].GetName() != st.PoolName {
		t.Errorf("%d NodeClaims and %d NodePools, want one of each: what failed is cleaned up", len(claims), len(pools))
	}
	if err := s.Client.Delete(t.Context(), w); err != nil {
		t.Fatal(err)
	}
	if err := harness.Gone(patient(t), s, w); err != nil {
		t.Fatal(err)
	}
	left := len(objects(t, s, "NodeClaim", string(pool.UID))) + len(objects(t, s, "NodePool", string(pool.UID)))
	if left > 0 {
		t.Errorf("%d objects are left over", left)
	}
	gone(t, s, string(pool.UID))
}

func gone(t *testing.T, s *harness.Stand, uid string) {
	t.Helper()
	if left := objects(t, s, "Node", uid); len(left) > 0 {
		t.Errorf("%d nodes are left over", len(left))
	}
}

func declared(ns, name string, replicas int32) *v1alpha1.GPUNodePool {
	return &v1alpha1.GPUNodePool{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name},
		Spec: v1alpha1.GPUNodePoolSpec{
			Provider: v1alpha1.ProviderKarpenter, Candidates: []v1alpha1.Candidate{{InstanceType: t4, Priority: v1alpha1.Spot}}, Replicas: &replicas,
		},
	}
}

func usable(n int32) func(*v1alpha1.GPUNodePool) bool {
	return func(p *v1alpha1.GPUNodePool) bool {
		return condition.Is(p, v1alpha1.ConditionReady) && p.Status.ReadyNodes == n && p.Status.ObservedGeneration == p.Generation
	}
}

// TestShared: a declared pool of spot nodes survives the loss of one and of the
// controller, scales, and is not taken from under somebody's pod.
func TestShared(t *testing.T) {
	s := theStand(t)
	namespace(t, s, "shared")
	p := declared("shared", "t4", 2)
	if err := s.Client.Create(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if err := harness.Until(patient(t), s, p, "Ready with 2 nodes", usable(2)); err != nil {
		t.Fatal(err)
	}
	claims := objects(t, s, "NodeClaim", string(p.UID))
	if len(claims) != 2 || claims[0].GetLabels()["karpenter.sh/capacity-type"] != "spot" {
		t.Fatalf("want two spot NodeClaims, got %v", claims)
	}

	if err := s.KillController(); err != nil {
		t.Fatal(err)
	}
	if err := s.Client.Delete(t.Context(), &claims[0]); err != nil { // as an eviction does
		t.Fatal(err)
	}
	if err := s.StartController(patient(t)); err != nil {
		t.Fatal(err)
	}
	err := harness.Until(patient(t), s, p, "Ready with another node", func(p *v1alpha1.GPUNodePool) bool {
		return usable(2)(p) && !has(objects(t, s, "NodeClaim", string(p.UID)), claims[0].GetUID())
	})
	if err != nil {
		t.Fatal(err)
	}
	scale(t, s, p, 1)
	blocked(t, s, p)
}

func has(list []unstructured.Unstructured, uid any) bool {
	for i := range list {
		if any(list[i].GetUID()) == uid {
			return true
		}
	}
	return false
}

func scale(t *testing.T, s *harness.Stand, p *v1alpha1.GPUNodePool, n int32) {
	t.Helper()
	before := p.DeepCopy()
	p.Spec.Replicas = &n
	if err := s.Client.Patch(t.Context(), p, client.MergeFrom(before)); err != nil {
		t.Fatal(err)
	}
	err := harness.Until(patient(t), s, p, "Ready with fewer nodes", func(p *v1alpha1.GPUNodePool) bool {
		return usable(n)(p) && len(objects(t, s, "NodeClaim", string(p.UID))) == int(n)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// blocked deletes a pool that somebody's pod runs on: it stays until the pod goes.
func blocked(t *testing.T, s *harness.Stand, p *v1alpha1.GPUNodePool) {
	t.Helper()
	nodes := objects(t, s, "Node", string(p.UID))
	if len(nodes) != 1 {
		t.Fatalf("want one node: %d", len(nodes))
	}
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: p.Namespace, Name: "visitor"},
		Spec: corev1.PodSpec{
			NodeName:   nodes[0].GetName(),
			Containers: []corev1.Container{{Name: "a", Image: "registry.example.com/a:1"}},
		},
	}
	if err := s.Client.Create(t.Context(), pod); err != nil {
		t.Fatal(err)
	}
	if err := s.Client.Delete(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	err := harness.Until(patient(t), s, p, "blocked by the pod", func(p *v1alpha1.GPUNodePool) bool {
		c := condition.Get(p, v1alpha1.ConditionDeletionBlocked)
		return c != nil && strings.Contains(c.Message, "shared/visitor")
	})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(objects(t, s, "NodeClaim", string(p.UID))); n != 1 {
		t.Fatalf("%d NodeClaims, want the one that the pod runs on", n)
	}
	if err := s.Client.Delete(t.Context(), pod); err != nil {
		t.Fatal(err)
	}
	if err := harness.Gone(patient(t), s, p); err != nil {
		t.Fatal(err)
	}
	gone(t, s, string(p.UID))
}

// TestNodeClass: a class that the installation does not allow makes no node, and
// the message says what to do.
func TestNodeClass(t *testing.T) {
	s := theStand(t)
	namespace(t, s, "class")
	p := declared("class", "other", 1)
	p.Spec.Karpenter = &v1alpha1.KarpenterSpec{NodeClassRef: &v1alpha1.NodeClassReference{Group: "karpenter.kwok.sh", Kind: "KWOKNodeClass", Name: "privileged"}}
	if err := s.Client.Create(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	err := harness.Until(patient(t), s, p, "without the class", func(p *v1alpha1.GPUNodePool) bool {
		c := condition.Get(p, v1alpha1.ConditionReady)
		return c != nil && c.Reason == "PrerequisiteMissing" && strings.Contains(c.Message, "--karpenter-node-class")
	})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(objects(t, s, "NodePool", string(p.UID))); n != 0 {
		t.Errorf("%d NodePools were made", n)
	}
}
