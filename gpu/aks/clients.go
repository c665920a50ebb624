// SPDX-License-Identifier: Apache-2.0

package aks

import (
	"fmt"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/arm"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/containerservice/armcontainerservice/v8"
)

// factory makes clients of AKS that try again as told.
func factory(cfg Config, retry policy.RetryOptions) (*armcontainerservice.ClientFactory, error) {
	f, err := armcontainerservice.NewClientFactory(cfg.SubscriptionID, cfg.Credential, clientOptions(cfg, retry))
	if err != nil {
		return nil, fmt.Errorf("making clients of AKS: %w", err)
	}
	return f, nil
}

func clientOptions(cfg Config, retry policy.RetryOptions) *arm.ClientOptions {
	o := &arm.ClientOptions{DisableRPRegistration: true} // it would block a worker for up to 5 min
	o.Transport, o.Retry, o.Cloud = cfg.Transport, retry, clouds(cfg)
	return o
}

// clouds is the cloud the clients talk to: a custom endpoint over the named
// cloud's, else that cloud.
func clouds(cfg Config) cloud.Configuration {
	base := cfg.Cloud
	if len(base.Services) == 0 {
		base = cloud.AzurePublic
	}
	if cfg.Endpoint == "" {
		return base
	}
	audience := cfg.Audience
	if audience == "" {
		audience = base.Services[cloud.ResourceManager].Audience
	}
	return cloud.Configuration{
		ActiveDirectoryAuthorityHost: base.ActiveDirectoryAuthorityHost,
		Services:                     map[cloud.ServiceName]cloud.ServiceConfiguration{cloud.ResourceManager: {Endpoint: cfg.Endpoint, Audience: audience}},
	}
}
