// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"context"
	"crypto/tls"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/reconciler/fault"
	"github.com/espalier-dev/espalier/reconciler/identity"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/fakeaks"
	"github.com/espalier-dev/espalier/test/fakeentra"
)

const (
	aksHost = "west-1a2b.hcp.westeurope.azmk8s.io"
	tenant  = "22222222-2222-2222-2222-222222222222"
)

// azure is an AKS cluster in a cloud, and a RepoSync that a ConfigMap leads there.
type azure struct {
	*federation
	*fakeaks.Fake
	ca     string
	dialed []string
}

func workloadIdentity() *corev1.ServiceAccount {
	is := accountNamed("west")
	is.Annotations = map[string]string{identity.AnnotationClient: "app-west", identity.AnnotationTenant: tenant}
	return is
}

func inAzure(t *testing.T, o Options, change map[string]string, objects ...client.Object) *azure {
	t.Helper()
	of, ca, err := fakeaks.Certificate(aksHost)
	if err != nil {
		t.Fatal(err)
	}
	a := &azure{Fake: &fakeaks.Fake{Entra: &fakeentra.Fake{}, ID: aksOf, Hosts: []string{"other.hcp.westeurope.azmk8s.io", aksHost}, CA: ca}, ca: string(ca)}
	data := map[string]string{"provider": "azure", "cluster": aksOf, "address": "", "ca.crt": ""}
	for key, value := range change {
		data[key] = value
	}
	o.Azure.HTTP = &http.Client{Transport: a.Fake}
	if o.Azure.Env == nil {
		o.Azure.Env = func(string) string { return "" }
	}
	a.federation = federate(t, o, data, objects...)
	server := httptest.NewUnstartedServer(a.federation)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{of}, MinVersion: tls.VersionTLS12}
	server.StartTLS()
	t.Cleanup(server.Close)
	t.Cleanup(server.CloseClientConnections)
	a.dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		a.mu.Lock()
		a.dialed = append(a.dialed, address)
		a.mu.Unlock()
		return (&net.Dialer{}).DialContext(ctx, network, server.Listener.Addr().String())
	}
	return a
}

// own is the environment of a controller with a workload identity.
func own(t *testing.T) func(string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("own-assertion"), 0o600); err != nil {
		t.Fatal(err)
	}
	env := map[string]string{"AZURE_TENANT_ID": tenant, "AZURE_CLIENT_ID": "app-own", "AZURE_FEDERATED_TOKEN_FILE": file}
	return func(name string) string { return env[name] }
}

// TestAzure: the workload identity of an account, or of the controller where it is alone,
// enters an AKS cluster, whose address Azure says where the ConfigMap does not.
func TestAzure(t *testing.T) {
	for name, c := range map[string]struct {
		reason   string
		change   map[string]string
		own      bool
		fallback string
		app      string
		made     string
	}{
		"Address":    {"The certificate is of the address, which is not the first.", map[string]string{"address": aksHost + ":443"}, false, "", "app-west", "models/west api://AzureADTokenExchange"},
		"NotOwn":     {"The account counts, although the controller has an identity too.", map[string]string{"address": aksHost}, true, "", "app-west", "models/west api://AzureADTokenExchange"},
		"Audience":   {"Other clouds of Azure have another audience.", map[string]string{"address": aksHost, "audiences": "api://AzureADTokenExchangeUSGov"}, false, "", "app-west", "models/west api://AzureADTokenExchangeUSGov"},
		"Controller": {"One team alone may have the controller's.", map[string]string{"address": aksHost, "serviceAccountName": ""}, true, "", "app-own", ""},
		"Tenants":    {"With tenants nobody has it.", map[string]string{"address": aksHost, "serviceAccountName": ""}, true, "west", "app-west", "models/west api://AzureADTokenExchange"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := Options{Default: c.fallback}
			if c.own {
				o.Azure.Env = own(t)
			}
			a := inAzure(t, o, c.change, workloadIdentity())
			is, err := a.Of(t.Context(), a.sync)
			if err != nil || is.ID() != "spoke" {
				t.Fatalf("%s\nit is %v, %v", c.reason, is, err)
			}
			last := a.Entra.SignIns()[len(a.Entra.SignIns())-1]
			if last.Tenant != tenant || last.Form.Get("client_id") != c.app || !strings.HasPrefix(last.Form.Get("scope"), aksScope) {
				t.Errorf("%s\nsigned in as %+v", c.reason, last)
			}
			if got, want := strings.Join(a.Asked(), ","), "GET west,POST listClusterUserCredential"; got != want {
				t.Errorf("%s\nasked %q, want %q", c.reason, got, want)
			}
			if made := a.made(); c.made == "" && len(made) > 0 || c.made != "" && made[0] != c.made {
				t.Errorf("%s\nmade %v, want %q", c.reason, made, c.made)
			}
			if want := []string{"Bearer " + fakeentra.Token}; !slices.Equal(a.sent(), want) || a.dialed[0] != aksHost+":443" || len(a.Strangers()) > 0 {
				t.Errorf("%s\nsent %v to %v, and asked %v", c.reason, a.sent(), a.dialed, a.Strangers())
			}
		})
	}
}

// TestAzureRefused: each failure says what is missing and who can give it, and no token
// leaves for a host that is none of AKS.
func TestAzureRefused(t *testing.T) {
	located := map[string]string{}
	const who = "ServiceAccount models/west (application app-west)"
	for name, c := range map[string]struct {
		reason  string
		change  map[string]string
		prepare func(*azure)
		fault   string
		words   string
	}{
		"Elsewhere":   {"Anybody may write an address.", map[string]string{"address": "https://hidden.example.com"}, nil, v1alpha1.ReasonKubeConfigInvalid, "its address is none of AKS, which is https://NAME.azmk8s.io: no token is sent elsewhere"},
		"Foreign":     {"In a cloud of one's own nobody knows the hosts.", located, func(a *azure) { a.Azure.Foreign = true }, v1alpha1.ReasonKubeConfigInvalid, "--azure-endpoint names a cloud of one's own"},
		"OtherServer": {"Two clusters have two addresses, and below the suffix of AKS anybody has one that leads where he likes.", map[string]string{"address": "third.hcp.westeurope.azmk8s.io"}, nil, v1alpha1.ReasonAuthFailed, "Azure names no API server of the cluster that has this address"},
		"Strange":     {"Nor would what Azure says lead elsewhere.", located, func(a *azure) { a.Hosts = []string{"hidden.example.com"} }, v1alpha1.ReasonAuthFailed, "Azure names no API server"},
		"Local":       {"A cluster without Entra ID.", located, func(a *azure) { a.Local = true }, v1alpha1.ReasonAuthFailed, "takes no identities of Entra ID"},
		"Forbidden":   {"The role is missing.", located, func(a *azure) { a.Refuse = &fakeaks.Forbidden }, v1alpha1.ReasonAuthFailed, who + " may not ask where the AKS cluster is: give it the role Azure Kubernetes Service Cluster User Role"},
		"Gone":        {"The cluster was deleted.", located, func(a *azure) { a.Refuse = &fakeaks.NotFound }, v1alpha1.ReasonAuthFailed, "there is no AKS cluster with the resource id in cluster"},
		"Busy":        {"What else it says is told by its number.", located, func(a *azure) { a.Refuse = &fakeaks.Busy }, v1alpha1.ReasonAuthFailed, "Azure Resource Manager answers 409: it is asked again"},
		"NotFederated": {"Entra ID does not know the account.", located, func(a *azure) {
			a.Entra.Refuse = &fakeentra.Refusal{Code: "invalid_client", Text: "AADSTS700213: No matching federated identity record found for presented assertion subject 'hidden'. Trace ID: a0a0a0a0-0000"}
		}, v1alpha1.ReasonAuthFailed, "Entra ID issues no token to " + who + " (AADSTS700213): give the identity a federated credential"},
		"NoIdentity": {"An account without a workload identity.", map[string]string{"serviceAccountName": "plain"}, nil, v1alpha1.ReasonAuthFailed, "ServiceAccount models/plain has no workload identity of Azure: annotate it"},
		"Audiences":  {"The controller signs in by its own token, and audiences would count for nothing.", map[string]string{"serviceAccountName": "", "audiences": "api://AzureADTokenExchange"}, nil, v1alpha1.ReasonKubeConfigInvalid, "its audiences are those of an account's token"},
		"NoOwn":      {"A controller without one, and never the machine's.", map[string]string{"serviceAccountName": ""}, func(a *azure) { a.Entra.Machine = true }, v1alpha1.ReasonAuthFailed, "the controller has no workload identity of Azure"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := inAzure(t, Options{}, c.change, workloadIdentity(), accountNamed("plain"))
			if c.prepare != nil {
				c.prepare(a)
			}
			_, err := a.Of(t.Context(), a.sync)
			if fault.Reason(err, "") != c.fault || !strings.Contains(err.Error(), c.words) || fault.IsTerminal(err) != (c.fault == v1alpha1.ReasonKubeConfigInvalid) {
				t.Fatalf("%s\nsays %v, want %q", c.reason, err, c.words)
			}
			for _, told := range []string{hidden, aksOf, aksHost, fakeentra.Token, "7a8b", "Trace ID"} {
				if strings.Contains(err.Error(), told) {
					t.Errorf("%s\nit tells %q: %v", c.reason, told, err)
				}
			}
			if len(a.sent()) > 0 || len(a.Strangers()) > 0 {
				t.Errorf("%s\nsent %v, asked %v", c.reason, a.sent(), a.Strangers())
			}
		})
	}
}

// TestStale: Azure is asked again where a cluster is that is away for long, and not while
// it is there.
func TestStale(t *testing.T) {
	away, there := &Cluster{away: errNew}, &Cluster{}
	long := time.Now().Add(-time.Hour)
	for name, c := range map[string]struct {
		reason string
		of     use
		is     *Cluster
		want   bool
	}{
		"Long":    {"It may have been made anew.", use{asked: long}, away, true},
		"Just":    {"Azure was asked a moment ago.", use{asked: time.Now()}, away, false},
		"There":   {"Where it answers it is.", use{asked: long}, there, false},
		"Written": {"Who wrote the address knows it.", use{}, away, false},
	} {
		if got := c.of.stale(c.is); got != c.want {
			t.Errorf("%s: %s\nstale is %v", name, c.reason, got)
		}
	}
}

// aged lets Azure have been asked long ago.
func (a *azure) aged() {
	a.Clusters.mu.Lock()
	defer a.Clusters.mu.Unlock()
	is := a.uses[a.sync.UID]
	is.asked = is.asked.Add(-time.Hour)
	a.uses[a.sync.UID] = is
}

// denies has the cluster take no token so many times.
func (a *azure) denies(times int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.deny = times
}

// turnsAway has the cluster take no token any more.
func (a *azure) turnsAway(t *testing.T, c *Cluster) {
	t.Helper()
	a.denies(1000)
	if err := c.Reader.Get(t.Context(), client.ObjectKey{Namespace: "models", Name: "a"}, &corev1.ConfigMap{}); fault.Reason(err, "") != v1alpha1.ReasonAuthFailed {
		t.Fatalf("says %v", err)
	}
	a.hears(t, "it is away")
}

// TestMadeAnew: an AKS cluster that is deleted and made anew, elsewhere and with another
// authority, is found without a word of anybody, and the old connection is closed.
func TestMadeAnew(t *testing.T) {
	a := inAzure(t, Options{}, map[string]string{"cluster": aksOf}, workloadIdentity())
	a.Hosts = []string{aksHost}
	was, err := a.Of(t.Context(), a.sync)
	if err != nil {
		t.Fatal(err)
	}
	a.turnsAway(t, was)
	const host = "west-9z.hcp.westeurope.azmk8s.io"
	of, ca, err := fakeaks.Certificate(host)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(halfCluster))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{of}, MinVersion: tls.VersionTLS12}
	server.StartTLS()
	t.Cleanup(server.Close)
	t.Cleanup(server.CloseClientConnections)
	a.Hosts, a.CA = []string{host}, ca
	a.dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, server.Listener.Addr().String())
	}
	if is, err := a.Of(t.Context(), a.sync); err == nil {
		t.Errorf("Azure was asked a moment ago, and it is %v", is)
	}
	a.aged()
	if is, err := a.Of(t.Context(), a.sync); err != nil || is == was || is.ID() != "spoke" || len(a.open) != 1 {
		t.Errorf("it is the old one: %v, %v, %d connections", is == was, err, len(a.open))
	}
}

// TestNotLocated: that Azure does not say where a cluster is closes no connection to it,
// and that a RepoSync leads nowhere or elsewhere does.
func TestNotLocated(t *testing.T) {
	located := map[string]string{"cluster": aksOf, "address": aksHost}
	other := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "models", Name: "other"}, Data: maps.Clone(located)}
	other.Data["provider"], other.Data["serviceAccountName"] = "azure", "west"
	a := inAzure(t, Options{}, located, workloadIdentity(), other)
	was, err := a.Of(t.Context(), a.sync)
	if err != nil {
		t.Fatal(err)
	}
	refused := func(as string, open int, why string) {
		t.Helper()
		a.Refuse = &fakeaks.Busy
		if _, err := a.Of(t.Context(), a.sync); fault.Reason(err, "") != as || len(a.open) != open {
			t.Errorf("%s\nsays %v, %d connections", why, err, len(a.open))
		}
		a.Refuse = nil
	}
	same := func(why string) {
		t.Helper()
		if is, err := a.Of(t.Context(), a.sync); is != was || err != nil {
			t.Errorf("%s\nit is another: %v, %v", why, is != was, err)
		}
	}
	a.written(t, annotated)
	refused(v1alpha1.ReasonAuthFailed, 1, "Somebody annotates the ConfigMap while Azure is busy.")
	same("It says what it said.")
	a.turnsAway(t, was)
	a.aged()
	refused(v1alpha1.ReasonAuthFailed, 1, "The cluster is away for long, and Azure is busy.")
	a.denies(0)
	a.hears(t, "it is there again")
	same("It is found again by itself.")
	a.written(t, func(live *corev1.ConfigMap) { live.Data["provider"] = "" })
	refused(v1alpha1.ReasonKubeConfigInvalid, 0, "A ConfigMap that says nothing leads nowhere.")
	a.written(t, func(live *corev1.ConfigMap) { live.Data["provider"] = "azure" })
	if _, err := a.Of(t.Context(), a.sync); err != nil || len(a.open) != 1 {
		t.Fatalf("says %v, %d connections", err, len(a.open))
	}
	a.written(t, annotated)
	a.Refuse = &fakeaks.Forbidden
	if _, err := a.Of(t.Context(), a.sync); err == nil || len(a.open) != 0 {
		t.Errorf("The role was taken away: says %v, %d connections", err, len(a.open))
	}
	a.Refuse = nil
	if _, err := a.Of(t.Context(), a.sync); err != nil {
		t.Fatal(err)
	}
	a.sync.Spec.KubeConfig.ConfigMapRef.Name = "other"
	refused(v1alpha1.ReasonAuthFailed, 0, "One that is named no more leads nowhere, whatever becomes of the next.")
}
