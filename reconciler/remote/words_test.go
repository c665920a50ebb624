// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/reconciler/fault"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// TestRetold asks servers of which none is an API server: what is said names neither
// their address nor what they answer.
func TestRetold(t *testing.T) {
	answer := func(code int, kind, body string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", kind)
			w.WriteHeader(code)
			fmt.Fprint(w, body)
		})
	}
	hangs := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	secret := httptest.NewServer(answer(200, "application/json", `{"password":"hidden"}`))
	t.Cleanup(secret.Close)
	redirect := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, secret.URL+"/hidden", http.StatusFound)
	})
	const status = `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"%s","message":"%s","code":%d}`
	for name, c := range map[string]struct {
		reason  string
		handler http.Handler // nil: nobody listens
		tls     bool
		want    string // reason of the fault; "": the error is the API server's own
		words   string
	}{
		"Nobody":       {"A server that is off refuses connections.", nil, false, v1alpha1.ReasonClusterUnreachable, "refuses the connection"},
		"Hangs":        {"One that hangs is not waited for.", hangs, false, v1alpha1.ReasonClusterUnreachable, "does not answer in time"},
		"Unknown":      {"One whose certificate nobody vouches for gets no token.", hangs, true, v1alpha1.ReasonClusterUnreachable, "certificate"},
		"Page":         {"A proxy's page may say anything.", answer(502, "text/html", "hidden"), false, v1alpha1.ReasonClusterUnreachable, "no Kubernetes API server"},
		"Metadata":     {"So may a service that is none of Kubernetes.", answer(404, "text/plain", "hidden"), false, v1alpha1.ReasonClusterUnreachable, "no Kubernetes API server"},
		"Kind":         {"Nor may what has the look of one.", answer(200, "application/json", `{"kind":"hidden","apiVersion":"hidden/v1"}`), false, v1alpha1.ReasonClusterUnreachable, "cannot be read"},
		"Broken":       {"Or half of it.", answer(200, "application/json", `{"kind":"ConfigMap","apiVersion":"v1","data":{"password":"hidden`), false, v1alpha1.ReasonClusterUnreachable, "cannot be read"},
		"Redirects":    {"What this controller can reach is nobody else's to read.", redirect, false, v1alpha1.ReasonClusterUnreachable, "redirect, which is not followed"},
		"Unauthorized": {"A token that has ended is a matter of the Secret.", answer(401, "application/json", fmt.Sprintf(status, "Unauthorized", "hidden", 401)), false, v1alpha1.ReasonAuthFailed, "does not take its credentials"},
		"Forbidden":    {"What an API server says of a right names what is missing.", answer(403, "application/json", fmt.Sprintf(status, "Forbidden", "User hub cannot get", 403)), false, "", "User hub cannot get"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			address := "http://" + closed(t)
			if c.handler != nil {
				start := httptest.NewServer
				if c.tls {
					start = httptest.NewTLSServer
				}
				server := start(c.handler)
				t.Cleanup(server.Close)
				t.Cleanup(server.CloseClientConnections)
				address = server.URL
			}
			config := &rest.Config{Host: address}
			bound(config)
			k := &Cluster{of: source{name: "Secret models/spoke (spec.kubeConfig)", untaken: "does not take its credentials"}, turned: func() {}, nudge: make(chan struct{}, 1)}
			scheme := runtime.NewScheme()
			if err := clientgoscheme.AddToScheme(scheme); err != nil {
				t.Fatal(err)
			}
			asking, err := client.New(config, client.Options{Scheme: scheme, Mapper: kinds()})
			if err != nil {
				t.Fatal(err)
			}
			limited, cancel := context.WithTimeout(t.Context(), callLimit/20)
			defer cancel()
			err = k.retold(asking.Get(limited, client.ObjectKey{Namespace: "models", Name: "config"}, &corev1.ConfigMap{}))
			if err == nil || fault.Reason(err, "") != c.want || !strings.Contains(err.Error(), c.words) {
				t.Fatalf("%s\nsays %v (%s), want %q and reason %q", c.reason, err, fault.Reason(err, ""), c.words, c.want)
			}
			if strings.Contains(err.Error(), "127.0.0.1") || strings.Contains(err.Error(), "hidden") || fault.IsTerminal(err) {
				t.Errorf("%s\nit tells of the kubeconfig or the server, or waiting would not help: %v", c.reason, err)
			}
		})
	}
}

// closed is an address at which nobody listens.
func closed(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}
