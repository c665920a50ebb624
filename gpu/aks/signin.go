// SPDX-License-Identifier: Apache-2.0

package aks

import (
	"cmp"
	"fmt"
	"regexp"
	"strings"

	"github.com/espalier-dev/espalier/gpu/pool"
)

var (
	entraCode = regexp.MustCompile(`AADSTS(\d+): ([^"\n\r]*?)(?:\.\s|\.?\s*Trace ID|\.?"|\.?$)`)
	authority = regexp.MustCompile(`POST https://([^/\s]+)/`)
	noFile    = regexp.MustCompile(`WorkloadIdentityCredential: open [^\n]*: (?:no such file or directory|The system cannot find)`)
	noMachine = regexp.MustCompile(`"error_description":\s*"([^"]*)"`)
)

// refusedSignIn understands why no token was issued: what is wrong, where, and what
// helps. It takes over a code and a sentence, and nothing else of an answer, which may
// repeat what was sent. env has the environment that the credential came from.
func refusedSignIn(text string, env func(string) string) *pool.Failure {
	app, tenant := cmp.Or(env("AZURE_CLIENT_ID"), "the application"), cmp.Or(env("AZURE_TENANT_ID"), "of AZURE_TENANT_ID")
	f := &pool.Failure{Class: pool.ClassSignIn}
	if m := entraCode.FindStringSubmatch(text); m != nil {
		f.Code = "AADSTS" + m[1]
		f.Text = entraSays(m[1], short(m[2]), said{app: app, tenant: tenant, host: hostOf(text)})
		return f
	}
	switch {
	case noFile.MatchString(text):
		f.Text = "The file that AZURE_FEDERATED_TOKEN_FILE names is not there: label the pods azure.workload.identity/use=true, and see that the webhook of workload identity runs"
	case strings.Contains(text, "ManagedIdentityCredential authentication failed"):
		why := "it answers with an error"
		if m := noMachine.FindStringSubmatch(text); m != nil {
			why = short(m[1])
		}
		f.Text = fmt.Sprintf("The machine has no managed identity %s (%s): assign it to the node pool that the controller runs on, or correct AZURE_CLIENT_ID", env("AZURE_CLIENT_ID"), why)
	case strings.Contains(text, "authentication failed"):
		f.Text = hostOf(text) + " issues no token and names no reason: see that it is Azure's authority, and no proxy that answers in its place"
	default:
		f.Text = "No credential of Azure is set: there is no AZURE_CLIENT_SECRET or AZURE_FEDERATED_TOKEN_FILE, no managed identity answers, and az is not signed in; use a workload identity (docs/aks.md)"
	}
	return f
}

// shortest bounds what is taken over of an answer, in bytes: a sentence stands around it.
const shortest = 200

func short(text string) string {
	text = line(text)
	if len(text) > shortest {
		text = strings.ToValidUTF8(text[:shortest], "") + "…"
	}
	return text
}

func hostOf(text string) string {
	if m := authority.FindStringSubmatch(text); m != nil {
		return m[1]
	}
	return "Entra ID"
}

// said is what a sentence about a sign-in names.
type said struct{ app, tenant, host string }

// entraSays is the sentence of an error code of Entra ID
// (https://learn.microsoft.com/entra/identity-platform/reference-error-codes).
func entraSays(code, text string, s said) string {
	switch code {
	case "7000215":
		return fmt.Sprintf("Entra ID refuses the client secret of %s in AZURE_CLIENT_SECRET (AADSTS%s): put the value, not the id, of a secret that is valid into the Secret that the controller has it from", s.app, code)
	case "7000222":
		return fmt.Sprintf("The client secret of %s in AZURE_CLIENT_SECRET has expired (AADSTS%s): make another (az ad app credential reset --id %s), and put it into the Secret that the controller has it from; a workload identity needs none", s.app, code, s.app)
	case "700016":
		return fmt.Sprintf("Tenant %s has no application %s (AADSTS%s): correct AZURE_CLIENT_ID or AZURE_TENANT_ID", s.tenant, s.app, code)
	case "90002":
		return fmt.Sprintf("%s knows no tenant %s (AADSTS%s): correct AZURE_TENANT_ID, or --azure-cloud where it is a tenant of another cloud", s.host, s.tenant, code)
	case "70021", "700211", "700212", "700213":
		return fmt.Sprintf("No federated credential of %s names this service account (AADSTS%s): %s; add one with the cluster's OIDC issuer and that subject", s.app, code, text)
	case "700024", "500133":
		return fmt.Sprintf("The projected token in AZURE_FEDERATED_TOKEN_FILE is not valid now (AADSTS%s): see that the kubelet renews it, and the clocks of the node and the cluster", code)
	}
	return fmt.Sprintf("Entra ID issues no token to %s (AADSTS%s): %s; look the code up at https://login.microsoftonline.com/error?code=%s", s.app, code, text, code)
}
