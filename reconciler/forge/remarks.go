// SPDX-License-Identifier: Apache-2.0

package forge

import (
	"context"
	"time"
)

// Remark is a comment on a pull request by somebody else than the account that is
// signed in.
type Remark struct {
	ID int64
	// Author is the name that the forge knows somebody by.
	Author string
	Body   string
	// At is when it was made.
	At time.Time

	author int64 // where the forge goes by numbers
}

// Remarks are what others say on pull requests.
type Remarks interface {
	// Others lists the remarks that were made after a time, the oldest first, without
	// those that were edited since: whoever may edit may not be who speaks.
	Others(ctx context.Context, number int64, after time.Time) ([]Remark, error)
	// MayWrite says whether the author of a remark may write to the repository.
	MayWrite(ctx context.Context, r Remark) (bool, error)
}

// listed is a comment as a forge lists it.
type listed struct {
	Comment
	by   string
	byID int64
	at   time.Time
	last time.Time // when it was edited last; zero where the forge does not say
}

// ownOf are the comments of an account.
func ownOf(list []listed, me string) []Comment {
	var own []Comment
	for _, s := range list {
		if s.by == me {
			own = append(own, s.Comment)
		}
	}
	return own
}

// slack is how long after a comment is made a forge may still touch it itself: times
// are told by the second, and not always in one go.
const slack = 2 * time.Second

// othersOf are those of everybody else, as they were made.
func othersOf(list []listed, me string, after time.Time) []Remark {
	var others []Remark
	for _, s := range list {
		if s.by != me && s.by != "" && s.at.After(after) && s.last.Sub(s.at) <= slack {
			others = append(others, Remark{ID: s.ID, Author: s.by, Body: s.Body, At: s.at, author: s.byID})
		}
	}
	return others
}
