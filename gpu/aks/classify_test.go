// SPDX-License-Identifier: Apache-2.0

package aks

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/containerservice/armcontainerservice/v8"
	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/espalier-dev/espalier/gpu/pool"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

var testNow = time.Date(2026, 1, 5, 9, 0, 0, 0, time.UTC)

// response is an error as the SDK hands it over, from what was on the wire.
func response(status int, header map[string]string, body string) error {
	h := http.Header{"Content-Type": {"application/json"}}
	for k, v := range header {
		h.Set(k, v)
	}
	return runtime.NewResponseError(&http.Response{
		StatusCode: status, Status: fmt.Sprintf("%d %s", status, http.StatusText(status)), Header: h, Body: io.NopCloser(strings.NewReader(body)),
		Request: &http.Request{Method: http.MethodPut, URL: &url.URL{Scheme: "https", Host: "example.com"}},
	})
}

const (
	textFamily = "Operation could not be completed as it results in exceeding approved standardNCADSA100v4Family Cores quota. Additional details - Deployment Model: Resource Manager, Location: westus3, Current Limit: 24, Current Usage: 20, Additional Required: 24, (Minimum) New Limit Required: 44. Submit a request for Quota increase at https://aka.ms/ProdportalCRP"
	textRegion = "Operation results in exceeding quota limits of Core. Maximum allowed: 10, Current in use: 8, Additional requested: 24. Please read more about quota increase at https://aka.ms/ProdportalCRP/?#create/Microsoft.Support"
	textAKS    = "Insufficient vcpu quota requested 24, remaining 3 for family standardNCADSA100v4Family for region westus3. Surge nodes would also consume vcpu quota."
	textBusy   = "Operation is not allowed: Another operation (Updating) is in progress, please wait for it to finish before starting a new operation."
	textAlloc  = "Allocation failed. We do not have sufficient capacity for the requested VM size in this region."
)

func top(code, message string) string {
	b, _ := json.Marshal(map[string]any{"code": code, "message": message, "subcode": ""})
	return string(b)
}

func wrapped(code, message string) string { return `{"error":` + top(code, message) + `}` }

var update = flag.Bool("update", false, "write the golden files anew")

// recorded is one error as it was on the wire.
type recorded struct {
	Name, Row, Reason string
	Status            int
	Header            map[string]string
	Body              string
	Want              pool.Class
}

func recordings(t *testing.T) []recorded {
	t.Helper()
	raw, err := os.ReadFile("testdata/errors.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var all []recorded
	if err := yaml.UnmarshalStrict(raw, &all); err != nil {
		t.Fatal(err)
	}
	return all
}

// noEnv is an environment without a credential.
func noEnv(string) string { return "" }

// TestClassify is the error map over bodies as they are on the wire. The golden
// file shows what people read, and how long the candidate rests.
func TestClassify(t *testing.T) {
	var said strings.Builder
	for _, r := range recordings(t) {
		f := Classify(fmt.Errorf("creating: %w", response(r.Status, r.Header, r.Body)), testNow, noEnv)
		if f.Class != r.Want {
			t.Errorf("%s: %s\ngot %s (%s), want %s", r.Name, r.Reason, f.Class, f.Text, r.Want)
		}
		if f.Text == "" || strings.ContainsAny(f.Text, "\n\r") {
			t.Errorf("%s: text %q: want one line", r.Name, f.Text)
		}
		fmt.Fprintf(&said, "%s: %s, rests %s\n    %s\n", r.Name, f.Class, f.Rest(v1alpha1.Candidate{InstanceType: size}), f.Sentence())
	}
	const golden = "testdata/errors.golden"
	if *update {
		if err := os.WriteFile(golden, []byte(said.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), said.String()); diff != "" {
		t.Errorf("the sentences changed (-update writes them): -want +got\n%s", diff)
	}
}

// TestErrorMapIsRecorded: every code and text that the map knows has a body that
// shows it, and every row of the map has one.
func TestErrorMapIsRecorded(t *testing.T) {
	all := recordings(t)
	shows := func(class pool.Class, code, text string) bool {
		return slices.ContainsFunc(all, func(r recorded) bool {
			whole := strings.ToLower(r.Body + r.Header["x-ms-error-code"])
			return r.Want == class && strings.Contains(whole, strings.ToLower(code)) && strings.Contains(whole, text)
		})
	}
	for _, c := range cues {
		for _, code := range c.codes {
			if !shows(c.class, code, "") {
				t.Errorf("no body of class %s has the code %s", c.class, code)
			}
		}
		for _, text := range c.texts {
			if !slices.ContainsFunc(c.codes, func(code string) bool { return shows(c.class, code, text) }) {
				t.Errorf("no body of class %s has the text %q", c.class, text)
			}
		}
	}
	for _, code := range wrappers {
		if !slices.ContainsFunc(all, func(r recorded) bool { return r.Row == "Wrapper" && strings.Contains(r.Body, code) }) {
			t.Errorf("no body is wrapped in %s", code)
		}
	}
	for _, row := range []string{
		"Busy", "Precondition", "Throttled", "FamilyQuota", "RegionQuota", "SpotQuota", "SKU", "SKU for subscription", "Zonal capacity",
		"Capacity", "Subnet", "Wrapper", "Auth", "Spec", "Transient", "Unknown",
	} {
		if !slices.ContainsFunc(all, func(r recorded) bool { return r.Row == row }) {
			t.Errorf("the row %s of the error map has no body", row)
		}
	}
}

// TestClassifyTransport is what happens where nobody answers.
func TestClassifyTransport(t *testing.T) {
	for name, err := range map[string]error{
		"Network":  &net.OpError{Op: "dial", Err: errors.New("connection refused")},
		"Canceled": context.DeadlineExceeded,
		"Cut":      io.ErrUnexpectedEOF,
	} {
		if f := Classify(err, testNow, noEnv); f.Class != pool.ClassTransient || f.Text == "" {
			t.Errorf("%s: got %+v", name, f)
		}
	}
}

func TestQuotaNumbers(t *testing.T) {
	const link, family = "https://aka.ms/ProdportalCRP", "standardNCADSA100v4Family"
	cases := map[string]struct {
		reason, code, text string
		class              pool.Class
		want               pool.Quota
	}{
		"Compute":    {"Limit, used and needed.", "OperationNotAllowed", textFamily, pool.ClassFamilyQuota, pool.Quota{Family: family, Region: "westus3", Limit: 24, Used: 20, Left: 4, Needed: 24, Link: link}},
		"ComputeOld": {"The old text names no region.", "QuotaExceeded", textRegion, pool.ClassRegionQuota, pool.Quota{Family: "Total Regional", Limit: 10, Used: 8, Left: 2, Needed: 24, Link: link}},
		"AKS":        {"AKS tells what is left, and neither the limit nor where to ask.", "ErrCode_InsufficientVCPUQuota", textAKS, pool.ClassFamilyQuota, pool.Quota{Family: family, Region: "westus3", Left: 3, Needed: 24, Partial: true, Link: link}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			f := Classify(response(400, map[string]string{"Retry-After": "17"}, top(tc.code, tc.text)), testNow, noEnv)
			want := &pool.Failure{Class: tc.class, Code: tc.code, Text: f.Text, RetryAfter: 17 * time.Second, Quota: &tc.want}
			if diff := cmp.Diff(want, f); diff != "" {
				t.Errorf("%s -want +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestRetryAfter(t *testing.T) {
	cases := map[string]struct {
		key, value string
		want       time.Duration
	}{
		"Seconds":      {"Retry-After", "17", 17 * time.Second},
		"Date":         {"Retry-After", testNow.Add(time.Minute).Format(http.TimeFormat), time.Minute},
		"PastDate":     {"Retry-After", testNow.Add(-time.Minute).Format(http.TimeFormat), 0},
		"Milliseconds": {"x-ms-retry-after-ms", "1500", 1500 * time.Millisecond},
		"Nonsense":     {"Retry-After", "soon", 0},
		"Negative":     {"Retry-After", "-5", 0},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			h := http.Header{}
			h.Set(tc.key, tc.value)
			if got := retryAfter(h, testNow); got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
		})
	}
}

func TestClassifyProvisioning(t *testing.T) {
	str := func(s string) *string { return &s }
	d := &armcontainerservice.ErrorDetail{Code: str("CreateVMSSAgentPoolFailed"), Message: str("see details"), Details: []*armcontainerservice.ErrorDetail{
		nil, {Code: str("AllocationFailed"), Message: str(textAlloc)},
	}}
	if f := ClassifyProvisioning(d); f.Class != pool.ClassCapacity || f.Code != "AllocationFailed" {
		t.Errorf("got %+v", f)
	}
	if f := ClassifyProvisioning(nil); f != nil {
		t.Errorf("no error became %+v", f)
	}
}

func TestLineHidesSignedURLs(t *testing.T) {
	got := line("GET https://example.com/op?t=1&s=signature\n  failed.")
	if want := "GET https://example.com/op failed"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// FuzzParse feeds arbitrary bodies to the decoder of errors: it always gives a
// class and one bounded line.
func FuzzParse(f *testing.F) {
	for _, s := range []string{top("OperationNotAllowed", textFamily), wrapped("X", textBusy), "", "null", "[]", `{"error":{"error":{}}}`, `{"code":1}`,
		top("ReconcileVMSSAgentPoolFailed", `Code="ReconcileVMSSAgentPoolFailed" Message="Code="`)} {
		f.Add(400, s)
	}
	f.Fuzz(func(t *testing.T, status int, raw string) {
		got := classify(status, parse([]byte(raw), ""))
		if got.Class == "" || got.Text == "" || len(got.Text) > pool.MaxText+len("…") || strings.ContainsAny(got.Text, "\n") {
			t.Errorf("status %d, body %q: %+v", status, raw, got)
		}
	})
}
