// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/espalier-dev/espalier/cmd/espalier/adapter"
)

// terminationLog is where Kubernetes reads a container's termination message.
const terminationLog = "/dev/termination-log"

func newAdapterCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "adapter",
		Short: "Publish a trained adapter from a tuning pod",
		Long:  "Helpers that run in the pod of a tuning Job, after the trainer.",
	}
	command.AddCommand(newAdapterPushCommand())
	return command
}

func newAdapterPushCommand() *cobra.Command {
	var o adapter.Options
	var dockerConfig, termination string
	var annotations []string // no StringToString: it splits values at commas
	var index int
	command := &cobra.Command{
		Use:   "push --from DIR --to IMAGE",
		Short: "Push an adapter as an OCI image that image volumes mount",
		Long: "Packs adapter_config.json and adapter_model.safetensors of DIR into one layer and pushes it for linux/amd64 and\n" +
			"linux/arm64. The same bytes and annotations give the same digest. A damaged adapter is refused.\n" +
			"Prints IMAGE@sha256:…, and leaves it as {\"adapter\":\"…\"} in the termination message of the container.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if index > 0 {
				fmt.Fprintf(c.ErrOrStderr(), "espalier: pod %d of the run: pod 0 pushes the adapter\n", index)
				return nil
			}
			var err error
			if o.Annotations, err = keyValues(annotations); err != nil {
				return err
			}
			pushed, err := pushAdapter(c, o, dockerConfig)
			var refused *adapter.RefusedError
			if errors.As(err, &refused) {
				fmt.Fprintf(c.ErrOrStderr(), "espalier: %v\n", err)
				return errRefused
			}
			if err != nil {
				return err
			}
			fmt.Fprintln(c.OutOrStdout(), pushed)
			return leaveMessage(termination, c.Flags().Changed("termination-log"), pushed)
		},
	}
	fs := command.Flags()
	fs.StringVar(&o.From, "from", "", "Folder that the trainer wrote the adapter to (required)")
	fs.StringVar(&o.To, "to", "", "Image reference with a tag to push to (required)")
	fs.StringArrayVar(&annotations, "annotation", nil, "Annotation KEY=VALUE of the image; may be given several times")
	fs.StringVar(&dockerConfig, "docker-config", "", "Folder with config.json or .dockerconfigjson; empty: that of DOCKER_CONFIG, else Docker's default")
	fs.IntVar(&index, "index", 0, "Index of this pod among those of the run: only 0 pushes")
	fs.IntVar(&o.Attempts, "attempts", adapter.DefaultAttempts, "How often the push is tried")
	fs.StringVar(&termination, "termination-log", terminationLog, "File for the termination message; the default is written only where it exists")
	cobra.CheckErr(command.MarkFlagRequired("from"))
	cobra.CheckErr(command.MarkFlagRequired("to"))
	return command
}

// keyValues reads KEY=VALUE arguments.
func keyValues(args []string) (map[string]string, error) {
	pairs := map[string]string{}
	for _, arg := range args {
		key, value, ok := strings.Cut(arg, "=")
		if !ok || key == "" {
			return nil, fmt.Errorf("--annotation %q: want KEY=VALUE", arg)
		}
		pairs[key] = value
	}
	return pairs, nil
}

func pushAdapter(c *cobra.Command, o adapter.Options, dockerConfig string) (string, error) {
	var err error
	if o.Keychain, err = adapter.DockerConfig(dockerConfig); err != nil {
		return "", err
	}
	o.Progress = c.ErrOrStderr()
	return adapter.Push(c.Context(), o)
}

// leaveMessage tells the controller the digest. Outside of a pod there is no
// such file, unless one was asked for.
func leaveMessage(path string, asked bool, pushed string) error {
	if _, err := os.Stat(path); err != nil && !asked {
		return nil
	}
	message, err := json.Marshal(map[string]string{"adapter": pushed})
	if err != nil {
		return fmt.Errorf("encoding the termination message: %w", err)
	}
	if err := os.WriteFile(path, message, 0o644); err != nil {
		return fmt.Errorf("writing the termination message: %w", err)
	}
	return nil
}
