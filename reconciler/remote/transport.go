// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"bytes"
	"errors"
	"io"
	"net/http"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// maxAnswer bounds what one answer may hold, in bytes. The first look of a watch may
// list everything at once: 10,000 Workspaces of 25 KiB each, which none has.
const maxAnswer = 256 << 20

// maxEvent bounds one event of a watch, in bytes: what etcd takes of an object is a tenth.
const maxEvent = 16 << 20

var (
	errRedirected = errors.New("the answer is a redirect, which is not followed")
	errTooLarge   = errors.New("the answer is larger than any that was asked for")
)

// kinds are those that are spoken of with another cluster. It is not asked which it
// knows: that question takes no context, and would be waited for as long as its server
// pleases.
func kinds() meta.RESTMapper {
	m := meta.NewDefaultRESTMapper(nil)
	add := func(of schema.GroupVersion, scope meta.RESTScope, kinds ...string) {
		for _, kind := range kinds {
			m.Add(of.WithKind(kind), scope)
			m.Add(of.WithKind(kind+"List"), scope) // what is cached is asked for by it
		}
	}
	add(v1alpha1.GroupVersion, meta.RESTScopeNamespace, v1alpha1.WorkspaceKind, v1alpha1.GPUNodePoolKind)
	add(corev1.SchemeGroupVersion, meta.RESTScopeNamespace, "ConfigMap", "Secret", "PersistentVolumeClaim", "ServiceAccount")
	add(corev1.SchemeGroupVersion, meta.RESTScopeRoot, "Namespace")
	add(authorizationv1.SchemeGroupVersion, meta.RESTScopeRoot, "SelfSubjectAccessReview")
	return m
}

// bound has every client that is made of a configuration refuse what no API server
// answers: whoever wrote the kubeconfig may have written the server too.
func bound(config *rest.Config) {
	config.DisableCompression = true // what little is sent would inflate to anything
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return bounded{next} })
}

type bounded struct{ next http.RoundTripper }

// RoundTrip implements http.RoundTripper. An answer that leads elsewhere is none: the
// request would be made from here, with what the controller can reach.
func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := b.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode >= 300 && answer.StatusCode < 400 {
		_ = answer.Body.Close()
		return nil, errRedirected
	}
	if isWatch(r) {
		answer.Body = &eventful{answer.Body, maxEvent}
	} else {
		answer.Body = &limited{answer.Body, maxAnswer}
	}
	return answer, nil
}

// WrappedRoundTripper lets client-go see through to what is wrapped.
func (b bounded) WrappedRoundTripper() http.RoundTripper { return b.next }

// isWatch says that an answer has no end, and is read one event at a time.
func isWatch(r *http.Request) bool {
	watch := r.URL.Query().Get("watch")
	return watch == "true" || watch == "1"
}

// eventful is the body of a watch, which fails where one event goes on past its limit: who
// reads it takes an event whole before looking at its size. An API server ends each with a
// new line; in those of protobuf there is one at each field that is the first of its message.
type eventful struct {
	io.ReadCloser
	left int64
}

// Read implements io.Reader.
func (e *eventful) Read(p []byte) (int, error) {
	if e.left <= 0 {
		return 0, errTooLarge
	}
	n, err := e.ReadCloser.Read(p[:min(int64(len(p)), e.left)])
	if end := bytes.LastIndexByte(p[:n], '\n'); end >= 0 {
		e.left = maxEvent - int64(n-1-end)
	} else {
		e.left -= int64(n)
	}
	return n, err
}

// limited is a body that fails where it goes on past its limit.
type limited struct {
	io.ReadCloser
	left int64
}

// Read implements io.Reader.
func (l *limited) Read(p []byte) (int, error) {
	if l.left <= 0 {
		return l.past()
	}
	n, err := l.ReadCloser.Read(p[:min(int64(len(p)), l.left)])
	l.left -= int64(n)
	return n, err
}

// past tells an answer that ends at the limit from one that goes on.
func (l *limited) past() (int, error) {
	n, err := l.ReadCloser.Read(make([]byte, 1))
	if n > 0 {
		return 0, errTooLarge
	}
	return 0, err
}
