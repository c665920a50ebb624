// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"math"
	"time"

	"github.com/KimMachineGun/automemlimit/memlimit"
	"github.com/go-logr/logr"

	"github.com/espalier-dev/espalier/reconciler/review"
)

// memoryLook is how often the limit of the container is looked at: that of a pod may
// be changed while it runs.
const memoryLook = time.Minute

// limitMemory makes Go collect before the kernel ends this process for want of memory: at
// nine tenths of what its container may have, beside the processes that it starts.
// GOMEMLIMIT of the environment stands over it.
func limitMemory(ctx context.Context, o controllerOptions, log logr.Logger) {
	limit, err := memlimit.Set(
		memlimit.WithProvider(beside(o.childrenMemory(), memlimit.FromCgroup)),
		memlimit.WithRefreshInterval(ctx, memoryLook),
	)
	if err != nil { // no Linux, or no control group: nobody has set a limit that could be kept to
		log.Info("How much memory there is could not be found: set GOMEMLIMIT where it is limited", "reason", err.Error())
		return
	}
	sayMemory(log, limit)
}

// sayMemory tells the limit that the runtime has; without one it is the largest number.
func sayMemory(log logr.Logger, limit int64) {
	if limit == math.MaxInt64 {
		log.Info("Memory is not limited")
		return
	}
	log.Info("Memory is collected to stay within a limit", "bytes", limit)
}

// childrenMemory is what the processes may take, in bytes, that plan heads of pull
// requests.
func (o controllerOptions) childrenMemory() uint64 {
	if o.Controllers != reviewController {
		return 0
	}
	return uint64(max(0, o.Review.Memory.Value())) * review.AtOnce //nolint:gosec // G115: it is not below zero
}

// beside is what a limit leaves beside children, and a quarter of it where they
// might take more: most plans take far less than they may.
func beside(children uint64, limit memlimit.Provider) memlimit.Provider {
	return func() (uint64, error) {
		most, err := limit()
		if err != nil {
			return 0, err
		}
		return max(most-min(most, children), most/4), nil
	}
}
