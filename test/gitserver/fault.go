// SPDX-License-Identifier: Apache-2.0

package gitserver

import (
	"io"
	"log"
	"net/http"
	"strings"
)

// Service names one kind of request of the smart HTTP protocol.
type Service string

// Values of Service. A look at the references, and a fetch of objects; the same
// two of a push.
const (
	ListToFetch Service = "info/refs?service=git-upload-pack"
	Fetch       Service = "git-upload-pack"
	ListToPush  Service = "info/refs?service=git-receive-pack"
	Push        Service = "git-receive-pack"
	Other       Service = "other"
)

// Counts are the requests that were made, by service.
type Counts map[Service]int

// Requests returns what was asked since the start or the last ResetRequests.
func (s *Server) Requests() Counts {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := Counts{}
	for k, v := range s.counts {
		c[k] = v
	}
	return c
}

// ResetRequests starts counting anew.
func (s *Server) ResetRequests() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts = nil
}

func (s *Server) count(service Service) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.counts == nil {
		s.counts = Counts{}
	}
	s.counts[service]++
}

func serviceOf(r *http.Request) Service {
	switch {
	case strings.HasSuffix(r.URL.Path, "/info/refs") && r.URL.Query().Get("service") == "git-upload-pack":
		return ListToFetch
	case strings.HasSuffix(r.URL.Path, "/info/refs") && r.URL.Query().Get("service") == "git-receive-pack":
		return ListToPush
	case strings.HasSuffix(r.URL.Path, "/git-upload-pack"):
		return Fetch
	case strings.HasSuffix(r.URL.Path, "/git-receive-pack"):
		return Push
	}
	return Other
}

// Fault is one way for the server to misbehave. At most one of Status, Hang,
// Before and After says how; a fault with none of them drops the connection.
type Fault struct {
	// Service that is hit. Empty: all.
	Service Service
	// Times it hits before it heals. 0: until Heal.
	Times int
	// Status answers with that HTTP status and Body.
	Status int
	Body   string
	// Hang gives no answer until the client goes away.
	Hang bool
	// Before runs and then lets the request through: to push in between, say.
	Before func()
	// After lets the request through, then drops the connection in place of the
	// answer: the client cannot know whether its push was taken.
	After bool

	hits int
}

// Break adds a fault. The oldest that matches a request is played.
func (s *Server) Break(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, &f)
}

// Heal removes all faults.
func (s *Server) Heal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
}

func (s *Server) faultFor(service Service) *Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.faults {
		if (f.Service == "" || f.Service == service) && (f.Times == 0 || f.hits < f.Times) {
			f.hits++
			return f
		}
	}
	return nil
}

// play misbehaves. It returns true when the request has been dealt with.
func (s *Server) play(f *Fault, w http.ResponseWriter, r *http.Request) bool {
	switch {
	case f.Before != nil:
		f.Before()
		return false
	case f.Status != 0:
		w.WriteHeader(f.Status)
		_, _ = io.WriteString(w, f.Body)
		return true
	case f.Hang:
		// The server notices that a client has gone only once it has read the body.
		_, _ = io.Copy(io.Discard, r.Body)
		select {
		case <-r.Context().Done():
		case <-s.closed:
		}
	case f.After:
		s.answer(discardResponse{header: http.Header{}}, r)
	}
	panic(http.ErrAbortHandler)
}

// discardResponse takes an answer that the client will never see.
type discardResponse struct{ header http.Header }

func (d discardResponse) Header() http.Header         { return d.header }
func (d discardResponse) Write(p []byte) (int, error) { return len(p), nil }
func (d discardResponse) WriteHeader(int)             {}

func discardLog() *log.Logger { return log.New(io.Discard, "", 0) }
