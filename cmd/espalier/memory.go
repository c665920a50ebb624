// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"math"
	"runtime"
	"time"

	"github.com/KimMachineGun/automemlimit/memlimit"
	"github.com/go-logr/logr"

	"github.com/espalier-dev/espalier/reconciler/review"
)

// memoryLook is how often the limit of the container is looked at: that of a pod may
// be changed while it runs.
const memoryLook = time.Minute

// programPages is what of the program's file is in memory while it works, in bytes: 46 to 48 MiB
// of a controller, whatever it holds (docs/performance.md), and 8 MiB, as Go takes more than its
// limit for a moment when it has fallen behind. Where a container has no room for them, the kernel does not end it:
// it reads them from the disk again and again, 0.3 GB a second.
const programPages = 56 << 20

// limitMemory makes Go collect before the kernel ends this process for want of memory, or takes
// the program's own pages back: at what its container may have beside the processes that it
// starts, less a tenth and no less than programPages. GOMEMLIMIT of the environment stands over it.
func limitMemory(ctx context.Context, o controllerOptions, log logr.Logger) {
	if o.PprofAddr == "" {
		runtime.MemProfileRate = 0 // nobody can ask where memory was taken, and to note it takes 5 MiB
	}
	limit, err := memlimit.Set(
		memlimit.WithRatio(1), // the provider leaves the rest
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

// beside is what a limit leaves Go beside children, and a quarter of it where they might take
// more: most plans take far less than they may. Of that a tenth is for what Go does not count,
// the program's pages above all, which do not become fewer; half of it where there is hardly more.
func beside(children uint64, limit memlimit.Provider) memlimit.Provider {
	return func() (uint64, error) {
		most, err := limit()
		if err != nil {
			return 0, err
		}
		left := max(most-min(most, children), most/4)
		return left - min(max(left/10, programPages), left/2), nil
	}
}
