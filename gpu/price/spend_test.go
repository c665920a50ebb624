// SPDX-License-Identifier: Apache-2.0

package price_test

import (
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/espalier-dev/espalier/gpu/price"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

var noon = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)

// at is minutes from noon, as a status holds it.
func at(minutes int) metav1.Time {
	return metav1.NewTime(noon.Add(time.Duration(minutes) * time.Minute))
}

func record(run, usd string, minutes int, rate string) *v1alpha1.SpendingStatus {
	return &v1alpha1.SpendingStatus{Run: run, SpentUSD: usd, At: at(minutes), USDPerHour: rate}
}

func holds(run string, rate float64, since int) price.Running {
	return price.Running{Run: run, USDPerHour: rate, Since: at(since).Time}
}

func TestFollow(t *testing.T) {
	now := noon.Add(300 * time.Millisecond) // a status holds no fractions
	for name, c := range map[string]struct {
		reason string
		was    *v1alpha1.SpendingStatus
		seen   price.Running
		want   *v1alpha1.SpendingStatus
	}{
		"NothingYet": {"Before there are nodes nothing is spent.", nil, price.Running{Run: "a"}, nil},
		"Begins":     {"The nodes cost from when the cloud took the order, whenever somebody looks.", nil, holds("a", 6, -10), record("a", "0", -10, "6")},
		"Future":     {"Another clock than ours is not believed.", nil, holds("a", 6, 10), record("a", "0", 0, "6")},
		"GoesOn":     {"Time alone writes nothing.", record("a", "1", -60, "6"), holds("a", 6, -120), record("a", "1", -60, "6")},
		"Ends":       {"The interval is counted when its nodes are gone.", record("a", "1", -30, "6"), price.Running{Run: "a"}, record("a", "4", 0, "")},
		"StaysEnded": {"And once.", record("a", "4", -30, ""), price.Running{Run: "a"}, record("a", "4", -30, "")},
		"Again":      {"A second attempt adds to the first, from when its own nodes are there.", record("a", "4", -30, ""), holds("a", 6, -10), record("a", "4", -10, "6")},
		"SameNodes":  {"Nodes whose price was not seen for a while were there all the time, and are not counted before the record.", record("a", "4", -30, ""), holds("a", 6, -120), record("a", "4", -30, "6")},
		"Dearer":     {"Another price is another interval.", record("a", "1", -30, "6"), holds("a", 12, -120), record("a", "4", 0, "12")},
		"OtherRun":   {"Other inputs begin with nothing spent, from now: the time before was the other run's.", record("a", "9", -60, "6"), holds("b", 6, -60), record("b", "0", 0, "6")},
		"OtherLater": {"Nodes that came after the other run are the new one's from the first minute.", record("a", "9", -60, ""), holds("b", 6, -10), record("b", "0", -10, "6")},
		"OtherIdle":  {"What the other run spent is not this one's.", record("a", "9", -60, ""), price.Running{Run: "b"}, nil},
		"Backwards":  {"A clock that was set back takes no money back.", record("a", "1", 30, "6"), price.Running{Run: "a"}, record("a", "1", 0, "")},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, price.Follow(c.was, c.seen, now)); diff != "" {
				t.Errorf("%s\n-want +got:\n%s", c.reason, diff)
			}
		})
	}
}

// TestFollowAddsUp: however often somebody looks, and whatever is forgotten in
// between but the record, the sum is price by time.
func TestFollowAddsUp(t *testing.T) {
	var record *v1alpha1.SpendingStatus
	for minute := range 600 {
		seen := price.Running{Run: "a"}
		if hour := minute / 60; hour%2 == 0 { // five hours with nodes, five without
			seen = holds("a", 3.673, hour*60)
		}
		record = price.Follow(record, seen, at(minute).Time)
		if again := price.Follow(record, seen, at(minute).Time); !cmp.Equal(record, again) {
			t.Fatalf("minute %d: looking twice counts twice: %v, %v", minute, record, again)
		}
	}
	if got, want := price.Spent(record, at(600).Time), 5*3.673; math.Abs(got-want) > 0.0001*10 {
		t.Errorf("spent %v, want %v", got, want)
	}
}

func TestLeft(t *testing.T) {
	for name, c := range map[string]struct {
		reason string
		was    *v1alpha1.SpendingStatus
		limit  string
		want   time.Duration
		known  bool
	}{
		"Half":      {"What is left, by the hour.", record("a", "1", -30, "6"), "10", time.Hour, true},
		"Exactly":   {"What is spent is spent.", record("a", "1", -30, "6"), "4", 0, true},
		"Over":      {"More too.", record("a", "9", -30, ""), "4", 0, true},
		"Idle":      {"Nothing is spent now, so no moment is known.", record("a", "1", -30, ""), "4", 0, false},
		"None":      {"Nothing was spent.", nil, "4", 0, false},
		"NoMoney":   {"A budget of nothing is spent before it begins.", nil, "0", 0, true},
		"NoLimit":   {"Nobody set one.", record("a", "1", -30, "6"), "", 0, false},
		"Millennia": {"A limit that no run reaches is no overflow.", record("a", "0", 0, "0.0001"), "99999999999999", 3e9 * time.Second, true},
		"RoundedUp": {"The moment is not before the money is spent.", record("a", "0", 0, "7"), "0.001", time.Second, true},
	} {
		t.Run(name, func(t *testing.T) {
			got, known := price.Left(c.was, c.limit, noon)
			if got != c.want || known != c.known {
				t.Errorf("%s: got %v %v, want %v %v", c.reason, got, known, c.want, c.known)
			}
		})
	}
}
