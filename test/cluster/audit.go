// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Files of the audit, in the cluster's folder.
const (
	auditPolicy = "audit-policy.yaml"
	auditLog    = "audit.log"
)

// policy notes every request once, without what it carried.
const policy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
`

// Request is one request to the API server, as its audit log has it.
type Request struct {
	Verb, User, Agent string
	// Resource is group/resource/subresource, without what is empty.
	Resource        string
	Namespace, Name string
	Code            int
	At              time.Time
}

// Writes says whether it changes anything, if it succeeds.
func (r Request) Writes() bool {
	switch r.Verb {
	case "create", "update", "patch", "delete", "deletecollection":
		return true
	}
	return false
}

// Audit reads the audit log of a cluster from where it was read last.
type Audit struct {
	file   string
	offset int64
}

// Audit is the log of the requests to the API server; it needs Options.Audit.
func (c *Cluster) Audit() *Audit { return &Audit{file: filepath.Join(c.Dir, auditLog)} }

// auditArgs are the flags that make the API server write its audit log.
func (c *Cluster) auditArgs() ([]string, error) {
	if !c.options.Audit {
		return nil, nil
	}
	if err := os.WriteFile(filepath.Join(c.Dir, auditPolicy), []byte(policy), 0o644); err != nil {
		return nil, err
	}
	// It is read as it grows: a file that another takes the place of would be lost.
	return []string{"--audit-policy-file=" + auditPolicy, "--audit-log-path=" + auditLog, "--audit-log-maxsize=100000"}, nil
}

// Next are the requests since the last call, those of watches as they begin.
func (a *Audit) Next() ([]Request, error) {
	f, err := os.Open(a.file)
	if err != nil {
		return nil, fmt.Errorf("reading the audit log, which Options.Audit asks for: %w", err)
	}
	defer f.Close()
	if _, err := f.Seek(a.offset, io.SeekStart); err != nil {
		return nil, fmt.Errorf("reading the audit log: %w", err)
	}
	var all []Request
	lines := bufio.NewReader(f)
	for {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return all, nil // half a line is for the next time
		}
		if err != nil {
			return nil, fmt.Errorf("reading the audit log: %w", err)
		}
		a.offset += int64(len(line))
		r, counts, err := parseRequest(line)
		if err != nil {
			return nil, err
		}
		if counts {
			all = append(all, r)
		}
	}
}

// parseRequest reads an event. A watch has two: as it begins and as it ends.
func parseRequest(line []byte) (r Request, counts bool, err error) {
	var e struct {
		Stage, Verb, UserAgent string
		User                   struct{ Username string }
		ObjectRef              struct{ Resource, Namespace, Name, APIGroup, Subresource string }
		At                     time.Time          `json:"requestReceivedTimestamp"`
		Response               struct{ Code int } `json:"responseStatus"`
	}
	if err := json.Unmarshal(line, &e); err != nil {
		return Request{}, false, fmt.Errorf("reading an event of the audit log: %w", err)
	}
	o := e.ObjectRef
	var parts []string
	for _, part := range []string{o.APIGroup, o.Resource, o.Subresource} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	r = Request{
		Verb: e.Verb, User: e.User.Username, Agent: e.UserAgent, Resource: strings.Join(parts, "/"), Namespace: o.Namespace, Name: o.Name,
		Code: e.Response.Code, At: e.At,
	}
	return r, e.Verb == "watch" == (e.Stage == "ResponseStarted"), nil
}
