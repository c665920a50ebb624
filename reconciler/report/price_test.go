// SPDX-License-Identifier: Apache-2.0

package report

import (
	"bytes"
	"testing"
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
