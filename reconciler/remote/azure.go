// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/arm"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/containerservice/armcontainerservice/v8"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/espalier-dev/espalier/reconciler/account"
	"github.com/espalier-dev/espalier/reconciler/fault"
	"github.com/espalier-dev/espalier/reconciler/identity"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// Azure is the cloud that provider azure signs in to.
type Azure struct {
	// Cloud as --azure-cloud has it: public, government or china; "" is public.
	Cloud string
	// Foreign says that the cloud is one of somebody's own, whose clusters nobody knows.
	Foreign bool
	// HTTP is who is asked by; nil: http.DefaultClient. Redirects are never followed.
	HTTP *http.Client
	// Env has the environment of the controller, in which its own workload identity is.
	Env func(string) string
}

// aksScope is what a token for the API servers of AKS is for: Azure's own application, in
// each of its clouds
// (https://learn.microsoft.com/azure/aks/kubelogin-authentication#how-to-use-kubelogin-with-aks).
const aksScope = "6dae42f8-4368-4678-94ff-3960e28e3630/.default"

// aksCloud is where clusters of a cloud are.
type aksCloud struct {
	suffix string // of the hosts of their API servers
	config cloud.Configuration
}

// The suffixes are those of https://learn.microsoft.com/azure/aks/outbound-rules-control-egress.
// Below them every name is Microsoft's, and where it leads whoever has rented the cluster says.
var aksClouds = map[string]aksCloud{
	"public":     {".azmk8s.io", cloud.AzurePublic},
	"government": {".cx.aks.containerservice.azure.us", cloud.AzureGovernment},
	"china":      {".cx.prod.service.azk8s.cn", cloud.AzureChina},
}

func (a Azure) where() aksCloud {
	switch {
	case a.Foreign:
		return aksCloud{}
	case a.Cloud == "":
		return aksClouds["public"]
	}
	return aksClouds[a.Cloud]
}

var hostName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$`)

// hostOf is the host of an API server of AKS, and of nothing else: the token is good for
// every such cluster that the account may enter.
func (k aksCloud) hostOf(address string) (string, error) {
	if !strings.Contains(address, "://") {
		address = "https://" + address
	}
	at, err := url.Parse(address)
	if err != nil || at.Scheme != "https" || at.User != nil || at.RawQuery != "" || at.Fragment != "" || strings.Trim(at.Path, "/") != "" || at.Port() != "" && at.Port() != "443" {
		return "", errNoAKS(k)
	}
	name, ok := strings.CutSuffix(strings.ToLower(at.Hostname()), k.suffix)
	if !ok || !hostName.MatchString(name) {
		return "", errNoAKS(k)
	}
	return name + k.suffix, nil
}

func errNoAKS(k aksCloud) error {
	return errors.New("its address is none of AKS, which is https://NAME" + k.suffix + ": no token is sent elsewhere by provider azure; correct address, or --azure-cloud")
}

// throughAzure is the way to an AKS cluster.
func (c *Clusters) throughAzure(ctx context.Context, s *v1alpha1.RepoSync, r reference, who account.Account) (way, error) {
	if c.Azure.where().suffix == "" {
		return way{}, invalid(s, errors.New("--azure-endpoint names a cloud of one's own, whose clusters are not known: put a kubeconfig into a Secret and name it in spec.kubeConfig.secretRef"))
	}
	if who.Own() && len(r.audiences) > 0 {
		return way{}, invalid(s, errors.New("its audiences are those of an account's token, and no serviceAccountName is there: name the account, or remove audiences"))
	}
	server := ""
	if r.address != "" {
		host, err := c.Azure.where().hostOf(r.address)
		if err != nil {
			return way{}, invalid(s, err)
		}
		server = "https://" + host
	}
	signs := c.azureIdentity(r, who)
	limited, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	at, refused := c.locate(limited, r.cluster, server, signs)
	if ctx.Err() != nil {
		return way{}, ctx.Err()
	}
	if refused != nil {
		return way{}, unsigned(nameOf(s), refused)
	}
	return signedWay(r, who, at, time.Now(), byEntra(signs)), nil
}

// signer finds out who signs in to Azure.
type signer func(context.Context) (*identity.Identity, *identity.Refusal)

// azureIdentity is the workload identity of an account, or of the controller.
func (o Options) azureIdentity(r reference, who account.Account) signer {
	azure := identity.Azure{Accounts: o.accounts(), Cloud: o.Azure.where().config, HTTP: identity.Direct(o.Azure.HTTP), Env: o.Azure.Env}
	return func(ctx context.Context) (*identity.Identity, *identity.Refusal) {
		if who.Own() {
			return azure.OfController("serviceAccountName of the ConfigMap")
		}
		live, refused := azure.Read(ctx, who, noSuchAccount)
		if refused != nil {
			return nil, refused
		}
		return azure.OfAccount(ctx, live, r.audiences)
	}
}

// byEntra signs in by a token of Entra ID for AKS. The account is read anew each time.
func byEntra(signs signer) minter {
	return func(ctx context.Context) (string, time.Time, *identity.Refusal) {
		as, refused := signs(ctx)
		if refused != nil {
			return "", time.Time{}, refused
		}
		token, err := as.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{aksScope}})
		if err != nil {
			return "", time.Time{}, saidOf(as.Who, err)
		}
		return token.Token, token.ExpiresOn, nil
	}
}

// locate asks Azure Resource Manager where a cluster is, at server where that is not "".
// Nobody else is believed: below the suffix of AKS anybody has a name lead to an address of
// his choice, and would show a certificate of his own.
func (o Options) locate(ctx context.Context, id, server string, signs signer) (place, *identity.Refusal) {
	as, refused := signs(ctx)
	if refused != nil {
		return place{}, refused
	}
	parts := aksID.FindStringSubmatch(id)
	options := identity.Azure{Cloud: o.Azure.where().config, HTTP: identity.Direct(o.Azure.HTTP)}.ClientOptions()
	clusters, err := armcontainerservice.NewManagedClustersClient(parts[1], as, &arm.ClientOptions{ClientOptions: options, DisableRPRegistration: true})
	if err != nil {
		return place{}, identity.Refusef("no client of Azure Resource Manager can be made")
	}
	is, err := clusters.Get(ctx, parts[2], parts[3], nil)
	if err != nil {
		return place{}, saidOf(as.Who, err)
	}
	if is.Properties == nil || is.Properties.AADProfile == nil {
		return place{}, identity.Refusef("the AKS cluster takes no identities of Entra ID: enable Microsoft Entra ID for it (az aks update --enable-aad), or use a Secret")
	}
	listed, err := clusters.ListClusterUserCredentials(ctx, parts[2], parts[3], nil)
	if err != nil {
		return place{}, saidOf(as.Who, err)
	}
	for _, k := range listed.Kubeconfigs {
		if k == nil {
			continue
		}
		if found, ok := o.Azure.where().placeOf(k.Value, server); ok {
			return found, nil
		}
	}
	return place{}, identity.Refusef("Azure names no API server of the cluster that has this address: correct address, or leave it out")
}

// placeOf is the place that a kubeconfig of Azure's says, at server where that is not "".
// Nothing but the server and its authority is used of it.
func (k aksCloud) placeOf(kubeconfig []byte, server string) (place, bool) {
	whole, err := clientcmd.Load(kubeconfig)
	if err != nil {
		return place{}, false
	}
	at := whole.Contexts[whole.CurrentContext]
	if at == nil || whole.Clusters[at.Cluster] == nil {
		return place{}, false
	}
	is := whole.Clusters[at.Cluster]
	host, err := k.hostOf(is.Server)
	found := place{server: "https://" + host, ca: string(is.CertificateAuthorityData)}
	return found, err == nil && found.ca != "" && (server == "" || server == found.server)
}

// saidOf is the sentence of an error of Azure. Of its text nothing is shown.
func saidOf(who string, err error) *identity.Refusal {
	var signIn *azidentity.AuthenticationFailedError
	var answered *azcore.ResponseError
	switch {
	case errors.As(err, &signIn):
		return identity.Said(who, signIn)
	case !errors.As(err, &answered):
		return identity.Retryf("Azure does not answer: see that the controller may reach Entra ID and Azure Resource Manager by https")
	case answered.StatusCode == http.StatusForbidden:
		return identity.Refusef("%s may not ask where the AKS cluster is: give it the role Azure Kubernetes Service Cluster User Role on the cluster", who)
	case answered.StatusCode == http.StatusNotFound:
		return identity.Refusef("there is no AKS cluster with the resource id in cluster, or %s may not know of it: correct it", who)
	}
	return identity.Retryf("Azure Resource Manager answers %d: it is asked again; where that lasts, see whether the cluster is being changed or Azure is disturbed", answered.StatusCode)
}

// unsigned says that nobody can sign in to the cluster of a source. A role that is given
// or an account that is made wakes nobody, so that it is tried again.
func unsigned(name string, r *identity.Refusal) error {
	return fault.Retry(v1alpha1.ReasonAuthFailed, fmt.Errorf("the cluster of %s cannot be signed in to: %w; %s", name, &signInError{r}, meanwhile))
}
