// SPDX-License-Identifier: Apache-2.0

package forge

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"sync"
)

// Bounds of what is kept of answers, in answers and in bytes: the lists that are asked
// for with each look, of a few repositories' size.
const (
	maxKept      = 64
	maxKeptBytes = 256 << 10 // of one; a larger one is not kept
)

// etags keeps answers with the tags that forges give them, for one account. A look at
// what has not changed is answered without a body then, and on GitHub does not count
// against the rate limit.
type etags struct {
	mu   sync.Mutex
	kept []keptAnswer // the longest unused first
}

// keptAnswer is one, never changed once it is there.
type keptAnswer struct {
	url, tag string
	header   http.Header
	body     []byte
}

// ask makes a request conditional where its answer is kept.
func (e *etags) ask(req *http.Request) (*http.Request, *keptAnswer) {
	if req.Method != http.MethodGet || req.Header.Get("If-None-Match") != "" {
		return req, nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	i := slices.IndexFunc(e.kept, func(k keptAnswer) bool { return k.url == req.URL.String() })
	if i < 0 {
		return req, nil
	}
	k := e.kept[i]
	e.kept = append(slices.Delete(e.kept, i, i+1), k)
	req = req.Clone(req.Context())
	req.Header.Set("If-None-Match", k.tag)
	return req, &k
}

// same is the answer that was kept, now that the forge says that it still holds. What
// the forge says beside, such as how many requests are left, is of now.
func (k *keptAnswer) same(resp *http.Response) *http.Response {
	_ = resp.Body.Close()
	header := k.header.Clone()
	maps.Copy(header, resp.Header)
	again := *resp
	again.StatusCode, again.Status, again.Header = http.StatusOK, "200 OK", header
	again.Body, again.ContentLength = io.NopCloser(bytes.NewReader(k.body)), int64(len(k.body))
	return &again
}

// keep keeps an answer that has a tag and is not too large.
func (e *etags) keep(req *http.Request, resp *http.Response) error {
	tag := resp.Header.Get("ETag")
	if req.Method != http.MethodGet || resp.StatusCode != http.StatusOK || tag == "" {
		return nil
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxKeptBytes+1))
	if err != nil {
		_ = resp.Body.Close()
		return fmt.Errorf("reading an answer: %w", err)
	}
	if len(body) > maxKeptBytes {
		resp.Body = &rejoined{Reader: io.MultiReader(bytes.NewReader(body), resp.Body), Closer: resp.Body}
		return nil
	}
	_ = resp.Body.Close()
	resp.Body = io.NopCloser(bytes.NewReader(body))
	e.mu.Lock()
	defer e.mu.Unlock()
	k := keptAnswer{url: req.URL.String(), tag: tag, header: resp.Header.Clone(), body: body}
	e.kept = slices.DeleteFunc(e.kept, func(old keptAnswer) bool { return old.url == k.url })
	e.kept = append(e.kept, k)
	if len(e.kept) > maxKept {
		e.kept = slices.Delete(e.kept, 0, 1)
	}
	return nil
}

// rejoined is a body of which the beginning was read.
type rejoined struct {
	io.Reader
	io.Closer
}
