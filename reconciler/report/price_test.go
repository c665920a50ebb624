// SPDX-License-Identifier: Apache-2.0

package report

import (
	"bytes"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/types"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// TestPrice: a price of another cluster may be anything, and takes no memory.
func TestPrice(t *testing.T) {
	for text, c := range map[string]struct {
		reason string
		want   string
	}{
		"3.673":                 {"A price.", "3.67"},
		"0":                     {"Nothing is paid.", "0.00"},
		"1e999999":              {"An exponent makes a number of a megabyte.", ""},
		"1E9":                   {"In either case.", ""},
		"0x1p-2":                {"No other base.", ""},
		"1/3":                   {"No fraction.", ""},
		"-1":                    {"Nobody is paid for a node.", ""},
		"":                      {"It is not known.", ""},
		"111111111111111111111": {"No more than 20 characters.", ""},
	} {
		got := ""
		if usd, ok := Price(text); ok {
			got = usd.FloatString(2)
		}
		if got != c.want {
			t.Errorf("%q: %s\ngot %q, want %q", text, c.reason, got, c.want)
		}
	}
}

// TestCost: what Workspaces share is paid for once, whether or not its price is known.
func TestCost(t *testing.T) {
	price := func(text string) *remembered {
		usd, _ := Price(text)
		return &remembered{pays: true, pool: 1, usd: usd}
	}
	of := func(pool uint64, r *remembered) *remembered {
		r.pool = pool
		return r
	}
	for name, c := range map[string]struct {
		reason string
		files  []*remembered
		want   string
	}{
		"None":         {"A Workspace that holds nothing pays nothing.", []*remembered{{}}, "**Now:** no GPU node is held.\n\n"},
		"Shared":       {"Of two that share a pool, the higher of what they say.", []*remembered{price("1"), price("2")}, "**Now:** 2.00 USD/h at list price, for 1 node pool.\n\n"},
		"Two":          {"Each pays for its own.", []*remembered{price("1"), of(2, price("2"))}, "**Now:** 3.00 USD/h at list price, for 2 node pools.\n\n"},
		"Unknown":      {"Two that share a pool without a price miss one.", []*remembered{price(""), price("")}, "**Now:** 0.00 USD/h at list price, and the price of 1 node pool is not known.\n\n"},
		"LearntLater":  {"One of them knows it.", []*remembered{price(""), price("1")}, "**Now:** 1.00 USD/h at list price, for 1 node pool.\n\n"},
		"LearntBefore": {"Whichever comes first.", []*remembered{price("1"), price("")}, "**Now:** 1.00 USD/h at list price, for 1 node pool.\n\n"},
	} {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			(&Draft{files: c.files}).writeCost(&b)
			if b.String() != c.want {
				t.Errorf("%s\ngot  %q\nwant %q", c.reason, b.String(), c.want)
			}
		})
	}
}

// TestSharedPool: what a pool that several Workspaces name costs, the pool says: they do not.
func TestSharedPool(t *testing.T) {
	on := func(name, pool string) *v1alpha1.Workspace {
		w := onNodes(serving(name), "")
		w.Spec.Resource.NodePool, w.Status.NodePool = pool, pool
		return &w
	}
	own := onNodes(serving("own"), "0.526")
	left := on("left", "shared")
	left.Spec.Resource.NodePool, left.Status.Sizing.USDPerHour = "", "0.526"
	elsewhere := on("elsewhere", "shared")
	elsewhere.Namespace = "research"
	waits := serving("waits")
	waits.Spec.Resource.NodePool = "shared"
	pools := map[types.NamespacedName]string{{Namespace: "models", Name: "shared"}: "4.775", {Namespace: "models", Name: "ours"}: "0", {Namespace: "models", Name: "a"}: "9"}
	for name, c := range map[string]struct {
		reason string
		on     []*v1alpha1.Workspace
		want   string
	}{
		"Once":      {"However many Workspaces name it.", []*v1alpha1.Workspace{on("a", "shared"), on("b", "shared")}, "4.775 USD/h at list price, for 1 node pool."},
		"BesideOwn": {"Own nodes are another pool.", []*v1alpha1.Workspace{on("a", "shared"), &own}, "5.301 USD/h at list price, for 2 node pools."},
		"Existing":  {"Nodes that exist cost nothing.", []*v1alpha1.Workspace{on("a", "ours")}, "0.00 USD/h at list price, for 1 node pool."},
		"Unknown":   {"A pool without a price stays without one.", []*v1alpha1.Workspace{on("a", "shared"), on("b", "other")}, "4.775 USD/h at list price, and the price of 1 node pool is not known."},
		"OwnName":   {"A pool may be named as a Workspace that shares it.", []*v1alpha1.Workspace{on("a", "a")}, "9.00 USD/h at list price, for 1 node pool."},
		"Elsewhere": {"A pool of another namespace is another pool.", []*v1alpha1.Workspace{elsewhere}, "0.00 USD/h at list price, and the price of 1 node pool is not known."},
		"Left":      {"A run that is still on the pool which its Workspace has left costs what the pool does.", []*v1alpha1.Workspace{left}, "4.775 USD/h at list price, for 1 node pool."},
		"Waits":     {"Who has no place on it yet does not pay for it.", []*v1alpha1.Workspace{&waits}, "no GPU node is held."},
	} {
		t.Run(name, func(t *testing.T) {
			readme := string(Files(Snapshot{Namespace: "models", Name: "fleet", Workspaces: c.on, Pools: pools})["README.md"])
			if !strings.Contains(readme, "**Now:** "+c.want+"\n") {
				t.Errorf("%s\nwant %q in\n%s", c.reason, c.want, readme)
			}
		})
	}
}
