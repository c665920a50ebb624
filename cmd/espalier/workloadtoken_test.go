// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/espalier-dev/espalier/cmd/espalier/data"
	"github.com/espalier-dev/espalier/test/fakeentra"
)

// directory is Entra ID that refuses with a status.
type directory struct {
	fakeentra.Fake
	status int
}

func (d *directory) Do(r *http.Request) (*http.Response, error) {
	answer, err := d.Fake.Do(r)
	if err == nil && answer.StatusCode == http.StatusUnauthorized {
		answer.StatusCode = d.status
		answer.Header.Set("Retry-After-Ms", "1")
	}
	return answer, err
}

// TestWorkloadToken: what no wait can mend ends a download at once, and nothing else does.
func TestWorkloadToken(t *testing.T) {
	for name, tc := range map[string]struct {
		reason, tenant, text string // empty text: it issues
		status               int
		says                 string
		refused              bool
	}{
		"Issued":      {"A token is what was asked for.", "t", "", 0, "", false},
		"Application": {"Nobody makes one while the pod waits.", "t", "AADSTS700016: Application with identifier 'c' was not found in the directory 't'.", 400, "AADSTS700016: Application with identifier 'c'", true},
		"Tenant":      {"Nor a tenant.", "t", "AADSTS90002: Tenant 't' not found.", 400, "AADSTS90002: Tenant 't' not found.", true},
		"Federation":  {"A federated credential that was made a moment ago is not known everywhere.", "t", "AADSTS700213: No matching federated identity record found.", 401, "AADSTS700213", false},
		"TokenOfPod":  {"The kubelet renews it.", "t", "AADSTS700024: Client assertion is not within its valid time range.", 401, "AADSTS700024", false},
		"Busy":        {"It passes.", "t", "AADSTS90055: Too many requests.", 429, "AADSTS90055", false},
		"NoWebhook":   {"The environment of a pod stays as it is.", "", "", 0, "reading the workload identity", true},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "token")
			if err := os.WriteFile(file, []byte("of-the-pod"), 0o600); err != nil {
				t.Fatal(err)
			}
			t.Setenv("AZURE_TENANT_ID", tc.tenant)
			t.Setenv("AZURE_FEDERATED_TOKEN_FILE", file)
			t.Setenv("AZURE_AUTHORITY_HOST", "https://login.microsoftonline.com/")
			entra := &directory{status: tc.status}
			if tc.text != "" {
				entra.Refuse = &fakeentra.Refusal{Code: "invalid_client", Text: tc.text}
			}
			got, err := workloadToken("c", entra)(t.Context(), "https://ai.azure.com/.default")
			if tc.says == "" {
				if err != nil || got != fakeentra.Token {
					t.Errorf("%s: %q, %v", tc.reason, got, err)
				}
				return
			}
			var no *data.RefusedError
			if err == nil || errors.As(err, &no) != tc.refused || !strings.Contains(err.Error(), tc.says) || strings.Contains(err.Error(), "of-the-pod") {
				t.Errorf("%s: %v, want %q, refused %t", tc.reason, err, tc.says, tc.refused)
			}
		})
	}
}
