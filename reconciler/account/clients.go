// SPDX-License-Identifier: Apache-2.0

package account

import (
	"context"
	"fmt"
	"strings"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/cache"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/flowcontrol"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/reconciler/fault"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// How many clients and answers are kept, and how long. An answer only saves
// questions: the API server judges each write all the same.
const (
	maxClients = 256
	maxAnswers = 4096
	keepClient = time.Hour
	keepAnswer = 5 * time.Minute
)

// Options are what Clients are made of.
type Options struct {
	// Config is the controller's own way to the API server. Its limit of requests a
	// second is given once more, to all accounts together.
	Config *rest.Config
	// Client of the controller: its scheme and mapper are everybody's.
	Client client.Client
	// Reader reads past the cache, as the controller.
	Reader client.Reader
	// Default is the --default-service-account; "" is the controller itself.
	Default string
	// Impersonator is who acts as accounts, in messages; "" is the controller.
	Impersonator string
	// Wrap is put around the clients of accounts; nil: nothing.
	Wrap func(client.Client) client.Client
}

// Clients holds a client for each account.
type Clients struct {
	Options
	limiter flowcontrol.RateLimiter
	clients *cache.LRUExpireCache // Account → client.Client
	granted *cache.LRUExpireCache // grant → true
}

// grant is a right that an account has; without a Need it is that it exists.
type grant struct {
	account Account
	need    Need
}

// Sync is whom a RepoSync acts as. Without Clients nobody but the controller acts.
func (c *Clients) Sync(s *v1alpha1.RepoSync) Account {
	if c == nil {
		return Account{}
	}
	return OfSync(s, c.Default)
}

// New returns Clients.
func New(o Options) *Clients {
	c := &Clients{Options: o, clients: cache.NewLRUExpireCache(maxClients), granted: cache.NewLRUExpireCache(maxAnswers)}
	if o.Config.QPS > 0 {
		c.limiter = flowcontrol.NewTokenBucketRateLimiter(o.Config.QPS, o.Config.Burst)
	}
	return c
}

// actor is whom a pass acts as.
type actor struct {
	account      Account
	client       client.Client
	impersonator string
}

type actorKey struct{}

// As returns a context in which Writer writes as an account.
func (c *Clients) As(ctx context.Context, a Account) (context.Context, error) {
	if a.Own() {
		return ctx, nil
	}
	acting, err := c.client(a)
	if err != nil {
		return nil, err
	}
	return context.WithValue(ctx, actorKey{}, actor{a, acting, c.Impersonator}), nil
}

// Writer is the client of whom the context acts as, else own.
func Writer(ctx context.Context, own client.Client) client.Client {
	if acting, ok := ctx.Value(actorKey{}).(actor); ok {
		return acting.client
	}
	return own
}

// Explain turns the refusal of a right into a terminal fault with what to do;
// every other error, a quota that is used up among them, stays as it is.
func Explain(ctx context.Context, err error) error {
	if acting, ok := ctx.Value(actorKey{}).(actor); ok {
		return explain(err, acting.account, acting.impersonator)
	}
	return err
}

func (c *Clients) client(a Account) (client.Client, error) {
	if kept, ok := c.clients.Get(a); ok {
		return kept.(client.Client), nil
	}
	config := rest.CopyConfig(c.Config)
	config.Impersonate = rest.ImpersonationConfig{UserName: a.User()}
	config.RateLimiter = c.limiter
	acting, err := client.New(config, client.Options{Scheme: c.Client.Scheme(), Mapper: c.Client.RESTMapper()})
	if err != nil {
		return nil, fmt.Errorf("making a client that acts as %s: %w", a, err)
	}
	if c.Wrap != nil {
		acting = c.Wrap(acting)
	}
	c.clients.Add(a, acting, keepClient)
	return acting, nil
}

// Check sees that an account exists, may be acted as, and has every right of
// needs. What is missing is one terminal fault that names all of it; what then is
// left undone, in words, ends the sentence.
func (c *Clients) Check(ctx context.Context, a Account, needs []Need, undone string) error {
	if a.Own() {
		return nil
	}
	if err := c.Exists(ctx, a); err != nil {
		return err
	}
	acting, err := c.client(a)
	if err != nil {
		return err
	}
	var missing []Need
	for _, n := range Sorted(needs) {
		may, err := c.may(ctx, acting, grant{a, n})
		if err != nil {
			return explain(err, a, c.Impersonator)
		}
		if !may {
			missing = append(missing, n)
		}
	}
	if len(missing) > 0 {
		return fault.Stopf(v1alpha1.ReasonAccessDenied, "%s may not %s: %s. Bind it a Role with these verbs by a RoleBinding there, or the ClusterRole espalier-team, which has all (docs/tenants.md)",
			a, Text(missing), undone)
	}
	return nil
}

// Exists sees that an account is there, as of five minutes ago at most. Kubernetes
// lets a name be acted as that belongs to nobody, with the rights that are left
// bound to it.
func (c *Clients) Exists(ctx context.Context, a Account) error {
	if a.Own() {
		return nil
	}
	key := grant{account: a}
	if _, ok := c.granted.Get(key); ok {
		return nil
	}
	o := &metav1.PartialObjectMetadata{}
	o.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("ServiceAccount"))
	err := c.Reader.Get(ctx, types.NamespacedName{Namespace: a.Namespace, Name: a.Name}, o)
	switch {
	case apierrors.IsNotFound(err):
		return fault.Stopf(v1alpha1.ReasonServiceAccountNotFound,
			"%s, which is acted as, does not exist: create it with its rights, or name another in spec.serviceAccountName of the RepoSync (docs/tenants.md)", a)
	case apierrors.IsForbidden(err):
		return notBound(a, c.Impersonator)
	case err != nil:
		return fmt.Errorf("reading %s: %w", a, err)
	}
	c.granted.Add(key, true, keepAnswer)
	return nil
}

// may asks for one right; that it is there is remembered for a while.
func (c *Clients) may(ctx context.Context, acting client.Client, g grant) (bool, error) {
	if _, ok := c.granted.Get(g); ok {
		return true, nil
	}
	review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
		ResourceAttributes: &authorizationv1.ResourceAttributes{
			Namespace: g.need.Namespace, Verb: g.need.Verb, Group: g.need.Group, Resource: g.need.Resource,
		},
	}}
	if err := acting.Create(ctx, review); err != nil {
		return false, fmt.Errorf("asking what %s may do: %w", g.account, err)
	}
	if !review.Status.Allowed {
		return false, nil
	}
	c.granted.Add(g, true, keepAnswer)
	return true, nil
}

func explain(err error, a Account, impersonator string) error {
	if !apierrors.IsForbidden(err) {
		return err
	}
	switch text := err.Error(); {
	case strings.Contains(text, "cannot impersonate"): // resource …; since Kubernetes 1.36 -on:serviceaccount:create resource …
		return notBound(a, impersonator)
	case strings.Contains(text, fmt.Sprintf("User %q cannot ", a.User())):
		return fault.Stop(v1alpha1.ReasonAccessDenied,
			fmt.Errorf("%w; bind %s a Role with this verb by a RoleBinding there, or the ClusterRole espalier-team (docs/tenants.md)", err, a))
	}
	return err
}

func notBound(a Account, impersonator string) error {
	if impersonator != "" {
		return fault.Stopf(v1alpha1.ReasonAccessDenied,
			"%s may not act as %s: bind it a Role with the verb impersonate for serviceaccounts, and get, in namespace %s there (docs/remote-clusters.md has the commands)", impersonator, a, a.Namespace)
	}
	return fault.Stopf(v1alpha1.ReasonAccessDenied,
		"The controller may not act as %s: bind the ClusterRole espalier-impersonate to the controller's account in namespace %s (docs/tenants.md has the command)", a, a.Namespace)
}
