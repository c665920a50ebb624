// SPDX-License-Identifier: Apache-2.0

// Package fault tells apart the three ways in which a step of a reconcile can
// end early: a new commit can help (terminal: shown, never retried), waiting can
// (retryable: shown, retried with backoff), or nothing is wrong and the world is
// simply not there yet (waiting: no error at all).
//
// It decides neither what to log nor what to emit: the frame around the steps
// does that, once.
package fault

import (
	"errors"
	"fmt"
	"time"
)

// Fault is an error that says whether trying again can help.
type Fault struct {
	Reason   string // CamelCase, becomes the reason of a condition
	Terminal bool
	Err      error
}

func (f *Fault) Error() string { return f.Err.Error() }
func (f *Fault) Unwrap() error { return f.Err }

// Stop returns a terminal fault: only a change in Git or of the object can help.
func Stop(reason string, err error) error {
	return &Fault{Reason: reason, Terminal: true, Err: err}
}

// Stopf is Stop with a formatted message.
func Stopf(reason, format string, args ...any) error {
	return Stop(reason, fmt.Errorf(format, args...))
}

// Retry returns a fault that waiting can cure.
func Retry(reason string, err error) error {
	return &Fault{Reason: reason, Err: err}
}

// Waiting is not an error to the user: the world is on its way. After is when
// to look again where no watch will say so; 0 where one will.
type Waiting struct {
	Reason  string
	Message string
	After   time.Duration
}

func (w *Waiting) Error() string { return w.Message }

// Wait ends a pass without an error.
func Wait(reason string, after time.Duration, format string, args ...any) error {
	return &Waiting{Reason: reason, Message: fmt.Sprintf(format, args...), After: after}
}

// IsTerminal says whether err holds a terminal fault.
func IsTerminal(err error) bool {
	var f *Fault
	return errors.As(err, &f) && f.Terminal
}

// AsWaiting returns the Waiting in err, if it holds one.
func AsWaiting(err error) (*Waiting, bool) {
	var w *Waiting
	ok := errors.As(err, &w)
	return w, ok
}

// Reason returns the reason err carries, or otherwise where it carries none.
func Reason(err error, otherwise string) string {
	var f *Fault
	if errors.As(err, &f) && f.Reason != "" {
		return f.Reason
	}
	if w, ok := AsWaiting(err); ok && w.Reason != "" {
		return w.Reason
	}
	return otherwise
}
