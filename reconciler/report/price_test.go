// SPDX-License-Identifier: Apache-2.0

package report

import "testing"

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
