// SPDX-License-Identifier: Apache-2.0

package reposync

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/espalier-dev/espalier/reconciler/condition"
	"github.com/espalier-dev/espalier/reconciler/fault"
	"github.com/espalier-dev/espalier/reconciler/source"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// source reads the commit to sync. It asks the remote only when it is time to:
// an event of a Workspace brings a pass that needs the kept commit alone. So does one
// whose source is away: what somebody changes in the cluster is put back all the same.
func (r *Reconciler) source(ctx context.Context, p *pass) error {
	_, asked := r.asked.LoadAndDelete(p.sync.UID)
	if p.whole = p.mustLook(r.Clock()); asked || p.whole {
		p.unread = r.lookUnlessAway(ctx, p, asked)
	}
	if p.unread != nil && asked { // the question stands until it is answered
		r.asked.Store(p.sync.UID, true)
	}
	if p.unread != nil && !p.goesOn() {
		return p.unread
	}
	// Said in every pass: the status of the one that looked may have met a conflict
	// and be lost.
	judged := p.kept.judged
	p.sync.Status.LastAttemptedRevision, p.sync.Status.Content = judged.revision, judged.content
	if p.kept.handled != "" {
		p.sync.Status.LastHandledReconcileAt = p.kept.handled
	}
	judged.say(p.sync)
	if judged.refused != nil {
		return judged.refused
	}
	if p.unread != nil { // said here, since another step may err after it
		condition.False(p.sync, v1alpha1.ConditionSourceReady, fault.Reason(p.unread, v1alpha1.ReasonSourceUnreachable), p.unread.Error())
		return nil
	}
	condition.True(p.sync, v1alpha1.ConditionSourceReady, v1alpha1.ReasonSucceeded, "Read revision "+p.kept.commit.Revision)
	return nil
}

// lookUnlessAway looks at the source, but where it was away a moment ago. What is kept of
// one that is away was compared.
func (r *Reconciler) lookUnlessAway(ctx context.Context, p *pass, asked bool) error {
	err := p.rests(r.Clock(), asked)
	if err == nil {
		began := r.Clock()
		err = r.look(ctx, p)
		p.kept.away = away{err, p.question(), r.Clock().Add(r.Clock().Sub(began))}
	}
	p.whole = p.whole && err == nil
	return err
}

// away is why a source could not be read, and how long that stands: an event is no reason to
// wait once more for a server that does not answer.
type away struct {
	err   error
	asked question
	until time.Time // as long again as the look took
}

// question is what a look is for: a spec, and somebody's annotation.
type question struct {
	generation int64
	annotation string
}

func (p *pass) question() question {
	return question{p.sync.Generation, p.sync.Annotations[repolayout.AnnotationReconcileAt]}
}

// rests is why a source is not to be looked at yet; nil: it is.
func (p *pass) rests(now time.Time, asked bool) error {
	if a := p.kept.away; !asked && a.asked == p.question() && now.Before(a.until) {
		return a.err
	}
	return nil
}

// goesOn says that a pass whose source could not be read goes on with the commit that it
// has: waiting can help, and that commit is what this spec asked for and may be applied.
func (p *pass) goesOn() bool {
	k := p.kept
	return !fault.IsTerminal(p.unread) && k.judged != nil && k.judged.refused == nil && k.commit != nil && k.generation == p.sync.Generation
}

// sourceAway is why the source was not read, once all else is done.
func (p *pass) sourceAway() error {
	if p.unread != nil {
		p.failed = v1alpha1.ConditionSourceReady
	}
	return p.unread
}

// look reads the commit and judges it. One that is refused is an answer too: it is
// not asked for again with every event of a Workspace.
func (r *Reconciler) look(ctx context.Context, p *pass) error {
	raw, err := r.read(ctx, p.sync)
	if err != nil {
		return err
	}
	commit, content, err := r.withoutReports(ctx, p.sync, raw)
	if err != nil {
		return err
	}
	if p.isOwn(raw, content) {
		if p.kept.raw = raw; p.whole {
			p.kept.lookedAt, p.kept.spread = r.Clock(), r.Jitter.Draw()
		}
		p.handle()
		return nil
	}
	judged, err := r.verify(ctx, p.sync, commit)
	if err != nil {
		return err
	}
	if judged.refused == nil {
		judged.content = content
		p.sameAsBefore(commit, judged)
	}
	k := p.kept
	k.raw = raw
	k.judged, k.lookedAt, k.generation, k.spread = judged, r.Clock(), p.sync.Generation, r.Jitter.Draw()
	p.handle()
	if judged.refused == nil {
		p.looked, k.commit = true, commit
	}
	return nil
}

// read reads the commit, from Git or from a Flux source.
func (r *Reconciler) read(ctx context.Context, s *v1alpha1.RepoSync) (*source.Commit, error) {
	if s.Spec.Source.Ref != nil {
		commit, err := r.readArtifact(ctx, s)
		return commit, retryable(err, s, nil)
	}
	req, err := r.request(ctx, s)
	if err != nil {
		return nil, err
	}
	commit, err := r.Source.Fetch(ctx, req)
	return commit, retryable(err, s, s.Spec.Source.Git.SecretRef)
}

// request names the commit of spec.source.git, with its credential.
func (r *Reconciler) request(ctx context.Context, s *v1alpha1.RepoSync) (source.Request, error) {
	git := s.Spec.Source.Git
	auth, err := r.secret(ctx, s.Namespace, git.SecretRef)
	return source.Request{URL: git.URL, Ref: git.Ref, Auth: auth, Timeout: s.Spec.Timeout.Duration}, err
}

// retryable gives an error of a source its reason: waiting can help against all
// of them.
func retryable(err error, s *v1alpha1.RepoSync, ref *v1alpha1.LocalObjectReference) error {
	var failure *source.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &failure):
		return fault.Retry(failure.Reason, namingSecret(err, failure.Reason, s.Namespace, ref))
	}
	return fault.Retry(fault.Reason(err, v1alpha1.ReasonSourceUnreachable), err)
}

// namingSecret adds which Secret a refused credential came from.
func namingSecret(err error, reason, namespace string, ref *v1alpha1.LocalObjectReference) error {
	if reason != v1alpha1.ReasonAuthFailed || ref == nil {
		return err
	}
	return fmt.Errorf("secret %s/%s: %w", namespace, ref.Name, err)
}

// mustLook says whether the source is to be asked: nothing kept, another spec,
// asked to by annotation, or the interval is over.
func (p *pass) mustLook(now time.Time) bool {
	k, s := p.kept, p.sync
	asked := s.Annotations[repolayout.AnnotationReconcileAt]
	return k.judged == nil || k.generation != s.Generation ||
		asked != s.Status.LastHandledReconcileAt && asked != k.handled ||
		!now.Before(k.lookedAt.Add(p.interval()))
}

// handle notes that the source was looked at for the annotation. The next pass may come
// before the cache has heard of that status, and is not to look again.
func (p *pass) handle() {
	p.kept.handled = p.sync.Annotations[repolayout.AnnotationReconcileAt]
	p.sync.Status.LastHandledReconcileAt = p.kept.handled
}

// LookNow asks for a pass that looks at the source.
func (r *Reconciler) LookNow(obj *v1alpha1.RepoSync) {
	r.asked.Store(obj.UID, true)
	r.again(obj)
}

// secret reads the data of a Secret past the cache; nil where none is named.
func (r *Reconciler) secret(ctx context.Context, namespace string, ref *v1alpha1.LocalObjectReference) (map[string][]byte, error) {
	if ref == nil {
		return nil, nil
	}
	secret := &corev1.Secret{}
	err := r.Reader.Get(ctx, types.NamespacedName{Namespace: namespace, Name: ref.Name}, secret)
	if apierrors.IsNotFound(err) {
		return nil, fault.Retry(v1alpha1.ReasonAuthFailed,
			fmt.Errorf("secret %s/%s does not exist: create it with username and password, bearerToken, or identity and known_hosts", namespace, ref.Name))
	}
	if err != nil {
		return nil, fmt.Errorf("reading secret %s/%s: %w", namespace, ref.Name, err)
	}
	return secret.Data, nil
}
