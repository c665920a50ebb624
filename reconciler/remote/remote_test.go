// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/espalier-dev/espalier/reconciler/account"
	"github.com/espalier-dev/espalier/reconciler/fault"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// leadingTo are Clusters, and a RepoSync whose kubeconfig leads to a server.
func leadingTo(t *testing.T, h http.Handler) (*Clusters, *v1alpha1.RepoSync) {
	t.Helper()
	server := httptest.NewTLSServer(h)
	t.Cleanup(server.Close)
	t.Cleanup(server.CloseClientConnections)
	k := whole()
	k.Clusters[hidden].Server = server.URL
	k.Clusters[hidden].CertificateAuthorityData = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	text, err := clientcmd.Write(*k)
	if err != nil {
		t.Fatal(err)
	}
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "models", Name: "spoke"}, Data: map[string][]byte{"value": text}}
	c := fake.NewClientBuilder().WithScheme(scheme).WithObjects(secret).Build()
	s := &v1alpha1.RepoSync{ObjectMeta: metav1.ObjectMeta{Namespace: "models", Name: "team", UID: "u"}}
	s.Spec.KubeConfig = &v1alpha1.KubeConfig{SecretRef: &v1alpha1.SecretKeyReference{Name: "spoke"}}
	return New(t.Context(), Options{Hub: "hub", Client: c, Reader: c, Scheme: scheme}), s
}

// TestOf: no server holds whoever asks for its cluster, and none has the controller
// fetch and show what only the controller can reach.
func TestOf(t *testing.T) {
	inner := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		t.Error("a redirect was followed")
		fmt.Fprint(w, `{"password":"hidden"}`)
	}))
	t.Cleanup(inner.Close)
	const allowed = `{"kind":"SelfSubjectAccessReview","apiVersion":"authorization.k8s.io/v1","status":{"allowed":true}}`
	for name, c := range map[string]struct {
		reason  string
		handler http.HandlerFunc
		words   string
	}{
		"Hangs": {
			"It takes the connection, and says nothing.",
			func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, "does not answer in time",
		},
		"Later": {
			"It has everybody come again in an hour.",
			func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Retry-After", "3600")
				w.WriteHeader(http.StatusTooManyRequests)
			}, "",
		},
		"Redirects": {
			"Its answer lies where only the controller may look.",
			func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, inner.URL+"/v1/kv/secret?raw=1", http.StatusFound)
			}, "redirect, which is not followed",
		},
		"Kindless": {
			"Whatever it answers is not for the RepoSync's status.",
			func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				fmt.Fprint(w, `{"password":"hidden"}`)
			}, "cannot be read as that",
		},
		"Without": {
			"Espalier is not installed there.",
			func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				switch {
				case strings.HasPrefix(r.URL.Path, "/api/v1/namespaces/"):
					fmt.Fprint(w, `{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":{"name":"kube-system","uid":"spoke"}}`)
				case r.Method == http.MethodPost:
					w.WriteHeader(http.StatusCreated)
					fmt.Fprint(w, allowed)
				default:
					http.NotFound(w, r)
				}
			}, "does not know the kinds of Espalier",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			clusters, s := leadingTo(t, c.handler)
			began := time.Now()
			_, err := clusters.Of(t.Context(), s)
			if fault.Reason(err, "") != v1alpha1.ReasonClusterUnreachable || !strings.Contains(err.Error(), c.words) || strings.Contains(err.Error(), hidden) {
				t.Errorf("%s\nsays %v, want %q", c.reason, err, c.words)
			}
			if took := time.Since(began); took > callLimit+5*time.Second {
				t.Errorf("%s\nit was waited for for %s", c.reason, took)
			}
		})
	}
}

// TestAccountsAreBound: who acts as an account of another cluster follows no redirect
// either.
func TestAccountsAreBound(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/elsewhere" {
			t.Error("a redirect was followed")
		}
		http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
	}))
	t.Cleanup(server.Close)
	c, err := Options{Scheme: clientgoscheme.Scheme}.newCluster(&rest.Config{Host: server.URL}, source{name: "Secret models/spoke (spec.kubeConfig)"}, "models")
	if err != nil {
		t.Fatal(err)
	}
	c.turned = func() {}
	c.note(nil)
	acting, err := c.Accounts.As(t.Context(), account.Account{Namespace: "models", Name: "writer"})
	if err != nil {
		t.Fatal(err)
	}
	err = account.Writer(acting, nil).Get(acting, client.ObjectKey{Namespace: "models", Name: "config"}, &corev1.ConfigMap{})
	if err == nil || !strings.Contains(err.Error(), "redirect, which is not followed") || strings.Contains(err.Error(), "127.0.0.1") {
		t.Errorf("says %v", err)
	}
}

// TestKinds: what is read of the cache and past it is known by itself.
func TestKinds(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	for _, o := range []runtime.Object{
		&v1alpha1.Workspace{}, &v1alpha1.WorkspaceList{}, &v1alpha1.GPUNodePool{}, &v1alpha1.GPUNodePoolList{},
		&corev1.ConfigMap{}, &corev1.Secret{}, &corev1.PersistentVolumeClaim{}, &corev1.ServiceAccount{},
	} {
		if namespaced, err := apiutil.IsObjectNamespaced(o, scheme, kinds()); !namespaced || err != nil {
			t.Errorf("%T: namespaced %v, %v", o, namespaced, err)
		}
	}
}

// TestWasTried: who ceases to wait for a cluster is told of it later.
func TestWasTried(t *testing.T) {
	c := &Cluster{tried: make(chan struct{})}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if c.wasTried(over) || !c.missed.Load() {
		t.Error("nobody knows yet, and nobody was noted")
	}
	close(c.tried)
	if !c.wasTried(t.Context()) {
		t.Error("it is known")
	}
}

// zeros is an answer without end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// TestLimited: an answer up to the limit is read whole, and a longer one is none.
func TestLimited(t *testing.T) {
	for name, c := range map[string]struct {
		reason string
		body   io.Reader
		want   error
	}{
		"Within":  {"Less is whole.", io.LimitReader(zeros{}, 99), nil},
		"Exactly": {"So is this.", io.LimitReader(zeros{}, 100), nil},
		"Past":    {"One byte more is too many.", io.LimitReader(zeros{}, 101), errTooLarge},
		"Endless": {"It has no end.", zeros{}, errTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := io.Copy(io.Discard, &limited{io.NopCloser(c.body), 100}); !errors.Is(err, c.want) {
				t.Errorf("%s\nerr is %v, want %v", c.reason, err, c.want)
			}
		})
	}
}
