// SPDX-License-Identifier: Apache-2.0

package progress

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

const host = "espalier-progress.espalier-system.svc"

// known are Callers that have asked the cluster already; they can ask it nothing
// more. The whole system's test has a real one to ask.
func known(answers map[string]answer) *Callers {
	c := NewCallers(nil, nil, time.Now)
	c.limit.SetBurst(0)
	c.limit.SetLimit(0)
	for token, a := range answers {
		a.until = time.Now().Add(time.Hour)
		c.tokens.Add(sha256.Sum256([]byte(token)), a)
	}
	return c
}

// listen serves on loopback, and returns a client that trusts only the authority.
func listen(t *testing.T, callers *Callers) (*http.Client, *Store) {
	t.Helper()
	data, err := issue(host)
	if err != nil {
		t.Fatal(err)
	}
	id, ok := usable(data, host, time.Now())
	if !ok {
		t.Fatal("a new certificate cannot be used")
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	server := &Server{Certificate: id.Certificate, Callers: callers, Store: NewStore(time.Now)}
	ended := make(chan error, 1)
	go func() { ended <- server.serve(ctx, listener) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(id.Authority)
	return &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, listener.Addr().String())
		},
	}}, server.Store
}

func TestServer(t *testing.T) {
	run := Run{Workspace: types.NamespacedName{Namespace: "models", Name: "w"}, Job: "job", Pod: "pod"}
	web, store := listen(t, known(map[string]answer{"mine": {run: run}, "theirs": {refused: ErrRefused}}))
	good := `{"trainerStatus":{"progressPercentage":3}}`
	for _, c := range []struct {
		reason, method, path, token, body string
		status                            int
		says                              string
	}{
		{reason: "Nobody is believed without a token.", token: "", body: good, status: http.StatusUnauthorized, says: "KUBEFLOW_TRAINER_SERVER_TOKEN"},
		{reason: "A token of another pod.", token: "theirs", body: good, status: http.StatusForbidden, says: "no pod of a tuning run"},
		{reason: "Tokens are not tried out at the API server's cost.", token: "new", body: good, status: http.StatusTooManyRequests},
		{reason: "What is not understood says why.", token: "mine", body: `{}`, status: http.StatusBadRequest, says: "trainerStatus is missing"},
		{reason: "No memory for who sends without end.", token: "mine", body: strings.Repeat(" ", bodyLimit+1), status: http.StatusRequestEntityTooLarge},
		{reason: "There is nothing to read here.", method: http.MethodGet, token: "mine", status: http.StatusMethodNotAllowed},
		{reason: "There is one path.", path: "/", token: "mine", body: good, status: http.StatusNotFound},
		{reason: "A report is taken.", token: "mine", body: good, status: http.StatusOK},
		{reason: "The next comes too soon.", token: "mine", body: good, status: http.StatusTooManyRequests, says: "one report a second"},
	} {
		if c.method == "" {
			c.method = http.MethodPost
		}
		if c.path == "" {
			c.path = Path
		}
		req, err := http.NewRequestWithContext(t.Context(), c.method, "https://"+host+c.path, strings.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		if c.token != "" {
			req.Header.Set("Authorization", "Bearer "+c.token)
		}
		resp, err := web.Do(req)
		if err != nil {
			t.Fatalf("%s\n%v", c.reason, err)
		}
		text, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode != c.status || !strings.Contains(string(text), c.says) {
			t.Errorf("%s\nstatus %d %q, want %d with %q", c.reason, resp.StatusCode, text, c.status, c.says)
		}
		if strings.Contains(string(text), c.token) && len(c.token) > 0 && c.token != "new" {
			t.Errorf("%s\nthe answer repeats the token: %q", c.reason, text)
		}
	}
	if p := store.Of("job"); p == nil || p.Percent != 3 {
		t.Errorf("the run is at %v", p)
	}
}

func TestUsable(t *testing.T) {
	now := time.Now()
	mine, err := issue(host)
	if err != nil {
		t.Fatal(err)
	}
	other, err := issue(host)
	if err != nil {
		t.Fatal(err)
	}
	mixed := map[string][]byte{"tls.crt": mine["tls.crt"], "tls.key": mine["tls.key"], authorityKey: other[authorityKey]}
	for name, c := range map[string]struct {
		reason string
		data   map[string][]byte
		host   string
		now    time.Time
		want   bool
	}{
		"Fresh":   {reason: "Kept over restarts.", data: mine, host: host, now: now, want: true},
		"Empty":   {reason: "There is none yet.", host: host, now: now},
		"Moved":   {reason: "The Service is called otherwise now.", data: mine, host: "elsewhere.svc", now: now},
		"Old":     {reason: "It ends within a year.", data: mine, host: host, now: now.Add(validFor - renewAt + 2*time.Hour)},
		"Foreign": {reason: "The authority in the Secret has not signed it.", data: mixed, host: host, now: now},
	} {
		t.Run(name, func(t *testing.T) {
			if _, ok := usable(c.data, c.host, c.now); ok != c.want {
				t.Errorf("%s\nusable %v, want %v", c.reason, ok, c.want)
			}
		})
	}
}
