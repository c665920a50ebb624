// SPDX-License-Identifier: Apache-2.0

package aks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/containerservice/armcontainerservice/v8"
	"github.com/google/go-cmp/cmp"

	"github.com/espalier-dev/espalier/gpu/pool"
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
	textFamily = "Operation could not be completed as it results in exceeding approved standardNCADSA100v4Family Cores quota. Additional details - Deployment Model: Resource Manager, Location: westus3, Current Limit: 24, Current Usage: 24, Additional Required: 24, (Minimum) New Limit Required: 48. Submit a request for Quota increase at https://aka.ms/ProdportalCRP"
	textRegion = "Operation could not be completed as it results in exceeding approved Total Regional Cores quota. Additional details - Deployment Model: Resource Manager, Location: eastus, Current Limit: 10, Current Usage: 8, Additional Required: 24, (Minimum) New Limit Required: 32. Submit a request for Quota increase at https://aka.ms/ProdportalCRP"
	textSpot   = "Operation could not be completed as it results in exceeding approved LowPriorityCores quota. Additional details - Deployment Model: Resource Manager, Location: eastus, Current Limit: 3, Current Usage: 0, Additional Required: 4, (Minimum) New Limit Required: 4. Submit a request for Quota increase at https://aka.ms/ProdportalCRP"
	textAKS    = "Insufficient vcpu quota requested 24, remaining 0 for family standardNCADSA100v4Family for region westus3. Surge nodes would also consume quota"
	textBusy   = "Operation is not allowed: Another operation (Updating) is in progress, please wait for it to finish before starting a new operation. See https://aka.ms/aks-pending-operation for more details"
	textPool   = "Operation is not allowed: Another agentpool operation (nodepool1 - Creating) is in progress, please wait for it to finish before starting a new operation."
	textAlloc  = "Allocation failed. We do not have sufficient capacity for the requested VM size in this region."
)

func top(code, message string) string {
	b, _ := json.Marshal(map[string]any{"code": code, "message": message, "subcode": ""})
	return string(b)
}

func wrapped(code, message string) string { return `{"error":` + top(code, message) + `}` }

// TestClassify is the error map over bodies as they are on the wire.
func TestClassify(t *testing.T) {
	cases := map[string]struct {
		reason string
		err    error
		want   pool.Class
	}{
		"BusyCluster409":      {"The code of every quota, with the text of a busy cluster.", response(409, nil, top("OperationNotAllowed", textBusy)), pool.ClassBusy},
		"BusyPool400":         {"The same with the other status.", response(400, nil, top("OperationNotAllowed", textPool)), pool.ClassBusy},
		"BusyManagedCluster":  {"A third text of the same.", response(409, nil, top("OperationNotAllowed", "managed cluster operation not allowed: another operation in agentpool")), pool.ClassBusy},
		"BusyOverridden":      {"An old text, misspelt by the service.", response(409, nil, top("OperationNotAllowed", "operation was overriden and canceled by a later operation")), pool.ClassBusy},
		"Preempted":           {"A later operation won.", response(409, nil, top("AKSOperationPreempted", "preempted")), pool.ClassBusy},
		"PreemptedByDelete":   {"So did a delete.", response(409, nil, top("AKSOperationPreemptedByDelete", "preempted")), pool.ClassBusy},
		"Precondition":        {"The ETag is old, or the pool exists.", response(412, nil, top("PreconditionFailed", "the condition is not met")), pool.ClassPrecondition},
		"Throttled":           {"The subscription's bucket is empty.", response(429, map[string]string{"Retry-After": "17"}, top("Throttled", "slow down")), pool.ClassThrottled},
		"TooManyRequests":     {"The front door's words.", response(429, nil, wrapped("TooManyRequests", "slow down")), pool.ClassThrottled},
		"SubscriptionThrottl": {"ARM's words.", response(429, nil, wrapped("SubscriptionRequestsThrottled", "slow down")), pool.ClassThrottled},
		"FamilyQuota400":      {"Quota of the family, in AKS's shape.", response(400, nil, top("OperationNotAllowed", textFamily)), pool.ClassFamilyQuota},
		"FamilyQuota409":      {"The same in ARM's shape.", response(409, nil, wrapped("OperationNotAllowed", textFamily)), pool.ClassFamilyQuota},
		"FamilyQuotaAKS":      {"AKS counts for itself before it asks Compute.", response(400, nil, top("ErrCode_InsufficientVCPUQuota", textAKS)), pool.ClassFamilyQuota},
		"QuotaExceeded":       {"A code that says only that.", response(409, nil, wrapped("QuotaExceeded", "quota exceeded")), pool.ClassFamilyQuota},
		"RegionQuota":         {"Its text also says Cores quota.", response(409, nil, wrapped("OperationNotAllowed", textRegion)), pool.ClassRegionQuota},
		"SpotQuota":           {"Its text also says Cores.", response(409, nil, wrapped("OperationNotAllowed", textSpot)), pool.ClassSpotQuota},
		"SpotQuotaAKS":        {"The same by AKS's own count.", response(400, nil, top("ErrCode_InsufficientVCPUQuota", "Insufficient vcpu quota requested 4, remaining 3 for family lowPriorityCores for region eastus")), pool.ClassSpotQuota},
		"SKU":                 {"Not offered in the region now.", response(409, nil, wrapped("SkuNotAvailable", "The requested size is currently not available in location 'eastus'")), pool.ClassSKU},
		"SKUSubscription":     {"Not offered to the subscription.", response(400, nil, top("VMSizeNotSupported", "The VM size is not supported")), pool.ClassSKUSubscription},
		"SKUSubscriptionText": {"The same under a code that means anything.", response(400, nil, top("BadRequest", "Virtual Machine size: 'Standard_ND96asr_v4' is not supported for subscription 0000 in location 'eastus'")), pool.ClassSKUSubscription},
		"Zonal":               {"One zone is empty.", response(409, nil, wrapped("ZonalAllocationFailed", "Allocation failed in zone 1")), pool.ClassZonalCapacity},
		"OverconstrainedZone": {"Its code contains the regional one's words.", response(409, nil, wrapped("OverconstrainedZonalAllocationRequest", "constraints")), pool.ClassZonalCapacity},
		"Allocation":          {"The region is empty.", response(409, nil, wrapped("AllocationFailed", textAlloc)), pool.ClassCapacity},
		"Overconstrained":     {"The region is empty for these constraints.", response(409, nil, wrapped("OverconstrainedAllocationRequest", "constraints")), pool.ClassCapacity},
		"SubnetSize":          {"Counted before creating.", response(400, nil, top("InsufficientSubnetSize", "Pre-allocated IPs 120 exceeds IPs available 11")), pool.ClassSubnet},
		"SubnetFull":          {"Found by the network provider.", response(409, nil, wrapped("SubnetIsFull", "Subnet is full")), pool.ClassSubnet},
		"Forbidden":           {"No permission.", response(403, nil, wrapped("AuthorizationFailed", "The client does not have authorization")), pool.ClassAuth},
		"Policy":              {"A policy of the organisation.", response(403, nil, wrapped("RequestDisallowedByPolicy", "Resource was disallowed by policy")), pool.ClassAuth},
		"Token":               {"No valid token.", response(401, nil, wrapped("ExpiredAuthenticationToken", "expired")), pool.ClassAuth},
		"Spec":                {"The order is wrong.", response(400, nil, top("InvalidParameter", "osDiskSizeGB is too small")), pool.ClassSpec},
		"Immutable400":        {"The order changes what cannot be changed.", response(400, nil, top("PropertyChangeNotAllowed", "vmSize")), pool.ClassSpec},
		"Immutable409":        {"The same with the other status.", response(409, nil, top("PropertyChangeNotAllowed", "vmSize")), pool.ClassSpec},
		"Server":              {"The cloud's own trouble.", response(500, nil, top("InternalServerError", "oops")), pool.ClassTransient},
		"Gateway":             {"A proxy answers in HTML.", response(502, nil, "<html>bad gateway</html>"), pool.ClassTransient},
		"WrapperText":         {"What failed is quoted in the text.", response(400, nil, top("ReconcileVMSSAgentPoolFailed", `Code="AllocationFailed" Message="Allocation failed."`)), pool.ClassCapacity},
		"WrapperEscaped":      {"The quotes are escaped.", response(400, nil, top("CreateVMSSAgentPoolFailed", `VMSSAgentPoolReconciler retry failed: StatusCode=409 -- Original Error: Code=\"OperationNotAllowed\" Message=\"`+textFamily+`\"`)), pool.ClassFamilyQuota},
		"WrapperDetails":      {"Or it is in the details.", response(400, nil, `{"error":{"code":"InvalidTemplateDeployment","message":"See inner errors","details":[{"code":"SkuNotAvailable","message":"not available"}]}}`), pool.ClassSKU},
		"WrapperUnclear":      {"A wrapper that carries nothing known keeps its text.", response(409, nil, top("ReconcileVMSSAgentPoolFailed", "something broke")), pool.ClassUnknown},
		"NotAllowedUnclear":   {"Neither busy nor quota: no guess is made.", response(400, nil, top("OperationNotAllowed", "the cluster is stopped")), pool.ClassUnknown},
		"HeaderCode":          {"The code is only in the header.", response(409, map[string]string{"x-ms-error-code": "SkuNotAvailable"}, ""), pool.ClassSKU},
		"Unknown":             {"All else.", response(418, nil, top("Teapot", "short and stout")), pool.ClassUnknown},
		"Network":             {"No answer at all.", &net.OpError{Op: "dial", Err: errors.New("connection refused")}, pool.ClassTransient},
		"Canceled":            {"We gave up ourselves.", context.DeadlineExceeded, pool.ClassTransient},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			f := Classify(fmt.Errorf("creating: %w", tc.err), testNow)
			if f.Class != tc.want {
				t.Errorf("%s\ngot %s (%s), want %s", tc.reason, f.Class, f.Text, tc.want)
			}
			if f.Text == "" || strings.ContainsAny(f.Text, "\n\r") {
				t.Errorf("text %q: want one line", f.Text)
			}
		})
	}
}

func TestClassifyNumbers(t *testing.T) {
	f := Classify(response(400, map[string]string{"Retry-After": "17"}, top("OperationNotAllowed", textFamily)), testNow)
	want := &pool.Failure{
		Class: pool.ClassFamilyQuota, Code: "OperationNotAllowed", Text: f.Text, RetryAfter: 17 * time.Second,
		Quota: &pool.Quota{Family: "standardNCADSA100v4Family Cores", Region: "westus3", Limit: 24, Used: 24, Needed: 24, Link: "https://aka.ms/ProdportalCRP"},
	}
	if diff := cmp.Diff(want, f); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
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
