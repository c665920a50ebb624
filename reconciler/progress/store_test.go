// SPDX-License-Identifier: Apache-2.0

package progress

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// at is a report of a pod, some seconds after the start.
type at struct {
	second int
	pod    types.UID
	report Report
}

func step(n, of int64, loss string) Report {
	return Report{Percent: ptr.To(int32(n * 100 / of)), Step: &n, Steps: &of, Loss: loss, Remaining: ptr.To(time.Minute)}
}

var begin = Report{Percent: ptr.To[int32](0), Steps: ptr.To[int64](1000)}

func TestPut(t *testing.T) {
	start := time.Date(2026, 11, 26, 3, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		reason    string
		said      []at
		want      v1alpha1.TuningProgress // but for At
		passed    int                     // reports that were not looked at
		wakes     int
		remaining time.Duration
	}{
		"Begins": {
			reason: "The first is told at once; nothing can be said of the time yet.",
			said:   []at{{0, "a", begin}}, want: v1alpha1.TuningProgress{Steps: 1000}, wakes: 1, remaining: -1,
		},
		"Paced": {
			reason: "Twelve reports of a minute wake the Workspace every half of it.",
			said: []at{
				{0, "a", begin}, {5, "a", step(1, 1000, "2.5")}, {10, "a", step(2, 1000, "")}, {15, "a", step(3, 1000, "")}, {20, "a", step(4, 1000, "")}, {25, "a", step(5, 1000, "")},
				{30, "a", step(6, 1000, "2.1")}, {35, "a", step(7, 1000, "")}, {40, "a", step(8, 1000, "")}, {45, "a", step(9, 1000, "")}, {50, "a", step(10, 1000, "")}, {55, "a", step(11, 1000, "")},
			},
			want: v1alpha1.TuningProgress{Percent: 1, Step: 11, Steps: 1000, Loss: "2.1"}, wakes: 2, remaining: 989 * 5 * time.Second,
		},
		"Hurried": {
			reason: "At most one report a second is looked at.",
			said:   []at{{0, "a", step(1, 10, "3")}, {0, "a", step(2, 10, "2")}, {0, "a", step(3, 10, "1")}},
			want:   v1alpha1.TuningProgress{Percent: 10, Step: 1, Steps: 10, Loss: "3"}, passed: 2, wakes: 1, remaining: -1,
		},
		"Resumed": {
			reason: "The time left is at the pace of this pod: 10 steps in 20 s. transformers would count 500 steps in 20 s.",
			said:   []at{{0, "a", begin}, {5, "a", step(500, 1000, "1")}, {100, "b", begin}, {110, "b", step(500, 1000, "1")}, {130, "b", step(510, 1000, "0.9")}},
			want:   v1alpha1.TuningProgress{Percent: 51, Step: 510, Steps: 1000, Loss: "0.9"}, wakes: 3, remaining: 490 * 2 * time.Second,
		},
		"NewPodBegins": {
			reason: "The first call of a pod says 0 before it has looked for a checkpoint: what was known stays.",
			said:   []at{{0, "a", step(500, 1000, "1")}, {100, "b", begin}},
			want:   v1alpha1.TuningProgress{Percent: 50, Step: 500, Steps: 1000, Loss: "1"}, wakes: 2, remaining: -1,
		},
		"LostSteps": {
			reason: "The steps since the last checkpoint are done again.",
			said:   []at{{0, "a", step(590, 1000, "1")}, {100, "b", begin}, {110, "b", step(500, 1000, "1.1")}},
			want:   v1alpha1.TuningProgress{Percent: 50, Step: 500, Steps: 1000, Loss: "1.1"}, wakes: 2, remaining: -1,
		},
		"Ends": {
			reason: "The end is told at once.",
			said:   []at{{0, "a", step(999, 1000, "1")}, {0, "a", Report{Percent: ptr.To[int32](100), Remaining: ptr.To(time.Duration(0))}}},
			want:   v1alpha1.TuningProgress{Percent: 100, Step: 999, Steps: 1000, Loss: "1"}, wakes: 2, remaining: 0,
		},
		"NoSteps": {
			reason: "Of a trainer that counts no steps its own word is taken.",
			said:   []at{{0, "a", Report{Percent: ptr.To[int32](3), Remaining: ptr.To(time.Hour)}}},
			want:   v1alpha1.TuningProgress{Percent: 3}, wakes: 1, remaining: time.Hour,
		},
		"Stands": {
			reason: "No step is done: nothing can be said of the time.",
			said:   []at{{0, "a", step(5, 10, "1")}, {60, "a", step(5, 10, "1")}},
			want:   v1alpha1.TuningProgress{Percent: 50, Step: 5, Steps: 10, Loss: "1"}, wakes: 2, remaining: -1,
		},
	} {
		t.Run(name, func(t *testing.T) {
			now := start
			s := NewStore(func() time.Time { return now })
			passed := 0
			for _, said := range c.said {
				now = start.Add(time.Duration(said.second) * time.Second)
				if !s.Put(Run{Workspace: types.NamespacedName{Namespace: "models", Name: "w"}, Job: "job", Pod: said.pod}, said.report) {
					passed++
				}
			}
			c.want.At = s.Of("job").At
			if c.remaining >= 0 {
				c.want.Remaining = &metav1.Duration{Duration: c.remaining}
			}
			if diff := cmp.Diff(&c.want, s.Of("job")); diff != "" {
				t.Errorf("%s\n-want +got:\n%s", c.reason, diff)
			}
			if len(s.Wakes()) != c.wakes || passed != c.passed {
				t.Errorf("%s\n%d wakes, want %d; %d passed over, want %d", c.reason, len(s.Wakes()), c.wakes, passed, c.passed)
			}
		})
	}
}

// TestForgets sees that runs that say nothing any more take no memory.
func TestForgets(t *testing.T) {
	now := time.Date(2026, 11, 26, 3, 0, 0, 0, time.UTC)
	s := NewStore(func() time.Time { return now })
	s.Put(Run{Job: "old"}, begin)
	now = now.Add(forget + time.Minute)
	s.Put(Run{Job: "new"}, begin)
	if s.Of("old") != nil || s.Of("new") == nil {
		t.Errorf("old %v, new %v", s.Of("old"), s.Of("new"))
	}
	if (*Store)(nil).Of("any") != nil {
		t.Error("where nobody listens there is something to tell")
	}
}
