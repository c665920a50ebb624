// SPDX-License-Identifier: Apache-2.0

package keyvault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/espalier-dev/espalier/reconciler/identity"
)

// refusal is why a vault did not decrypt: one sentence without its end.
type refusal struct {
	text  string
	retry bool // waiting can cure it
	of    reach
}

// reach is what a refusal holds for, in one pass: that is not asked again.
type reach int8

const (
	ofFile reach = iota
	ofKey
	ofVault
	ofAll
)

func (r *refusal) Error() string { return r.text }

func refusef(format string, args ...any) *refusal {
	return &refusal{text: fmt.Sprintf(format, args...)}
}

func retryf(format string, args ...any) *refusal {
	return &refusal{text: fmt.Sprintf(format, args...) + "; it is tried again", retry: true, of: ofVault}
}

var errForeign = refusef("--azure-endpoint names a cloud of one's own, whose key vaults are not known: encrypt the file for an age recipient")

// noVault shows the host alone of what a file names.
func (s *Session) noVault(address string) *refusal {
	shown := "no address"
	if at, err := url.Parse(address); err == nil && at.Host != "" {
		shown = fmt.Sprintf("%q", short(at.Host))
	}
	return refusef("the file names %s, and a vault of Azure's cloud %q is https://NAME%s: nothing was sent there; correct azure_kv, or --azure-cloud", shown, s.where.name, s.where.suffix)
}

// unreadable is said of an answer that is none of Azure's.
func unreadable(host string) *refusal {
	return refusef("%s answers as no vault does: see that no proxy answers in its place", host)
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

// said is what a sentence about a vault names.
type said struct{ host, key, version, who string }

// of is the sentence of an error of the client.
func (s said) of(err error) *refusal {
	var answered *azcore.ResponseError
	var signIn *azidentity.AuthenticationFailedError
	switch {
	case errors.As(err, &answered):
		return s.answered(answered)
	case errors.Is(err, errOtherTenant):
		return whole(refusef("%s is of another tenant than %s: use a vault of the same", s.host, s.who))
	case errors.As(err, &signIn):
		return whole(refusalOf(identity.Said(s.who, signIn)))
	}
	return s.unreached(err)
}

// whole makes a refusal one of the vault.
func whole(r *refusal) *refusal { r.of = ofVault; return r }

// ofTheKey makes it one of a key.
func ofTheKey(r *refusal) *refusal { r.of = ofKey; return r }

// unreached is said where nobody has answered.
func (s said) unreached(err error) *refusal {
	var name *net.DNSError
	var network net.Error
	switch {
	case errors.As(err, &name) && name.IsNotFound:
		return whole(refusef("there is no vault %s, or its name is not known in this network: correct azure_kv, or see the private DNS zone", s.host))
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled), errors.As(err, &network):
		return retryf("%s does not answer, or Entra ID does not: see that the controller may reach both by https", s.host)
	}
	return whole(unreadable(s.host))
}

// answered is the sentence of an answer that refuses. Of its text nothing is shown: it
// has the ids of who asked.
func (s said) answered(err *azcore.ResponseError) *refusal {
	switch code := err.StatusCode; {
	case code == http.StatusForbidden:
		return s.forbidden(reasonOf(err))
	case code == http.StatusNotFound:
		return ofTheKey(refusef("%s is not there: recover it where it was deleted (az keyvault key recover), or encrypt the file for a key that is", s.named()))
	case code == http.StatusUnauthorized:
		return whole(refusef("%s takes no token of %s: it must be a vault of the same tenant", s.host, s.who))
	case code == http.StatusBadRequest:
		return refusef("%s does not decrypt the data key: it is of another key or was changed; encrypt the file anew (sops updatekeys)", s.named())
	case code == http.StatusTooManyRequests:
		return retryf("%s answers too many requests (429)", s.host)
	case code >= http.StatusInternalServerError, code == http.StatusRequestTimeout:
		return retryf("%s answers %d", s.host, code)
	}
	return whole(unreadable(s.host))
}

// named is the key, and its version where the file has one.
func (s said) named() string {
	if s.version == "" {
		return fmt.Sprintf("key %s of %s", s.key, s.host)
	}
	return fmt.Sprintf("key %s (version %s) of %s", s.key, s.version, s.host)
}

// forbidden tells what lacks by the inner code of a 403
// (https://learn.microsoft.com/azure/key-vault/general/rest-error-codes).
func (s said) forbidden(reason string) *refusal {
	switch reason {
	case "ForbiddenByFirewall", "ForbiddenByConnection":
		return whole(refusef("the firewall of %s does not let the controller in: allow the address or subnet of the cluster, or give the vault a private endpoint there", s.host))
	case "KeyDisabled", "KeyExpired", "KeyNotYetValid":
		return ofTheKey(refusef("%s is disabled: enable it, or encrypt the file for another", s.named()))
	}
	return ofTheKey(refusef("%s may not decrypt with %s: give it the role Key Vault Crypto User on the vault, or, where the vault has access policies, the key permission decrypt; a grant takes some minutes", s.who, s.named()))
}

// reasonOf is the inner code of an answer.
func reasonOf(err *azcore.ResponseError) string {
	var told struct {
		Error struct {
			Inner struct {
				Code string `json:"code"`
			} `json:"innererror"`
		} `json:"error"`
	}
	text, readErr := runtime.Payload(err.RawResponse)
	if readErr != nil || json.Unmarshal(text, &told) != nil {
		return ""
	}
	return told.Error.Inner.Code
}
