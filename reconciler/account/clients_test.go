// SPDX-License-Identifier: Apache-2.0

package account_test

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/reconciler/account"
	"github.com/espalier-dev/espalier/reconciler/fault"
)

// apiServer answers what Check asks, and remembers who asked.
type apiServer struct {
	*httptest.Server
	mu      sync.Mutex
	allowed map[string]bool // "verb resource"
	account int             // status of reading the account
	reviews int             // status of a review; 0: created
	refusal string          // of a review, where it is not that of Kubernetes before 1.36
	asked   []string        // "user: verb resource"
}

func (a *apiServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	if r.Method == http.MethodGet {
		a.answer(w, a.account, &corev1.ServiceAccount{
			TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ServiceAccount"}, ObjectMeta: metav1.ObjectMeta{Namespace: "team-a", Name: "models"},
		}, "not yours")
		return
	}
	review := &authorizationv1.SelfSubjectAccessReview{}
	if err := json.NewDecoder(r.Body).Decode(review); err != nil {
		panic(err)
	}
	question := review.Spec.ResourceAttributes.Verb + " " + review.Spec.ResourceAttributes.Resource
	a.asked = append(a.asked, r.Header.Get("Impersonate-User")+": "+question)
	review.Status.Allowed = a.allowed[question]
	a.answer(w, a.reviews, review, cmp.Or(a.refusal, `serviceaccounts "models" is forbidden: User "espalier" cannot impersonate resource "serviceaccounts"`))
}

func (a *apiServer) answer(w http.ResponseWriter, code int, o any, refusal string) {
	if code != 0 && code != http.StatusOK {
		reason := map[int]metav1.StatusReason{http.StatusNotFound: metav1.StatusReasonNotFound, http.StatusForbidden: metav1.StatusReasonForbidden}[code]
		o = metav1.Status{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: metav1.StatusFailure, Code: int32(code), Reason: reason, Message: refusal}
		w.WriteHeader(code)
	}
	if err := json.NewEncoder(w).Encode(o); err != nil {
		panic(err)
	}
}

func start(t *testing.T, a *apiServer) *account.Clients {
	t.Helper()
	a.Server = httptest.NewServer(a)
	t.Cleanup(a.Close)
	mapper := meta.NewDefaultRESTMapper(nil)
	mapper.Add(corev1.SchemeGroupVersion.WithKind("ServiceAccount"), meta.RESTScopeNamespace)
	mapper.Add(authorizationv1.SchemeGroupVersion.WithKind("SelfSubjectAccessReview"), meta.RESTScopeRoot)
	config := &rest.Config{Host: a.URL}
	config.ContentType = "application/json"
	own, err := client.New(config, client.Options{Scheme: clientgoscheme.Scheme, Mapper: mapper})
	if err != nil {
		t.Fatal(err)
	}
	return account.New(account.Options{Config: config, Client: own, Reader: own})
}

func TestCheck(t *testing.T) {
	jobs := account.ToApply(schema.GroupVersionKind{Group: "batch", Version: "v1", Kind: "Job"}, "team-a")
	for name, c := range map[string]struct {
		reason string
		server *apiServer
		want   string // reason of the fault, then words of it
	}{
		"All": {"With every right there is nothing to say.", &apiServer{allowed: map[string]bool{"create jobs": true, "patch jobs": true}}, ""},
		"One": {
			"What is missing is named, and what is there is not.", &apiServer{allowed: map[string]bool{"create jobs": true}},
			"AccessDenied: ServiceAccount team-a/models may not patch jobs.batch in namespace team-a: nothing was applied. Bind it a Role",
		},
		"Gone": {"The rights of a name that belongs to nobody are nobody's.", &apiServer{account: http.StatusNotFound}, "ServiceAccountNotFound: ServiceAccount team-a/models, which is acted as, does not exist"},
		"Unbound": {
			"Who may not see the accounts of a namespace may not act as them.", &apiServer{account: http.StatusForbidden},
			"AccessDenied: The controller may not act as ServiceAccount team-a/models: bind the ClusterRole espalier-impersonate",
		},
		"SeenOnlyNow": {
			"Kubernetes 1.36 says it in other words.",
			&apiServer{reviews: http.StatusForbidden, refusal: `selfsubjectaccessreviews.authorization.k8s.io is forbidden: User "espalier" cannot impersonate-on:serviceaccount:create resource "selfsubjectaccessreviews"`},
			"AccessDenied: The controller may not act as",
		},
		"SeenOnly": {"To see it is not enough.", &apiServer{reviews: http.StatusForbidden}, "AccessDenied: The controller may not act as"},
	} {
		t.Run(name, func(t *testing.T) {
			clients := start(t, c.server)
			err := clients.Check(t.Context(), account.Account{Namespace: "team-a", Name: "models"}, jobs, "nothing was applied")
			if c.want == "" {
				if err != nil {
					t.Errorf("%s\n%v", c.reason, err)
				}
				return
			}
			if !fault.IsTerminal(err) || !strings.HasPrefix(fmt.Sprintf("%s: %v", fault.Reason(err, ""), err), c.want) {
				t.Errorf("%s\ngot  %s: %v\nwant %s", c.reason, fault.Reason(err, ""), err, c.want)
			}
		})
	}
}

// TestCheckRemembers: a yes is asked for once, a no each time, and always as the
// account.
func TestCheckRemembers(t *testing.T) {
	server := &apiServer{allowed: map[string]bool{"create jobs": true}}
	clients := start(t, server)
	jobs := account.ToApply(schema.GroupVersionKind{Group: "batch", Version: "v1", Kind: "Job"}, "team-a")
	for range 2 {
		if err := clients.Check(t.Context(), account.Account{Namespace: "team-a", Name: "models"}, jobs, ""); err == nil {
			t.Error("a right is missing")
		}
	}
	const user = "system:serviceaccount:team-a:models: "
	if got, want := strings.Join(server.asked, ", "), user+"create jobs, "+user+"patch jobs, "+user+"patch jobs"; got != want {
		t.Errorf("asked %s\nwant %s", got, want)
	}
	if err := clients.Check(t.Context(), account.Account{}, jobs, ""); err != nil || len(server.asked) != 3 {
		t.Errorf("the controller asks nobody: %v, %v", err, server.asked)
	}
}

// TestExplain: only the lack of a right is told as one.
func TestExplain(t *testing.T) {
	clients := start(t, &apiServer{})
	acting, err := clients.As(t.Context(), account.Account{Namespace: "team-a", Name: "models"})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		reason, message string
		denied          bool
	}{
		"Right":  {"RBAC says who cannot do what.", `deployments.apps "phi" is forbidden: User "system:serviceaccount:team-a:models" cannot patch resource "deployments"`, true},
		"Quota":  {"A quota passes.", `pods "phi" is forbidden: exceeded quota: gpus`, false},
		"Others": {"What somebody else lacks is no right of the account.", `x is forbidden: User "system:serviceaccount:team-a:other" cannot patch resource`, false},
	} {
		t.Run(name, func(t *testing.T) {
			err := fmt.Errorf("applying: %w", forbidden(c.message))
			if got := fault.IsTerminal(account.Explain(acting, err)); got != c.denied {
				t.Errorf("%s\ndenied = %v", c.reason, got)
			}
			if fault.IsTerminal(account.Explain(t.Context(), err)) {
				t.Error("the controller's own errors stay as they are")
			}
		})
	}
	if reason := fault.Reason(account.Explain(acting, errors.New("x")), ""); reason != "" {
		t.Errorf("any other error got reason %s", reason)
	}
}

func forbidden(message string) error {
	return &apierrors.StatusError{ErrStatus: metav1.Status{Reason: metav1.StatusReasonForbidden, Code: http.StatusForbidden, Message: message}}
}
