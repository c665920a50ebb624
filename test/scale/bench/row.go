// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"
)

// row is what one thing that happened has cost.
type row struct {
	who, what string
	applied   []time.Duration // until each object that was touched is as Git has it
	children  []time.Duration // until the Deployment of each is
	report    time.Duration   // until the status branch says so; 0: it is not waited for
	rest      time.Duration   // until the last request
	cpu       time.Duration
	peak      int64 // MiB
	calls     calls
	given     string // why it was given up
}

const header = `| who | what | applied p50 | p95 | last | with children | status commit | at rest | CPU | memory | get | list | write | load |
|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|
`

// print prints the row of the table, and to talk what was written.
func (r row) print(out, talk io.Writer) {
	times := slices.Sorted(slices.Values(r.applied))
	cells := []string{
		r.who, r.what, quantile(times, 50), quantile(times, 95), quantile(times, 100), quantile(slices.Sorted(slices.Values(r.children)), 100),
		seconds(r.report), seconds(r.rest), seconds(r.cpu), fmt.Sprintf("%d MiB", r.peak),
		fmt.Sprint(r.calls.count("get")), fmt.Sprint(r.calls.count("list")), fmt.Sprint(r.calls.count("create", "patch", "update", "delete", "deletecollection")),
		load(),
	}
	if r.given != "" {
		cells[4] = "> " + r.given
	}
	fmt.Fprintf(out, "| %s |\n", strings.Join(cells, " | "))
	fmt.Fprintf(talk, "  %s, %s: %s\n", r.who, r.what, r.calls.mostly())
}

// patiently waits for what happens as long as the bench's patience lasts. What takes
// longer is no error: the row says so.
func (w *world) patiently(ctx context.Context, what string, r *row, happen func(context.Context) error) error {
	patient, cancel := context.WithTimeout(ctx, w.o.patience)
	defer cancel()
	err := happen(patient)
	switch {
	case err == nil:
		return nil
	case patient.Err() == nil || ctx.Err() != nil:
		return fmt.Errorf("%s: %w", what, err)
	}
	r.given = seconds(w.o.patience)
	fmt.Fprintf(os.Stderr, "  Given up, %s: %v\n", what, err)
	return nil
}

// quantile of sorted times; "–" where there are none.
func quantile(sorted []time.Duration, percent int) string {
	if len(sorted) == 0 {
		return "–"
	}
	return seconds(sorted[(len(sorted)*percent+99)/100-1])
}

func seconds(d time.Duration) string {
	switch {
	case d == 0:
		return "–"
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < 100*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	return fmt.Sprintf("%.0f s", d.Seconds())
}
