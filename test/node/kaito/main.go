// SPDX-License-Identifier: Apache-2.0

// Command kaito stands in for what KAITO's image has to tune with, under the names that the
// container of a tuning Job calls: `accelerate launch` starts the trainer (see package
// trainer), and `python3 metrics_server.py` answers at port 5000 and never ends by itself.
package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/espalier-dev/espalier/test/node/trainer"
)

// script is the trainer in KAITO's image.
const script = "/workspace/tfs/fine_tuning.py"

func main() {
	if err := run(filepath.Base(os.Args[0]), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(program string, args []string) error {
	switch {
	case program == "python3" && len(args) == 1 && args[0] == "metrics_server.py":
		if _, err := os.Stat(args[0]); err != nil {
			return fmt.Errorf("python3: %w", err) // as Python does in the wrong folder
		}
		return (&http.Server{Addr: ":5000", ReadHeaderTimeout: time.Minute}).ListenAndServe()
	case program == "accelerate" && len(args) == 3 && args[0] == "launch" && strings.HasPrefix(args[1], "--num_processes=") && args[2] == script:
		return trainer.Kaito()
	}
	return fmt.Errorf("%s: no such call: %q", program, args)
}
