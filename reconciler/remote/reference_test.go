// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"maps"
	"strings"
	"testing"

	"github.com/espalier-dev/espalier/reconciler/account"
	"github.com/espalier-dev/espalier/test/fakeaks"
)

const aksOf = "/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/models/providers/Microsoft.ContainerService/managedClusters/west"

// generic is a ConfigMap that everybody takes.
func generic(change map[string]string) map[string]string {
	data := map[string]string{"provider": "generic", "address": "https://hidden.example.com:6443", "serviceAccountName": "west"}
	maps.Copy(data, change)
	return data
}

// TestReadReference: a ConfigMap of Flux's is read as Flux does, and what is refused is
// told without what it holds.
func TestReadReference(t *testing.T) {
	_, ca, err := fakeaks.Certificate("hidden.example.com")
	if err != nil {
		t.Fatal(err)
	}
	azure := func(change map[string]string) map[string]string {
		data := map[string]string{"provider": "azure", "serviceAccountName": "west"}
		maps.Copy(data, change)
		return data
	}
	for name, c := range map[string]struct {
		reason string
		data   map[string]string
		want   string // part of the refusal; "": none
	}{
		"Generic":       {"An address and an account are all that is needed.", generic(nil), ""},
		"Authority":     {"Or a certificate beside it, and audiences, one a line.", generic(map[string]string{"ca.crt": string(ca), "audiences": "a\n\n  b\n"}), ""},
		"Azure":         {"A resource id says all of a cluster in Azure.", azure(map[string]string{"cluster": aksOf}), ""},
		"AzureAddress":  {"One of its addresses may be chosen.", azure(map[string]string{"cluster": aksOf, "address": "west-1.hcp.westeurope.azmk8s.io"}), ""},
		"AzureAlone":    {"Who writes an address says nothing of whose it is.", azure(map[string]string{"address": "west-1.hcp.westeurope.azmk8s.io"}), "provider azure needs cluster"},
		"AzureCA":       {"With an authority of his own anybody could take the token: where a name of AKS leads, its tenant says.", azure(map[string]string{"cluster": aksOf, "ca.crt": string(ca)}), "its ca.crt is for provider generic"},
		"Nothing":       {"An empty ConfigMap is none.", nil, "it has no provider"},
		"Unknown":       {"A provider is one of Flux's.", generic(map[string]string{"provider": "hidden"}), "its provider is none that is known"},
		"Amazon":        {"What to do instead is said.", generic(map[string]string{"provider": "aws"}), "by provider aws this controller signs in nowhere: put a kubeconfig with a token into a Secret"},
		"Google":        {"Likewise.", generic(map[string]string{"provider": "gcp"}), "by provider gcp this controller signs in nowhere: put a kubeconfig"},
		"NoAddress":     {"Nobody else could say where it is.", generic(map[string]string{"address": " "}), "it has no address"},
		"ClusterToo":    {"No cloud is asked by provider generic.", generic(map[string]string{"cluster": aksOf}), "its cluster is for provider azure"},
		"NoID":          {"A name is no resource id.", azure(map[string]string{"cluster": "hidden"}), "provider azure needs cluster"},
		"IDWithPath":    {"Nor is what would be another path.", azure(map[string]string{"cluster": aksOf + "/../hidden"}), "provider azure needs cluster"},
		"NoCertificate": {"A certificate has a form.", generic(map[string]string{"ca.crt": "hidden"}), "its ca.crt is no certificate"},
		"OtherAccount":  {"An account is one of the namespace.", generic(map[string]string{"serviceAccountName": "hidden/admin"}), "its serviceAccountName is no name"},
		"OtherKey":      {"A word that is written otherwise would have somebody else sign in.", generic(map[string]string{"serviceaccountname": "hidden"}), "a key that nobody reads: known are provider, address"},
		"ManyAudiences": {"They are not without end.", generic(map[string]string{"audiences": strings.Repeat("hidden\n", 17)}), "its audiences are more than 16"},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := readReference(c.data)
			switch {
			case c.want == "" && err != nil:
				t.Errorf("%s\nrefused: %v", c.reason, err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("%s\nsays %v, want %q", c.reason, err, c.want)
			case err != nil && strings.Contains(err.Error(), hidden):
				t.Errorf("%s\nit tells what the ConfigMap holds: %v", c.reason, err)
			}
			if name == "Authority" && strings.Join(r.audiences, "|") != "a|b" {
				t.Errorf("the audiences are %q", r.audiences)
			}
		})
	}
}

// TestSignsIn: who signs in is of the RepoSync's namespace, and the controller only where
// nobody has said that RepoSyncs are not all its own.
func TestSignsIn(t *testing.T) {
	named := func(name string) account.Account { return account.Account{Namespace: "models", Name: name} }
	for name, c := range map[string]struct {
		reason   string
		of       reference
		fallback string
		want     account.Account
		refused  bool
	}{
		"Named":        {"The ConfigMap names an account.", reference{provider: byGeneric, account: "west"}, "", named("west"), false},
		"NotFallback":  {"It counts more than the default.", reference{provider: byAzure, account: "west"}, "team", named("west"), false},
		"Fallback":     {"Where there are tenants nobody is the controller.", reference{provider: byAzure}, "team", named("team"), false},
		"Generic":      {"By either provider.", reference{provider: byGeneric}, "team", named("team"), false},
		"Controller":   {"One team alone may have the controller's workload identity.", reference{provider: byAzure}, "", account.Account{}, false},
		"NoController": {"A token of the controller itself leaves for no other cluster.", reference{provider: byGeneric}, "", account.Account{}, true},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := c.of.signsIn("models", c.fallback)
			if got != c.want || (err != nil) != c.refused {
				t.Errorf("%s\nit is %v, %v", c.reason, got, err)
			}
		})
	}
}

func TestServerOf(t *testing.T) {
	for name, c := range map[string]struct {
		reason, address string
		allowed         Allowed
		want            string // "": it is refused
	}{
		"Whole":       {"As it is.", "https://Cluster.example.com:6443", Allowed{}, "https://cluster.example.com:6443"},
		"Schemeless":  {"Without a scheme it is https, as with Flux.", "cluster.example.com", Allowed{}, "https://cluster.example.com"},
		"Path":        {"Some are behind a path.", "https://example.com/k8s/clusters/c-1/", Allowed{}, "https://example.com/k8s/clusters/c-1"},
		"Plain":       {"A token in plain text is everybody's.", "http://cluster.example.com", Allowed{}, ""},
		"PlainTaken":  {"Whoever runs the controller may say so.", "http://cluster.example.com", Allowed{TLS: true}, "http://cluster.example.com"},
		"Credentials": {"They would be told with the address.", "https://a:b@cluster.example.com", Allowed{}, ""},
		"Query":       {"An API server has none.", "https://cluster.example.com?a=b", Allowed{}, ""},
		"Scheme":      {"Nothing else is spoken.", "unix:///run/a.sock", Allowed{TLS: true}, ""},
		"Hostless":    {"Nor to nobody.", "https://:6443", Allowed{}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := c.allowed.serverOf(c.address)
			if got != c.want || (err == nil) != (c.want != "") {
				t.Errorf("%s\nit is %q, %v", c.reason, got, err)
			}
			if err != nil && strings.Contains(err.Error(), c.address) {
				t.Errorf("the address is told: %v", err)
			}
		})
	}
}

// TestHostOf: a token for AKS goes to hosts of AKS.
func TestHostOf(t *testing.T) {
	for name, c := range map[string]struct {
		reason, cloud, address, want string
	}{
		"Public":     {"The usual one.", "public", "https://west-1a2b.hcp.westeurope.azmk8s.io:443", "west-1a2b.hcp.westeurope.azmk8s.io"},
		"Private":    {"One with a private endpoint.", "public", "https://west-1.abc.privatelink.westeurope.azmk8s.io", "west-1.abc.privatelink.westeurope.azmk8s.io"},
		"Government": {"Another cloud has another suffix.", "government", "https://west.hcp.usgovvirginia.cx.aks.containerservice.azure.us", "west.hcp.usgovvirginia.cx.aks.containerservice.azure.us"},
		"China":      {"And another.", "china", "west.hcp.chinanorth2.cx.prod.service.azk8s.cn", "west.hcp.chinanorth2.cx.prod.service.azk8s.cn"},
		"OtherCloud": {"A cloud's token is not for another's.", "government", "https://west.hcp.westeurope.azmk8s.io", ""},
		"Anybody":    {"Anybody rents a host elsewhere.", "public", "https://azmk8s.io.example.com", ""},
		"Bare":       {"The suffix alone is none.", "public", "https://azmk8s.io", ""},
		"Lookalike":  {"Nor is a name that ends as it does.", "public", "https://evilazmk8s.io", ""},
		"Port":       {"What listens at another port may be a pod.", "public", "https://west.hcp.westeurope.azmk8s.io:8443", ""},
		"Plain":      {"Never in plain text.", "public", "http://west.hcp.westeurope.azmk8s.io", ""},
		"User":       {"A host is not what stands before an @.", "public", "https://west.azmk8s.io@example.com", ""},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Azure{Cloud: c.cloud}.where().hostOf(c.address)
			if got != c.want || (err == nil) != (c.want != "") {
				t.Errorf("%s\nit is %q, %v", c.reason, got, err)
			}
		})
	}
}

// FuzzReference: whatever a ConfigMap holds, it is read or refused, and an address that is
// taken is spoken to by https.
func FuzzReference(f *testing.F) {
	f.Add("generic", "https://a.example.com", "", "", "a\nb", "west", []byte(nil))
	f.Add("azure", "west.hcp.westeurope.azmk8s.io", "-----BEGIN CERTIFICATE-----", aksOf, "", "", []byte("clusters: []"))
	f.Fuzz(func(t *testing.T, provider, address, ca, cluster, audiences, account string, kubeconfig []byte) {
		_, _ = readReference(map[string]string{"provider": provider, "address": address, "ca.crt": ca, "cluster": cluster, "audiences": audiences, "serviceAccountName": account})
		if server, err := (Allowed{}).serverOf(address); err == nil && !strings.HasPrefix(server, "https://") {
			t.Errorf("%q is spoken to at %q", address, server)
		}
		for _, k := range aksClouds {
			if host, err := k.hostOf(address); err == nil && (!strings.HasSuffix(host, k.suffix) || strings.ContainsAny(host, "/@:?# ")) {
				t.Errorf("%q is of AKS at %q", address, host)
			}
			if at, ok := k.placeOf(kubeconfig, ""); ok && !strings.HasSuffix(at.server, k.suffix) {
				t.Errorf("a kubeconfig leads to %q", at.server)
			}
		}
	})
}
