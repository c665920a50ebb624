// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/espalier-dev/espalier/cmd/espalier/data"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
)

func newDataCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "data",
		Short: "Bring training data into a tuning pod",
		Long:  "Helpers that run in the pod of a tuning Job, before the trainer.",
	}
	command.AddCommand(newDataFetchCommand(), newPullCommand("training data"))
	return command
}

func newDataFetchCommand() *cobra.Command {
	var o data.Options
	var termination string
	limit := resource.QuantityValue{Quantity: *resource.NewQuantity(data.DefaultMaxBytes, resource.BinarySI)}
	command := &cobra.Command{
		Use:   "fetch --to DIR URL[#sha256=HEX]...",
		Short: "Download training data over HTTP(S), each file whole or not at all",
		Long: "Downloads each URL into DIR, named by the last element of its path. An interrupted download goes on where it\n" +
			"stopped when the server or a checksum vouches for the beginning, and a file that is complete is not downloaded\n" +
			"again. Loopback, link-local and metadata addresses are refused. HTTP_PROXY, HTTPS_PROXY and NO_PROXY are read.\n" +
			"Prints one line a file as sha256sum does.",
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, urls []string) error {
			o.MaxBytes = limit.Value()
			o.Progress = c.ErrOrStderr()
			files, err := data.Fetch(c.Context(), urls, o)
			if err != nil {
				err = errors.Join(err, messageFile{path: termination}.leave(repolayout.Left{Why: err.Error()}))
			}
			var refused *data.RefusedError
			if errors.As(err, &refused) {
				fmt.Fprintf(c.ErrOrStderr(), "espalier: %v\n", err)
				return errRefused
			}
			if err != nil {
				return err
			}
			for _, f := range files {
				fmt.Fprintf(c.OutOrStdout(), "%s  %s\n", f.SHA256, f.Path)
			}
			return nil
		},
	}
	fs := command.Flags()
	fs.StringVar(&termination, "termination-log", terminationLog, "File for the termination message, why a download failed; written only where it exists")
	fs.StringVar(&o.Dir, "to", "", "Folder to download into (required)")
	fs.Var(&limit, "max-size", "Limit of all files together")
	fs.IntVar(&o.Parallel, "parallel", data.DefaultParallel, "Files to download at a time")
	fs.IntVar(&o.Attempts, "attempts", data.DefaultAttempts, "Tries in a row that may come no further")
	fs.DurationVar(&o.Stall, "stall", data.DefaultStall, "How long a connection may bring nothing")
	cobra.CheckErr(command.MarkFlagRequired("to"))
	return command
}
