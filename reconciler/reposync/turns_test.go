// SPDX-License-Identifier: Apache-2.0

package reposync

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/espalier-dev/espalier/reconciler/fault"
	"github.com/espalier-dev/espalier/reconciler/report"
)

// TestTurns: one who waits too long says so and comes to it later, and a writer that
// fails holds up nobody.
func TestTurns(t *testing.T) {
	r := &Reconciler{}
	target := report.Target{URL: "u", Branch: "main", Folder: "a", Timeout: 20 * time.Millisecond}
	done, err := r.turns.take(t.Context(), target.Lease(), time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.writeInTurn(t.Context(), target, nil, report.Report{}, ""); err == nil || fault.IsTerminal(err) || !strings.Contains(err.Error(), "folder a of branch main") {
		t.Errorf("one that waits too long: %v", err)
	}
	done()
	var failure *report.Error
	if _, err := r.writeInTurn(t.Context(), target, nil, report.Report{}, ""); !errors.As(err, &failure) { // it has no installation
		t.Errorf("a report that cannot be written: %v", err)
	}
	if done, err = r.turns.take(t.Context(), target.Lease(), time.Minute); err != nil {
		t.Fatalf("the turn was not given back: %v", err)
	}
	done()
	if len(r.turns.all) > 0 {
		t.Errorf("%d branches are kept in mind though nobody writes to them", len(r.turns.all))
	}
}
