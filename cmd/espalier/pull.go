// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/espalier-dev/espalier/cmd/espalier/adapter"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
)

// newPullCommand copies what of an image into a folder.
func newPullCommand(what string) *cobra.Command {
	var o adapter.PullOptions
	var dockerConfigs []string
	var termination string
	var identity bool
	limit := resource.QuantityValue{Quantity: *resource.NewQuantity(adapter.DefaultMaxPulled, resource.BinarySI)}
	command := &cobra.Command{
		Use:   "pull IMAGE --to DIR",
		Short: "Copy " + what + " out of an OCI image, where nodes mount none",
		Long: "Copies the files of IMAGE into DIR, as an image volume of Kubernetes shows them: for clusters without those\n" +
			"(spec.runtime.imageVolumes: Disabled). Links are left out. Prints the reference by digest.",
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			o.Image, o.MaxBytes, o.Progress = args[0], limit.Value(), c.ErrOrStderr()
			copied, err := pull(c, o, dockerConfigs, identity)
			if err != nil {
				err = errors.Join(err, messageFile{path: termination}.leave(repolayout.Left{Why: err.Error()}))
			}
			var refused *adapter.RefusedError
			if errors.As(err, &refused) {
				fmt.Fprintf(c.ErrOrStderr(), "espalier: %v\n", err)
				return ends(refused)
			}
			if err == nil {
				fmt.Fprintln(c.OutOrStdout(), copied)
			}
			return err
		},
	}
	fs := command.Flags()
	fs.StringVar(&o.To, "to", "", "Folder to copy into (required)")
	fs.StringArrayVar(&dockerConfigs, "docker-config", nil, "Folder with config.json or .dockerconfigjson; may be given several times. None: that of DOCKER_CONFIG, else Docker's default")
	fs.BoolVar(&identity, identityFlag, false, identityUsage)
	fs.Var(&limit, "max-size", "Limit of all files together")
	fs.IntVar(&o.Attempts, "attempts", adapter.DefaultAttempts, "How often the copy is tried")
	fs.StringVar(&termination, "termination-log", terminationLog, "File for the termination message, why a copy failed; written only where it exists")
	cobra.CheckErr(command.MarkFlagRequired("to"))
	command.MarkFlagsMutuallyExclusive("docker-config", identityFlag)
	return command
}

func pull(c *cobra.Command, o adapter.PullOptions, dockerConfigs []string, identity bool) (string, error) {
	var err error
	if identity {
		err = signInAs(&o.Tries, o.Image)
	} else {
		o.Keychain, err = adapter.DockerConfigs(dockerConfigs)
	}
	if err != nil {
		return "", err
	}
	return adapter.Pull(c.Context(), o)
}
