// SPDX-License-Identifier: Apache-2.0

package fakearm

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Token is what the token endpoint issues and every other request must carry.
const Token = "fakearm-token"

var (
	poolPath = regexp.MustCompile(`(?i)^/subscriptions/([^/]+)/resourceGroups/([^/]+)/providers/Microsoft\.ContainerService/managedClusters/([^/]+)/agentPools(?:/([^/]+)(?:/(machines|deleteMachines))?)?$`)
	opPath   = regexp.MustCompile(`(?i)^/subscriptions/[^/]+/providers/Microsoft\.ContainerService/locations/[^/]+/operations/([^/]+)$`)
	poolName = regexp.MustCompile(`^[a-z][a-z0-9]{0,11}$`)
)

// maxPools is AKS's limit of agent pools in a cluster.
const maxPools = 100

// ServeHTTP answers as Azure does.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.serveToken(w, r) {
		return
	}
	raw, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		return // the client is gone
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle()
	a := &answer{w: w, r: r, body: raw}
	s.route(a)
	s.log = append(s.log, Request{Kind: a.kind, Pool: a.pool, Status: a.status})
	if a.cut {
		panic(http.ErrAbortHandler) // what was asked may have been done: its answer is lost
	}
}

// answer is one request and what was answered.
type answer struct {
	w          http.ResponseWriter
	r          *http.Request
	body       []byte
	kind, pool string
	status     int
	cut        bool
}

func (a *answer) json(status int, v any) {
	if a.cut {
		return
	}
	a.status = status
	a.w.Header().Set("Content-Type", "application/json")
	a.w.WriteHeader(status)
	if v != nil {
		_ = json.NewEncoder(a.w).Encode(v) // the client is gone
	}
}

// fault answers as AKS does, with the error at the top level.
func (a *answer) fault(f Fault) {
	if f.RetryAfter > 0 {
		a.w.Header().Set("Retry-After", strconv.Itoa(int(f.RetryAfter/time.Second)))
	}
	a.json(f.Status, map[string]any{"code": f.Code, "message": f.Message, "subcode": "", "details": nil})
}

func (s *Server) route(a *answer) {
	a.kind = a.r.Method
	if m := opPath.FindStringSubmatch(a.r.URL.Path); m != nil {
		a.kind = "OPERATION"
		s.serveOperation(a, m[1])
		return
	}
	if s.serveCompute(a) || s.serveCluster(a) {
		return
	}
	a.kind = a.r.Method
	m := poolPath.FindStringSubmatch(a.r.URL.Path)
	if status, body := s.frontDoor(a, m); status != 0 {
		a.json(status, body)
		return
	}
	a.pool, a.kind = m[4], kindOf(a.kind, m[4], m[5])
	if f := s.throttle(a); f != nil {
		a.fault(*f)
		return
	}
	if f, ok := s.faults.take(a.kind); ok {
		a.cut = f.Cut || f.Lost
		if !f.Lost {
			a.fault(f)
			return
		}
	}
	serve, ok := map[string]func(*answer){
		"LIST": s.serveList, http.MethodGet: s.serveGet, http.MethodPut: s.servePut, http.MethodDelete: s.serveDelete,
		"MACHINES": s.serveMachines, "REMOVE": s.serveRemove,
	}[a.kind]
	if !ok {
		a.fault(Fault{Status: http.StatusMethodNotAllowed, Code: "MethodNotAllowed", Message: a.r.Method})
		return
	}
	serve(a)
}

// kindOf names a request after what it asks for.
func kindOf(method, pool, below string) string {
	switch {
	case pool == "":
		return "LIST"
	case below == "machines":
		return "MACHINES"
	case below != "":
		return "REMOVE"
	}
	return method
}

// frontDoor is what ARM checks before it asks AKS; status 0: come in.
func (s *Server) frontDoor(a *answer, m []string) (int, map[string]any) {
	switch {
	case a.r.Header.Get("Authorization") != "Bearer "+Token:
		return http.StatusUnauthorized, arm("InvalidAuthenticationToken", "The access token is invalid.")
	case a.r.URL.Query().Get("api-version") == "":
		return http.StatusBadRequest, arm("MissingApiVersionParameter", "The api-version query parameter (?api-version=) is required for all requests.")
	case m == nil:
		return http.StatusNotFound, arm("InvalidResourceType", "The resource type could not be found.")
	case !strings.EqualFold(m[1], Subscription) || !strings.EqualFold(m[2], ResourceGroup):
		return http.StatusNotFound, arm("ResourceGroupNotFound", fmt.Sprintf("Resource group '%s' could not be found.", m[2]))
	case !strings.EqualFold(m[3], Cluster):
		return http.StatusNotFound, arm("ResourceNotFound", fmt.Sprintf("The Resource 'Microsoft.ContainerService/managedClusters/%s' under resource group '%s' was not found.", m[3], m[2]))
	}
	return 0, nil
}

// arm is an error of the layer before AKS, which wraps it.
func arm(code, message string) map[string]any {
	return map[string]any{"error": map[string]any{"code": code, "message": message}}
}

func (s *Server) serveList(a *answer) {
	value := []any{}
	for _, name := range slices.Sorted(maps.Keys(s.pools)) {
		value = append(value, s.wire(s.pools[name]))
	}
	a.json(http.StatusOK, map[string]any{"value": value})
}

func (s *Server) serveGet(a *answer) {
	p := s.pools[a.pool]
	if p == nil {
		a.json(http.StatusNotFound, map[string]any{
			"code": "NotFound", "subcode": "GetAgentPool_NotFound_HCPServerError", "message": "Could not find the agentpool: " + a.pool,
			"details": []any{map[string]any{"code": "Unspecified", "message": "rpc error: code = NotFound desc = Agent Pool not found"}},
		})
		return
	}
	a.json(http.StatusOK, s.wire(p))
}

func (s *Server) servePut(a *answer) {
	var in struct {
		Properties map[string]any `json:"properties"`
	}
	p := s.pools[a.pool]
	if json.Unmarshal(a.body, &in) != nil || in.Properties == nil {
		a.fault(Fault{Status: http.StatusBadRequest, Code: "InvalidParameter", Message: "The request body has no properties."})
		return
	}
	if f := s.refusal(a, p, in.Properties); f != nil {
		a.fault(*f)
		return
	}
	if p != nil {
		s.update(a, p, in.Properties)
		return
	}
	p = &agentPool{name: a.pool, props: in.Properties}
	s.pools[a.pool] = p
	s.ordered = append(s.ordered, a.pool)
	s.created = append(s.created, p.view())
	s.begin(a, s.create(p))
	a.json(http.StatusCreated, s.wire(p))
}

// update writes over a pool that is there: what the body leaves out stays.
func (s *Server) update(a *answer, p *agentPool, props map[string]any) {
	count := p.count()
	_, counts := props["count"]
	if p.autoscales() && counts && props["enableAutoScaling"] != false {
		s.fights = append(s.fights, fmt.Sprintf("the count of %s was written while the autoscaler has it", p.name))
	}
	maps.Copy(p.props, props)
	if !p.autoscales() && !counts { // the documented default; whether AKS keeps to it in an update is not
		p.props["count"], counts = 1.0, true
	}
	if !p.autoscales() {
		delete(p.props, "minCount")
		delete(p.props, "maxCount")
	}
	op := s.updated
	if counts && (p.count() != count || len(p.machines) != count) { // the same count once more brings evicted machines back
		op = s.scale
	}
	s.begin(a, op(p))
	a.json(http.StatusOK, s.wire(p))
}

// refusal is what the synchronous part of a PUT finds wrong.
func (s *Server) refusal(a *answer, p *agentPool, props map[string]any) *Fault {
	vmSize, _ := props["vmSize"].(string)
	if f := s.precondition(a, p); f != nil {
		return f
	}
	if f := s.busy(a.pool); f != nil {
		return f
	}
	if f, ok := s.faults.refused[vmSize]; ok {
		return &f
	}
	for _, fixed := range immutable {
		if p != nil && fmt.Sprint(props[fixed]) != fmt.Sprint(p.props[fixed]) {
			return invalid("PropertyChangeNotAllowed", "Changing property 'properties."+fixed+"' is not allowed.")
		}
	}
	if p == nil {
		if f := s.unfit(a.pool, vmSize, props); f != nil {
			return f
		}
	}
	if f := illFormed(p, props); f != nil {
		return f
	}
	return s.overQuota(p, props)
}

// illFormed is what is wrong with settings, whatever the machines.
func illFormed(p *agentPool, props map[string]any) *Fault {
	next := agentPool{props: maps.Clone(props)}
	if p != nil {
		next.props = maps.Clone(p.props)
		maps.Copy(next.props, props)
	}
	if u, ok := next.props["upgradeSettings"].(map[string]any); ok && some(u["maxSurge"]) && some(u["maxUnavailable"]) {
		return invalid("InvalidParameter", "maxSurge and maxUnavailable cannot both be set.")
	}
	if !next.autoscales() {
		return nil
	}
	return noRange(p, next)
}

// noRange is what is wrong with the bounds of an autoscaler.
func noRange(p *agentPool, next agentPool) *Fault {
	least, most := next.number("minCount"), next.number("maxCount")
	switch turnsOn := p == nil || !p.autoscales(); {
	case p != nil && turnsOn && next.count() != p.count(): // https://github.com/Azure/AKS/issues/1248
		return invalid("InvalidParameter", fmt.Sprintf("Cannot manually scale and enable cluster autoscaler in the same update operation on VMSS Agentpool '%s'.", p.name))
	case most < 1 || least > most:
		return invalid("InvalidParameter", fmt.Sprintf("minCount %d and maxCount %d are no range.", least, most))
	case turnsOn && (next.count() < least || next.count() > most): // whether AKS is as strict is not documented
		return invalid("InvalidParameter", fmt.Sprintf("The count %d is not between minCount %d and maxCount %d.", next.count(), least, most))
	}
	return nil
}

// some says whether a setting of an upgrade allows any node.
func some(v any) bool {
	s, _ := v.(string)
	return s != "" && s != "0" && s != "0%"
}

// immutable are properties of a pool that AKS never changes.
var immutable = []string{"vmSize", "osDiskSizeGB", "osDiskType", "gpuInstanceProfile", "gpuProfile", "capacityReservationGroupID", "scaleSetPriority"}

// unfit is what is wrong with a new pool.
func (s *Server) unfit(name, vmSize string, props map[string]any) *Fault {
	for k := range stringMap(props["nodeLabels"]) {
		if strings.HasPrefix(k, "kubernetes.azure.com/") {
			return invalid("InvalidParameter", "Label key "+k+" is reserved for system use.")
		}
	}
	_, offered := s.opt.Sizes(vmSize)
	switch {
	case !poolName.MatchString(name):
		return invalid("InvalidParameter", "The value of parameter agentPool.name is invalid: "+name)
	case len(s.pools) >= maxPools:
		return invalid("MaxAgentPoolCountReached", fmt.Sprintf("The cluster has %d agent pools, which is the most it can have.", maxPools))
	case !offered:
		return invalid("VMSizeNotSupported", "The VM size of "+vmSize+" is not supported in your subscription in location '"+Location+"'.")
	}
	return nil
}

func invalid(code, message string) *Fault {
	return &Fault{Status: http.StatusBadRequest, Code: code, Message: message}
}

// precondition is what the ETag headers ask for and is not so.
func (s *Server) precondition(a *answer, p *agentPool) *Fault {
	none, match := a.r.Header.Get("If-None-Match"), a.r.Header.Get("If-Match")
	failed := &Fault{Status: http.StatusPreconditionFailed, Code: "PreconditionFailed", Message: "The condition of the request is not met."}
	switch {
	case none != "" && match != "":
		return &Fault{Status: http.StatusBadRequest, Code: "BadRequest", Message: "If-Match and If-None-Match exclude each other."}
	case none == "*" && p != nil, match != "" && (p == nil || match != p.etag):
		return failed
	}
	return nil
}

// busy is AKS's answer while another pool is being changed. A pool that is
// being created may be deleted: the delete preempts the create.
func (s *Server) busy(name string) *Fault {
	if s.cluster != "" {
		f := Busy()
		f.Message = strings.Replace(f.Message, "(Updating)", "("+s.cluster+")", 1)
		return &f
	}
	for _, other := range slices.Sorted(maps.Keys(s.pools)) {
		state := s.pools[other].state()
		if other != name && !settled(state) {
			return &Fault{Status: http.StatusConflict, Code: "OperationNotAllowed", Message: fmt.Sprintf(
				"Operation is not allowed: Another agentpool operation (%s - %s) is in progress, please wait for it to finish before starting a new operation. See https://aka.ms/aks-pending-operation for more details", other, state)}
		}
	}
	return nil
}

func settled(state string) bool {
	return state == "Succeeded" || state == "Failed" || state == "Canceled"
}

func (s *Server) serveDelete(a *answer) {
	p := s.pools[a.pool]
	if p == nil {
		a.json(http.StatusNoContent, nil)
		return
	}
	if f := s.precondition(a, p); f != nil {
		a.fault(*f)
		return
	}
	if f := s.busy(a.pool); f != nil {
		a.fault(*f)
		return
	}
	s.begin(a, s.remove(p))
	a.w.Header().Set("Location", s.operationURL("operationresults", a.w.Header().Get("Azure-AsyncOperation")))
	a.json(http.StatusAccepted, nil)
}

// serveToken is the authority: discovery of one tenant and its token endpoint.
func (s *Server) serveToken(w http.ResponseWriter, r *http.Request) bool {
	base := s.URL + "/" + Tenant
	var v map[string]any
	switch r.URL.Path {
	case "/" + Tenant + "/v2.0/.well-known/openid-configuration":
		v = map[string]any{
			"issuer": base + "/v2.0", "token_endpoint": base + "/oauth2/v2.0/token",
			"authorization_endpoint": base + "/oauth2/v2.0/authorize", "tenant_region_scope": nil,
		}
	case "/" + Tenant + "/oauth2/v2.0/token":
		v = map[string]any{"token_type": "Bearer", "expires_in": 3600, "ext_expires_in": 3600, "access_token": Token}
	default:
		return false
	}
	s.mu.Lock()
	s.log = append(s.log, Request{Kind: "TOKEN", Status: http.StatusOK})
	s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // the client is gone
	return true
}

func (s *Server) operationURL(kind, like string) string {
	u, err := url.Parse(like)
	if err != nil {
		return ""
	}
	return s.URL + strings.Replace(u.Path, "/operations/", "/"+kind+"/", 1) + "?api-version=2025-03-01"
}
