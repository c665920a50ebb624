// SPDX-License-Identifier: Apache-2.0

// Package hook listens for the webhooks of forges. A call carries no content: one
// that is verified makes a controller look by itself, so that a call which is
// repeated or late can tell no lie. One that is verified and of another repository
// is refused, and told so.
//
// Whatever is not verified gets the same answer, so that nobody learns which
// RepoSyncs there are.
package hook

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// Bounds of a call: the body is only read to verify its signature.
const (
	bodyLimit = 1 << 20
	timeout   = 10 * time.Second
)

// tokenKey is the key of the Secret that spec.hook names.
const tokenKey = "token"

// Server listens; it is a manager.Runnable.
type Server struct {
	// Addr to listen on.
	Addr string
	// Path before /<namespace>/<name>, such as /hook.
	Path string
	// Client reads RepoSyncs, and Reader Secrets past the cache.
	Client, Reader client.Reader
	// Wake is called for a RepoSync with each verified call, in the process that leads.
	Wake func(*v1alpha1.RepoSync)
	// Writer lets a process that does not lead, which has no queue, ask the one that does by
	// an annotation; nil: only the leader listens.
	Writer client.Writer
	// Elected is closed once this process leads.
	Elected <-chan struct{}
}

// NeedLeaderElection says that only the leader listens, where no other may ask it.
func (s *Server) NeedLeaderElection() bool { return s.Writer == nil }

// Start serves until ctx ends.
func (s *Server) Start(ctx context.Context) error {
	listener, err := net.Listen("tcp", s.Addr)
	if err != nil {
		return fmt.Errorf("listening for webhooks: %w", err)
	}
	server := &http.Server{Handler: s.handler(), ReadTimeout: timeout, WriteTimeout: timeout, MaxHeaderBytes: 64 << 10}
	stopped := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stopped()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving webhooks: %w", err)
	}
	return nil
}

func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+s.Path+"/{namespace}/{name}", s.serve)
	return mux
}

func (s *Server) serve(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, bodyLimit))
	if err != nil {
		http.Error(w, "the body is too large", http.StatusRequestEntityTooLarge)
		return
	}
	obj := &v1alpha1.RepoSync{}
	key := types.NamespacedName{Namespace: req.PathValue("namespace"), Name: req.PathValue("name")}
	if err := s.Client.Get(req.Context(), key, obj); client.IgnoreNotFound(err) != nil {
		http.Error(w, "the cluster cannot be read, try again", http.StatusServiceUnavailable)
		return
	} else if err != nil || obj.Spec.Hook == nil {
		http.NotFound(w, req)
		return
	}
	secret := &corev1.Secret{}
	key.Name = obj.Spec.Hook.SecretRef.Name
	if err := s.Reader.Get(req.Context(), key, secret); err != nil || !verified(req.Header, body, secret.Data[tokenKey]) {
		http.NotFound(w, req)
		return
	}
	if elsewhere(about(body, req.Header.Get("Content-Type")), obj) {
		http.Error(w, "this call is of another repository than the RepoSync names: correct the address in the webhook, or, where the repository was renamed, spec.source.git.url of the RepoSync", http.StatusUnprocessableEntity)
		return
	}
	if err := s.wake(req.Context(), obj); err != nil {
		http.Error(w, "the cluster cannot be written to, try again", http.StatusServiceUnavailable)
		return
	}
	w.WriteHeader(http.StatusAccepted)
}

// wake wakes the controller here, or asks the process that leads.
func (s *Server) wake(ctx context.Context, obj *v1alpha1.RepoSync) error {
	if s.Writer == nil {
		s.Wake(obj)
		return nil
	}
	select {
	case <-s.Elected:
		s.Wake(obj)
		return nil
	default:
	}
	ask := fmt.Appendf(nil, `{"metadata":{"annotations":{%q:%q}}}`, repolayout.AnnotationReconcileAt, time.Now().UTC().Format(time.RFC3339Nano))
	if err := s.Writer.Patch(ctx, obj, client.RawPatch(types.MergePatchType, ask)); err != nil {
		return fmt.Errorf("asking who leads to look at RepoSync %s/%s: %w", obj.Namespace, obj.Name, err)
	}
	return nil
}

// verified checks the token of a webhook in the ways the forges send it.
func verified(header http.Header, body, token []byte) bool {
	if len(token) == 0 {
		return false // an empty secret would be everybody's
	}
	mac := hmac.New(sha256.New, token)
	mac.Write(body)
	want := hex.EncodeToString(mac.Sum(nil))
	for _, got := range []string{
		strings.TrimPrefix(header.Get("X-Hub-Signature-256"), "sha256="), // GitHub, Forgejo
		strings.TrimPrefix(header.Get("X-Hub-Signature"), "sha256="),     // Bitbucket; GitHub's own there is by SHA-1
		header.Get("X-Gitea-Signature"),
	} {
		if got != "" && hmac.Equal([]byte(got), []byte(want)) {
			return true
		}
	}
	_, password, _ := (&http.Request{Header: header}).BasicAuth() // of any user: Azure DevOps
	for _, got := range []string{
		header.Get("X-Gitlab-Token"),
		strings.TrimPrefix(header.Get("Authorization"), "Bearer "),
		password,
	} {
		if got != "" && subtle.ConstantTimeCompare([]byte(got), token) == 1 {
			return true
		}
	}
	return false
}
