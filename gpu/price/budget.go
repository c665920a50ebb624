// SPDX-License-Identifier: Apache-2.0

package price

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// ErrUnknown says that a price is not known and so was compared with nothing.
var ErrUnknown = errors.New("the price is not known, so it cannot be held against the budget")

// ErrOver says that a price exceeds the budget.
var ErrOver = errors.New("over budget")

// Within compares an hourly price with a budget: nil when it is within it or no
// budget is set, an error that is ErrOver or ErrUnknown otherwise, and another
// one where the budget is no amount.
func Within(p Price, budget *v1alpha1.Budget) error {
	if budget == nil || budget.MaxUSDPerHour == "" {
		return nil
	}
	limit, err := strconv.ParseFloat(budget.MaxUSDPerHour, 64)
	if err != nil || limit < 0 {
		return fmt.Errorf("budget.maxUSDPerHour is %q: want an amount in USD", budget.MaxUSDPerHour)
	}
	if !p.Known {
		return fmt.Errorf("budget.maxUSDPerHour is %s: %w (%s)", USD(limit), ErrUnknown, p)
	}
	// List prices have at most four decimals; sums of them are compared so.
	if p.USD > limit+0.00005 {
		return fmt.Errorf("%w: %s, and budget.maxUSDPerHour is %s", ErrOver, p, USD(limit))
	}
	return nil
}
