// SPDX-License-Identifier: Apache-2.0

package keyvault

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/reconciler/account"
	"github.com/espalier-dev/espalier/reconciler/identity"
	"github.com/espalier-dev/espalier/render/sops"
	"github.com/espalier-dev/espalier/test/fakeentra"
	"github.com/espalier-dev/espalier/test/fakevault"
)

const (
	tenant    = "11111111-1111-1111-1111-111111111111"
	host      = "team-a.vault.azure.net"
	version1  = "0123456789abcdef0123456789abcdef"
	assertion = "eyJhbGciOiJSUzI1NiJ9.projected-token.signature"
	testdata  = "../../render/sops/testdata"
)

var team = account.Account{Namespace: "team-a", Name: "models"}

// world is Azure, and the API server as far as it is asked.
type world struct {
	client.Client
	*fakevault.Fake
	account *corev1.ServiceAccount // nil: there is none
	refuse  error                  // of a token
	asked   []string               // tokens that were made
}

func newWorld(t *testing.T) *world {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(testdata, "keys", "vault.pem"))
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	key, err := x509.ParsePKCS1PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	vault := &fakevault.Vault{Tenant: tenant, Keys: map[string]*rsa.PrivateKey{"sops/" + version1: key}}
	return &world{
		Fake: &fakevault.Fake{Entra: &fakeentra.Fake{}, Vaults: map[string]*fakevault.Vault{host: vault}},
		account: &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "team-a", Name: "models", Annotations: map[string]string{
			"azure.workload.identity/client-id": "app-team", "azure.workload.identity/tenant-id": tenant,
		}}},
	}
}

func (w *world) vault() *fakevault.Vault { return w.Vaults[host] }

// Get reads the account, and nothing else.
func (w *world) Get(_ context.Context, key client.ObjectKey, o client.Object, _ ...client.GetOption) error {
	if w.account == nil || key != client.ObjectKeyFromObject(w.account) {
		return apierrors.NewNotFound(schema.GroupResource{Resource: "serviceaccounts"}, key.Name)
	}
	w.account.DeepCopyInto(o.(*corev1.ServiceAccount))
	return nil
}

// SubResource makes tokens.
func (w *world) SubResource(string) client.SubResourceClient { return tokens{w: w} }

type tokens struct {
	client.SubResourceClient
	w *world
}

func (k tokens) Create(_ context.Context, o, sub client.Object, _ ...client.SubResourceCreateOption) error {
	request := sub.(*authenticationv1.TokenRequest)
	k.w.asked = append(k.w.asked, o.GetNamespace()+"/"+o.GetName()+" "+strings.Join(request.Spec.Audiences, ","))
	request.Status.Token = assertion
	return k.w.refuse
}

func (w *world) session(t *testing.T, as account.Account, env map[string]string, change ...func(*Options)) *Session {
	t.Helper()
	o := Options{HTTP: &http.Client{Transport: w.Fake}, Kube: w, Reader: w, Env: func(name string) string { return env[name] }}
	for _, c := range change {
		c(&o)
	}
	s := New(o).Session(t.Context(), as)
	t.Cleanup(s.Close)
	return s
}

// open has a session open a file that SOPS encrypted for the vault, or for another address
// in its place.
func open(t *testing.T, s *Session, address string) (string, error) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(testdata, "vault.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if address != "" {
		text = []byte(strings.Replace(string(text), "https://"+host, address, 1))
	}
	tree := (sops.Keys{}).Asking(s, "a").Tree(fstest.MapFS{"token.yaml": {Data: text}})
	plain, err := fs.ReadFile(tree, "token.yaml")
	return string(plain), err
}

// own is the environment of a controller with a workload identity.
func own(t *testing.T) map[string]string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("own-assertion"), 0o600); err != nil {
		t.Fatal(err)
	}
	return map[string]string{"AZURE_TENANT_ID": tenant, "AZURE_CLIENT_ID": "app-own", "AZURE_FEDERATED_TOKEN_FILE": file}
}

// TestDecrypt: the account of the tenant, or the controller as itself, has the vault open
// what SOPS encrypted, by a token for vaults alone.
func TestDecrypt(t *testing.T) {
	for name, c := range map[string]struct {
		reason    string
		as        account.Account
		env       map[string]string
		app       string
		assertion string
		made      []string // tokens of accounts
	}{
		"Account":    {"A token is made of the account of the namespace, for Entra ID.", team, nil, "app-team", assertion, []string{"team-a/models api://AzureADTokenExchange"}},
		"NotOwn":     {"Although the controller has an identity too.", team, own(t), "app-team", assertion, []string{"team-a/models api://AzureADTokenExchange"}},
		"Controller": {"The controller uses the token that it was given.", account.Account{}, own(t), "app-own", "own-assertion", nil},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			text, err := open(t, w.session(t, c.as, c.env), "")
			if err != nil || !strings.Contains(text, "hunter2-hunter2") {
				t.Fatalf("%s\n%v\n%s", c.reason, err, text)
			}
			signed := w.Entra.SignIns()
			if len(signed) != 1 || signed[0].Host != "login.microsoftonline.com" || signed[0].Tenant != tenant ||
				signed[0].Form.Get("client_id") != c.app || signed[0].Form.Get("client_assertion") != c.assertion || !strings.HasPrefix(signed[0].Form.Get("scope"), "https://vault.azure.net/.default") {
				t.Errorf("%s\nsigned in as %+v", c.reason, signed)
			}
			if want := []string{host + "/keys/sops/" + version1 + "/decrypt"}; !slices.Equal(w.Asked(), want) || !slices.Equal(w.asked, c.made) {
				t.Errorf("%s\nasked %v, made %v", c.reason, w.Asked(), w.asked)
			}
		})
	}
}

// TestRefused: each failure is one sentence that says which key, which vault and what to
// do, with nothing of an answer in it, and says whether waiting helps.
func TestRefused(t *testing.T) {
	const key = "key sops (version " + version1 + ") of " + host
	const who = "ServiceAccount team-a/models (application app-team)"
	refuse := func(r fakevault.Refusal) func(*world) { return func(w *world) { w.vault().Refuse = &r } }
	for name, c := range map[string]struct {
		reason string
		change func(*world)
		want   string
		retry  bool
	}{
		"RBAC":      {"The role is missing.", refuse(fakevault.ForbiddenByRBAC), who + " may not decrypt with " + key + ": give it the role Key Vault Crypto User on the vault", false},
		"Policy":    {"Or the permission, in a vault of the older kind.", refuse(fakevault.ForbiddenByPolicy), "the key permission decrypt", false},
		"Firewall":  {"A vault that is closed to the cluster.", refuse(fakevault.ForbiddenByFirewall), "the firewall of " + host + " does not let the controller in", false},
		"Disabled":  {"A key that somebody switched off.", refuse(fakevault.KeyDisabled), key + " is disabled", false},
		"NoKey":     {"A key that was deleted.", func(w *world) { w.vault().Keys = nil }, key + " is not there: recover it where it was deleted (az keyvault key recover)", false},
		"OtherKey":  {"A data key of another.", otherKey, key + " does not decrypt the data key", false},
		"NoVault":   {"A vault that was deleted.", func(w *world) { w.Vaults = nil }, "there is no vault " + host, false},
		"Tenant":    {"A vault of somebody else gets no token.", func(w *world) { w.vault().Tenant = "22222222-2222-2222-2222-222222222222" }, host + " is of another tenant than " + who, false},
		"Issuer":    {"Nor takes it one.", refuse(fakevault.OtherTenant), host + " takes no token of " + who, false},
		"Challenge": {"Who asks for a token of something else gets none.", func(w *world) { w.vault().Resource = "https://azure.net" }, host + " answers as no vault does", false},
		"Garbage":   {"What a proxy says is not what a vault says.", refuse(fakevault.Refusal{Status: 302, Header: http.Header{"Location": {"https://evil.example.com"}}}), host + " answers as no vault does", false},
		"Throttled": {"Waiting helps.", refuse(fakevault.Throttled), host + " answers too many requests (429); it is tried again", true},
		"Away":      {"Likewise.", refuse(fakevault.Unavailable), host + " answers 503; it is tried again", true},
		"NotFederated": {"Entra ID does not know the account.", func(w *world) {
			w.Entra.Refuse = &fakeentra.Refusal{Code: "invalid_client", Text: "AADSTS700213: No matching federated identity record found for presented assertion subject 'system:serviceaccount:team-a:models'. Trace ID: a0a0a0a0-0000"}
		}, "Entra ID issues no token to " + who + " (AADSTS700213): give the identity a federated credential", false},
		"NoAccount":   {"The account was deleted.", func(w *world) { w.account = nil }, "ServiceAccount team-a/models does not exist", false},
		"NoIdentity":  {"Or has none.", func(w *world) { w.account.Annotations = nil }, "ServiceAccount team-a/models has no workload identity of Azure: annotate it with azure.workload.identity/client-id", false},
		"NoRight":     {"The controller may not be everybody.", func(w *world) { w.refuse = apierrors.NewForbidden(schema.GroupResource{}, "models", nil) }, "may not make tokens of ServiceAccount team-a/models: bind it the ClusterRole espalier-decrypt in namespace team-a", false},
		"NoAPIServer": {"An API server that is away.", func(w *world) { w.refuse = apierrors.NewServiceUnavailable("no") }, "no token of ServiceAccount team-a/models can be made (ServiceUnavailable); it is tried again", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			c.change(w)
			s := w.session(t, team, nil)
			_, err := open(t, s, "")
			if err == nil || !strings.HasPrefix(err.Error(), "token.yaml is not decrypted by Azure Key Vault: ") || !strings.Contains(err.Error(), c.want) || strings.ContainsAny(err.Error(), "\r\n") {
				t.Fatalf("%s\ngot  %v\nwant %s", c.reason, err, c.want)
			}
			if s.Retryable() != c.retry || !s.Refused() {
				t.Errorf("%s\nretry %t, refused %t", c.reason, s.Retryable(), s.Refused())
			}
			for _, hidden := range []string{assertion, fakeentra.Token, "oid=", "20.1.2.3", "Trace ID", "evil"} {
				if strings.Contains(err.Error(), hidden) {
					t.Errorf("the message has %s: %v", hidden, err)
				}
			}
			if name != "NoVault" && len(w.Strangers()) > 0 {
				t.Errorf("called %v", w.Strangers())
			}
		})
	}
}

func otherKey(w *world) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	w.vault().Keys["sops/"+version1] = key
}

// TestMark: what was opened is marked with the account that asked, which is more than its
// name: a namespace is deleted and made anew for another team.
func TestMark(t *testing.T) {
	seen := map[string]string{}
	for name, c := range map[string]struct {
		reason string
		change func(*corev1.ServiceAccount)
	}{
		"Same":   {"The account of yesterday.", func(*corev1.ServiceAccount) {}},
		"Anew":   {"One of the same name, made since.", func(a *corev1.ServiceAccount) { a.UID = "2" }},
		"Client": {"One with another identity.", func(a *corev1.ServiceAccount) { a.Annotations[identity.AnnotationClient] = "app-other" }},
		"Tenant": {"Or with one of another tenant.", func(a *corev1.ServiceAccount) { a.Annotations[identity.AnnotationTenant] = "other" }},
	} {
		w := newWorld(t)
		w.account.UID = "1"
		c.change(w.account)
		mark := w.session(t, team, nil).Mark()
		if again := w.session(t, team, nil).Mark(); again != mark {
			t.Errorf("%s: %s\nmarked %q, then %q", name, c.reason, mark, again)
		}
		if other, is := seen[mark]; is {
			t.Errorf("%s: %s\nmarked as %s is: %q", name, c.reason, other, mark)
		}
		seen[mark] = name
	}
}

// TestAsksAsMarked: who asks is the account that the mark is of, whatever becomes of it
// before the first question.
func TestAsksAsMarked(t *testing.T) {
	w := newWorld(t)
	s := w.session(t, team, nil)
	w.account.Annotations[identity.AnnotationClient] = "app-other"
	if _, err := open(t, s, ""); err != nil {
		t.Fatal(err)
	}
	if signed := w.Entra.SignIns(); len(signed) != 1 || signed[0].Form.Get("client_id") != "app-team" {
		t.Errorf("signed in as %+v", signed)
	}
	w.account = nil
	gone := w.session(t, team, nil)
	w.account = newWorld(t).account
	if _, err := open(t, gone, ""); err == nil || !strings.Contains(err.Error(), "does not exist") {
		t.Errorf("asked as an account that was not there when the mark was made: %v", err)
	}
}

// TestLate: the time of all questions begins with the first, and where it is up that is
// said, and no vault blamed.
func TestLate(t *testing.T) {
	w := newWorld(t)
	s := w.session(t, team, nil)
	if s.ctx != nil {
		t.Error("the time runs before anything is asked")
	}
	s.limit = time.Nanosecond
	want := host + " was not asked within 1ns, which is what key vaults have for a revision; it is tried again"
	for range 2 {
		if _, err := open(t, s, ""); err == nil || !strings.HasSuffix(err.Error(), want) || !s.Retryable() {
			t.Errorf("got %v\nwant %s", err, want)
		}
	}
}

// TestTriedAgain: a vault that is busy for a moment opens all the same.
func TestTriedAgain(t *testing.T) {
	w := newWorld(t)
	busy := fakevault.Throttled
	busy.Times = 1
	w.vault().Refuse = &busy
	if text, err := open(t, w.session(t, team, nil), ""); err != nil || !strings.Contains(text, "hunter2") {
		t.Fatalf("%v\n%s", err, text)
	}
}

// TestStrangers: the address stands in a file that anybody may push. Nothing is sent to
// what is no vault of the cloud, and nobody signs in for it.
func TestStrangers(t *testing.T) {
	for name, c := range map[string]struct{ reason, address, cloud string }{
		"Host":       {"A host of who pushed it.", "https://evil.example.com", ""},
		"Suffix":     {"One that ends alike.", "https://team-a.vault.azure.net.evil.example.com", ""},
		"Prefix":     {"One whose domain ends alike.", "https://team-a.evilvault.azure.net", ""},
		"Deeper":     {"A name below a vault's is none.", "https://a.b.vault.azure.net", ""},
		"Bare":       {"Nor is the suffix alone.", "https://vault.azure.net", ""},
		"User":       {"A user that looks like a host.", "https://team-a.vault.azure.net@evil.example.com", ""},
		"Password":   {"Nor is one sent.", "https://a:b@team-a.vault.azure.net", ""},
		"Port":       {"A port is not Azure's.", "https://team-a.vault.azure.net:8443", ""},
		"Plain":      {"A token is not sent in the clear.", "http://team-a.vault.azure.net", ""},
		"Path":       {"A path could be anything.", "https://team-a.vault.azure.net/secrets", ""},
		"Query":      {"So could a query.", "https://team-a.vault.azure.net?a=b", ""},
		"Escaped":    {"Or what a parser makes of it.", `https://evil.example.com%2f.vault.azure.net`, ""},
		"Backslash":  {"Likewise.", `https://evil.example.com\.vault.azure.net`, ""},
		"Storage":    {"Another service of Azure, where anybody rents a host.", "https://team-a.blob.core.windows.net", ""},
		"OtherCloud": {"A vault of a cloud that is not configured.", "https://team-a.vault.azure.cn", ""},
		"China":      {"Nor the public one where that is.", "https://team-a.vault.azure.net", "china"},
		"Nothing":    {"No address at all.", "team-a", ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			s := w.session(t, team, own(t), func(o *Options) { o.Cloud = c.cloud })
			_, err := open(t, s, c.address)
			if err == nil || !strings.Contains(err.Error(), "nothing was sent there") || s.Retryable() {
				t.Errorf("%s\ngot %v", c.reason, err)
			}
			if len(w.Strangers())+len(w.Asked())+len(w.Entra.SignIns())+len(w.asked) > 0 {
				t.Errorf("%s\ncalled %v, asked %v, signed in %v, made %v", c.reason, w.Strangers(), w.Asked(), w.Entra.SignIns(), w.asked)
			}
		})
	}
}

// TestNobodyAsks: a cloud of one's own has vaults that nobody knows, a controller without
// an identity has none to ask with, and a Session may be one that asks nothing.
func TestNobodyAsks(t *testing.T) {
	w := newWorld(t)
	for want, s := range map[string]*Session{
		"--azure-endpoint names a cloud of one's own":      w.session(t, team, own(t), func(o *Options) { o.Foreign = true }),
		"the controller has no workload identity of Azure": w.session(t, account.Account{}, nil),
		"for a reason": Nobody("for a reason"),
	} {
		if _, err := open(t, s, ""); err == nil || !strings.Contains(err.Error(), want) || s.Retryable() || !s.Refused() {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	if len(w.Strangers())+len(w.Asked())+len(w.Entra.SignIns())+len(w.asked) > 0 {
		t.Error("somebody was asked")
	}
}

// TestAskedOnce: what a vault refuses, and what a key does, is not asked again in one pass.
func TestAskedOnce(t *testing.T) {
	w := newWorld(t)
	w.vault().Refuse = &fakevault.ForbiddenByRBAC
	s := w.session(t, team, nil)
	for range 3 {
		if _, err := open(t, s, ""); err == nil {
			t.Fatal("opened")
		}
	}
	if len(w.Asked()) != 1 || len(w.asked) != 1 {
		t.Errorf("asked %v, made %v", w.Asked(), w.asked)
	}
}

// TestClouds: each cloud has its own vaults, authority and audience.
func TestClouds(t *testing.T) {
	for name, c := range map[string]struct{ host, authority, resource string }{
		"public":     {"team-a.vault.azure.net", "login.microsoftonline.com", "https://vault.azure.net"},
		"government": {"team-a.vault.usgovcloudapi.net", "login.microsoftonline.us", "https://vault.usgovcloudapi.net"},
		"china":      {"team-a.vault.azure.cn", "login.chinacloudapi.cn", "https://vault.azure.cn"},
	} {
		w := newWorld(t)
		v := w.vault()
		v.Resource = c.resource
		w.Vaults = map[string]*fakevault.Vault{c.host: v}
		_, err := open(t, w.session(t, team, nil, func(o *Options) { o.Cloud = name }), "https://"+c.host+"/")
		signed := w.Entra.SignIns()
		if err != nil || len(signed) != 1 || signed[0].Host != c.authority || !strings.HasPrefix(signed[0].Form.Get("scope"), c.resource+"/.default") {
			t.Errorf("%s: %v, signed in %+v", name, err, signed)
		}
	}
}
