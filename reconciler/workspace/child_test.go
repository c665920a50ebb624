// SPDX-License-Identifier: Apache-2.0

package workspace

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	kubefake "sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/yaml"

	"github.com/espalier-dev/espalier/reconciler/fault"
	"github.com/espalier-dev/espalier/reconciler/slim"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

const (
	wantedDeployment = `{apiVersion: apps/v1, kind: Deployment, metadata: {name: phi, labels: {app: phi}},
  spec: {replicas: 1, selector: {matchLabels: {app: phi}}, template: {metadata: {labels: {app: phi}}, spec: {containers: [{name: vllm, image: "example.com/vllm:1"}]}}}}`
	wantedPool = `{apiVersion: espalier.dev/v1alpha1, kind: GPUNodePool, metadata: {name: phi, labels: {app: phi}},
  spec: {provider: aks, replicas: 1, candidates: [{instanceType: Standard_NC24ads_A100_v4, priority: onDemand}]}}`
	wantedService = `{apiVersion: v1, kind: Service, metadata: {name: phi, labels: {app: phi}}, spec: {ports: [{port: 80, targetPort: http}], selector: {app: phi}}}`
)

// TestUnchangedChildIsNotWritten: a child is written when it differs from what is
// rendered, and not otherwise, whether this life of the controller wrote it or the
// one before.
func TestUnchangedChildIsNotWritten(t *testing.T) {
	for name, c := range map[string]struct {
		reason  string
		wanted  string
		patch   string // by hand
		later   string // what is rendered then; "": the same
		written bool
	}{
		"Deployment":      {"Nothing has changed.", wantedDeployment, "", "", false},
		"Pool":            {"Nothing has changed.", wantedPool, "", "", false},
		"PoolChanged":     {"A change by hand is written, or is a conflict.", wantedPool, `{"spec":{"replicas":2}}`, "", true},
		"Service":         {"Nothing has changed.", wantedService, "", "", false},
		"OtherImage":      {"A change by hand is written, or is a conflict.", wantedDeployment, `{"spec":{"template":{"spec":{"containers":[{"name":"vllm","image":"example.com/vllm:2"}]}}}}`, "", true},
		"ServiceChanged":  {"So is one of what is watched by its metadata.", wantedService, `{"spec":{"selector":{"app":"other"}}}`, "", true},
		"LabelGone":       {"Labels are part of it.", wantedService, `{"metadata":{"labels":{"app":null}}}`, "", true},
		"OwnerGone":       {"Without its owner it would stay for ever.", wantedService, `{"metadata":{"ownerReferences":null}}`, "", true},
		"RenderedAnother": {"Another rendering is written.", wantedService, "", `{apiVersion: v1, kind: Service, metadata: {name: phi, labels: {app: phi}}, spec: {ports: [{port: 81, targetPort: http}], selector: {app: phi}}}`, true},
	} {
		for _, restarted := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				wrote, read := 0, 0
				r := New(Deps{Clock: time.Now})
				scheme := runtime.NewScheme()
				if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
					t.Fatal(err)
				}
				fake := kubefake.NewClientBuilder().WithScheme(scheme).WithInterceptorFuncs(interceptor.Funcs{
					Apply: func(ctx context.Context, c client.WithWatch, o runtime.ApplyConfiguration, opts ...client.ApplyOption) error {
						wrote++
						return c.Apply(ctx, o, opts...)
					},
				}).Build()
				r.Client, r.Reader = slimmed(fake), interceptor.NewClient(fake, interceptor.Funcs{
					Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, into client.Object, opts ...client.GetOption) error {
						read++
						return c.Get(ctx, key, into, opts...)
					},
				})
				ws := &v1alpha1.Workspace{ObjectMeta: metav1.ObjectMeta{Namespace: "models", Name: "phi", UID: "uid-1"}}
				if _, err := r.applyChild(t.Context(), ws, parsed(t, c.wanted)); err != nil {
					t.Fatal(err)
				}
				if c.patch != "" {
					live := parsed(t, c.wanted)
					live.SetNamespace("models")
					if err := fake.Patch(t.Context(), live, client.RawPatch("application/merge-patch+json", []byte(c.patch))); err != nil {
						t.Fatal(err)
					}
				}
				if restarted {
					r.known.of = nil
				}
				wanted := c.wanted
				if c.later != "" {
					wanted = c.later
				}
				wrote, read = 0, 0
				_, err := r.applyChild(t.Context(), ws, parsed(t, wanted))
				if refused := c.patch != "" && err != nil; err != nil && !refused { // somebody else's field, or owner
					t.Fatal(err)
				}
				if (wrote > 0 || err != nil) != c.written {
					t.Errorf("%s\nrestarted %v: %d writes, %v", c.reason, restarted, wrote, err)
				}
				if kind := parsed(t, c.wanted).GetKind(); !c.written && (read > 0) != (restarted && kind != v1alpha1.GPUNodePoolKind) {
					t.Errorf("restarted %v: %d reads past the cache of a %s that is as it was: want one after a start where the cache has parts alone", restarted, read, kind)
				}
			})
		}
	}
}

// TestWorkspaceAgain: a Workspace that was deleted comes back before the garbage collector
// has taken what the first one of its name has left, or where it never does.
func TestWorkspaceAgain(t *testing.T) {
	const owner = `{apiVersion: API, kind: KIND, name: NAME, uid: uid-1, controller: true}`
	for name, c := range map[string]struct {
		reason          string
		api, kind, name string // of who owns what is there
		refused         bool
	}{
		"OfThatName":     {"Nobody else has a Workspace of that name: it is ours.", "espalier.dev/v1alpha1", "Workspace", "phi", false},
		"OlderVersion":   {"The kind is the same in each version of the API.", "espalier.dev/v1alpha0", "Workspace", "phi", false},
		"OfAnotherName":  {"Another Workspace has a child of that name.", "espalier.dev/v1alpha1", "Workspace", "mistral", true},
		"OfAnotherGroup": {"KAITO has a kind of that name.", "kaito.sh/v1beta1", "Workspace", "phi", true},
		"OfAnotherKind":  {"A Deployment of that name is somebody's.", "apps/v1", "Deployment", "phi", true},
	} {
		t.Run(name, func(t *testing.T) {
			r, fake := withChildren(t)
			there := parsed(t, wantedService)
			there.SetNamespace("models")
			said := strings.NewReplacer("API", c.api, "KIND", c.kind, "NAME", c.name).Replace(owner)
			there.SetOwnerReferences([]metav1.OwnerReference{ownerReference(t, said)})
			if err := fake.Apply(t.Context(), client.ApplyConfigurationFromUnstructured(there), client.FieldOwner(repolayout.FieldManager)); err != nil {
				t.Fatal(err)
			}
			ws := &v1alpha1.Workspace{ObjectMeta: metav1.ObjectMeta{Namespace: "models", Name: "phi", UID: "uid-2"}}
			_, err := r.applyChild(t.Context(), ws, parsed(t, wantedService))
			if c.refused {
				if fault.Reason(err, "") != v1alpha1.ReasonNameTaken {
					t.Errorf("%s\n%v", c.reason, err)
				}
				return
			}
			live := &corev1.Service{}
			if err := errors.Join(err, fake.Get(t.Context(), client.ObjectKey{Namespace: "models", Name: "phi"}, live)); err != nil {
				t.Fatalf("%s\n%v", c.reason, err)
			}
			if len(live.OwnerReferences) != 1 || !metav1.IsControlledBy(live, ws) {
				t.Errorf("%s\nits owners are %v", c.reason, live.OwnerReferences)
			}
		})
	}
}

// TestJobOfAFormerWorkspace: a run of what was deleted is not taken for one of what came
// in its place.
func TestJobOfAFormerWorkspace(t *testing.T) {
	const job = `{apiVersion: batch/v1, kind: Job, metadata: {name: phi}, spec: {template: {spec: {restartPolicy: Never, containers: [{name: train, image: "example.com/axolotl:1"}]}}}}`
	r, fake := withChildren(t)
	begin := func(uid types.UID) error {
		ws := &v1alpha1.Workspace{ObjectMeta: metav1.ObjectMeta{Namespace: "models", Name: "phi", UID: uid}}
		_, err := r.applyChildBy(t.Context(), ws, parsed(t, job), once)
		return err
	}
	live, key := &batchv1.Job{}, client.ObjectKey{Namespace: "models", Name: "phi"}
	if err := begin("uid-1"); err != nil {
		t.Fatal(err)
	}
	err := begin("uid-2")
	if waiting, ok := fault.AsWaiting(err); !ok || waiting.After <= 0 {
		t.Errorf("got %v, want to look again", err)
	}
	if err := fake.Get(t.Context(), key, live); !apierrors.IsNotFound(err) {
		t.Errorf("the former run is still there: %v", err)
	}
	if err := errors.Join(begin("uid-2"), fake.Get(t.Context(), key, live)); err != nil || live.OwnerReferences[0].UID != "uid-2" {
		t.Errorf("no run of the Workspace that is there now: %v, %v", live.OwnerReferences, err)
	}
}

func ownerReference(t *testing.T, text string) (o metav1.OwnerReference) {
	t.Helper()
	if err := yaml.Unmarshal([]byte(text), &o); err != nil {
		t.Fatal(err)
	}
	return o
}

// withChildren is a Reconciler of a cluster with nothing in it.
func withChildren(t *testing.T) (*Reconciler, client.WithWatch) {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	fake := kubefake.NewClientBuilder().WithScheme(scheme).Build()
	return New(Deps{Client: slimmed(fake), Reader: fake, Clock: time.Now}), fake
}

// slimmed reads as the caches of a controller do.
func slimmed(whole client.WithWatch) client.WithWatch {
	return interceptor.NewClient(whole, interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, into client.Object, opts ...client.GetOption) error {
			if err := c.Get(ctx, key, into, opts...); err != nil {
				return err
			}
			_, err := slim.Transform(into)
			return err
		},
	})
}

func parsed(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	o := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(text), &o.Object); err != nil {
		t.Fatal(err)
	}
	return o
}
