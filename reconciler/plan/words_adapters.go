// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/url"

	"github.com/espalier-dev/espalier/presets/runtimes"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

func (w *words) adapters(a, b []v1alpha1.Adapter) {
	byName := func(list []v1alpha1.Adapter) map[string]string {
		m := map[string]string{}
		for _, x := range list {
			m[x.Name] = adapterFrom(x)
		}
		return m
	}
	before, after := byName(a), byName(b)
	for _, name := range union(before, after) {
		w.keyed("adapter", name, before, after)
	}
	w.strengths(a, b)
}

// strengths names what adapters that stay weigh among those that are merged.
func (w *words) strengths(a, b []v1alpha1.Adapter) {
	before := map[string]string{}
	for _, x := range a {
		before[x.Name] = cmp.Or(x.Strength, "1")
	}
	for _, x := range b {
		if was, there := before[x.Name]; there {
			w.change("strength of adapter "+x.Name, was, cmp.Or(x.Strength, "1"))
		}
	}
}

// merging says what becomes of the names that requests use where another runtime
// serves: KAITO's transformers engine merges adapters into the model.
func (w *words) merging(s *v1alpha1.InferenceSpec, before, after string) {
	switch {
	case s == nil || len(s.Adapters) == 0:
	case after == runtimes.KAITOTransformers:
		w.add("adapters are merged into the model, and requests that name one of them fail")
	case before == runtimes.KAITOTransformers:
		w.add("each adapter answers under its own name, and the model without any")
	}
}

// adapterFrom says where an adapter comes from.
func adapterFrom(a v1alpha1.Adapter) string {
	switch {
	case a.Claim != "" && a.Path != "":
		return claimOf(a.Claim) + "/" + a.Path
	case a.Claim != "":
		return claimOf(a.Claim)
	case len(a.URLs) > 0:
		return filesFrom(a.URLs)
	case a.Path != "":
		return a.Image + " (" + a.Path + ")"
	}
	return a.Image
}

// filesFrom names files by their host, and by a digest of their addresses, which tells
// two lists apart. A query may be a credential, and is no part of either.
func filesFrom(addresses []string) string {
	host, sum := "", sha256.New()
	for _, address := range addresses {
		u, err := url.Parse(address)
		if err != nil {
			continue
		}
		u.RawQuery, u.User = "", nil
		host = u.Host
		fmt.Fprintln(sum, u)
	}
	return fmt.Sprintf("%d files of %s (%s)", len(addresses), host, short(hex.EncodeToString(sum.Sum(nil))))
}
