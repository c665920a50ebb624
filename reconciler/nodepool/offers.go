// SPDX-License-Identifier: Apache-2.0

package nodepool

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/gpu/quota"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// Forecaster is a provider that knows, before it is asked for nodes, what the
// cloud lists of quotas and sizes. It asks the cloud seldom; nil: nothing is known.
type Forecaster interface {
	Offers(ctx context.Context) (*quota.Snapshot, error)
}

// forecast asks for what the cloud lists, where a candidate may have to be chosen.
// Without an answer nothing is refused.
func (r *Reconciler) forecast(ctx context.Context, p *pass) {
	source, ok := p.provider.(Forecaster)
	choosing := p.unseen == nil && !p.facts.Seen.Exists && p.pool.Status.Phase != v1alpha1.PhaseClaiming
	_, most := p.pool.Spec.Nodes()
	if !ok || !choosing || p.pool.DeletionTimestamp != nil || most == 0 {
		return
	}
	offers, err := source.Offers(ctx)
	if err != nil {
		ctrl.LoggerFrom(ctx).Info("nodes are ordered without asking beforehand whether they can be had", "why", err.Error())
	}
	p.facts.Offers = offers
}

// Publisher keeps in a ConfigMap what the cloud lists of quotas and sizes, for
// plans of pull requests: whoever makes those has no credential of the cloud.
type Publisher struct {
	Client client.Client
	Live   client.Reader
	Offers Forecaster
	Name   types.NamespacedName // of the ConfigMap
	Clock  func() time.Time
}

// How often the cloud is looked at, and how old the ConfigMap becomes at most
// while nothing changes.
const (
	publishEvery = 10 * time.Minute
	publishLeast = time.Hour
)

// Start publishes until ctx ends; only the leader does.
func (p *Publisher) Start(ctx context.Context) error {
	tick := time.NewTicker(publishEvery)
	defer tick.Stop()
	for {
		if err := p.Publish(ctx); err != nil && ctx.Err() == nil {
			ctrl.LoggerFrom(ctx).Info("the quota of the cloud is not published", "why", err.Error())
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Publish writes what the cloud lists now, if it says something new or what is
// published grows old.
func (p *Publisher) Publish(ctx context.Context) error {
	now, err := p.Offers.Offers(ctx)
	if err != nil || now == nil || now.UsageAt.IsZero() {
		return err // what is published says when it was read
	}
	held := &corev1.ConfigMap{}
	err = p.Live.Get(ctx, p.Name, held)
	missing := apierrors.IsNotFound(err)
	if err != nil && !missing {
		return fmt.Errorf("reading ConfigMap %s: %w", p.Name, err)
	}
	if was, bad := quota.Read([]byte(held.Data[quota.Key])); bad == nil && !now.Differs(was) && p.Clock().Sub(was.UsageAt) < publishLeast {
		return nil
	}
	text, err := quota.Write(now)
	if err != nil {
		return err
	}
	held.Namespace, held.Name = p.Name.Namespace, p.Name.Name
	metav1.SetMetaDataLabel(&held.ObjectMeta, "app.kubernetes.io/managed-by", repolayout.FieldManager)
	held.Data = map[string]string{quota.Key: string(text)}
	if missing {
		err = p.Client.Create(ctx, held, client.FieldOwner(repolayout.FieldManager))
	} else {
		err = p.Client.Update(ctx, held, client.FieldOwner(repolayout.FieldManager))
	}
	if err != nil {
		return fmt.Errorf("writing ConfigMap %s: %w", p.Name, err)
	}
	return nil
}
