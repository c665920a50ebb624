// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/fluxcd/pkg/apis/meta"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/espalier-dev/espalier/reconciler/account"
)

// Providers that an account signs in by; they are Flux's.
const (
	byGeneric = "generic" // a token of the account, which the other cluster takes
	byAzure   = "azure"   // a token of Entra ID for AKS
)

// reference is what a ConfigMap of spec.kubeConfig.configMapRef says, under Flux's keys.
type reference struct {
	provider, cluster, address, ca, account string
	audiences                               []string
}

// referenceKeys are those that are read.
var referenceKeys = []string{
	meta.KubeConfigKeyProvider, meta.KubeConfigKeyAddress, meta.KubeConfigKeyCACert, meta.KubeConfigKeyCluster, meta.KubeConfigKeyAudiences, meta.KubeConfigKeyServiceAccountName,
}

// What a ConfigMap may ask for.
const (
	maxAudiences = 16
	maxAudience  = 512 // bytes
)

// readReference reads a ConfigMap. What it says of one that it refuses holds nothing of
// it but names of keys.
func readReference(data map[string]string) (reference, error) {
	for key := range data {
		if !slices.Contains(referenceKeys, key) {
			return reference{}, fmt.Errorf("it has a key that nobody reads: known are %s", strings.Join(referenceKeys, ", "))
		}
	}
	value := func(key string) string { return strings.TrimSpace(data[key]) }
	r := reference{
		provider: value(meta.KubeConfigKeyProvider), cluster: value(meta.KubeConfigKeyCluster), address: value(meta.KubeConfigKeyAddress),
		ca: value(meta.KubeConfigKeyCACert), account: value(meta.KubeConfigKeyServiceAccountName),
	}
	for line := range strings.Lines(data[meta.KubeConfigKeyAudiences]) {
		if audience := strings.TrimSpace(line); audience != "" {
			r.audiences = append(r.audiences, audience)
		}
	}
	return r, errors.Join(r.judgeProvider(), r.judgeValues())
}

func (r reference) judgeProvider() error {
	switch r.provider {
	case byGeneric:
		if r.address == "" {
			return errors.New("it has no address: write that of the API server, such as https://cluster.example.com:6443")
		}
		if r.cluster != "" {
			return errors.New("its cluster is for provider azure: remove it, since provider generic asks no cloud")
		}
	case byAzure:
		if !aksID.MatchString(r.cluster) {
			return errors.New("provider azure needs cluster, the resource id of the AKS cluster: /subscriptions/ID/resourceGroups/GROUP/providers/Microsoft.ContainerService/managedClusters/NAME")
		}
		if r.ca != "" {
			return errors.New("its ca.crt is for provider generic: remove it, since Azure says the authority of an AKS cluster and nobody else is believed")
		}
	case "aws", "gcp":
		return fmt.Errorf("by provider %s this controller signs in nowhere: put a kubeconfig with a token into a Secret and name it in spec.kubeConfig.secretRef, or use provider generic with a cluster that trusts the issuer of this one", r.provider)
	case "":
		return errors.New("it has no provider: write generic, or azure for AKS")
	default:
		return errors.New("its provider is none that is known: write generic, or azure for AKS")
	}
	return nil
}

func (r reference) judgeValues() error {
	if r.account != "" && len(validation.IsDNS1123Subdomain(r.account)) > 0 {
		return errors.New("its serviceAccountName is no name that a ServiceAccount can have")
	}
	if r.ca != "" && !x509.NewCertPool().AppendCertsFromPEM([]byte(r.ca)) {
		return errors.New("its ca.crt is no certificate in PEM form")
	}
	if len(r.audiences) > maxAudiences || slices.ContainsFunc(r.audiences, func(a string) bool { return len(a) > maxAudience }) {
		return fmt.Errorf("its audiences are more than %d, or one has more than %d characters", maxAudiences, maxAudience)
	}
	return nil
}

// signsIn is who does, of the namespace of the RepoSync: the account that is named, else
// the default of the installation. The controller itself signs in to clusters of Azure
// alone, and only where there is no such default: with one, RepoSyncs are not all of
// whom the controller is.
func (r reference) signsIn(namespace, fallback string) (account.Account, error) {
	switch {
	case r.account != "":
		return account.Account{Namespace: namespace, Name: r.account}, nil
	case fallback != "":
		return account.Account{Namespace: namespace, Name: fallback}, nil
	case r.provider == byAzure:
		return account.Account{}, nil
	}
	return account.Account{}, errors.New("it has no serviceAccountName: name the ServiceAccount of this namespace that signs in; the controller itself does so nowhere by provider generic")
}

// serverOf is an address in the form in which it is connected to. Without a scheme it is
// https, as with Flux.
func (a Allowed) serverOf(address string) (string, error) {
	if !strings.Contains(address, "://") {
		address = "https://" + address
	}
	at, err := url.Parse(address)
	switch {
	case err != nil || at.Hostname() == "" || at.Scheme != "https" && at.Scheme != "http" || at.User != nil || at.RawQuery != "" || at.Fragment != "":
		return "", errors.New("its address is none of an API server, such as https://cluster.example.com:6443")
	case at.Scheme == "http" && !a.TLS:
		return "", errors.New("its address is spoken to in plain text, which is refused without the flag --insecure-kubeconfig-tls of the controller: use https")
	}
	return at.Scheme + "://" + strings.ToLower(at.Host) + strings.TrimRight(at.EscapedPath(), "/"), nil
}

// aksID is the resource id of an AKS cluster, as Flux has it.
var aksID = regexp.MustCompile(`(?i)^/subscriptions/([0-9a-f-]{36})/resourceGroups/([-\w._()]{1,200})/providers/Microsoft\.ContainerService/managedClusters/([-\w]{1,200})$`)
