// SPDX-License-Identifier: Apache-2.0

package reposync

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

// fleetOf is n ConfigMaps and n Workspaces.
func fleetOf(n int) fstest.MapFS {
	files := fstest.MapFS{}
	for i := range n {
		files[fmt.Sprintf("w%02d.yaml", i)] = workspaceFile(fmt.Sprintf("w%02d", i))
		files[fmt.Sprintf("c%02d.yaml", i)] = &fstest.MapFile{Data: fmt.Appendf(nil, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c%02d}\n", i)}
	}
	return files
}

func TestAppliedBesideEachOther(t *testing.T) {
	const n = 2 * appliers
	var mu sync.Mutex
	var written []string
	together := make(chan struct{}) // closed once as many as may be are on their way
	waiting := 0
	r := newReconciler(t, interceptor.Funcs{
		Apply: func(ctx context.Context, c client.WithWatch, o runtime.ApplyConfiguration, opts ...client.ApplyOption) error {
			mu.Lock()
			written = append(written, o.(interface{ GetName() string }).GetName())
			if waiting++; waiting == appliers {
				close(together)
			}
			mu.Unlock()
			select {
			case <-together:
			case <-ctx.Done():
				return ctx.Err()
			}
			return c.Apply(ctx, o, opts...)
		},
	})
	p := passOf(team(), assembleTree(t, team(), fleetOf(n)))
	if err := r.applyAll(t.Context(), p.in(r)); err != nil {
		t.Fatal(err)
	}
	if len(written) != 2*n || len(p.kept.applied) != 2*n {
		t.Fatalf("%d objects were written and %d noted, want %d: %v", len(written), len(p.kept.applied), 2*n, written)
	}
	for i, name := range written {
		if isInput := strings.HasPrefix(name, "c"); isInput != (i < n) {
			t.Fatalf("inputs come before the Workspaces that name them: %v", written)
		}
	}
}

func TestWhatIsRefusedIsToldInOrder(t *testing.T) {
	kind := schema.GroupKind{Kind: "ConfigMap"}
	for name, c := range map[string]struct {
		reason string
		err    func(object string) error
		told   int
		failed bool
	}{
		"Refused": {
			"An object that the API server refuses holds up no other, and the message is the same in every pass.",
			func(object string) error { return apierrors.NewInvalid(kind, object, nil) }, 12, false,
		},
		"Failed": {
			"One that fails for now is tried again, and holds up no other.",
			func(object string) error { return errors.New("the network is down at " + object) }, 0, true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newReconciler(t, interceptor.Funcs{
				Apply: func(ctx context.Context, w client.WithWatch, o runtime.ApplyConfiguration, opts ...client.ApplyOption) error {
					if object := o.(interface{ GetName() string }).GetName(); strings.HasPrefix(object, "c") {
						return c.err(object)
					}
					return w.Apply(ctx, o, opts...)
				},
			})
			p := passOf(team(), assembleTree(t, team(), fleetOf(12)))
			err := r.applyAll(t.Context(), p.in(r))
			if (err != nil) != c.failed || len(p.refusals) != c.told || !slices.IsSorted(p.refusals) {
				t.Errorf("%s\ngot %v and %v", c.reason, err, p.refusals)
			}
			if lines := strings.Split(fmt.Sprint(err), "\n"); c.failed && (len(lines) != 12 || !slices.IsSorted(lines)) {
				t.Errorf("%s\ngot %v", c.reason, err)
			}
			if len(p.kept.applied) != 12 {
				t.Errorf("%s\n%d Workspaces were applied, want 12", c.reason, len(p.kept.applied))
			}
		})
	}
}

// controller-runtime catches a panic of a pass, and of no goroutine that a pass starts:
// one object would end the process, over and over.
func TestPanicOfOneObject(t *testing.T) {
	r := newReconciler(t, interceptor.Funcs{
		Apply: func(ctx context.Context, w client.WithWatch, o runtime.ApplyConfiguration, opts ...client.ApplyOption) error {
			if o.(interface{ GetName() string }).GetName() == "c03" {
				panic("index out of range")
			}
			return w.Apply(ctx, o, opts...)
		},
	})
	p := passOf(team(), assembleTree(t, team(), fleetOf(12)))
	err := r.applyAll(t.Context(), p.in(r))
	if err == nil || !strings.Contains(err.Error(), "c03") || len(p.kept.applied) != 23 {
		t.Errorf("got %v, and %d objects were applied, want 23", err, len(p.kept.applied))
	}
}
