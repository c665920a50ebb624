// SPDX-License-Identifier: Apache-2.0

package nodepool

import (
	"context"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// frugal fails the test where all nodes are copied.
type frugal struct {
	client.Client
	t *testing.T
}

func (f frugal) List(_ context.Context, list client.ObjectList, opts ...client.ListOption) error {
	if shared := (&client.ListOptions{}).ApplyOptions(opts).UnsafeDisableDeepCopy; shared == nil || !*shared {
		f.t.Errorf("%T is copied for each pass", list)
	}
	return nil
}

// TestPluginCopiesNoNodes: while GPUs are waited for, each pass looks at all nodes of the
// cluster, which may be thousands.
func TestPluginCopiesNoNodes(t *testing.T) {
	r := &Reconciler{Client: frugal{t: t}}
	why, err := r.plugin(t.Context(), &corev1.Node{}, nil, false)
	if err != nil || !strings.Contains(why, "no other node offers GPUs") {
		t.Errorf("%q (%v)", why, err)
	}
}
