// SPDX-License-Identifier: Apache-2.0

package progress

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/log"
)

// Path of the one address there is; who calls is in the token.
const Path = "/progress"

// Times of a call.
const (
	timeout     = 10 * time.Second
	idleTimeout = time.Minute
)

// Server takes the calls of trainers; it is a manager.Runnable.
type Server struct {
	// Addr to listen on.
	Addr        string
	Certificate tls.Certificate
	Callers     *Callers
	Store       *Store
}

// NeedLeaderElection says that only the leader listens: it alone writes the status.
// A trainer that meets another replica tries again five seconds later.
func (s *Server) NeedLeaderElection() bool { return true }

// Start serves until ctx ends.
func (s *Server) Start(ctx context.Context) error {
	listener, err := net.Listen("tcp", s.Addr)
	if err != nil {
		return fmt.Errorf("listening for progress: %w", err)
	}
	return s.serve(ctx, listener)
}

func (s *Server) serve(ctx context.Context, listener net.Listener) error {
	server := &http.Server{
		Handler:   s.handler(),
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{s.Certificate}, MinVersion: tls.VersionTLS12},
		// A caller that never comes to an end holds a connection for no longer.
		ReadTimeout: timeout, WriteTimeout: timeout, IdleTimeout: idleTimeout, MaxHeaderBytes: 64 << 10,
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	stopped := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stopped()
	if err := server.ServeTLS(listener, "", ""); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving progress: %w", err)
	}
	return nil
}

func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+Path, s.post)
	return mux
}

// post believes nobody before the token has said who calls.
func (s *Server) post(w http.ResponseWriter, req *http.Request) {
	token, ok := strings.CutPrefix(req.Header.Get("Authorization"), "Bearer ")
	if !ok || token == "" {
		http.Error(w, "a bearer token is required: the file that KUBEFLOW_TRAINER_SERVER_TOKEN names", http.StatusUnauthorized)
		return
	}
	run, err := s.Callers.Run(req.Context(), token)
	switch {
	case errors.Is(err, ErrBusy):
		w.Header().Set("Retry-After", "5")
		http.Error(w, err.Error(), http.StatusTooManyRequests)
		return
	case errors.Is(err, ErrRefused):
		http.Error(w, err.Error(), http.StatusForbidden)
		return
	case err != nil:
		log.FromContext(req.Context()).Error(err, "asking the cluster who reports progress")
		http.Error(w, "the cluster cannot be asked who calls, try again", http.StatusServiceUnavailable)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, bodyLimit))
	if err != nil {
		http.Error(w, fmt.Sprintf("the body has more than %d bytes, or did not come to its end", bodyLimit), http.StatusRequestEntityTooLarge)
		return
	}
	report, err := Decode(body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if !s.Store.Put(run, report) {
		w.Header().Set("Retry-After", "1")
		http.Error(w, "at most one report a second", http.StatusTooManyRequests)
	}
}
