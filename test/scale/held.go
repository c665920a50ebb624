// SPDX-License-Identifier: Apache-2.0

package scale

import "runtime"

// InUse is the heap that is reachable, in bytes.
func InUse() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
