// SPDX-License-Identifier: Apache-2.0

// Package identity makes tokens of ServiceAccounts of this cluster for others than its
// API server, and signs in to Microsoft Entra ID by them, or by the workload identity
// that a webhook gave the controller.
//
// The machine's identity is never tried: what a node may do is nobody's grant to a
// repository. It decides nothing of who may ask as whom. A refusal is one sentence that
// says what is missing and who can give it, and holds no token.
package identity

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/reconciler/account"
)

// Refusal is why there is no token: one sentence without its end.
type Refusal struct {
	Text  string
	Retry bool // waiting can cure it
}

func (r *Refusal) Error() string { return r.Text }

// Refusef is a Refusal that waiting does not cure.
func Refusef(format string, args ...any) *Refusal {
	return &Refusal{Text: fmt.Sprintf(format, args...)}
}

// Retryf is one that it can.
func Retryf(format string, args ...any) *Refusal {
	return &Refusal{Text: fmt.Sprintf(format, args...), Retry: true}
}

// Accounts are the ServiceAccounts of this cluster.
type Accounts struct {
	Kube   client.Client // makes tokens
	Reader client.Reader // reads accounts past the cache
}

// Read reads an account. What to do about one that is not there ends the sentence.
func (a Accounts) Read(ctx context.Context, of account.Account, remedy string) (*corev1.ServiceAccount, *Refusal) {
	live := &corev1.ServiceAccount{}
	switch err := a.Reader.Get(ctx, client.ObjectKey{Namespace: of.Namespace, Name: of.Name}, live); {
	case apierrors.IsNotFound(err):
		return nil, Refusef("%s does not exist: create it%s", of, remedy)
	case err != nil:
		return nil, Retryf("%s cannot be read (%s)", of, whyOf(err))
	}
	return live, nil
}

// Token is one of an account, good for its audiences and for so many seconds.
func (a Accounts) Token(ctx context.Context, of *corev1.ServiceAccount, audiences []string, seconds int64) (*authenticationv1.TokenRequest, *Refusal) {
	who := nameOf(of)
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{Audiences: audiences, ExpirationSeconds: ptr.To(seconds)}}
	switch err := a.Kube.SubResource("token").Create(ctx, &corev1.ServiceAccount{ObjectMeta: of.ObjectMeta}, request); {
	case apierrors.IsForbidden(err):
		return nil, Refusef("the controller may not make tokens of %s: bind it the ClusterRole espalier-decrypt in namespace %s (docs/rights.md)", who, of.Namespace)
	case err != nil:
		return nil, Retryf("no token of %s can be made (%s)", who, whyOf(err))
	}
	return request, nil
}

// leastSeconds is the shortest life of a token that there is.
const leastSeconds = 600

func nameOf(of *corev1.ServiceAccount) account.Account {
	return account.Account{Namespace: of.Namespace, Name: of.Name}
}

// whyOf is the reason of an API server.
func whyOf(err error) string {
	return cmp.Or(string(apierrors.ReasonForError(err)), "the API server does not answer")
}

// shortest bounds what is taken over of a text, in bytes: a sentence stands around it.
const shortest = 200

func short(text string) string {
	text = strings.Join(strings.Fields(strings.ToValidUTF8(text, "")), " ")
	if len(text) > shortest {
		text = strings.ToValidUTF8(text[:shortest], "") + "…"
	}
	return text
}
