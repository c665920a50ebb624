// SPDX-License-Identifier: Apache-2.0

package aks

import (
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/containerservice/armcontainerservice/v8"

	"github.com/espalier-dev/espalier/gpu/pool"
	"github.com/espalier-dev/espalier/gpu/quota"
)

// cue recognises a class of failure by code and text; both must match where
// both are given. Texts are in lower case.
type cue struct {
	class pool.Class
	codes []string
	texts []string
}

// notAllowed is the trap of AKS: one code for "busy" and for every quota.
const notAllowed = "OperationNotAllowed"

// cues are in the order in which they must be asked, because several texts
// contain each other's words.
var cues = []cue{
	{pool.ClassSpotQuota, []string{notAllowed, "ErrCode_InsufficientVCPUQuota"}, []string{"lowprioritycores"}},
	{pool.ClassFamilyQuota, []string{notAllowed, "QuotaExceeded"}, []string{"family cores quota"}},
	{pool.ClassSKU, []string{"SkuNotAvailable"}, nil},
	{pool.ClassZonalCapacity, []string{"ZonalAllocationFailed"}, nil},
	{pool.ClassCapacity, []string{"AllocationFailed"}, nil},
	{pool.ClassZonalCapacity, []string{"OverconstrainedZonalAllocationRequest"}, nil},
	{pool.ClassCapacity, []string{"OverconstrainedAllocationRequest"}, nil},
	{pool.ClassRegionQuota, []string{notAllowed, "QuotaExceeded"}, []string{"total regional cores quota", "quota limits of core."}},
	{pool.ClassFamilyQuota, []string{"QuotaExceeded", "ErrCode_InsufficientVCPUQuota"}, nil},
	{pool.ClassBusy, []string{notAllowed}, []string{"in progress", "another operation", "canceled by a later operation"}},
	{pool.ClassBusy, []string{"AKSOperationPreempted", "AKSOperationPreemptedByDelete"}, nil},
	{pool.ClassSubnet, []string{"InsufficientSubnetSize", "SubnetIsFull"}, nil},
	{pool.ClassSKUSubscription, []string{"VMSizeNotSupported"}, nil},
	{pool.ClassSKUSubscription, []string{"BadRequest"}, []string{"is not supported for subscription", "is not allowed in your subscription"}},
	{pool.ClassThrottled, []string{"Throttled", "TooManyRequests", "SubscriptionRequestsThrottled"}, nil},
	{pool.ClassAuth, []string{"AuthorizationFailed", "RequestDisallowedByPolicy", "LinkedAuthorizationFailed"}, nil},
	{pool.ClassPoolLimit, []string{"MaxAgentPoolCountReached"}, nil},
	{pool.ClassSpec, []string{"InvalidParameter", "BadRequest", "PropertyChangeNotAllowed"}, nil},
	{pool.ClassTransient, []string{"InternalServerError"}, nil},
}

// textThrottled stands for the cloud's own text, which counts seconds: RetryAfter
// has them.
const textThrottled = "The cloud throttles requests"

// wrappers say that something else failed, and carry it in text or details.
var wrappers = []string{"ReconcileVMSSAgentPoolFailed", "CreateVMSSAgentPoolFailed", "InvalidTemplateDeployment"}

// body is what ARM and AKS say of an error: at the top level or under "error".
type body struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	Details []body `json:"details"`
	Error   *body  `json:"error"`
}

// Classify says what an error of a call means. now turns a Retry-After date into a
// duration, env is the environment that the credential was made from.
func Classify(err error, now time.Time, env func(string) string) *pool.Failure {
	var known *pool.Failure
	if errors.As(err, &known) {
		return known
	}
	var re *azcore.ResponseError
	if !errors.As(err, &re) {
		return classifyTransport(err, env)
	}
	b := body{Code: re.ErrorCode}
	retry := time.Duration(0)
	if re.RawResponse != nil {
		retry = retryAfter(re.RawResponse.Header, now)
		if raw, err := runtime.Payload(re.RawResponse); err == nil {
			b = parse(raw, re.ErrorCode)
		}
	}
	f := classify(re.StatusCode, b)
	f.RetryAfter = retry
	return f
}

// parse reads an error body in either shape; the code of the header wins.
func parse(raw []byte, code string) body {
	var b body
	if json.Unmarshal(raw, &b) != nil {
		b = body{Message: string(raw)} // a proxy's HTML, for example
	}
	if b.Error != nil {
		b = *b.Error
	}
	if code != "" {
		b.Code = code
	}
	return b
}

// ClassifyProvisioning says what the failure of an operation means that the
// pool itself reports. nil for nil.
func ClassifyProvisioning(d *armcontainerservice.ErrorDetail) *pool.Failure {
	if d == nil {
		return nil
	}
	return classify(0, detail(d))
}

func detail(d *armcontainerservice.ErrorDetail) body {
	b := body{Code: deref(d.Code), Message: deref(d.Message)}
	for _, inner := range d.Details {
		if inner != nil {
			b.Details = append(b.Details, detail(inner))
		}
	}
	return b
}

// classify is the error map: code and text first, then the status.
func classify(status int, b body) *pool.Failure {
	f := &pool.Failure{Code: b.Code, Text: line(b.Message)}
	f.Class = classOf(b.Code, b.Message)
	if slices.Contains(wrappers, b.Code) || f.Class == "" {
		if inner := unwrap(b); inner != nil {
			return inner
		}
	}
	f.Class = byStatus(status, b.Code, f.Class)
	switch f.Class {
	case pool.ClassFamilyQuota, pool.ClassRegionQuota, pool.ClassSpotQuota:
		f.Quota = numbers(b.Message)
	case pool.ClassThrottled:
		f.Text = textThrottled
	}
	if f.Text == "" {
		f.Text = strings.TrimSpace("the cloud answered " + strconv.Itoa(status) + " " + http.StatusText(status))
	}
	return f
}

// byStatus is the class where code and text said none, or where the status says
// it better.
func byStatus(status int, code string, said pool.Class) pool.Class {
	switch {
	case status == http.StatusTooManyRequests:
		return pool.ClassThrottled
	case status == http.StatusPreconditionFailed:
		return pool.ClassPrecondition
	case said != "":
		return said
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		return pool.ClassAuth
	case status >= http.StatusInternalServerError || status == http.StatusRequestTimeout:
		return pool.ClassTransient
	case status == http.StatusBadRequest && code != notAllowed:
		return pool.ClassSpec
	}
	return pool.ClassUnknown
}

func classOf(code, text string) pool.Class {
	text = strings.ToLower(text)
	for _, c := range cues {
		said := len(c.texts) == 0 || slices.ContainsFunc(c.texts, func(t string) bool { return strings.Contains(text, t) })
		if said && slices.ContainsFunc(c.codes, func(k string) bool { return strings.EqualFold(k, code) }) {
			return c.class
		}
	}
	return ""
}

// inner finds an error quoted in a text: Code="X" Message="Y".
var inner = regexp.MustCompile(`(?i)code\\?["']?\s*[=:]\s*\\?"(\w+)\\?",?\s*\\?"?message\\?["']?\s*[=:]\s*\\?"([^"]*)`)

// unwrap classifies what a wrapper carries; nil if that is no clearer.
func unwrap(b body) *pool.Failure {
	for _, d := range b.Details {
		if f := classify(0, d); f.Class != pool.ClassUnknown {
			return f
		}
	}
	for _, m := range inner.FindAllStringSubmatch(b.Message, -1) {
		if f := classify(0, body{Code: m[1], Message: m[2]}); f.Class != pool.ClassUnknown {
			return f
		}
	}
	return nil
}

// classifyTransport is for errors that are no answer of ARM.
func classifyTransport(err error, env func(string) string) *pool.Failure {
	f := &pool.Failure{Class: pool.ClassTransient, Text: line(err.Error())}
	var netErr net.Error
	var auth *azidentity.AuthenticationFailedError
	var final interface{ NonRetriable() } // what azidentity's "no credential is available" implements
	if !errors.As(err, &netErr) && (errors.As(err, &auth) || errors.As(err, &final)) {
		return refusedSignIn(err.Error(), env)
	}
	return f
}

var (
	quotaName  = regexp.MustCompile(`(?i)approved (.+?)(?: cores)? quota`)
	quotaNums  = regexp.MustCompile(`(?i)location: (\w+), current limit: (\d+), current usage: (\d+), additional required: (\d+)`)
	quotaOld   = regexp.MustCompile(`(?i)quota limits of core\. maximum allowed: (\d+), current in use: (\d+), additional requested: (\d+)`)
	quotaAKS   = regexp.MustCompile(`(?i)requested (\d+), remaining (\d+) for family (.+?) for region (\w+)`)
	quotaLink  = regexp.MustCompile(`https://aka\.ms/\w+`)
	queryParts = regexp.MustCompile(`(https?://[^\s?"']+)\?[^\s"']*`)
)

// numbers reads the numbers out of a quota text, Compute's or AKS's own; nil if it
// has none.
func numbers(text string) *pool.Quota {
	q := &pool.Quota{Link: quota.AskAt}
	if link := quotaLink.FindString(text); link != "" {
		q.Link = link
	}
	name, nums := quotaName.FindStringSubmatch(text), quotaNums.FindStringSubmatch(text)
	if name != nil && nums != nil {
		q.Family, q.Region = name[1], nums[1]
		q.Limit, q.Used, q.Needed = number(nums[2]), number(nums[3]), number(nums[4])
		q.Left = max(q.Limit-q.Used, 0)
		return q
	}
	if m := quotaOld.FindStringSubmatch(text); m != nil {
		q.Family, q.Limit, q.Used, q.Needed = "Total Regional", number(m[1]), number(m[2]), number(m[3])
		q.Left = max(q.Limit-q.Used, 0)
		return q
	}
	if m := quotaAKS.FindStringSubmatch(text); m != nil {
		q.Needed, q.Left, q.Family, q.Region, q.Partial = number(m[1]), number(m[2]), m[3], m[4], true
		return q
	}
	return nil
}

// number reads digits; a number that no int holds is 0.
func number(digits string) int {
	n, err := strconv.Atoi(digits)
	if err != nil {
		return 0
	}
	return n
}

// line makes a text fit for a status: one line, bounded, without the queries of
// URLs, which may be signed.
func line(text string) string {
	text = queryParts.ReplaceAllString(strings.Join(strings.Fields(text), " "), "$1")
	text = strings.TrimRight(text, ". ")
	if len(text) > pool.MaxText {
		text = strings.ToValidUTF8(text[:pool.MaxText], "") + "…"
	}
	return text
}

// retryAfter reads how long the cloud wants us to wait; 0: it does not say.
func retryAfter(h http.Header, now time.Time) time.Duration {
	for _, key := range []string{"Retry-After-Ms", "X-Ms-Retry-After-Ms"} {
		if ms, err := strconv.Atoi(h.Get(key)); err == nil && ms > 0 {
			return time.Duration(ms) * time.Millisecond
		}
	}
	v := h.Get("Retry-After")
	if s, err := strconv.Atoi(v); err == nil && s > 0 {
		return time.Duration(s) * time.Second
	}
	if at, err := http.ParseTime(v); err == nil && at.After(now) {
		return at.Sub(now)
	}
	return 0
}

// errEndpoint says that an endpoint cannot be used.
var errEndpoint = errors.New("the endpoint of Azure Resource Manager must be an https URL")

func checkEndpoint(s string) error {
	if s == "" {
		return nil
	}
	if u, err := url.Parse(s); err != nil || u.Scheme != "https" || u.Host == "" {
		return errEndpoint
	}
	return nil
}
