// SPDX-License-Identifier: Apache-2.0

package nodepool

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	kubefake "sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// TestPodsOfANodeAreListedOnce: pools that are Ready on one node share a list of its pods,
// as they need at a start; what decides anything is read anew.
func TestPodsOfANodeAreListedOnce(t *testing.T) {
	type look struct {
		pool  string
		node  string
		is    string // version of the node
		after time.Duration
		waits bool // the pool is not Ready
		fails bool
	}
	for name, c := range map[string]struct {
		reason string
		looks  []look
		want   int
	}{
		"Start":        {"Each pool of the node is looked at.", []look{{pool: "a"}, {pool: "b"}, {pool: "c"}}, 1},
		"OtherNode":    {"Another node has other pods.", []look{{pool: "a"}, {pool: "b", node: "n2"}}, 2},
		"Changed":      {"A pool that was woken by a change of the node looks at it as it is.", []look{{pool: "a", is: "1"}, {pool: "b", is: "2"}}, 2},
		"Again":        {"A pool that is looked at again has a reason.", []look{{pool: "a"}, {pool: "b"}, {pool: "b"}}, 2},
		"Waits":        {"A pool that waits for GPUs sees who has them now.", []look{{pool: "a"}, {pool: "b", waits: true}}, 2},
		"AfterWaiting": {"What that one saw is as new.", []look{{pool: "a", waits: true}, {pool: "b"}}, 1},
		"Later":        {"Some seconds later there may be others.", []look{{pool: "a"}, {pool: "b", after: sharedFor}}, 2},
		"Failed":       {"What could not be listed is listed by the next.", []look{{pool: "a", fails: true}, {pool: "b"}}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			lists, fails, now := 0, false, time.Unix(1e9, 0)
			r := &Reconciler{Live: interceptor.NewClient(kubefake.NewClientBuilder().Build(), interceptor.Funcs{
				List: func(context.Context, client.WithWatch, client.ObjectList, ...client.ListOption) error {
					lists++
					if fails {
						return errors.New("the API server is away")
					}
					return nil
				},
			}), Deps: Deps{Clock: func() time.Time { return now }}}
			for _, l := range c.looks {
				now, fails = now.Add(l.after), l.fails
				p := &pass{now: now, pool: gpuPool(l.pool, t4)}
				if p.pool.Status.ObservedGeneration = 1; !l.waits {
					p.pool.Status.Phase = v1alpha1.PhaseReady
				}
				if _, err := r.podsOn(t.Context(), p, nodeAt(l.node, l.is)); (err != nil) != l.fails {
					t.Fatal(err)
				}
			}
			if lists != c.want {
				t.Errorf("%s\nlisted %d times, want %d", c.reason, lists, c.want)
			}
		})
	}
}

func nodeAt(name, version string) *corev1.Node {
	return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, ResourceVersion: version}}
}

// TestPodsAreWaitedFor: who comes while the pods of a node are being listed waits for them.
func TestPodsAreWaitedFor(t *testing.T) {
	begun, answer := make(chan struct{}, 2), make(chan struct{})
	r := &Reconciler{Live: interceptor.NewClient(kubefake.NewClientBuilder().Build(), interceptor.Funcs{
		List: func(_ context.Context, _ client.WithWatch, into client.ObjectList, _ ...client.ListOption) error {
			begun <- struct{}{}
			<-answer
			into.(*corev1.PodList).Items = make([]corev1.Pod, 3)
			return nil
		},
	}), Deps: Deps{Clock: time.Now}}
	var beside sync.WaitGroup
	ask := func(name string) {
		p := &pass{now: time.Unix(1e9, 0), pool: gpuPool(name, t4)}
		p.pool.Status.Phase, p.pool.Status.ObservedGeneration = v1alpha1.PhaseReady, 1
		beside.Go(func() {
			if pods, err := r.podsOn(t.Context(), p, nodeAt("n", "1")); err != nil || len(pods) != 3 {
				t.Errorf("%s: %d pods, %v", name, len(pods), err)
			}
		})
	}
	ask("a")
	<-begun
	ask("b")
	close(answer)
	beside.Wait()
	if len(begun) != 0 {
		t.Error("they were listed twice")
	}
}
