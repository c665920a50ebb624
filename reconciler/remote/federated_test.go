// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/espalier-dev/espalier/reconciler/account"
	"github.com/espalier-dev/espalier/reconciler/fault"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// ownAudience is that of the hub's API server.
const ownAudience = "https://kubernetes.default.svc"

// tokens is the API server of the hub, as far as it makes tokens.
type tokens struct {
	client.Client
	mu     sync.Mutex
	asked  []string // NAMESPACE/NAME AUDIENCES of those that may leave
	refuse error
}

// SubResource makes tokens.
func (k *tokens) SubResource(string) client.SubResourceClient { return making{k: k} }

type making struct {
	client.SubResourceClient
	k *tokens
}

func (m making) Create(_ context.Context, o, sub client.Object, _ ...client.SubResourceCreateOption) error {
	m.k.mu.Lock()
	defer m.k.mu.Unlock()
	if m.k.refuse != nil {
		return m.k.refuse
	}
	request := sub.(*authenticationv1.TokenRequest)
	request.Status.ExpirationTimestamp = metav1.NewTime(time.Now().Add(time.Duration(*request.Spec.ExpirationSeconds) * time.Second))
	if len(request.Spec.Audiences) == 0 {
		request.Spec.Audiences, request.Status.Token = []string{ownAudience}, "hidden-own-token"
		return nil
	}
	m.k.asked = append(m.k.asked, o.GetNamespace()+"/"+o.GetName()+" "+strings.Join(request.Spec.Audiences, ","))
	request.Status.Token = "hidden-token"
	return nil
}

func (k *tokens) made() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.asked)
}

// federation is a RepoSync whose ConfigMap leads to a server.
type federation struct {
	*Clusters
	*tokens
	sync   *v1alpha1.RepoSync
	server *httptest.Server

	mu   sync.Mutex
	with []string // what was sent as Authorization, without what was sent before
	deny int      // answers 401 so many times

	acted []string // as whom, and by what
}

func (f *federation) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	if as := r.Header.Get("Impersonate-User"); as != "" {
		f.acted = append(f.acted, as+" by "+r.Header.Get("Authorization"))
	}
	if with := r.Header.Get("Authorization"); !slices.Contains(f.with, with) {
		f.with = append(f.with, with)
	}
	denied := f.deny > 0
	if denied {
		f.deny--
	}
	f.mu.Unlock()
	if denied {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = w.Write([]byte(`{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Unauthorized","code":401}`))
		return
	}
	halfCluster(w, r)
}

func (f *federation) sent() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.with)
}

// federate starts a server, and writes a ConfigMap that leads there, changed.
func federate(t *testing.T, o Options, change map[string]string, objects ...client.Object) *federation {
	t.Helper()
	f := &federation{sync: &v1alpha1.RepoSync{ObjectMeta: metav1.ObjectMeta{Namespace: "models", Name: "team", UID: "u"}}}
	f.server = httptest.NewTLSServer(f)
	t.Cleanup(f.server.Close)
	t.Cleanup(f.server.CloseClientConnections)
	data := generic(map[string]string{
		"address": f.server.URL, "ca.crt": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: f.server.Certificate().Raw})),
	})
	for key, value := range change {
		data[key] = value
	}
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	objects = append(objects, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "models", Name: "spoke"}, Data: data})
	f.tokens = &tokens{Client: fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).Build()}
	f.sync.Spec.KubeConfig = &v1alpha1.KubeConfig{ConfigMapRef: &v1alpha1.LocalObjectReference{Name: "spoke"}}
	o.Hub, o.Client, o.Reader, o.Scheme = "hub", f.tokens, f.tokens, scheme
	f.Clusters = New(t.Context(), o)
	return f
}

// label labels the ConfigMap.
func (f *federation) label(key, value string) {
	config := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "models", Name: "spoke"}}
	text := fmt.Appendf(nil, `{"metadata":{"labels":{%q:%q}}}`, key, value)
	_ = f.Patch(context.Background(), config, client.RawPatch(types.MergePatchType, text)) // what is asserted shows it
}

func accountNamed(name string) *corev1.ServiceAccount {
	return &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "models", Name: name}}
}

// TestGeneric: an account of the namespace signs in by a token for the other cluster alone.
func TestGeneric(t *testing.T) {
	f := federate(t, Options{}, map[string]string{"audiences": "west\nwest.example.com"}, accountNamed("west"))
	c, err := f.Of(t.Context(), f.sync)
	if err != nil || c.ID() != "spoke" {
		t.Fatalf("it is %v, %v", c, err)
	}
	if want := []string{"models/west west,west.example.com"}; !slices.Equal(f.made(), want) {
		t.Errorf("made %v, want %v", f.made(), want)
	}
	if want := []string{"Bearer hidden-token"}; !slices.Equal(f.sent(), want) {
		t.Errorf("sent %v, want %v", f.sent(), want)
	}
	if again, err := f.Of(t.Context(), f.sync); again != c || err != nil || len(f.made()) != 1 {
		t.Errorf("asked again it is %v, %v, and made %v", again, err, f.made())
	}
}

// TestActsThere: who acts as an account of the other cluster signs in by the same token.
func TestActsThere(t *testing.T) {
	f := federate(t, Options{}, nil, accountNamed("west"))
	c, err := f.Of(t.Context(), f.sync)
	if err != nil {
		t.Fatal(err)
	}
	acting, err := c.Accounts.As(t.Context(), account.Account{Namespace: "models", Name: "writer"})
	if err != nil {
		t.Fatal(err)
	}
	_ = account.Writer(acting, nil).Get(acting, client.ObjectKey{Namespace: "models", Name: "config"}, &corev1.ConfigMap{})
	f.mu.Lock()
	defer f.mu.Unlock()
	if want := []string{"system:serviceaccount:models:writer by Bearer hidden-token"}; !slices.Equal(f.acted, want) {
		t.Errorf("acted %v, want %v", f.acted, want)
	}
}

// TestGenericAudience: without audiences the token is for the address, as with Flux, and
// without a name it is the default account's.
func TestGenericAudience(t *testing.T) {
	f := federate(t, Options{Default: "team"}, map[string]string{"serviceAccountName": ""}, accountNamed("team"))
	if _, err := f.Of(t.Context(), f.sync); err != nil {
		t.Fatal(err)
	}
	if want := []string{"models/team " + f.server.URL}; !slices.Equal(f.made(), want) {
		t.Errorf("made %v, want %v", f.made(), want)
	}
}

// TestNotSignedIn: each failure says what is missing, and tells nothing of the ConfigMap
// or a token; what the ConfigMap cannot cure is tried again.
func TestNotSignedIn(t *testing.T) {
	for name, c := range map[string]struct {
		reason  string
		change  map[string]string
		fault   string
		words   string
		prepare func(*federation)
	}{
		"NoAccount": {"The account was deleted.", map[string]string{"serviceAccountName": "gone"}, v1alpha1.ReasonAuthFailed, "ServiceAccount models/gone does not exist: create it", nil},
		"NoRight": {
			"To make tokens of accounts is nobody's right by default.", nil, v1alpha1.ReasonAuthFailed, "bind it the ClusterRole espalier-decrypt in namespace models",
			func(f *federation) { f.refuse = apierrors.NewForbidden(schema.GroupResource{}, "west", nil) },
		},
		"HubAway": {"This cluster's own API server does not answer.", nil, v1alpha1.ReasonAuthFailed, "no token of ServiceAccount models/west can be made (ServiceUnavailable)", func(f *federation) { f.refuse = apierrors.NewServiceUnavailable("no") }},
		"OwnToken": {
			"Whoever gets a token that the hub takes could act as the account there.", map[string]string{"audiences": "west\n" + ownAudience}, v1alpha1.ReasonAuthFailed,
			"one of the audiences is this cluster's own", nil,
		},
		"CloudToken": {
			"Or in a cloud, by a token that it exchanges.", map[string]string{"audiences": "api://AzureADTokenExchange"}, v1alpha1.ReasonAuthFailed,
			"one of the audiences is that of a cloud", nil,
		},
		"Controller":   {"The controller itself signs in nowhere.", map[string]string{"serviceAccountName": ""}, v1alpha1.ReasonKubeConfigInvalid, "it has no serviceAccountName", nil},
		"Amazon":       {"What is not there is said, with what is.", map[string]string{"provider": "aws"}, v1alpha1.ReasonKubeConfigInvalid, "by provider aws this controller signs in nowhere", nil},
		"Plain":        {"A token in plain text is everybody's.", map[string]string{"address": "http://hidden.example.com"}, v1alpha1.ReasonKubeConfigInvalid, "--insecure-kubeconfig-tls", nil},
		"Denied":       {"A cluster that trusts another issuer.", nil, v1alpha1.ReasonAuthFailed, "does not take the token of its account: provider generic needs a cluster that trusts the issuer", func(f *federation) { f.deny = 1000 }},
		"OtherCluster": {"An address whose certificate is another's.", map[string]string{"ca.crt": ""}, v1alpha1.ReasonClusterUnreachable, "its certificate is not one that the authority and the address given for it allow", nil},
		"Pushed": {"Who pushes to a repository is not to choose who signs in and where.", nil, v1alpha1.ReasonKubeConfigInvalid, "RepoSync local applies it from Git, where whoever pushes would choose", func(f *federation) {
			f.label(repolayout.LabelSyncName, "local")
		}},
		"Missing": {"A ConfigMap that is not there.", nil, v1alpha1.ReasonKubeConfigInvalid, "ConfigMap models/spoke (spec.kubeConfig) does not exist: create it", func(f *federation) {
			_ = f.Delete(context.Background(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "models", Name: "spoke"}})
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := federate(t, Options{}, c.change, accountNamed("west"))
			if c.prepare != nil {
				c.prepare(f)
			}
			_, err := f.Of(t.Context(), f.sync)
			if fault.Reason(err, "") != c.fault || !strings.Contains(err.Error(), c.words) || !strings.Contains(err.Error(), "ConfigMap models/spoke (spec.kubeConfig)") {
				t.Fatalf("%s\nsays %v, want %q", c.reason, err, c.words)
			}
			if terminal := fault.IsTerminal(err); terminal != (c.fault == v1alpha1.ReasonKubeConfigInvalid && name != "Missing") {
				t.Errorf("%s\nterminal is %v", c.reason, terminal)
			}
			if strings.Contains(err.Error(), hidden) || strings.Contains(err.Error(), "127.0.0.1") {
				t.Errorf("%s\nit tells of the ConfigMap or a token: %v", c.reason, err)
			}
			if slices.Contains(f.sent(), "Bearer hidden-own-token") || name != "Denied" && len(f.sent()) > 0 {
				t.Errorf("%s\nsent %v", c.reason, f.sent())
			}
		})
	}
}

// TestTakenAgain: a token that is not taken any more is made anew, without a restart.
func TestTakenAgain(t *testing.T) {
	f := federate(t, Options{}, nil, accountNamed("west"))
	c, err := f.Of(t.Context(), f.sync)
	if err != nil {
		t.Fatal(err)
	}
	f.mu.Lock()
	f.deny = 1
	f.mu.Unlock()
	if err := c.Client.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "models", Name: "a"}}); fault.Reason(err, "") != v1alpha1.ReasonAuthFailed {
		t.Errorf("says %v", err)
	}
	for _, turned := range []string{"it is away", "it is there again"} {
		f.hears(t, turned)
	}
	if n := len(f.made()); n != 2 {
		t.Errorf("%d tokens were made", n)
	}
}

// TestConfigMapChanges: what a ConfigMap says anew counts with the next pass, and the old
// connection is closed.
func TestConfigMapChanges(t *testing.T) {
	f := federate(t, Options{}, nil, accountNamed("west"), accountNamed("other"))
	was, err := f.Of(t.Context(), f.sync)
	if err != nil {
		t.Fatal(err)
	}
	live := &corev1.ConfigMap{}
	if err := f.Get(t.Context(), client.ObjectKey{Namespace: "models", Name: "spoke"}, live); err != nil {
		t.Fatal(err)
	}
	live.Data["serviceAccountName"] = "other"
	if err := f.Update(t.Context(), live); err != nil {
		t.Fatal(err)
	}
	is, err := f.Of(t.Context(), f.sync)
	if err != nil || is == was || len(f.open) != 1 {
		t.Errorf("it is the same: %v, %v, %d connections", is == was, err, len(f.open))
	}
	if made := f.made(); len(made) != 2 || !strings.HasPrefix(made[1], "models/other ") {
		t.Errorf("made %v", made)
	}
}
