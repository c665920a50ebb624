// SPDX-License-Identifier: Apache-2.0

package flux

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"encoding/xml"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/espalier-dev/espalier/test/harness"
)

// bucket is an S3 server with one bucket named models, as far as source-controller
// reads one.
type bucket struct {
	*httptest.Server
	mu    sync.Mutex
	files map[string]string
	at    time.Time
}

func newBucket(t *testing.T, files map[string]string) *bucket {
	t.Helper()
	b := &bucket{files: files, at: time.Now()}
	b.Server = httptest.NewServer(b)
	t.Cleanup(b.Close)
	return b
}

// put replaces a file.
func (b *bucket) put(name, content string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.files[name] = content
}

func (b *bucket) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	defer b.mu.Unlock()
	key, within := strings.CutPrefix(r.URL.Path, "/models")
	key = strings.TrimPrefix(key, "/")
	content, found := b.files[key]
	switch query := r.URL.Query(); {
	case !within:
		http.NotFound(w, r)
	case query.Has("location"):
		answer(w, struct {
			XMLName xml.Name `xml:"LocationConstraint"`
		}{})
	case query.Get("list-type") == "2":
		b.list(w)
	case key == "": // is it there?
	case !found:
		w.WriteHeader(http.StatusNotFound)
		answer(w, struct {
			XMLName xml.Name `xml:"Error"`
			Code    string
		}{Code: "NoSuchKey"})
	default:
		w.Header().Set("ETag", etag(content))
		w.Header().Set("Content-Type", "application/octet-stream")
		http.ServeContent(w, r, key, b.at, bytes.NewReader([]byte(content)))
	}
}

func etag(content string) string {
	sum := md5.Sum([]byte(content)) // as S3 has it
	return `"` + hex.EncodeToString(sum[:]) + `"`
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/xml")
	_ = xml.NewEncoder(w).Encode(v) // the client sees a broken answer
}

func (b *bucket) list(w http.ResponseWriter) {
	type entry struct {
		Key, LastModified, ETag string
		Size                    int
	}
	var result struct {
		XMLName     xml.Name `xml:"ListBucketResult"`
		Name        string
		KeyCount    int
		MaxKeys     int
		IsTruncated bool
		Contents    []entry
	}
	result.Name, result.KeyCount, result.MaxKeys = "models", len(b.files), 1000
	for key, content := range b.files {
		result.Contents = append(result.Contents, entry{key, b.at.UTC().Format("2006-01-02T15:04:05.000Z"), etag(content), len(content)})
	}
	slices.SortFunc(result.Contents, func(x, y entry) int { return strings.Compare(x.Key, y.Key) })
	answer(w, result)
}

// TestBucket follows a bucket with the real source-controller.
func TestBucket(t *testing.T) {
	p := newProject(t, "bucket")
	files := p.sample()
	b := newBucket(t, files)
	p.apply(strings.ReplaceAll(`apiVersion: source.toolkit.fluxcd.io/v1
kind: Bucket
metadata: {name: models}
spec:
  provider: generic
  bucketName: models
  endpoint: ENDPOINT
  insecure: true
  interval: 24h
`, "ENDPOINT", strings.TrimPrefix(b.URL, "http://")))
	p.apply(p.edited(files["clusters/staging/reposync.yaml"], map[string]string{"kind: GitRepository": "kind: Bucket"}))
	p.until("Workspace", harness.InferenceName, "Ready", func(s state) bool { return s.is("Ready", "True") })
	b.put(served, p.edited(files[served], map[string]string{"contextLength: 32768": "contextLength: 8192"}))
	p.ask("Bucket", "changed")
	p.until("Workspace", harness.InferenceName, "as the bucket has it now", func(s state) bool {
		return s.at("spec", "inference", "contextLength") == "8192" && s.is("Ready", "True")
	})
}
