// SPDX-License-Identifier: Apache-2.0

package price

import (
	"fmt"
	"math"

	"github.com/espalier-dev/espalier/gpu/sku"
)

// Speed is how many training tokens a second one GPU gets through. Where it was
// not measured it is a range.
type Speed struct {
	Low, High float64
	// Measured says that both ends are one measurement; From says whose, or how
	// the range came about.
	Measured bool
	From     string
}

// Shares of a GPU's dense peak that LoRA and QLoRA runs get out of it. No
// measurement of the catalogue's GPUs is published in the sources used here, so
// this is a range wide enough to hold small and large models, not a promise.
const leastShare, mostShare = 0.10, 0.45

// flopsPerToken of a parameter with a frozen base: 2 forward, 2 for the gradient
// of the activations, 2 for the forward pass again under checkpointing.
const flopsPerToken = 6

// Estimate is the range of speeds of one GPU of the instance type for a model
// of that many parameters; false where the GPU's peak is not known.
func Estimate(i sku.Instance, parameters float64) (Speed, bool) {
	if i.TFLOPS <= 0 || parameters <= 0 {
		return Speed{}, false
	}
	peak := i.TFLOPS * 1e12 / (flopsPerToken * parameters)
	return Speed{
		Low: peak * leastShare, High: peak * mostShare,
		From: fmt.Sprintf("%.0f to %.0f %% of the data sheet's %g TFLOPS", leastShare*100, mostShare*100, i.TFLOPS),
	}, true
}

// Measured is a speed somebody measured.
func Measured(tokensPerSecond float64, from string) Speed {
	return Speed{Low: tokensPerSecond, High: tokensPerSecond, Measured: true, From: from}
}

// Run is the price of a tuning run: a range unless the speed was measured.
// Known is false where price or speed is not known.
type Run struct {
	HoursLow, HoursHigh float64
	USDLow, USDHigh     float64
	Price               Price
	Speed               Speed
	Known               bool
}

// Training prices a run over that many tokens (all epochs), at the price of an hour of its
// nodes and with so many GPUs on all of them. Of a node that is cut into slices one trains.
func Training(hour Price, gpus int, tokens int64, s Speed) Run {
	r, all := Run{Price: hour, Speed: s}, float64(max(1, gpus))
	if !r.Price.Known || s.Low <= 0 || s.High < s.Low || tokens <= 0 {
		return r
	}
	r.HoursLow = float64(tokens) / (s.High * all * 3600)
	r.HoursHigh = float64(tokens) / (s.Low * all * 3600)
	r.USDLow, r.USDHigh = r.HoursLow*r.Price.USD, r.HoursHigh*r.Price.USD
	r.Known = true
	return r
}

// String is the price of the run for people.
func (r Run) String() string {
	switch {
	case !r.Known:
		return "the price of the run is not known"
	case r.Speed.Measured:
		return fmt.Sprintf("$%.2f for %s h (%s), %s", r.USDLow, hours(r.HoursLow), r.Speed.From, r.Price)
	}
	return fmt.Sprintf("$%.2f to $%.2f for %s to %s h (%s), %s", r.USDLow, r.USDHigh, hours(r.HoursLow), hours(r.HoursHigh), r.Speed.From, r.Price)
}

func hours(h float64) string {
	if h >= 10 {
		return fmt.Sprintf("%.0f", h)
	}
	return fmt.Sprintf("%.2g", math.Max(h, 0.01))
}
