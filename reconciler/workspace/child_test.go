// SPDX-License-Identifier: Apache-2.0

package workspace

import (
	"context"
	"errors"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	kubefake "sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/yaml"

	"github.com/espalier-dev/espalier/reconciler/slim"
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
				r := New(Deps{})
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
					r.applied.Clear()
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
