// SPDX-License-Identifier: Apache-2.0

// Command axolotl is the stand-in for the trainer, under the name that the container
// of a tuning Job calls: see package trainer.
package main

import (
	"fmt"
	"os"

	"github.com/espalier-dev/espalier/test/node/trainer"
)

func main() {
	if len(os.Args) != 3 || os.Args[1] != "train" {
		fmt.Fprintln(os.Stderr, "usage: axolotl train FILE")
		os.Exit(2)
	}
	if err := trainer.Train(os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "axolotl:", err)
		os.Exit(1)
	}
}
