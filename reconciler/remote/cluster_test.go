// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/reconciler/fault"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// halfCluster answers whoever asks who it is and what it has, which is nothing, and says
// no API server's no to everything else.
func halfCluster(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	kind := "Workspace"
	if strings.HasSuffix(r.URL.Path, "/gpunodepools") {
		kind = "GPUNodePool"
	}
	switch {
	case strings.HasSuffix(r.URL.Path, "/kube-system"):
		fmt.Fprint(w, `{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":{"name":"kube-system","uid":"spoke"}}`)
	case strings.HasSuffix(r.URL.Path, "/selfsubjectaccessreviews"):
		w.WriteHeader(http.StatusCreated)
		fmt.Fprint(w, `{"kind":"SelfSubjectAccessReview","apiVersion":"authorization.k8s.io/v1","status":{"allowed":true}}`)
	case r.URL.Query().Get("sendInitialEvents") != "":
		w.WriteHeader(http.StatusUnprocessableEntity)
		fmt.Fprint(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Invalid","code":422}`)
	case isWatch(r):
		w.WriteHeader(http.StatusOK)
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	case strings.Contains(r.URL.Path, "/apis/espalier.dev/"):
		fmt.Fprintf(w, `{"kind":"%sList","apiVersion":"espalier.dev/v1alpha1","metadata":{"resourceVersion":"1"},"items":[]}`, kind)
	default:
		w.WriteHeader(http.StatusBadGateway)
		fmt.Fprint(w, hidden)
	}
}

// TestHalfCluster: what is watched can be read, and a cluster that is there for one
// request and not for the next is not asked without rest.
func TestHalfCluster(t *testing.T) {
	clusters, s := leadingTo(t, http.HandlerFunc(halfCluster))
	c, err := clusters.Of(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Client.List(t.Context(), &v1alpha1.WorkspaceList{}, client.InNamespace("models")); err != nil || c.ID() != "spoke" {
		t.Errorf("it is %q, and its Workspaces cannot be listed: %v", c.ID(), err)
	}
	began := time.Now()
	if err := c.Reader.Get(t.Context(), client.ObjectKey{Namespace: "models", Name: "config"}, &corev1.ConfigMap{}); fault.Reason(err, "") != v1alpha1.ReasonClusterUnreachable {
		t.Errorf("says %v", err)
	}
	for _, what := range []string{"away", "there again"} {
		select {
		case <-clusters.News():
		case <-t.Context().Done():
			t.Fatalf("nobody is told that it is %s", what)
		}
	}
	if took := time.Since(began); took < askFirst {
		t.Errorf("it was asked again after %s", took)
	}
}
