// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Keys of `espalier fit -o json`. They are a promise: scripts read them. A key is
// added here and never renamed; keys of a list are those of its elements.
const (
	commonKeys = `alternatives alternatives.hourlyUSD alternatives.instanceType alternatives.nodes alternatives.verdict
		dataParallel dtype gpus hourlyUSD instanceType kvTokens maxContext model nodes perGPU perGPU.activationBytes
		perGPU.adapterBytes perGPU.budgetBytes perGPU.kvCacheBytes perGPU.logitsBytes perGPU.optimizerBytes
		perGPU.overheadBytes perGPU.totalBytes perGPU.totalLowBytes perGPU.weightsBytes pipelineParallel priceDate
		reasons reasons.code reasons.message region runtime task tensorParallel verdict`
	summedKeys  = "context sum"
	servingKeys = "monthlyUSD"
	tuningKeys  = "maxBatch run run.from run.hoursHigh run.hoursLow run.measured run.tokens run.usdHigh run.usdLow"
)

func TestFitKeys(t *testing.T) {
	for name, c := range map[string]struct {
		reason, args, keys string
	}{
		"Serving": {
			"a model that fits, and a cheaper size", "--model phi-4-mini-instruct --instance-type Standard_NC24ads_A100_v4",
			commonKeys + " " + summedKeys + " " + servingKeys,
		},
		"Tuning": {
			"a run with its price", "--model phi-4-mini-instruct --instance-type Standard_NC24ads_A100_v4 --tune qlora --tokens 1000000",
			commonKeys + " " + summedKeys + " " + tuningKeys,
		},
		"FusedLoss": {
			"a part that is zero is there", "--model phi-4-mini-instruct --instance-type Standard_NC24ads_A100_v4 --tune qlora --fused-loss --tokens 1000000",
			commonKeys + " " + summedKeys + " " + tuningKeys,
		},
		"Refused": {
			"a refusal has what would do", "--model llama-3.3-70b-instruct --instance-type Standard_NC24ads_A100_v4 --nodes 1",
			commonKeys + " " + summedKeys + " " + servingKeys,
		},
		"Unknown": {
			"what nobody can sum has no sum", "--model deepseek-v3-0324 --instance-type Standard_ND96isr_H200_v5 --tune qlora",
			strings.NewReplacer(" alternatives.hourlyUSD", "", " alternatives.instanceType", "", " alternatives.nodes", "", " alternatives.verdict", "").Replace(commonKeys),
		},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := execute(newFitCommand(), append(strings.Fields(c.args), "--output", "json")...)
			if err != nil && !errors.Is(err, errRefused) {
				t.Fatal(err)
			}
			var answer any
			if err := json.Unmarshal([]byte(out), &answer); err != nil {
				t.Fatal(err)
			}
			got := keysOf("", answer)
			slices.Sort(got)
			want := strings.Fields(c.keys)
			slices.Sort(want)
			if diff := cmp.Diff(want, slices.Compact(got)); diff != "" {
				t.Errorf("%s (-promised +printed):\n%s", c.reason, diff)
			}
		})
	}
}

// keysOf lists the keys of a JSON value with their paths.
func keysOf(path string, value any) []string {
	var keys []string
	switch v := value.(type) {
	case map[string]any:
		for key, inner := range v {
			at := strings.TrimPrefix(path+"."+key, ".")
			keys = append(append(keys, at), keysOf(at, inner)...)
		}
	case []any:
		for _, inner := range v {
			keys = append(keys, keysOf(path, inner)...)
		}
	}
	return keys
}
