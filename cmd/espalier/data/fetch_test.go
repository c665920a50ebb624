// SPDX-License-Identifier: Apache-2.0

package data

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// content is long enough that a server can cut it where a client has some of it.
var content = bytes.Repeat([]byte("espalier trains branches along a frame\n"), 20_000)

func sumOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// loopback lets a test's own server through and nothing else that is refused.
func loopback(a netip.Addr) error {
	if a.IsLoopback() {
		return nil
	}
	return Permitted(a)
}

func options(t *testing.T) Options {
	t.Helper()
	return Options{Dir: t.TempDir(), Backoff: time.Millisecond, Permit: loopback}
}

// script serves content, one answer a request, and writes down what was asked.
type script struct {
	mu     sync.Mutex
	ranges []string // Range header of each request
	answer []func(http.ResponseWriter, *http.Request)
}

func (s *script) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	n := len(s.ranges)
	s.ranges = append(s.ranges, r.Header.Get("Range"))
	s.mu.Unlock()
	s.answer[min(n, len(s.answer)-1)](w, r)
}

// whole answers ranges and conditions as net/http does.
func whole(body []byte, etag string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, r *http.Request) {
		if etag != "" {
			w.Header().Set("ETag", etag)
		}
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
	}
}

// unconditional is whole by a server that does not know If-Range.
func unconditional(body []byte, etag string) func(http.ResponseWriter, *http.Request) {
	serve := whole(body, etag)
	return func(w http.ResponseWriter, r *http.Request) {
		r.Header.Del("If-Range")
		serve(w, r)
	}
}

// cut sends the first n bytes of the content and drops the connection.
func cut(n int, etag string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) {
		if etag != "" {
			w.Header().Set("ETag", etag)
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(content)))
		_, _ = w.Write(content[:n])
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
}

func status(code int) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

func TestFetchFile(t *testing.T) {
	const half = 400_000
	type answers = []func(http.ResponseWriter, *http.Request)
	cases := map[string]struct {
		reason  string
		answers answers
		sum     string // demanded
		ranges  []string
		refused string // part of the error, "" when the download succeeds
	}{
		"Plain": {
			reason:  "One request is all that a healthy server needs.",
			answers: answers{whole(content, `"a"`)},
			ranges:  []string{""},
		},
		"Resumed": {
			reason:  "A dropped connection goes on where it stopped.",
			answers: answers{cut(half, `"a"`), whole(content, `"a"`)},
			ranges:  []string{"", fmt.Sprintf("bytes=%d-", half)},
		},
		"ChangedMeanwhile": {
			reason:  "The end of new content must not be put behind the beginning of old: If-Range brings it whole.",
			answers: answers{cut(half, `"old"`), whole(content, `"new"`)},
			ranges:  []string{"", fmt.Sprintf("bytes=%d-", half)},
		},
		"ConditionIgnored": {
			reason:  "Nor where the server sends the end of new content all the same: the answer says of what it is.",
			answers: answers{cut(half, `"old"`), unconditional(content, `"new"`), whole(content, `"new"`)},
			ranges:  []string{"", fmt.Sprintf("bytes=%d-", half), ""},
		},
		"NothingVouches": {
			reason:  "Without ETag, Last-Modified or checksum the beginning may be of other content.",
			answers: answers{cut(half, ""), whole(content, "")},
			ranges:  []string{"", ""},
		},
		"ChecksumVouches": {
			reason:  "A demanded checksum makes resuming safe where the server offers nothing.",
			answers: answers{cut(half, ""), whole(content, "")},
			sum:     sumOf(content),
			ranges:  []string{"", fmt.Sprintf("bytes=%d-", half)},
		},
		"Busy": {
			reason:  "503 and 429 pass.",
			answers: answers{status(503), status(429), whole(content, `"a"`)},
			ranges:  []string{"", "", ""},
		},
		"NotThere": {
			reason:  "404 is asked again a few times, and then said.",
			answers: answers{status(404)},
			ranges:  []string{"", "", "", ""},
			refused: "404 Not Found",
		},
		"RefusedOnce": {
			reason:  "A signature may begin to hold a moment later.",
			answers: answers{status(403), status(401), status(404), whole(content, `"a"`)},
			ranges:  []string{"", "", "", ""},
		},
		"Gone": {
			reason:  "410 does not pass: one request, and the answer is said.",
			answers: answers{status(410)},
			ranges:  []string{""},
			refused: "410 Gone",
		},
		"WrongSum": {
			reason:  "A wrong content is not kept, and a fresh download is not repeated.",
			answers: answers{whole(content, `"a"`)},
			sum:     sumOf([]byte("something else")),
			ranges:  []string{""},
			refused: "the URL demands " + sumOf([]byte("something else")),
		},
		"OtherRange": {
			reason: "A server that answers with a range that was not asked for is asked anew from zero.",
			answers: answers{cut(half, `"a"`), func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Range", fmt.Sprintf("bytes 7-%d/%d", len(content)-1, len(content)))
				w.WriteHeader(http.StatusPartialContent)
				_, _ = w.Write(content[7:])
			}, whole(content, `"a"`)},
			ranges: []string{"", fmt.Sprintf("bytes=%d-", half), ""},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			s := &script{answer: tc.answers}
			server := httptest.NewServer(s)
			defer server.Close()
			o := options(t)
			url := server.URL + "/train.parquet?download=true"
			if tc.sum != "" {
				url += "#sha256=" + tc.sum
			}
			files, err := Fetch(t.Context(), []string{url}, o)
			if fmt.Sprint(s.ranges) != fmt.Sprint(tc.ranges) {
				t.Errorf("%s\nranges asked: %q, want %q", tc.reason, s.ranges, tc.ranges)
			}
			path := filepath.Join(o.Dir, "train.parquet")
			if tc.refused != "" {
				var no *RefusedError
				if !errors.As(err, &no) || !strings.Contains(err.Error(), tc.refused) {
					t.Errorf("%s\nerror: %v, want a refusal with %q", tc.reason, err, tc.refused)
				}
				if _, err := os.Stat(path); err == nil {
					t.Errorf("%s\nthe file exists", tc.reason)
				}
				return
			}
			if err != nil {
				t.Fatalf("%s\n%v", tc.reason, err)
			}
			want := File{Path: path, SHA256: sumOf(content), Bytes: int64(len(content))}
			if files[0] != want {
				t.Errorf("%s\ngot %+v, want %+v", tc.reason, files[0], want)
			}
			wantContent(t, path)
		})
	}
}

func wantContent(t *testing.T, path string) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, content) {
		t.Errorf("%s holds %d bytes with sha256 %s, not the served content", path, len(got), sumOf(got))
	}
}

func TestSecondRunDownloadsNothing(t *testing.T) {
	s := &script{answer: []func(http.ResponseWriter, *http.Request){whole(content, `"a"`)}}
	server := httptest.NewServer(s)
	defer server.Close()
	o := options(t)
	urls := []string{server.URL + "/a.parquet", server.URL + "/b/a.parquet"}
	first, err := Fetch(t.Context(), urls, o)
	if err != nil {
		t.Fatal(err)
	}
	if base := filepath.Base(first[1].Path); base != "a-2.parquet" {
		t.Errorf("the second file of one name is %s, want a-2.parquet", base)
	}
	second, err := Fetch(t.Context(), urls, o)
	if err != nil {
		t.Fatal(err)
	}
	for i := range second {
		if !second[i].Kept || second[i].SHA256 != first[i].SHA256 {
			t.Errorf("second run: %+v, want the kept file of the first", second[i])
		}
	}
	if len(s.ranges) != 2 {
		t.Errorf("%d requests over both runs, want 2: a restarted pod does not download twice", len(s.ranges))
	}
	if _, err := Fetch(t.Context(), []string{server.URL + "/c/a.parquet"}, o); err != nil {
		t.Fatal(err)
	}
	if len(s.ranges) != 3 {
		t.Errorf("another URL of the same file name was taken for the one on disk")
	}
}

func TestResumeAcrossRuns(t *testing.T) {
	const part = 300_000
	s := &script{answer: []func(http.ResponseWriter, *http.Request){cut(part, `"a"`), status(410), whole(content, `"a"`)}}
	server := httptest.NewServer(s)
	defer server.Close()
	o := options(t)
	urls := []string{server.URL + "/train.jsonl"}
	if _, err := Fetch(t.Context(), urls, o); err == nil {
		t.Fatal("the first run succeeded, want the 410 after the cut to end it")
	}
	if _, err := os.Stat(filepath.Join(o.Dir, "train.jsonl")); err == nil {
		t.Error("an incomplete download has the name of the file")
	}
	if _, err := Fetch(t.Context(), urls, o); err != nil {
		t.Fatal(err)
	}
	wantContent(t, filepath.Join(o.Dir, "train.jsonl"))
	if want := fmt.Sprintf("bytes=%d-", part); s.ranges[2] != want {
		t.Errorf("the second run asked for %q, want %q", s.ranges[2], want)
	}
}

func TestResumedOtherContentIsDownloadedAnew(t *testing.T) {
	other := bytes.Repeat([]byte("x"), len(content))
	s := &script{answer: []func(http.ResponseWriter, *http.Request){cut(300_000, ""), status(410), whole(other, ""), whole(other, "")}}
	server := httptest.NewServer(s)
	defer server.Close()
	o := options(t)
	urls := []string{server.URL + "/train.jsonl#sha256=" + sumOf(other)}
	_, _ = Fetch(t.Context(), urls, o)
	files, err := Fetch(t.Context(), urls, o)
	if err != nil {
		t.Fatal(err)
	}
	if files[0].SHA256 != sumOf(other) || s.ranges[3] != "" {
		t.Errorf("got %+v after %q, want the other content after a request from zero", files[0], s.ranges)
	}
}

func TestSizeLimit(t *testing.T) {
	unsized := func(w http.ResponseWriter, _ *http.Request) {
		for range 4 {
			_, _ = w.Write(content)
			_ = http.NewResponseController(w).Flush()
		}
	}
	for name, answer := range map[string]func(http.ResponseWriter, *http.Request){
		"Declared": whole(content, ""), "Undeclared": unsized,
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(&script{answer: []func(http.ResponseWriter, *http.Request){answer}})
			defer server.Close()
			o := options(t)
			o.MaxBytes = int64(len(content)) - 1
			_, err := Fetch(t.Context(), []string{server.URL + "/train.jsonl"}, o)
			var no *RefusedError
			if !errors.As(err, &no) || !strings.Contains(err.Error(), "larger than the limit of 761.7 KiB") {
				t.Errorf("error: %v, want a refusal that names the limit", err)
			}
		})
	}
}

func TestGivesUp(t *testing.T) {
	s := &script{answer: []func(http.ResponseWriter, *http.Request){cut(1000, "")}}
	server := httptest.NewServer(s)
	defer server.Close()
	o := options(t)
	o.Attempts = 3
	_, err := Fetch(t.Context(), []string{server.URL + "/train.jsonl"}, o)
	if err == nil || !strings.Contains(err.Error(), "giving up after 3 attempts that came no further") {
		t.Errorf("error: %v", err)
	}
	// The first attempt came further than none, the next three did not.
	if len(s.ranges) > 4 {
		t.Errorf("%d requests: a server that always drops at the same byte must not be asked for ever", len(s.ranges))
	}
}

func TestStalledConnectionIsLeft(t *testing.T) {
	release := make(chan struct{})
	s := &script{answer: []func(http.ResponseWriter, *http.Request){
		func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("ETag", `"a"`)
			w.Header().Set("Content-Length", fmt.Sprint(len(content)))
			_, _ = w.Write(content[:1000])
			_ = http.NewResponseController(w).Flush()
			select {
			case <-release:
			case <-r.Context().Done():
			}
		},
		whole(content, `"a"`),
	}}
	server := httptest.NewServer(s)
	defer server.Close()
	defer close(release)
	o := options(t)
	o.Stall = 100 * time.Millisecond
	if _, err := Fetch(t.Context(), []string{server.URL + "/train.jsonl"}, o); err != nil {
		t.Fatal(err)
	}
	wantContent(t, filepath.Join(o.Dir, "train.jsonl"))
}

func TestCancelled(t *testing.T) {
	server := httptest.NewServer(&script{answer: []func(http.ResponseWriter, *http.Request){status(503)}})
	defer server.Close()
	ctx, cancel := context.WithCancel(t.Context())
	o := options(t)
	o.Backoff = time.Hour
	o.Progress = writerFunc(func(b []byte) {
		if bytes.Contains(b, []byte("trying again")) {
			cancel()
		}
	})
	if _, err := Fetch(ctx, []string{server.URL + "/train.jsonl"}, o); !errors.Is(err, context.Canceled) {
		t.Errorf("error: %v, want context.Canceled at once", err)
	}
}

type writerFunc func([]byte)

func (f writerFunc) Write(b []byte) (int, error) { f(b); return len(b), nil }

func TestTokensAreNotSaid(t *testing.T) {
	s := &script{answer: []func(http.ResponseWriter, *http.Request){cut(1000, `"a"`), status(500), status(403)}}
	server := httptest.NewServer(s)
	o := options(t)
	var log bytes.Buffer
	o.Progress = &log
	url := strings.Replace(server.URL, "http://", "http://user:hunter2@", 1) + "/train.jsonl?sig=hunter2"
	_, err := Fetch(t.Context(), []string{url}, o)
	server.Close()
	_, unreachable := Fetch(t.Context(), []string{url}, o)
	for what, said := range map[string]string{"error": fmt.Sprint(err, unreachable), "progress": log.String(), "records": read(t, recordFolder(o.Dir))} {
		if strings.Contains(said, "hunter2") {
			t.Errorf("the %s says the token: %s", what, said)
		}
	}
}

func read(t *testing.T, dir string) string {
	t.Helper()
	var all strings.Builder
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		raw, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if filepath.Ext(e.Name()) == ".json" {
			all.Write(raw)
		}
	}
	return all.String()
}
