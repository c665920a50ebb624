// SPDX-License-Identifier: Apache-2.0

package aks

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/spf13/pflag"
)

// Options are the settings of the controller for AKS. Credentials are not among
// them: they come from the environment, as every Azure tool takes them
// (AZURE_CLIENT_ID, AZURE_TENANT_ID, AZURE_CLIENT_SECRET,
// AZURE_FEDERATED_TOKEN_FILE, AZURE_AUTHORITY_HOST), from the managed identity of
// the node, or from the Azure CLI.
type Options struct {
	SubscriptionID, ResourceGroup, ClusterName string
	Cloud                                      string // public, government, china
	Endpoint                                   string
	Audience                                   string
	CAFile                                     string
}

// BindFlags makes the options flags.
func (o *Options) BindFlags(fs *pflag.FlagSet) {
	fs.StringVar(&o.SubscriptionID, "azure-subscription-id", "", "Subscription of the AKS cluster whose agent pools are managed; empty: the provider aks is off")
	fs.StringVar(&o.ResourceGroup, "azure-resource-group", "", "Resource group of the AKS cluster")
	fs.StringVar(&o.ClusterName, "azure-cluster-name", "", "Name of the AKS cluster")
	fs.StringVar(&o.Cloud, "azure-cloud", "public", "Azure cloud: public, government or china")
	fs.StringVar(&o.Endpoint, "azure-endpoint", "", "URL of Azure Resource Manager in a cloud of one's own, such as Azure Stack")
	fs.StringVar(&o.Audience, "azure-audience", "", "Audience of tokens for --azure-endpoint; empty: that of --azure-cloud")
	fs.StringVar(&o.CAFile, "azure-ca-file", "", "PEM file of certificate authorities to trust for Azure, beside the system's")
}

// Enabled says whether an AKS cluster was named at all.
func (o *Options) Enabled() bool {
	return o.SubscriptionID != "" || o.ResourceGroup != "" || o.ClusterName != ""
}

// Validate says what is wrong with the options.
func (o *Options) Validate() error {
	if o.Enabled() && (o.SubscriptionID == "" || o.ResourceGroup == "" || o.ClusterName == "") {
		return errors.New("--azure-subscription-id, --azure-resource-group and --azure-cluster-name belong together")
	}
	if _, err := o.cloud(); err != nil {
		return err
	}
	if err := checkEndpoint(o.Endpoint); err != nil {
		return fmt.Errorf("--azure-endpoint: %w", err)
	}
	return nil
}

func (o *Options) cloud() (cloud.Configuration, error) {
	switch o.Cloud {
	case "", "public":
		return cloud.AzurePublic, nil
	case "government":
		return cloud.AzureGovernment, nil
	case "china":
		return cloud.AzureChina, nil
	}
	return cloud.Configuration{}, fmt.Errorf("--azure-cloud %q is not public, government or china", o.Cloud)
}

// Config turns the options into a Config with a credential of NewCredential.
func (o *Options) Config() (Config, error) {
	if err := o.Validate(); err != nil {
		return Config{}, err
	}
	where, err := o.cloud()
	if err != nil {
		return Config{}, err
	}
	cfg := Config{
		SubscriptionID: o.SubscriptionID, ResourceGroup: o.ResourceGroup, ClusterName: o.ClusterName,
		Endpoint: o.Endpoint, Audience: o.Audience, Cloud: where,
	}
	client, err := o.Client()
	if err != nil {
		return Config{}, err
	}
	if client != nil { // a nil one would be a Transport
		cfg.Transport = client
	}
	cfg.Credential, err = NewCredential(cfg)
	return cfg, err
}

// Client is an HTTP client that trusts who the options say, in the place of the default
// one; nil: the default trusts enough.
func (o *Options) Client() (*http.Client, error) {
	if o.CAFile == "" {
		return nil, nil
	}
	client, err := trusting(o.CAFile)
	if err != nil {
		return nil, fmt.Errorf("--azure-ca-file: %w", err)
	}
	return client, nil
}

// trusting is an HTTP client that also trusts the authorities of a PEM file.
func trusting(file string) (*http.Client, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		return nil, fmt.Errorf("reading the system's certificate authorities: %w", err)
	}
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate", file)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	return &http.Client{Transport: transport}, nil
}

// NewCredential returns the default chain of azidentity: environment, workload
// identity, managed identity, Azure CLI. In a cloud of one's own (an endpoint)
// Microsoft's instance discovery is not asked, because it does not know it.
func NewCredential(cfg Config) (azcore.TokenCredential, error) {
	o := &azidentity.DefaultAzureCredentialOptions{DisableInstanceDiscovery: cfg.Endpoint != ""}
	o.Transport = cfg.Transport
	// The authority of a cloud of one's own comes from AZURE_AUTHORITY_HOST, which
	// azidentity reads only where no cloud is given.
	if cfg.Endpoint == "" {
		o.Cloud = cfg.Cloud
	}
	c, err := azidentity.NewDefaultAzureCredential(o)
	if err != nil {
		return nil, fmt.Errorf("making a credential: %w", err)
	}
	return c, nil
}

// Actions are what the provider does in Azure: those of the custom role in
// docs/aks.md, all of them and no other.
var Actions = []string{
	"Microsoft.ContainerService/managedClusters/agentPools/read",
	"Microsoft.ContainerService/managedClusters/agentPools/write",
	"Microsoft.ContainerService/managedClusters/agentPools/delete",
	"Microsoft.ContainerService/managedClusters/agentPools/deleteMachines/action",
	"Microsoft.ContainerService/managedClusters/agentPools/machines/read",
	"Microsoft.ContainerService/managedClusters/read",
	"Microsoft.Compute/locations/usages/read",
	"Microsoft.Compute/skus/read",
}
