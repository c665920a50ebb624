// SPDX-License-Identifier: Apache-2.0

package adapter

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
)

// learnt refuses weights that no training has changed, and such that one has
// broken: an adapter that is published is served.
//
// PEFT begins with B matrices of zeros, so that an adapter changes nothing at
// first; where all of them are zeros in the end, no gradient ever arrived. A run
// that diverged ends in values that are no numbers.
func learnt(r io.ReaderAt, h layout) error {
	second, moved := 0, false
	for _, t := range h.tensors {
		values := float(t.dtype)
		if values == nil {
			continue // not what PEFT trains: nothing is known of it
		}
		isB := strings.Contains(t.name, "lora_B") || strings.Contains(t.name, "lora_embedding_B")
		zero, finite, err := values.scan(io.NewSectionReader(r, h.data+t.from, t.to-t.from))
		switch {
		case errors.Is(err, io.ErrUnexpectedEOF):
			return unfinished("%s is damaged: tensor %s is no whole number of %s values", weightsFile, t.name, t.dtype)
		case err != nil:
			return fmt.Errorf("reading tensor %s of the adapter: %w", t.name, err)
		case !finite:
			return refused("the adapter is broken: tensor %s holds values that are no numbers (NaN or infinite), so that the training has diverged; "+
				"write a smaller learning_rate into training_config.yaml, and look at the loss in the log of container train", t.name)
		case isB:
			second++
			moved = moved || !zero
		}
	}
	if second > 0 && !moved {
		return refused("the adapter is as it was before the training: all of its %d lora_B matrices are zero, and it changes nothing. "+
			"Look at the loss in the log of container train; where it is 0.0, write sample_packing: false below axolotl in training_config.yaml", second)
	}
	return nil
}

// floats says how a type of floating point numbers lies in bytes, little-endian.
type floats struct {
	width    int
	exponent uint32 // its bits; all set: no number
	sign     uint32
}

// float is how a dtype of safetensors lies in bytes, nil where it is none that an
// adapter is trained in.
func float(dtype string) *floats {
	switch dtype {
	case "F32":
		return &floats{4, 0x7f80_0000, 0x8000_0000}
	case "BF16":
		return &floats{2, 0x7f80, 0x8000}
	case "F16":
		return &floats{2, 0x7c00, 0x8000}
	}
	return nil
}

// scan says whether every value is zero, of whatever sign, and whether every one
// is a number.
func (f *floats) scan(data io.Reader) (zero, finite bool, err error) {
	zero, finite = true, true
	in := bufio.NewReaderSize(data, 1<<20)
	value := make([]byte, 4)
	for {
		_, err := io.ReadFull(in, value[:f.width])
		if err == io.EOF {
			return zero, finite, nil
		}
		if err != nil {
			return false, false, err
		}
		bits := binary.LittleEndian.Uint32(value)
		zero = zero && bits&^f.sign == 0
		finite = finite && bits&f.exponent != f.exponent
	}
}
