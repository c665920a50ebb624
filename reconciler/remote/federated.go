// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/rest"

	"github.com/espalier-dev/espalier/reconciler/account"
	"github.com/espalier-dev/espalier/reconciler/fault"
	"github.com/espalier-dev/espalier/reconciler/identity"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// tokenSeconds is how long the token of an account is good in another cluster, which does
// not hear of it when the account is deleted here.
const tokenSeconds = 30 * 60

// place is where a cluster is.
type place struct {
	server string
	ca     string
}

// federated reads of a ConfigMap how the cluster of a RepoSync is reached.
func (c *Clusters) federated(ctx context.Context, s *v1alpha1.RepoSync) (way, error) {
	_, key := refOf(s)
	config := &corev1.ConfigMap{}
	err := c.Reader.Get(ctx, key, config)
	if apierrors.IsNotFound(err) {
		return way{}, fault.Retry(v1alpha1.ReasonKubeConfigInvalid, fmt.Errorf("%s does not exist: create it with provider, address and serviceAccountName (docs/remote-clusters.md); %s", nameOf(s), meanwhile))
	}
	if err != nil {
		return way{}, fmt.Errorf("reading %s: %w", nameOf(s), err)
	}
	if from := config.Labels[repolayout.LabelSyncName]; from != "" {
		return way{}, invalid(s, fmt.Errorf("RepoSync %s applies it from Git, where whoever pushes would choose who signs in and where: write it by hand or by what manages the installation, under a name that Git has not", from))
	}
	r, err := readReference(config.Data)
	if err != nil {
		return way{}, invalid(s, err)
	}
	who, err := r.signsIn(s.Namespace, c.Default)
	if err != nil {
		return way{}, invalid(s, err)
	}
	if r.provider == byAzure {
		return c.throughAzure(ctx, s, r, who)
	}
	server, err := c.serverOf(r.address)
	if err != nil {
		return way{}, invalid(s, err)
	}
	if len(r.audiences) == 0 {
		r.audiences = []string{r.address} // as with Flux
	}
	return signedWay(r, who, place{server, r.ca}, time.Time{}, c.byToken(who, r.audiences)), nil
}

// accounts are those of this cluster.
func (o Options) accounts() identity.Accounts {
	return identity.Accounts{Kube: o.Client, Reader: o.Reader}
}

// byToken signs in by a token that the API server of this cluster makes of an account.
func (o Options) byToken(who account.Account, audiences []string) minter {
	return func(ctx context.Context) (string, time.Time, *identity.Refusal) {
		live, refused := o.accounts().Read(ctx, who, noSuchAccount)
		if refused != nil {
			return "", time.Time{}, refused
		}
		made, refused := o.accounts().Foreign(ctx, live, audiences, tokenSeconds)
		if refused != nil {
			return "", time.Time{}, refused
		}
		return made.Status.Token, made.Status.ExpirationTimestamp.Time, nil
	}
}

// noSuchAccount ends what is said of an account that is not there.
const noSuchAccount = ", or correct serviceAccountName in the ConfigMap"

// signedWay is a way on which each request has the token of now.
func signedWay(r reference, who account.Account, at place, asked time.Time, mint minter) way {
	config := &rest.Config{Host: at.server, TLSClientConfig: rest.TLSClientConfig{CAData: []byte(at.ca)}}
	signs := newLease(mint)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return signing{next, signs} })
	text, err := json.Marshal([]any{r.provider, r.audiences, who, at.server, at.ca})
	if err != nil {
		panic(err) // it holds texts alone
	}
	sum := sha256.Sum256(text)
	return way{config: config, sum: hex.EncodeToString(sum[:]), asked: asked}
}
