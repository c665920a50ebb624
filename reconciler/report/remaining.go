// SPDX-License-Identifier: Apache-2.0

package report

import (
	"fmt"
	"math"
	"time"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// Remaining is how long a run still takes, in words for people: as exact as such an
// estimate is, and the same for minutes, so that what shows it seldom changes. ""
// is not known.
func Remaining(p *v1alpha1.TuningProgress) string {
	if p.Remaining == nil || p.Percent >= 100 {
		return ""
	}
	const day = 24 * time.Hour
	switch d := p.Remaining.Duration; {
	case d < 10*time.Minute:
		return "less than 10 min"
	case d < time.Hour:
		return fmt.Sprintf("about %d min", rounded(d, 10*time.Minute)*10)
	case d < day:
		return fmt.Sprintf("about %d h", rounded(d, time.Hour))
	default:
		return fmt.Sprintf("about %d days", max(2, rounded(d, day)))
	}
}

// rounded is how many units a time has.
func rounded(d, unit time.Duration) int { return int(math.Round(float64(d) / float64(unit))) }
