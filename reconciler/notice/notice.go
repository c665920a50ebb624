// SPDX-License-Identifier: Apache-2.0

// Package notice tells Flux's notification-controller, or whatever else takes
// events of Flux's event API by HTTP, what is told to Kubernetes as an event: from
// there it reaches chats, commit statuses and pull requests.
//
// It decides what an event carries beside its message, and posts it beside the
// pass that it comes from: an address that does not answer holds up no controller.
// What cannot be delivered is logged and dropped, as events are.
package notice

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	eventv1 "github.com/fluxcd/pkg/apis/event/v1beta1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/tools/reference"
	ctrl "sigs.k8s.io/controller-runtime"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// Bounds of the delivery.
const (
	queued      = 256             // events that wait; what comes on top is dropped
	postTimeout = 5 * time.Second // of one try, as in Flux's controllers
	maxMessage  = 39000           // characters, the most that the event API takes
	maxNote     = 1024            // bytes, the most that Kubernetes takes of an event
)

// tries are the waits between the tries of one event: about 4 seconds in all.
var tries = wait.Backoff{Duration: 300 * time.Millisecond, Factor: 3, Steps: 4}

// Sender posts events to one address.
type Sender struct {
	address  string
	instance string
	scheme   *runtime.Scheme
	client   *http.Client
	queue    chan eventv1.Event
	clock    func() time.Time
}

// New returns a Sender to an address such as
// http://notification-controller.flux-system.svc.cluster.local./ .
func New(address string, scheme *runtime.Scheme) (*Sender, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return nil, errors.New("no address to post events to: want one like http://notification-controller.flux-system.svc.cluster.local./")
	}
	instance, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("asking for the name of this machine: %w", err)
	}
	return &Sender{
		address: address, instance: instance, scheme: scheme,
		client: &http.Client{Timeout: postTimeout}, queue: make(chan eventv1.Event, queued), clock: time.Now,
	}, nil
}

// Start posts what is queued until ctx ends. It is a Runnable of a manager.
func (s *Sender) Start(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case e := <-s.queue:
			if err := s.deliver(ctx, e); err != nil && ctx.Err() == nil {
				ctrl.LoggerFrom(ctx).Error(err, "telling an event", "kind", e.InvolvedObject.Kind, "namespace", e.InvolvedObject.Namespace, "name", e.InvolvedObject.Name, "reason", e.Reason)
			}
		}
	}
}

// deliver posts an event, again where the receiver may be on its way.
func (s *Sender) deliver(ctx context.Context, e eventv1.Event) error {
	body, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("encoding the event: %w", err)
	}
	var last error
	err = wait.ExponentialBackoffWithContext(ctx, tries, func(ctx context.Context) (bool, error) {
		again, err := s.post(ctx, body)
		last = err
		if err != nil && !again {
			return false, err
		}
		return err == nil, nil
	})
	if err != nil && last != nil {
		return last
	}
	return err
}

// post is one try. A duplicate, which notification-controller answers with 429, is
// told already.
func (s *Sender) post(ctx context.Context, body []byte) (again bool, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.address, bytes.NewReader(body))
	if err != nil {
		return false, fmt.Errorf("making the request: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := s.client.Do(req)
	var of *url.Error
	if errors.As(err, &of) {
		err = of.Err // without the address, which may hold a token
	}
	if err != nil {
		return true, fmt.Errorf("posting the event: %w", err)
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 1<<16)) // lets the connection be used again
	switch {
	case res.StatusCode == http.StatusTooManyRequests || res.StatusCode < 300:
		return false, nil
	case res.StatusCode >= 500:
		return true, fmt.Errorf("posting the event: %s", res.Status)
	}
	return false, fmt.Errorf("posting the event: %s", res.Status)
}

// Bounded tells Kubernetes, by inner, what it takes: an event whose note is longer is
// refused whole, and what is long is what went wrong with much.
func Bounded(inner events.EventRecorder) events.EventRecorder { return bounded{inner} }

type bounded struct{ events.EventRecorder }

// Eventf implements events.EventRecorder.
func (b bounded) Eventf(regarding, related runtime.Object, kind, reason, action, note string, args ...any) {
	text := fmt.Sprintf(note, args...)
	if len(text) > maxNote {
		text = strings.ToValidUTF8(text[:maxNote-len("…")], "") + "…"
	}
	b.EventRecorder.Eventf(regarding, related, kind, reason, action, "%s", text)
}

// Recorder also tells Kubernetes, by inner, of what a controller says.
func (s *Sender) Recorder(inner events.EventRecorder, controller string) events.EventRecorder {
	return &recorder{EventRecorder: inner, sender: s, controller: controller}
}

type recorder struct {
	events.EventRecorder
	sender     *Sender
	controller string
}

// Eventf implements events.EventRecorder.
func (r *recorder) Eventf(regarding, related runtime.Object, kind, reason, action, note string, args ...any) {
	r.EventRecorder.Eventf(regarding, related, kind, reason, action, note, args...)
	e, ok := r.sender.event(regarding, kind, reason, fmt.Sprintf(note, args...))
	if !ok {
		return
	}
	e.ReportingController = r.controller
	select {
	case r.sender.queue <- e:
	default: // nobody takes them: those that wait say enough
	}
}

// event is what Flux's event API knows of one. Only objects of ours are told, which
// have a namespace.
func (s *Sender) event(o runtime.Object, kind, reason, message string) (eventv1.Event, bool) {
	ref, err := reference.GetReference(s.scheme, o)
	if err != nil || ref.Namespace == "" {
		return eventv1.Event{}, false
	}
	severity := eventv1.EventSeverityInfo
	if kind == corev1.EventTypeWarning {
		severity = eventv1.EventSeverityError
	}
	return eventv1.Event{
		InvolvedObject: *ref, Severity: severity, Timestamp: metav1.NewTime(s.clock()),
		Reason: reason, Message: shortened(message), Metadata: metadata(o), ReportingInstance: s.instance,
	}, true
}

func shortened(message string) string {
	if letters := []rune(message); len(letters) > maxMessage {
		return string(letters[:maxMessage-1]) + "…"
	}
	return message
}

// metadata of an event: of what revision it speaks, and whether that revision has
// arrived, which is what a commit status says. Annotations of Flux's event API on
// the object go with it, so that event.toolkit.fluxcd.io/change_request reaches a
// pull request.
func metadata(o runtime.Object) map[string]string {
	found := map[string]string{}
	object, err := meta.Accessor(o)
	if err != nil {
		return nil
	}
	for key, value := range object.GetAnnotations() {
		if strings.HasPrefix(key, eventv1.Group+"/") {
			found[key] = value
		}
	}
	if revision := revisionOf(o, object); revision != "" {
		found[v1alpha1.GroupVersion.Group+"/"+eventv1.MetaRevisionKey] = revision
		if arrived(o) {
			found[v1alpha1.GroupVersion.Group+"/"+eventv1.MetaCommitStatusKey] = eventv1.MetaCommitStatusUpdateValue
		}
	}
	return found
}

// revisionOf is the revision that an object is about: the one a RepoSync has last
// tried, the one that has last changed anything else.
func revisionOf(o runtime.Object, object metav1.Object) string {
	if sync, ok := o.(*v1alpha1.RepoSync); ok {
		return sync.Status.LastAttemptedRevision
	}
	return object.GetAnnotations()[repolayout.AnnotationRevision]
}

// arrived says that the object is Ready. Flux makes every event of no error a
// success, so what is on its way must not become a commit status.
func arrived(o runtime.Object) bool {
	has, ok := o.(interface{ GetConditions() []metav1.Condition })
	return ok && meta.IsStatusConditionTrue(has.GetConditions(), v1alpha1.ConditionReady)
}
