// SPDX-License-Identifier: Apache-2.0

package identity

import (
	"context"
	"slices"
	"strings"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
)

// exchanges are the usual audiences of the token exchanges of clouds: who holds such a
// token of an account is its workload identity there. Whoever set up a federation there may
// have chosen any other.
var exchanges = []func(string) bool{
	func(a string) bool { return strings.HasPrefix(a, "api://azureadtokenexchange") },
	func(a string) bool { return strings.HasPrefix(a, "sts.amazonaws.com") },
	func(a string) bool { return strings.HasPrefix(a, "pods.eks.amazonaws.com") },
	func(a string) bool { return strings.HasPrefix(a, "sts.aliyuncs.com") },
	func(a string) bool {
		return strings.HasSuffix(a, ".svc.id.goog") || strings.HasSuffix(a, ".hub.id.goog")
	},
	func(a string) bool { return strings.Contains(a, "iam.googleapis.com/") },
}

// Foreign is a token that leaves this cluster: it is none that this cluster's own API
// server takes, nor one that a cloud gives the account's identity for. Whoever it is sent
// to could act as the account here, or there.
func (a Accounts) Foreign(ctx context.Context, of *corev1.ServiceAccount, audiences []string, seconds int64) (*authenticationv1.TokenRequest, *Refusal) {
	for _, audience := range audiences {
		if slices.ContainsFunc(exchanges, func(is func(string) bool) bool { return is(strings.ToLower(audience)) }) {
			return nil, Refusef("one of the audiences is that of a cloud, which exchanges such a token for the rights of %s there: give the other cluster an audience of its own", nameOf(of))
		}
	}
	own, refused := a.Token(ctx, of, nil, leastSeconds) // it is the API server that fills in its audiences; the token goes nowhere
	if refused != nil {
		return nil, refused
	}
	if len(own.Spec.Audiences) == 0 {
		return nil, Retryf("the API server does not say which audiences are its own")
	}
	for _, audience := range audiences {
		if slices.Contains(own.Spec.Audiences, audience) {
			return nil, Refusef("one of the audiences is this cluster's own, so that whoever gets the token could act as %s here: give the other cluster an audience of its own", nameOf(of))
		}
	}
	return a.Token(ctx, of, audiences, seconds)
}
