// SPDX-License-Identifier: Apache-2.0

package node

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/espalier-dev/espalier/reconciler/condition"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// noRetry lets a run fail at once.
const noRetry = "    retries: 0\n"

// littleMemory is a patch that gives the trainer less than it needs.
const littleMemory = noRetry + `  patches:
  - target: {kind: Job}
    patch: |
      apiVersion: batch/v1
      kind: Job
      metadata: {name: any}
      spec:
        template:
          spec:
            initContainers:
            - name: train
              resources: {limits: {memory: 48Mi}, requests: {memory: 48Mi}}
`

// littleDisk is a patch that gives the data less room than they need.
const littleDisk = noRetry + `  patches:
  - target: {kind: Job}
    patch: |
      apiVersion: batch/v1
      kind: Job
      metadata: {name: any}
      spec:
        template:
          spec:
            volumes:
            - name: data
              emptyDir: {medium: Memory, sizeLimit: 1Mi}
`

// TestFailures: what goes wrong in a pod ends in a sentence of the condition, and
// nothing bad is published; what a retry cures is cured.
func TestFailures(t *testing.T) {
	w := theWorld(t)
	good := rows(4)
	for name, tc := range map[string]struct {
		reason string
		rows   string
		sum    string                          // of what the URL demands; "" for that of the rows
		front  func(http.Handler) http.Handler // before the registry; nil: nothing
		more   string
		want   string // part of the message; "" for a run that succeeds
	}{
		"CorruptedDownload": {
			reason: "Data that is not what Git says is not trained on.",
			rows:   good, sum: strings.Repeat("0", 64), more: noRetry, want: "the URL demands " + strings.Repeat("0", 64),
		},
		"OutOfMemory": {
			reason: "Which memory, of whom, and what to do.",
			rows:   rows(600_000), more: littleMemory, want: "container train needed more than its limit of 48Mi of memory (OOMKilled)",
		},
		"OutOfGPUMemory": {
			reason: "No other try is paid for, and the condition has the numbers.",
			rows:   `{"messages":[{"role":"user","content":"` + strings.Repeat("long ", 4000) + `"}]}` + "\n",
			want:   "2.50 GiB more were asked of one that has 15.77 GiB (CUDA out of memory)",
		},
		"FullDisk": {
			reason: "What was cut short is not trained on.",
			rows:   rows(30_000), more: littleDisk, want: "no space left on device",
		},
		"RowsThatAreNone": {
			reason: "The trainer's own words stay in its log.",
			rows:   "no JSON\n", more: noRetry, want: "container train ended with exit code 1",
		},
		"RegistryDropsConnections": {
			reason: "A push that was cut off goes on.",
			rows:   good, front: dropping(3),
		},
		"TokenThatMayNotPush": {
			reason: "Waiting does not cure a credential.",
			rows:   good, front: denying, more: noRetry, want: "the registry refuses the credential (401)",
		},
	} {
		t.Run(name, func(t *testing.T) {
			team := newTeam(t, strings.ToLower(name))
			host := w.registry
			if tc.front != nil {
				host = front(t, w, tc.front)
			}
			sum := tc.sum
			if sum == "" {
				sum = fmt.Sprintf("%x", sha256.Sum256([]byte(tc.rows)))
			}
			address := w.data.put(team.Namespace+".jsonl", content(tc.rows)) + "#sha256=" + sum
			text := strings.ReplaceAll(w.run(team.Namespace, address, tc.more), w.output(team.Namespace), host+"/models/"+team.Namespace+":1")
			follow(t, team, repository(map[string]string{team.Namespace: text}))
			run := until(t, team, team.Namespace, func(ws *v1alpha1.Workspace) bool { return isReady(ws) || hasFailed(ws) })
			message := condition.Get(run, v1alpha1.ConditionTuningSucceeded).Message
			if hasFailed(run) != (tc.want != "") || !strings.Contains(message, tc.want) {
				t.Errorf("%s\nTuningSucceeded says %q, want %q", tc.reason, message, tc.want)
			}
			if there := tagged(t, w.output(team.Namespace)); there != (tc.want == "") {
				t.Errorf("%s\npublished: %t", tc.reason, there)
			}
			if tc.want == "" {
				published(t, reported(t, team, team.Namespace), w.output(team.Namespace))
			}
		})
	}
}

func hasFailed(ws *v1alpha1.Workspace) bool {
	c := condition.Get(ws, v1alpha1.ConditionTuningSucceeded)
	return c != nil && c.Status == metav1.ConditionFalse && c.Reason == v1alpha1.ReasonJobFailed
}

// tagged says whether the registry has a tag.
func tagged(t *testing.T, image string) bool {
	t.Helper()
	tag, err := name.NewTag(image)
	if err != nil {
		t.Fatal(err)
	}
	_, err = remote.Head(tag)
	var answer *transport.Error
	if errors.As(err, &answer) && answer.StatusCode == http.StatusNotFound {
		return false
	}
	if err != nil {
		t.Fatal(err)
	}
	return true
}

// front serves something before the registry, on the network of the pods, and
// returns its host and port.
func front(t *testing.T, w *world, wrap func(http.Handler) http.Handler) string {
	t.Helper()
	listener, err := net.Listen("tcp", net.JoinHostPort(w.node.Address, "0"))
	if err != nil {
		t.Fatal(err)
	}
	behind := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: w.registry})
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: wrap(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		behind.ServeHTTP(rw, r) // the Host stays the front's, so that uploads go on through it
	}))}
	go func() { _ = server.Serve(listener) }() // ends with Close
	t.Cleanup(func() { _ = server.Close() })
	return listener.Addr().String()
}

// dropping breaks the first uploads off, in the middle.
func dropping(uploads int32) func(http.Handler) http.Handler {
	return func(under http.Handler) http.Handler {
		var broken atomic.Int32
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPatch && broken.Add(1) <= uploads {
				_, _ = r.Body.Read(make([]byte, 4096)) // some of it arrives
				panic(http.ErrAbortHandler)
			}
			under.ServeHTTP(w, r)
		})
	}
}

// denying lets everybody read and nobody write.
func denying(under http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			http.Error(w, `{"errors":[{"code":"UNAUTHORIZED","message":"token expired"}]}`, http.StatusUnauthorized)
			return
		}
		under.ServeHTTP(w, r)
	})
}
