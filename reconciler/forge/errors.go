// SPDX-License-Identifier: Apache-2.0

package forge

import (
	"context"
	"errors"
	"time"
)

// Reasons of an Error, beside v1alpha1.ReasonAuthFailed.
const (
	ReasonForgeUnreachable = "ForgeUnreachable" // it does not answer, or not well: it is asked again
	ReasonForgeRefused     = "ForgeRefused"     // it answers that this cannot be
	ReasonRateLimited      = "RateLimited"      // it wants fewer requests
)

// Error says in one sentence what is wrong and what to do. It holds nothing
// secret: what the credentials are is struck out wherever a server repeats it.
type Error struct {
	Reason string
	// Status is the HTTP status of the answer, 0 where there was none.
	Status int
	// After is how long the forge wants to be left alone; 0: it did not say.
	After time.Duration
	text  string
}

func (e *Error) Error() string { return e.text }

// explain makes an Error of whatever a client library returns. An error of the
// transport passes through the libraries unchanged; everything else is an answer
// that they cannot read.
func (t *transport) explain(err error) error {
	var known *Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &known):
		return known
	case errors.Is(err, context.Canceled):
		return context.Canceled
	}
	return &Error{Reason: ReasonForgeUnreachable, text: t.redact("Reading the answer of " + t.at.String() + " ended with: " + t.short(err.Error()))}
}
