// SPDX-License-Identifier: Apache-2.0

package sku

import (
	"fmt"
	"sort"
	"strconv"
	"strings"
	"sync"
)

// slice is one MIG profile of a GPU: the memory of a slice and how many a GPU has.
type slice struct {
	memoryMiB int64
	perGPU    int
}

// parseSlices reads "1g=9728x7 2g=19968x3".
func parseSlices(s string) (map[string]slice, error) {
	slices := map[string]slice{}
	for _, word := range strings.Fields(s) {
		profile, rest, _ := strings.Cut(word, "=")
		memory, count, ok := strings.Cut(rest, "x")
		m, errM := strconv.ParseInt(memory, 10, 64)
		n, errN := strconv.Atoi(count)
		if !ok || errM != nil || errN != nil {
			return nil, fmt.Errorf("reading MIG slice %q: want profile=MiBxcount", word)
		}
		slices[profile] = slice{memoryMiB: m, perGPU: n}
	}
	return slices, nil
}

var sliceTable = sync.OnceValue(func() map[string]gpu {
	gpus, err := loadGPUs()
	if err != nil {
		panic("gpu/sku: " + err.Error())
	}
	return gpus
})

// Slice returns the instance type as it looks when each of its GPUs is cut into
// MIG slices of one profile: "3g", "3g.40gb", or AKS's spelling "MIG3g". A slice is a
// GPU of its own: no two can work on one model.
func (i Instance) Slice(profile string) (Instance, error) {
	p := strings.TrimPrefix(strings.ToLower(profile), "mig")
	p, memory, named := strings.Cut(p, ".")
	slices := sliceTable()[i.GPU].mig
	s, ok := slices[p]
	if !ok || named && !s.called(memory) {
		return Instance{}, fmt.Errorf("%s has no MIG profile %q: %s", i.Chip(), profile, sliceNames(slices))
	}
	i.MIG, i.MemoryMiB, i.GPUs, i.NVLink = p, s.memoryMiB, i.GPUs*s.perGPU, false
	i.TFLOPS = 0
	return i, nil
}

// called says whether NVIDIA's name of a profile, such as 24gb, is that of the slice: it
// rounds what a slice has up, by less than a sixth of it. 1g.20gb is another slice than
// 1g.10gb, and how many of it a GPU has is not known here.
func (s slice) called(memory string) bool {
	gb, err := strconv.ParseInt(strings.TrimSuffix(memory, "gb"), 10, 64)
	return err == nil && s.memoryMiB <= gb<<10 && s.memoryMiB*6 >= gb<<10*5
}

func sliceNames(slices map[string]slice) string {
	if len(slices) == 0 {
		return "no slice sizes of it are known here"
	}
	names := make([]string, 0, len(slices))
	for n := range slices {
		names = append(names, n)
	}
	sort.Strings(names)
	return "it has " + strings.Join(names, ", ")
}
