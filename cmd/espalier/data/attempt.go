// SPDX-License-Identifier: Apache-2.0

package data

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

// attempt makes one request and appends what it brings to the partial file. It
// says how many bytes the file then has.
func (f *fetcher) attempt(ctx context.Context, t target) (reached int64, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stalled := fmt.Errorf("nothing came for %s", f.Stall)
	timer := time.AfterFunc(f.Stall, func() { cancel(stalled) })
	defer timer.Stop()

	part, offset, err := f.openPart(t)
	if err != nil {
		return 0, err
	}
	defer part.Close()
	known := f.load(t)
	resp, err := f.request(ctx, t, offset, known)
	if err != nil {
		return 0, f.failure(ctx, err)
	}
	defer resp.Body.Close()

	start, total, err := f.judge(t, resp, offset, known)
	if err != nil || start == total {
		return 0, err
	}
	if err := f.startAt(part, offset, start); err != nil {
		return 0, err
	}
	if total >= 0 && f.total.Load()+total-start > f.MaxBytes {
		return 0, f.tooLarge()
	}
	if err := f.save(t, record{Validator: validator(resp.Header), Total: total}); err != nil {
		return 0, err
	}
	m := &meter{f: f, name: t.name, out: part, size: start, total: total, printed: time.Now(),
		alive: func() { timer.Reset(f.Stall) }}
	err = f.receive(ctx, t, resp.Body, m)
	return m.size, err
}

// openPart opens the partial file at its end.
func (f *fetcher) openPart(t target) (*os.File, int64, error) {
	part, err := os.OpenFile(f.partPath(t), os.O_CREATE|os.O_WRONLY, 0o644) // the trainer reads it, as another user
	if err != nil {
		return nil, 0, &diskError{err}
	}
	offset, err := part.Seek(0, io.SeekEnd)
	if err != nil {
		part.Close()
		return nil, 0, &diskError{err}
	}
	return part, offset, nil
}

// receive copies the body to its end.
func (f *fetcher) receive(ctx context.Context, t target, body io.Reader, m *meter) error {
	if m.size == 0 {
		f.lines.printf("%s: downloading %s", t.name, t.shown)
	} else {
		f.lines.printf("%s: resuming at %s", t.name, share(m.size, m.total))
	}
	if _, err := io.Copy(m, body); err != nil {
		return f.failure(ctx, err)
	}
	if m.total >= 0 && m.size != m.total {
		return &retryError{err: fmt.Errorf("the connection ended at %s", share(m.size, m.total))}
	}
	return nil
}

// request asks for the content from offset on, on condition that it is still
// the content that the beginning belongs to.
func (f *fetcher) request(ctx context.Context, t target, offset int64, known record) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, t.url, nil)
	if err != nil {
		return nil, refused("it is not a URL")
	}
	if err := permitHost(req.URL, f.Permit); err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", "espalier")
	req.Header.Set("Accept-Encoding", "identity")
	if offset > 0 && resumable(t, known) {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", offset))
		if known.Validator != "" {
			req.Header.Set("If-Range", known.Validator)
		}
	}
	return f.client.Do(req)
}

// failure sorts an error of the transport: what this side refused or could not
// write is final, all else may pass.
func (f *fetcher) failure(ctx context.Context, err error) error {
	var no *RefusedError
	var disk *diskError
	switch {
	case errors.As(err, &no):
		return no
	case errors.As(err, &disk):
		return disk
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	}
	return &retryError{err: plain(err)}
}

// judge reads the answer: at which byte its body starts and how large the whole
// content is, -1 when unknown. Equal, there is nothing left to read.
func (f *fetcher) judge(t target, resp *http.Response, offset int64, known record) (start, total int64, err error) {
	switch resp.StatusCode {
	case http.StatusOK:
		return 0, notEmpty(resp.ContentLength), nil
	case http.StatusPartialContent:
		start, total, err := rest(resp.Header, offset, known)
		if err != nil {
			return 0, 0, f.anew(t, offset, err.Error())
		}
		return start, total, nil
	case http.StatusRequestedRangeNotSatisfiable:
		if offset > 0 && known.Total == offset {
			return offset, offset, nil
		}
		return 0, 0, f.anew(t, offset, "the server does not have the range")
	}
	return 0, 0, unwilling(resp)
}

// rest reads the answer to a request for what comes after offset: it must be of the content
// that the beginning is of.
func rest(h http.Header, offset int64, known record) (start, total int64, err error) {
	if v := validator(h); known.Validator != "" && v != "" && v != known.Validator {
		return 0, 0, errors.New("the server answered with a range of other content")
	}
	start, total, ok := contentRange(h.Get("Content-Range"))
	if !ok || start != offset || known.Total >= 0 && total >= 0 && total != known.Total {
		return 0, 0, errors.New("the server answered with another range")
	}
	return start, total, nil
}

// passing says whether a status may be another one soon.
func passing(code int) bool {
	switch code {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return true
	}
	return code >= 500
}

// notEmpty keeps an empty file from looking finished before it was created.
func notEmpty(length int64) int64 {
	if length == 0 {
		return -1
	}
	return length
}

// anew forgets the partial file, so that the next attempt begins at zero.
func (f *fetcher) anew(t target, offset int64, why string) error {
	if err := f.discard(t); err != nil {
		return err
	}
	f.total.Add(-offset)
	return &retryError{err: errors.New(why)}
}

// startAt cuts the partial file of offset bytes to start, which is 0 or offset.
func (f *fetcher) startAt(part *os.File, offset, start int64) error {
	if start == offset {
		return nil
	}
	f.total.Add(start - offset)
	if err := part.Truncate(start); err != nil {
		return &diskError{err}
	}
	if _, err := part.Seek(start, io.SeekStart); err != nil {
		return &diskError{err}
	}
	return nil
}

// validator is what may stand in If-Range: a strong ETag, else Last-Modified
// (RFC 9110, 13.1.5).
func validator(h http.Header) string {
	if tag := h.Get("ETag"); tag != "" && !strings.HasPrefix(tag, "W/") {
		return tag
	}
	return h.Get("Last-Modified")
}

// contentRange reads "bytes 100-199/200"; total is -1 for "*".
func contentRange(s string) (start, total int64, ok bool) {
	rest, found := strings.CutPrefix(s, "bytes ")
	span, whole, both := strings.Cut(rest, "/")
	first, _, dash := strings.Cut(span, "-")
	if !found || !both || !dash {
		return 0, 0, false
	}
	start, err := strconv.ParseInt(first, 10, 64)
	if err != nil || start < 0 {
		return 0, 0, false
	}
	if whole == "*" {
		return start, -1, true
	}
	total, err = strconv.ParseInt(whole, 10, 64)
	return start, total, err == nil && total > start
}

// RetryAfter is how long an answer asks to be left alone, two minutes at most; 0 where it asks
// for nothing. Only the form in seconds is read: the other one needs clocks that agree.
func RetryAfter(h http.Header) time.Duration {
	seconds, err := strconv.Atoi(h.Get("Retry-After"))
	if err != nil || seconds < 0 {
		return 0
	}
	return time.Duration(min(seconds, int(maxBackoff/time.Second))) * time.Second
}
