// SPDX-License-Identifier: Apache-2.0

package adapter

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestLearnt(t *testing.T) {
	type matrix struct {
		name, dtype string
		data        []byte
	}
	const a, b = "m.0.q_proj.lora_A.weight", "m.0.q_proj.lora_B.weight"
	one := []byte{0, 0, 0x80, 0x3f} // 1.0 as F32; as BF16 it is 0 and 1
	zeros := make([]byte, 8)
	for name, tc := range map[string]struct {
		reason   string
		matrices []matrix
		want     string
	}{
		"Trained":       {"B has moved", []matrix{{a, "F32", one}, {b, "F32", one}}, ""},
		"SomeMoved":     {"a layer may get no gradient", []matrix{{b, "F32", zeros}, {"m.1.lora_B.weight", "F32", one}}, ""},
		"Untouched":     {"PEFT's zeros are still there", []matrix{{a, "F32", one}, {b, "F32", zeros}}, "all of its 1 lora_B matrices are zero"},
		"UntouchedHalf": {"in half precision too", []matrix{{a, "BF16", one}, {b, "BF16", zeros}, {"m.1.lora_B.weight", "F16", zeros}}, "all of its 2 lora_B matrices"},
		"MinusZero":     {"a zero of the other sign is one", []matrix{{b, "F32", []byte{0, 0, 0, 0x80}}}, "lora_B matrices are zero"},
		"Embedding":     {"embeddings are adapted likewise", []matrix{{"m.lora_embedding_B", "F32", zeros}}, "lora_B matrices are zero"},
		"NaN":           {"a run that diverged", []matrix{{a, "F32", []byte{0, 0, 0xc0, 0x7f}}, {b, "F32", one}}, "tensor " + a + " holds values that are no numbers"},
		"InfiniteBF16":  {"the same in bfloat16", []matrix{{b, "BF16", []byte{0x80, 0x7f}}}, "no numbers"},
		"InfiniteF16":   {"and in float16", []matrix{{b, "F16", []byte{0x00, 0x7c}}}, "no numbers"},
		"OnlyA":         {"an adapter of another kind than LoRA's is not judged", []matrix{{"m.vector", "F32", zeros}}, ""},
		"OtherType":     {"nor one in a type that PEFT does not train in", []matrix{{b, "U8", zeros}}, ""},
		"Cut":           {"two bytes are no number of four", []matrix{{b, "F32", []byte{0, 0}}}, "is damaged: tensor " + b},
	} {
		t.Run(name, func(t *testing.T) {
			var entries []string
			var data []byte
			for _, m := range tc.matrices {
				entries = append(entries, fmt.Sprintf(`"%s":{"dtype":"%s","shape":[1],"data_offsets":[%d,%d]}`, m.name, m.dtype, len(data), len(data)+len(m.data)))
				data = append(data, m.data...)
			}
			raw := slices.Concat(safetensorsOf("{"+strings.Join(entries, ",")+"}"), data)
			h, err := readHeader(bytes.NewReader(raw))
			if err != nil {
				t.Fatal(err)
			}
			err = learnt(bytes.NewReader(raw), h)
			var no *RefusedError
			if tc.want == "" && err != nil || tc.want != "" && (!errors.As(err, &no) || !strings.Contains(no.Message, tc.want)) {
				t.Errorf("%s: %v, want a refusal with %q", tc.reason, err, tc.want)
			}
		})
	}
}
