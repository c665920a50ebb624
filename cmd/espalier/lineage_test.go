// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestSumsWithin: a slow share costs no more than the time that is given to it.
func TestSumsWithin(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a.jsonl"), []byte("a"), 0o600); err != nil {
		t.Fatal(err)
	}
	if sums, err := sumsWithin(t.Context(), dir, time.Minute); err != nil || len(sums) != 1 {
		t.Errorf("in time it said %v, %v", sums, err)
	}
	if _, err := sumsWithin(t.Context(), dir, time.Nanosecond); err == nil || !strings.Contains(err.Error(), "could not be read within 1ns") {
		t.Errorf("out of time it said %v", err)
	}
}
