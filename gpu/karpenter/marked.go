// SPDX-License-Identifier: Apache-2.0

package karpenter

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/gpu/pool"
)

// Marked lists what carries the marks of Espalier, of whichever installation:
// NodePools with the number of their nodes, and NodeClaims without a NodePool. It
// reads what is watched, or live with a maxAge of 0.
func (p *Provider) Marked(ctx context.Context, maxAge time.Duration) ([]pool.Marked, error) {
	var from client.Reader = p.cfg.Client
	if maxAge == 0 {
		from = p.cfg.Live
	}
	pools, err := p.everyMarked(ctx, from, NodePool)
	if err != nil {
		return nil, err
	}
	claims, err := p.everyMarked(ctx, from, NodeClaim)
	if err != nil {
		return nil, err
	}
	var out []pool.Marked
	at := map[string]int{}
	for i := range pools {
		at[pools[i].GetName()] = len(out)
		out = append(out, markedAs(&pools[i]))
	}
	for i := range claims {
		if home, of := at[claims[i].GetLabels()[labelNodePool]]; of {
			out[home].Count++
			continue
		}
		m := markedAs(&claims[i])
		m.Count = 1
		out = append(out, m)
	}
	return out, nil
}

func markedAs(o *unstructured.Unstructured) pool.Marked {
	m := pool.Marked{
		Name: o.GetName(), UID: o.GetLabels()[LabelOwner], Installation: o.GetLabels()[LabelInstallation],
		Object: o.GetAnnotations()[annotationPool], Candidate: candidate(o.GetAnnotations()[annotationCandidate]), State: pool.StateSucceeded,
	}
	if o.GetDeletionTimestamp() != nil {
		m.State = pool.StateDeleting
	}
	return m
}

// everyMarked lists the objects of a kind that carry marks, whoever's pool they are of.
func (p *Provider) everyMarked(ctx context.Context, from client.Reader, kind schema.GroupKind) ([]unstructured.Unstructured, error) {
	version, err := p.version(kind)
	if err != nil || version == "" {
		return nil, err
	}
	found := &unstructured.UnstructuredList{}
	found.SetGroupVersionKind(kind.WithVersion(version).GroupVersion().WithKind(kind.Kind + "List"))
	if err := from.List(ctx, found, client.HasLabels{LabelOwner, LabelInstallation}); err != nil {
		return nil, fmt.Errorf("listing %ss: %w", kind.Kind, err)
	}
	return found.Items, nil
}
