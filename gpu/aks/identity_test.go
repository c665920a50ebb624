// SPDX-License-Identifier: Apache-2.0

package aks

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"

	"github.com/espalier-dev/espalier/gpu/pool"
	"github.com/espalier-dev/espalier/test/fakeentra"
)

const (
	tenant    = "11111111-1111-1111-1111-111111111111"
	secret    = "s3cret-of-the-principal"
	assertion = "eyJhbGciOiJSUzI1NiJ9.projected-token.signature"
)

// sovereign are the clouds, with the authority that issues tokens and the host of
// Resource Manager in each.
var sovereign = map[string]struct {
	cloud     cloud.Configuration
	authority string
	manager   string
	audience  string // of tokens
}{
	"public":     {cloud.AzurePublic, "login.microsoftonline.com", "management.azure.com", "https://management.core.windows.net/"},
	"government": {cloud.AzureGovernment, "login.microsoftonline.us", "management.usgovcloudapi.net", "https://management.core.usgovcloudapi.net"},
	"china":      {cloud.AzureChina, "login.chinacloudapi.cn", "management.chinacloudapi.cn", "https://management.core.chinacloudapi.cn"},
}

// bare clears what the machine that runs the test may have set.
func bare(t *testing.T) {
	t.Helper()
	for _, name := range []string{
		"AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET", "AZURE_CLIENT_CERTIFICATE_PATH", "AZURE_FEDERATED_TOKEN_FILE", "AZURE_AUTHORITY_HOST",
		"AZURE_USERNAME", "AZURE_PASSWORD", "AZURE_TOKEN_CREDENTIALS", "IDENTITY_ENDPOINT", "IDENTITY_HEADER", "MSI_ENDPOINT", "IMDS_ENDPOINT",
	} {
		t.Setenv(name, "")
		_ = os.Unsetenv(name) // Setenv puts it back
	}
	t.Setenv("PATH", t.TempDir()) // no az, azd or pwsh of the machine
}

func setenv(t *testing.T, pairs ...string) {
	t.Helper()
	for _, p := range pairs {
		k, v, _ := strings.Cut(p, "=")
		t.Setenv(k, v)
	}
}

func federated(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "azure-identity-token")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// az puts an Azure CLI into PATH that notes what it is asked, and runs a script.
func az(t *testing.T, script string) (asked string) {
	t.Helper()
	dir := t.TempDir()
	asked = filepath.Join(dir, "asked")
	text := "#!/bin/sh\necho \"$*\" >> " + asked + "\n" + script + "\n"
	if err := os.WriteFile(filepath.Join(dir, "az"), []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+string(os.PathListSeparator)+"/usr/bin"+string(os.PathListSeparator)+"/bin")
	return asked
}

// ask makes the provider list agent pools, with the credential that the environment
// has.
func ask(t *testing.T, fake *fakeentra.Fake, where cloud.Configuration) error {
	t.Helper()
	cfg := Config{SubscriptionID: "s", ResourceGroup: "g", ClusterName: "c", Cloud: where, Transport: fake}
	var err error
	if cfg.Credential, err = NewCredential(cfg); err != nil {
		t.Fatal(err)
	}
	p, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	_, err = p.Observe(t.Context(), pool.Target{})
	return err
}

// TestCredentials: each way to sign in works by its protocol, at the authority and for
// the audience of its cloud.
func TestCredentials(t *testing.T) {
	for name, c := range sovereign {
		t.Run("ServicePrincipal/"+name, func(t *testing.T) {
			bare(t)
			setenv(t, "AZURE_TENANT_ID="+tenant, "AZURE_CLIENT_ID=app-1", "AZURE_CLIENT_SECRET="+secret)
			signed := signIn(t, &fakeentra.Fake{}, c.cloud, c.manager)
			want(t, signed, c.authority, map[string]string{
				"grant_type": "client_credentials", "client_id": "app-1", "client_secret": secret, "scope": c.audience + "/.default",
			})
		})
		t.Run("WorkloadIdentity/"+name, func(t *testing.T) {
			bare(t)
			setenv(t, "AZURE_TENANT_ID="+tenant, "AZURE_CLIENT_ID=app-2", "AZURE_FEDERATED_TOKEN_FILE="+federated(t, assertion))
			signed := signIn(t, &fakeentra.Fake{}, c.cloud, c.manager)
			want(t, signed, c.authority, map[string]string{
				"client_id": "app-2", "client_assertion": assertion, "scope": c.audience + "/.default",
				"client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
			})
		})
		t.Run("ManagedIdentity/"+name, func(t *testing.T) {
			bare(t)
			setenv(t, "AZURE_CLIENT_ID=app-3")
			signed := signIn(t, &fakeentra.Fake{Machine: true}, c.cloud, c.manager)
			want(t, signed, "169.254.169.254", map[string]string{"client_id": "app-3", "resource": c.audience})
		})
		t.Run("AzureCLI/"+name, func(t *testing.T) {
			bare(t)
			asked := az(t, fmt.Sprintf(`printf '%%s' '{"accessToken": "%s", "expiresOn": "2099-01-01 00:00:00.000000", "expires_on": 4070908800, "tenant": "%s", "tokenType": "Bearer"}'`, fakeentra.Token, tenant))
			fake := &fakeentra.Fake{}
			if err := ask(t, fake, c.cloud); err != nil {
				t.Fatal(err)
			}
			said, err := os.ReadFile(asked)
			if err != nil || !strings.Contains(string(said), "get-access-token -o json --resource "+c.audience) || !slices.Equal(fake.Managed(), []string{c.manager}) {
				t.Errorf("az was asked %q (%v), then %v", said, err, fake.Managed())
			}
		})
	}
}

func signIn(t *testing.T, fake *fakeentra.Fake, where cloud.Configuration, manager string) fakeentra.SignIn {
	t.Helper()
	if err := ask(t, fake, where); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(fake.Managed(), []string{manager}) || len(fake.SignIns()) != 1 {
		t.Fatalf("asked %v after %v", fake.Managed(), fake.SignIns())
	}
	return fake.SignIns()[0]
}

func want(t *testing.T, got fakeentra.SignIn, host string, form map[string]string) {
	t.Helper()
	if got.Host != host {
		t.Errorf("signed in at %s, want %s", got.Host, host)
	}
	for k, v := range form {
		if sent := strings.Replace(got.Form.Get(k), "//.default", "/.default", 1); !strings.HasPrefix(sent, strings.Replace(v, "//.default", "/.default", 1)) {
			t.Errorf("sent %s %q, want %q", k, got.Form.Get(k), v)
		}
	}
}

// TestSignInRefused: what is wrong with a credential, where, and what helps; and never
// the credential.
func TestSignInRefused(t *testing.T) {
	principal := []string{"AZURE_TENANT_ID=" + tenant, "AZURE_CLIENT_ID=app-1", "AZURE_CLIENT_SECRET=" + secret}
	const trace = " Trace ID: a0a0a0a0-0000-0000-0000-000000000001 Correlation ID: b0b0b0b0-0000-0000-0000-000000000001 Timestamp: 2026-11-26 07:00:00Z"
	for name, c := range map[string]struct {
		reason string
		env    []string
		file   string          // text of the federated token; "-": the file is missing
		fake   *fakeentra.Fake // nil: it issues
		az     string
		want   string
	}{
		"SecretWrong": {
			reason: "The value, not the id, of the secret is what counts.", env: principal,
			fake: &fakeentra.Fake{Refuse: &fakeentra.Refusal{Code: "invalid_client", Text: "AADSTS7000215: Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not the client secret ID, for a secret added to app 'app-1'." + trace}},
			want: "Entra ID refuses the client secret of app-1 in AZURE_CLIENT_SECRET (AADSTS7000215): put the value, not the id, of a secret that is valid into the Secret that the controller has it from",
		},
		"SecretExpired": {
			reason: "A secret ends, and then nobody knows why nothing is bought.", env: principal,
			fake: &fakeentra.Fake{Refuse: &fakeentra.Refusal{Code: "invalid_client", Text: "AADSTS7000222: The provided client secret keys for app 'app-1' are expired." + trace}},
			want: "The client secret of app-1 in AZURE_CLIENT_SECRET has expired (AADSTS7000222): make another (az ad app credential reset --id app-1), and put it into the Secret that the controller has it from; a workload identity needs none",
		},
		"NoApplication": {
			reason: "An id of another tenant.", env: principal,
			fake: &fakeentra.Fake{Refuse: &fakeentra.Refusal{Code: "unauthorized_client", Text: "AADSTS700016: Application with identifier 'app-1' was not found in the directory 'Contoso'." + trace}},
			want: "Tenant " + tenant + " has no application app-1 (AADSTS700016): correct AZURE_CLIENT_ID or AZURE_TENANT_ID",
		},
		"NoTenant": {
			reason: "Likewise, or the tenant is one of another cloud.", env: principal,
			fake: &fakeentra.Fake{Refuse: &fakeentra.Refusal{Code: "invalid_request", Text: "AADSTS90002: Tenant '" + tenant + "' not found. Check to make sure you have the correct tenant ID and are signing into the correct cloud." + trace}},
			want: "login.microsoftonline.com knows no tenant " + tenant + " (AADSTS90002): correct AZURE_TENANT_ID, or --azure-cloud where it is a tenant of another cloud",
		},
		"NotFederated": {
			reason: "The account is not the one that the federated credential names.", env: principal[:2], file: assertion,
			fake: &fakeentra.Fake{Refuse: &fakeentra.Refusal{Code: "invalid_client", Text: "AADSTS700213: No matching federated identity record found for presented assertion subject 'system:serviceaccount:espalier-system:espalier-controller'." + trace}},
			want: "No federated credential of app-1 names this service account (AADSTS700213): No matching federated identity record found for presented assertion subject 'system:serviceaccount:espalier-system:espalier-controller'; add one with the cluster's OIDC issuer and that subject",
		},
		"TokenExpired": {
			reason: "The token in the pod is older than the kubelet lets it become.", env: principal[:2], file: assertion,
			fake: &fakeentra.Fake{Refuse: &fakeentra.Refusal{Code: "invalid_client", Text: "AADSTS700024: Client assertion is not within its valid time range. Current time: 2026-11-26T07:00:00Z." + trace}},
			want: "The projected token in AZURE_FEDERATED_TOKEN_FILE is not valid now (AADSTS700024): see that the kubelet renews it, and the clocks of the node and the cluster",
		},
		"NoTokenFile": {
			reason: "The pod lacks what the webhook of workload identity mounts.", env: principal[:2], file: "-",
			want: "The file that AZURE_FEDERATED_TOKEN_FILE names is not there: label the pods azure.workload.identity/use=true, and see that the webhook of workload identity runs",
		},
		"NoIdentity": {
			reason: "The machine has no identity, or another.", env: []string{"AZURE_CLIENT_ID=app-4"}, fake: &fakeentra.Fake{Machine: true, Identity: "Identity not found"},
			want: "The machine has no managed identity app-4 (Identity not found): assign it to the node pool that the controller runs on, or correct AZURE_CLIENT_ID",
		},
		"NothingAtAll": {
			reason: "Nobody has said who the controller is.",
			want:   "No credential of Azure is set: there is no AZURE_CLIENT_SECRET or AZURE_FEDERATED_TOKEN_FILE, no managed identity answers, and az is not signed in; use a workload identity (docs/aks.md)",
		},
		"CLISignedOut": {
			reason: "At one's desk.", az: "echo \"ERROR: Please run 'az login' to setup account.\" >&2; exit 1",
			want: "No credential of Azure is set",
		},
		"Unknown": {
			reason: "A code that has no sentence here keeps Entra's first one.", env: principal,
			fake: &fakeentra.Fake{Refuse: &fakeentra.Refusal{Code: "invalid_grant", Text: "AADSTS53003: Access has been blocked by Conditional Access policies. The access policy does not allow token issuance." + trace}},
			want: "Entra ID issues no token to app-1 (AADSTS53003): Access has been blocked by Conditional Access policies; look the code up at https://login.microsoftonline.com/error?code=53003",
		},
	} {
		t.Run(name, func(t *testing.T) {
			bare(t)
			setenv(t, c.env...)
			switch c.file {
			case "":
			case "-":
				t.Setenv("AZURE_FEDERATED_TOKEN_FILE", filepath.Join(t.TempDir(), "missing"))
			default:
				t.Setenv("AZURE_FEDERATED_TOKEN_FILE", federated(t, c.file))
			}
			if c.file != "" {
				_ = os.Unsetenv("AZURE_CLIENT_SECRET")
			}
			if c.az != "" {
				az(t, c.az)
			}
			fake := c.fake
			if fake == nil {
				fake = &fakeentra.Fake{}
			}
			err := ask(t, fake, cloud.AzurePublic)
			f := Classify(err, time.Now(), os.Getenv)
			if f == nil || f.Class != pool.ClassSignIn || !strings.HasPrefix(f.Text, c.want) {
				t.Fatalf("%s\ngot  %+v\nwant %s", c.reason, f, c.want)
			}
			for _, hidden := range []string{secret, assertion, fakeentra.Token, "Trace ID", "a0a0a0a0"} {
				if strings.Contains(f.Error()+f.Sentence(), hidden) {
					t.Errorf("the message has %s: %s", hidden, f.Error())
				}
			}
		})
	}
}
