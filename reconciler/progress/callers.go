// SPDX-License-Identifier: Apache-2.0

package progress

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/time/rate"
	authenticationv1 "k8s.io/api/authentication/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/lru"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// Errors of Callers. Any other is the cluster's: trying again may help.
var (
	ErrRefused = errors.New("the token is of no pod of a tuning run")
	ErrBusy    = errors.New("too many callers that are not known yet")
)

// What is remembered of tokens, so that a trainer costs the API server nothing
// while it reports. A kubelet changes a token after about 48 of its 60 minutes.
const (
	remembered = 4096
	knownFor   = 10 * time.Minute
	refusedFor = time.Minute
	asksASec   = 10 // of tokens that are not remembered
	asksAtOnce = 50
)

// Claims of a token that is bound to a pod, as a TokenReview tells them.
const (
	claimPod    = "authentication.kubernetes.io/pod-name"
	claimPodUID = "authentication.kubernetes.io/pod-uid"
	accountUser = "system:serviceaccount:"
)

// +kubebuilder:rbac:groups=authentication.k8s.io,resources=tokenreviews,verbs=create
// +kubebuilder:rbac:groups="",resources=pods,verbs=get
// +kubebuilder:rbac:groups=batch,resources=jobs,verbs=get

// Callers knows the run of a token. Several goroutines may ask.
type Callers struct {
	writer client.Writer
	reader client.Reader
	clock  func() time.Time
	limit  *rate.Limiter
	tokens *lru.Cache // hash of a token → answer
}

// answer is what the cluster said of a token.
type answer struct {
	run     Run
	refused error
	until   time.Time
}

// NewCallers asks the cluster through writer, which only reviews tokens, and
// reader, which reads past the cache.
func NewCallers(writer client.Writer, reader client.Reader, clock func() time.Time) *Callers {
	return &Callers{
		writer: writer, reader: reader, clock: clock,
		limit: rate.NewLimiter(asksASec, asksAtOnce), tokens: lru.New(remembered),
	}
}

// Run is the tuning Job whose pod a token belongs to.
func (c *Callers) Run(ctx context.Context, token string) (Run, error) {
	key := sha256.Sum256([]byte(token))
	if known, ok := c.tokens.Get(key); ok && c.clock().Before(known.(answer).until) {
		return known.(answer).run, known.(answer).refused
	}
	if !c.limit.Allow() {
		return Run{}, ErrBusy
	}
	run, err := c.ask(ctx, token)
	switch {
	case err == nil:
		c.tokens.Add(key, answer{run: run, until: c.clock().Add(knownFor)})
	case errors.Is(err, ErrRefused):
		c.tokens.Add(key, answer{refused: err, until: c.clock().Add(refusedFor)})
	}
	return run, err
}

// ask follows the token to its pod, the pod to its Job and that to its Workspace.
func (c *Callers) ask(ctx context.Context, token string) (Run, error) {
	namespace, name, uid, err := c.pod(ctx, token)
	if err != nil {
		return Run{}, err
	}
	pod := &corev1.Pod{}
	if err := c.get(ctx, types.NamespacedName{Namespace: namespace, Name: name}, pod); err != nil {
		return Run{}, err
	}
	of := metav1.GetControllerOf(pod)
	if pod.UID != uid || of == nil || of.Kind != "Job" {
		return Run{}, ErrRefused
	}
	job := &batchv1.Job{}
	if err := c.get(ctx, types.NamespacedName{Namespace: namespace, Name: of.Name}, job); err != nil {
		return Run{}, err
	}
	ws := metav1.GetControllerOf(job)
	if job.UID != of.UID || ws == nil || ws.Kind != v1alpha1.WorkspaceKind || !strings.HasPrefix(ws.APIVersion, v1alpha1.GroupVersion.Group+"/") {
		return Run{}, ErrRefused
	}
	return Run{Workspace: types.NamespacedName{Namespace: namespace, Name: ws.Name}, Job: job.UID, Pod: uid}, nil
}

// get reads an object that the token leads to; one that is gone is nobody's.
func (c *Callers) get(ctx context.Context, key types.NamespacedName, into client.Object) error {
	err := c.reader.Get(ctx, key, into)
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("reading what a token is bound to, %s: %w", key, err)
	}
	if err != nil {
		return ErrRefused
	}
	return nil
}

// pod is the pod that a token is bound to.
func (c *Callers) pod(ctx context.Context, token string) (namespace, name string, uid types.UID, err error) {
	review := &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: token, Audiences: []string{Audience}}}
	if err := c.writer.Create(ctx, review); err != nil {
		return "", "", "", fmt.Errorf("reviewing a token: %w", err)
	}
	user := review.Status.User
	account, ok := strings.CutPrefix(user.Username, accountUser)
	namespace, _, named := strings.Cut(account, ":")
	pod, uids := user.Extra[claimPod], user.Extra[claimPodUID]
	// An API server that knows no audiences answers without them: then the token
	// was for itself.
	meant := slices.Contains(review.Status.Audiences, Audience)
	if !review.Status.Authenticated || !meant || !ok || !named || len(pod) != 1 || len(uids) != 1 {
		return "", "", "", ErrRefused
	}
	return namespace, pod[0], types.UID(uids[0]), nil
}
