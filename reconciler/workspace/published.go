// SPDX-License-Identifier: Apache-2.0

package workspace

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/espalier-dev/espalier/reconciler/apply"
	"github.com/espalier-dev/espalier/reconciler/condition"
	"github.com/espalier-dev/espalier/reconciler/fault"
	"github.com/espalier-dev/espalier/reconciler/registry"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// Registry says what a tag carries; nil without an error: nothing.
type Registry interface {
	Look(ctx context.Context, image string, credentials authn.Keychain) (*registry.Tag, error)
}

// published asks the output registry, before a node is requested, whether the tag
// carries the adapter of these inputs already: a Workspace that was deleted and
// came back, or another cluster, has paid for it.
func (r *Reconciler) published(ctx context.Context, p *pass) error {
	if r.Registry == nil || !p.beforeRun() {
		return nil
	}
	known, question := r.knownOf(p.ws), apply.Sum(p.out.Digest)
	again := known.answered == question
	if again && r.Clock().Unix()-known.answeredAt < answerHolds {
		return nil
	}
	output := p.ws.Spec.Tuning.Output
	credentials, who, err := r.asks(ctx, p.ws.Namespace, output)
	if err != nil {
		return err
	}
	tag, err := r.Registry.Look(ctx, output.Image, credentials)
	switch {
	case again && p.goesOn(err):
	case errors.Is(err, registry.ErrDenied):
		r.Events.Eventf(p.ws, nil, corev1.EventTypeWarning, "RegistryDenied", "Ask",
			"%s does not say whether it holds the adapter of these inputs already: the run goes on. Where the image is there, %s", output.Image, who)
	case err != nil:
		return fault.Retry(v1alpha1.ReasonRegistryUnreachable, fmt.Errorf("no node is requested before the registry has said whether the adapter is published already: %w", err))
	case tag != nil && tag.Annotations[repolayout.AnnotationInputDigest] == p.out.Digest:
		return r.takePublished(ctx, p, tag)
	}
	known.answered, known.answeredAt = question, r.Clock().Unix()
	return nil
}

// goesOn says that a run does not wait for a second answer of a registry that gives none:
// nodes that are there wait for nobody, and who was denied was told so.
func (p *pass) goesOn(err error) bool {
	return err != nil && p.pool != nil || errors.Is(err, registry.ErrDenied)
}

// answerHolds is how long the answer of a registry holds for a run that waits, in seconds: a
// pass that waits for nodes need not ask again, and one that has waited long may find that
// another cluster has run it.
const answerHolds = 5 * 60

// beforeRun says that nothing was requested for the run of the current inputs: it has no Job,
// or one that has waited in a queue, and is let go just now.
func (p *pass) beforeRun() bool {
	t := p.ws.Spec.Tuning
	switch {
	case t == nil || t.Output.Image == "" || p.paused() || p.settled || p.finished():
		return false
	}
	return p.job() == nil || p.queued() && !p.held() && p.pool == nil
}

// takePublished records a run that need not be run.
func (r *Reconciler) takePublished(ctx context.Context, p *pass, tag *registry.Tag) error {
	if err := r.confirm(ctx, p); err != nil {
		return err
	}
	if _, err := r.deleteOtherJobs(ctx, p); err != nil {
		return err
	}
	if job := p.job(); job != nil { // of a queue, which holds a place for it
		if err := r.deleteJob(ctx, job); err != nil {
			return err
		}
	}
	now := metav1.NewTime(r.Clock())
	p.ws.Status.Tuning = &v1alpha1.TuningStatus{Run: p.runName(), Digest: p.out.Digest, Adapter: tag.Reference, FinishedAt: &now, Evaluation: measuredBefore(tag.Annotations)}
	message := fmt.Sprintf("%s holds the adapter of these inputs already: nothing is run. Another tag, or other inputs, are another run", tag.Reference)
	condition.False(p.ws, v1alpha1.ConditionJobStarted, v1alpha1.ReasonAlreadyPublished, message)
	p.judge(v1alpha1.ReasonAlreadyPublished, message)
	return nil
}

// lookAtUntold is when to ask a registry again that did not answer.
const lookAtUntold = 5 * time.Minute

// untold asks the output registry for what a run has published where its pods were gone
// before they told it, as where their node was lost in the moment of the end: services and
// the pull request that promotes it wait for the digest. The run is done whatever it answers.
func (r *Reconciler) untold(ctx context.Context, p *pass) {
	t, output := p.ws.Status.Tuning, p.ws.Spec.Tuning.Output
	if r.Registry == nil || output.Image == "" || t.Adapter != "" || t.Digest == "" || !condition.Is(p.ws, v1alpha1.ConditionTuningSucceeded) {
		return
	}
	question, known := apply.Sum("untold "+t.Digest), r.knownOf(p.ws)
	if known.answered == question {
		return
	}
	credentials, who, err := r.asks(ctx, p.ws.Namespace, output)
	var tag *registry.Tag
	if err == nil {
		tag, err = r.Registry.Look(ctx, output.Image, credentials)
	}
	switch {
	case errors.Is(err, registry.ErrDenied):
		r.Events.Eventf(p.ws, nil, corev1.EventTypeWarning, "RegistryDenied", "Ask",
			"The pods of run %s were gone before they told its digest, and %s does not say it: name the adapter by digest where it is served. Where the image is there, %s", t.Run, output.Image, who)
	case err != nil:
		p.lookAfter(lookAtUntold)
		return
	case tag != nil && tag.Annotations[repolayout.AnnotationInputDigest] == t.Digest:
		record(t, repolayout.Left{Adapter: tag.Reference, Evaluation: cmp.Or(t.Evaluation, measuredBefore(tag.Annotations))})
		return
	}
	known.answered = question
}

// asks is who asks the registry, and what would keep that one from an answer. Where the
// run pushes as a ServiceAccount the controller asks as itself: it has no token of that
// account, and wants none.
func (r *Reconciler) asks(ctx context.Context, namespace string, output v1alpha1.DataDestination) (authn.Keychain, string, error) {
	if output.PushSecret != "" {
		keys, err := r.pushCredentials(ctx, types.NamespacedName{Namespace: namespace, Name: output.PushSecret})
		return keys, "Secret " + output.PushSecret + " may push and not read", err
	}
	if r.Identity != nil {
		if keys := r.Identity(output.Image); keys != nil {
			return keys, "the controller's own identity in the cloud may not read it: let it, or a Workspace that comes back is trained again", nil
		}
	}
	return authn.NewMultiKeychain(), "the controller, which has no identity in that cloud, may not read it: give it one, or a Workspace that comes back is trained again", nil
}

// pushCredentials reads the Secret that pushes. One that holds none is for the push
// to complain of.
func (r *Reconciler) pushCredentials(ctx context.Context, key types.NamespacedName) (authn.Keychain, error) {
	secret := &corev1.Secret{}
	if err := r.Reader.Get(ctx, key, secret); err != nil {
		return nil, fmt.Errorf("reading Secret %s: %w", key, err)
	}
	text, ok := secret.Data[corev1.DockerConfigJsonKey]
	if !ok {
		return authn.NewMultiKeychain(), nil
	}
	credentials, err := registry.Credentials(bytes.NewReader(text))
	if err != nil {
		return nil, fault.Stopf(v1alpha1.ReasonRefused, "Key %s of Secret %s is no Docker configuration: kubectl create secret docker-registry makes one", corev1.DockerConfigJsonKey, key)
	}
	return credentials, nil
}
