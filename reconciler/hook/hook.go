// SPDX-License-Identifier: Apache-2.0

package reposync

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

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// Bounds of a webhook call: the body is only read to verify its signature.
const (
	hookBodyLimit = 1 << 20
	hookTimeout   = 10 * time.Second
)

// hookTokenKey is the key of the Secret that spec.hook names.
const hookTokenKey = "token"

// HookServer listens for push webhooks; it is a manager.Runnable.
type HookServer struct {
	Addr string
	*Reconciler
}

// NeedLeaderElection says that only the leader listens: it alone has the queue.
func (h *HookServer) NeedLeaderElection() bool { return true }

// Start serves until ctx ends.
func (h *HookServer) Start(ctx context.Context) error {
	listener, err := net.Listen("tcp", h.Addr)
	if err != nil {
		return fmt.Errorf("listening for webhooks: %w", err)
	}
	server := &http.Server{Handler: h.handler(), ReadTimeout: hookTimeout, WriteTimeout: hookTimeout, MaxHeaderBytes: 64 << 10}
	stopped := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stopped()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving webhooks: %w", err)
	}
	return nil
}

func (h *HookServer) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /hook/{namespace}/{name}", h.serve)
	return mux
}

// serve makes the controller look at the source now. Whatever is not verified
// gets the same answer, so that nobody learns which RepoSyncs there are.
func (h *HookServer) serve(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, hookBodyLimit))
	if err != nil {
		http.Error(w, "the body is too large", http.StatusRequestEntityTooLarge)
		return
	}
	obj := &v1alpha1.RepoSync{}
	key := types.NamespacedName{Namespace: req.PathValue("namespace"), Name: req.PathValue("name")}
	if err := h.Client.Get(req.Context(), key, obj); client.IgnoreNotFound(err) != nil {
		http.Error(w, "the cluster cannot be read, try again", http.StatusServiceUnavailable)
		return
	} else if err != nil || obj.Spec.Hook == nil {
		http.NotFound(w, req)
		return
	}
	secret, err := h.secret(req.Context(), obj.Namespace, &obj.Spec.Hook.SecretRef)
	if err != nil || !verified(req.Header, body, secret[hookTokenKey]) {
		http.NotFound(w, req)
		return
	}
	h.lookNow(obj)
	w.WriteHeader(http.StatusAccepted)
}

// lookNow asks for a pass that looks at the source.
func (r *Reconciler) lookNow(obj *v1alpha1.RepoSync) {
	r.asked.Store(obj.UID, true)
	r.again(obj)
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
		header.Get("X-Gitea-Signature"),
	} {
		if got != "" && hmac.Equal([]byte(got), []byte(want)) {
			return true
		}
	}
	for _, got := range []string{
		header.Get("X-Gitlab-Token"),
		strings.TrimPrefix(header.Get("Authorization"), "Bearer "),
	} {
		if got != "" && subtle.ConstantTimeCompare([]byte(got), token) == 1 {
			return true
		}
	}
	return false
}
