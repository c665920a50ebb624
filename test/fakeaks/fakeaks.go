// SPDX-License-Identifier: Apache-2.0

// Package fakeaks answers as Azure Resource Manager does of one AKS cluster, and as
// Microsoft Entra ID before it: it is the transport of a client, and opens no connection.
// The answers have the form of armcontainerservice; the words of refusals were written
// from memory, and none was compared with Azure's.
//
// What was asked with a token is kept, and which hosts were called that are neither.
package fakeaks

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/espalier-dev/espalier/test/fakeentra"
)

// Resource Manager of the public cloud.
const manager = "management.azure.com"

// Refusal is an answer in the place of what was asked for.
type Refusal struct {
	Status int
	Body   string
}

// What Resource Manager answers; see above of the words.
var (
	Forbidden = Refusal{http.StatusForbidden, `{"error":{"code":"AuthorizationFailed","message":"The client '5e6f' with object id '7a8b' does not have authorization to perform action 'Microsoft.ContainerService/managedClusters/read' over scope '/subscriptions/s' or the scope is invalid."}}`}
	NotFound  = Refusal{http.StatusNotFound, `{"error":{"code":"ResourceNotFound","message":"The Resource 'Microsoft.ContainerService/managedClusters/west' under resource group 'models' was not found."}}`}
	Busy      = Refusal{http.StatusConflict, `{"error":{"code":"OperationNotAllowed","message":"An operation is in progress for client 5e6f."}}`}
)

// Fake is the transport.
type Fake struct {
	Entra *fakeentra.Fake
	// ID is the resource id of the cluster, Hosts are those of its API server, and CA is
	// their authority in PEM form.
	ID    string
	Hosts []string
	CA    []byte
	// Local says that it takes no identities of Entra ID.
	Local  bool
	Refuse *Refusal // of requests with a token; nil: it answers

	mu        sync.Mutex
	asked     []string
	strangers []string
}

// Asked are the requests with a token that Resource Manager got: METHOD and the last part
// of the path.
func (f *Fake) Asked() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string{}, f.asked...)
}

// Strangers are the hosts that were called and are neither.
func (f *Fake) Strangers() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string{}, f.strangers...)
}

// RoundTrip implements http.RoundTripper.
func (f *Fake) RoundTrip(r *http.Request) (*http.Response, error) {
	if strings.HasPrefix(r.URL.Host, "login.") {
		return f.Entra.Do(r)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case r.URL.Host != manager:
		f.strangers = append(f.strangers, r.URL.Host)
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "no such host", Name: r.URL.Host, IsNotFound: true}}
	case r.Header.Get("Authorization") != "Bearer "+fakeentra.Token:
		return reply(r, http.StatusUnauthorized, `{"error":{"code":"InvalidAuthenticationToken","message":"The access token is invalid."}}`)
	}
	f.asked = append(f.asked, r.Method+" "+r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:])
	return f.answer(r)
}

func (f *Fake) answer(r *http.Request) (*http.Response, error) {
	switch {
	case f.Refuse != nil:
		return reply(r, f.Refuse.Status, f.Refuse.Body)
	case r.URL.Query().Get("api-version") == "":
		return reply(r, http.StatusBadRequest, `{"error":{"code":"MissingApiVersionParameter","message":"The api-version query parameter (?api-version=) is required for all requests."}}`)
	case r.Method == http.MethodGet && r.URL.Path == f.ID:
		properties := map[string]any{"provisioningState": "Succeeded", "fqdn": f.Hosts[0]}
		if !f.Local {
			properties["aadProfile"] = map[string]any{"managed": true, "enableAzureRBAC": true}
		}
		return tell(r, map[string]any{"id": f.ID, "location": "westeurope", "properties": properties})
	case r.Method == http.MethodPost && r.URL.Path == f.ID+"/listClusterUserCredential":
		var all []any
		for _, host := range f.Hosts {
			all = append(all, map[string]any{"name": "clusterUser", "value": f.kubeconfig(host)})
		}
		return tell(r, map[string]any{"kubeconfigs": all})
	}
	return reply(r, NotFound.Status, NotFound.Body)
}

// kubeconfig is one as AKS writes them for clusters with Entra ID, with a program to run.
func (f *Fake) kubeconfig(host string) []byte {
	text, err := json.Marshal(map[string]any{
		"apiVersion": "v1", "kind": "Config", "current-context": "west",
		"clusters": []any{map[string]any{"name": "west", "cluster": map[string]any{"server": "https://" + host + ":443", "certificate-authority-data": f.CA}}},
		"contexts": []any{map[string]any{"name": "west", "context": map[string]any{"cluster": "west", "user": "clusterUser_models_west"}}},
		"users": []any{map[string]any{"name": "clusterUser_models_west", "user": map[string]any{"exec": map[string]any{
			"apiVersion": "client.authentication.k8s.io/v1beta1", "command": "kubelogin", "args": []string{"get-token", "--login", "devicecode"}, "provideClusterInfo": false,
		}}}},
	})
	if err != nil {
		panic(err) // it is made of texts
	}
	return text
}

func tell(r *http.Request, v any) (*http.Response, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return reply(r, http.StatusOK, string(text))
}

func reply(r *http.Request, status int, body string) (*http.Response, error) {
	return &http.Response{
		StatusCode: status, Status: http.StatusText(status), Header: http.Header{"Content-Type": {"application/json; charset=utf-8"}},
		Body: io.NopCloser(bytes.NewReader([]byte(body))), Request: r,
	}, nil
}

// Certificate is one of a host, which vouches for itself, and the same in PEM form.
func Certificate(host string) (tls.Certificate, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	is := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: host}, DNSNames: []string{host}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, is, is, &key.PublicKey, key)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), nil
}
