// SPDX-License-Identifier: Apache-2.0

package price

import (
	"math"
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// Running is what a tuning run holds at one moment.
type Running struct {
	// Run names it; the money of another is counted anew.
	Run string
	// USDPerHour of the nodes that it holds; 0: none, or without a price.
	USDPerHour float64
	// Since is from when they were there.
	Since time.Time
}

// Follow carries what a run has spent on to what it holds now. The record changes
// where the hourly price does, and not with the time, so that a run that goes on
// writes nothing: an interval is counted once, when it ends, from its recorded
// beginning. Nil: nothing was spent, and nothing is.
func Follow(was *v1alpha1.SpendingStatus, seen Running, now time.Time) *v1alpha1.SpendingStatus {
	now = now.Truncate(time.Second) // as a status holds it
	from := seen.Since.Truncate(time.Second)
	if from.IsZero() || from.After(now) {
		from = now
	}
	rate := ""
	if seen.USDPerHour > 0 {
		rate = Plain(seen.USDPerHour)
	}
	switch {
	case was != nil && was.Run == seen.Run && was.USDPerHour == rate:
		return was
	case was != nil && was.Run == seen.Run:
		return &v1alpha1.SpendingStatus{Run: was.Run, SpentUSD: Plain(Spent(was, now)), At: counted(was, from, now), USDPerHour: rate}
	case rate == "":
		return nil
	}
	return &v1alpha1.SpendingStatus{Run: seen.Run, SpentUSD: "0", At: counted(was, from, now), USDPerHour: rate}
}

// counted is up to when money is counted by a record that begins anew or goes on at
// another price: now, where money was spent before, for this run or another; else
// from when the nodes are there, but never from before the end of the record. Nodes
// whose price was not seen for a while were there all the time.
func counted(was *v1alpha1.SpendingStatus, from, now time.Time) metav1.Time {
	switch {
	case was != nil && was.USDPerHour != "":
		return metav1.NewTime(now)
	case was != nil && was.At.After(from):
		return was.At
	}
	return metav1.NewTime(from)
}

// Spent is what a run has spent, in USD, up to a moment.
func Spent(s *v1alpha1.SpendingStatus, now time.Time) float64 {
	if s == nil {
		return 0
	}
	usd, _ := Amount(s.SpentUSD)
	rate, _ := Amount(s.USDPerHour)
	if passed := now.Truncate(time.Second).Sub(s.At.Time); passed > 0 {
		usd += rate * passed.Hours()
	}
	return usd
}

// Left is how long a run may go on until a limit in USD is spent: 0 where it is,
// and false where nothing is spent, or the text is no limit.
func Left(s *v1alpha1.SpendingStatus, limit string, now time.Time) (time.Duration, bool) {
	most, ok := Amount(limit)
	if !ok {
		return 0, false
	}
	left := most - Spent(s, now)
	if left <= 0 {
		return 0, true
	}
	if s == nil {
		return 0, false
	}
	rate, _ := Amount(s.USDPerHour)
	if rate == 0 {
		return 0, false
	}
	const most100Years = 3e9 // more seconds than a Duration holds are as good as for ever
	seconds := min(math.Ceil(left/rate*3600), most100Years)
	return time.Duration(seconds) * time.Second, true
}

// Amount is an amount in USD as a spec or a status holds it: 0 and false where the
// text is none.
func Amount(text string) (usd float64, ok bool) {
	usd, err := strconv.ParseFloat(text, 64)
	if err != nil || usd < 0 {
		return 0, false
	}
	return usd, true
}
