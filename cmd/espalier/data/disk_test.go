// SPDX-License-Identifier: Apache-2.0

package data

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestFullDisk: it is said which volume is full and what helps, and no other try is made.
func TestFullDisk(t *testing.T) {
	const device = "/dev/full"
	if _, err := os.Stat(device); err != nil {
		t.Skip("this system has no ", device)
	}
	asked := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked++
		_, _ = w.Write([]byte("rows"))
	}))
	defer server.Close()
	o := options(t)
	begun, err := newFetcher(o)
	if err != nil {
		t.Fatal(err)
	}
	of, err := parseTarget(server.URL + "/chats.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(begun.save(of, record{Validator: `"1"`, Total: -1}), os.Symlink(device, begun.partPath(of))); err != nil {
		t.Fatal(err)
	}
	_, err = Fetch(t.Context(), []string{server.URL + "/chats.jsonl"}, o)
	var no *RefusedError
	if !errors.As(err, &no) || asked != 1 {
		t.Errorf("asked %d times, then: %v", asked, err)
	}
	for _, want := range []string{"no space left on device", "the volume of " + o.Dir + " holds ", "spec.tuning.input.claim"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error: %v, want %q in it", err, want)
		}
	}
	if _, err := os.Stat(filepath.Join(o.Dir, "chats.jsonl")); err == nil {
		t.Error("a file that was cut short has the name of a whole one")
	}
}
