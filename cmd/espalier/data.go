// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/espalier-dev/espalier/cmd/espalier/data"
	"github.com/espalier-dev/espalier/cmd/espalier/signin"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
)

func newDataCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "data",
		Short: "Bring training data, or a model, into a pod",
		Long:  "Helpers that run in the pod of a tuning Job, before the trainer, and of a service, before the model starts.",
	}
	command.AddCommand(newDataFetchCommand(), newDataModelCommand(), newPullCommand("training data"))
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
			return fetched(c, files, err, termination)
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

// fetched says what was downloaded, or why not: the pod's message has it too.
func fetched(c *cobra.Command, files []data.File, err error, termination string) error {
	if err != nil {
		err = errors.Join(err, messageFile{path: termination}.leave(repolayout.Left{Why: err.Error()}))
	}
	var refused *data.RefusedError
	if errors.As(err, &refused) {
		fmt.Fprintf(c.ErrOrStderr(), "espalier: %v\n", err)
		return errFinal
	}
	if err != nil {
		return err
	}
	for _, f := range files {
		fmt.Fprintf(c.OutOrStdout(), "%s  %s\n", f.SHA256, f.Path)
	}
	return nil
}

func newDataModelCommand() *cobra.Command {
	var o data.Options
	var termination, client string
	limit := resource.QuantityValue{Quantity: *resource.NewQuantity(data.DefaultMaxBytes, resource.BinarySI)}
	command := &cobra.Command{
		Use:   "model --to DIR --client-id ID URL",
		Short: "Download a version of a model from a registry of Azure",
		Long: "Asks a registry of Azure Machine Learning, or a project of Azure AI Foundry, where the files of a version of a\n" +
			"model are, has them signed, and downloads those beside its weights into DIR. It signs in by workload identity:\n" +
			"AZURE_TENANT_ID and AZURE_FEDERATED_TOKEN_FILE, as Azure's webhook gives them to a pod. Its token goes to hosts\n" +
			"of Azure's alone. Prints one line a file as sha256sum does.",
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, urls []string) error {
			o.MaxBytes = limit.Value()
			o.Progress = c.ErrOrStderr()
			files, err := data.FetchModel(c.Context(), data.Model{URL: urls[0], Token: workloadToken(client, nil)}, o)
			return fetched(c, files, err, termination)
		},
	}
	fs := command.Flags()
	fs.StringVar(&termination, "termination-log", terminationLog, "File for the termination message, why a download failed; written only where it exists")
	fs.StringVar(&o.Dir, "to", "", "Folder to download into (required)")
	fs.StringVar(&client, "client-id", "", "Client id of the identity that may read the registry (required)")
	fs.Var(&limit, "max-size", "Limit of all files together")
	fs.IntVar(&o.Parallel, "parallel", data.DefaultParallel, "Files to download at a time")
	fs.IntVar(&o.Attempts, "attempts", data.DefaultAttempts, "Tries in a row that may come no further")
	fs.DurationVar(&o.Stall, "stall", data.DefaultStall, "How long a connection may bring nothing")
	cobra.CheckErr(errors.Join(command.MarkFlagRequired("to"), command.MarkFlagRequired("client-id")))
	return command
}

// workloadToken signs in as the workload identity of the pod, by a transport; nil: Azure's. The
// credential's own errors have no token in them.
func workloadToken(client string, by policy.Transporter) func(context.Context, string) (string, error) {
	return func(ctx context.Context, scope string) (string, error) {
		credential, err := azidentity.NewWorkloadIdentityCredential(&azidentity.WorkloadIdentityCredentialOptions{
			ClientID: client, ClientOptions: azcore.ClientOptions{Transport: by},
		})
		if err != nil { // of the environment of the pod, which stays
			return "", &data.RefusedError{Message: fmt.Sprintf("reading the workload identity: %v", err)}
		}
		token, err := credential.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{scope}})
		if err != nil {
			return "", unissued(signin.Directory(err))
		}
		return token.Token, nil
	}
}

// unissued makes a refusal of what Entra ID will answer again. A federated credential that was
// made a moment ago (70021 to 700213) is not known everywhere, and the kubelet renews a token
// whose time is over (700024).
func unissued(err error) error {
	var no *signin.RefusedError
	said := fmt.Errorf("asking for a token: %w", err)
	if !errors.As(err, &no) || strings.Contains(err.Error(), "AADSTS70021") || strings.Contains(err.Error(), "AADSTS700024") {
		return said
	}
	return &data.RefusedError{Message: said.Error()}
}
