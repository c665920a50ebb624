// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"maps"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"

	"k8s.io/utils/ptr"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

func (w *words) tuning(a, b *v1alpha1.TuningSpec) {
	w.change("method", string(a.Method), string(b.Method))
	w.change("data", dataOf(a.Input), dataOf(b.Input))
	w.change("output", a.Output.Image+claimOf(a.Output.Claim), b.Output.Image+claimOf(b.Output.Claim))
	w.change("push secret", a.Output.PushSecret, b.Output.PushSecret)
	w.change("signing secret", a.Output.SigningSecret, b.Output.SigningSecret)
	w.others(a, b, "preset", "model", "revision", "accessSecret", "config", "method", "input", "output", "checkpoints", "timeout", "retries", "promote", "evaluation")
	w.evaluation(a.Evaluation, b.Evaluation)
	w.change("promoted to", promotedTo(a), promotedTo(b))
	w.change("timeout", limitOf(a), limitOf(b))
	if was, is := ptr.Deref(a.Retries, defaultRetries), ptr.Deref(b.Retries, defaultRetries); was != is {
		w.add("retries %d → %d", was, is)
	}
	before, after := checkpointsOf(a), checkpointsOf(b)
	for _, key := range union(before, after) {
		w.keyed("checkpoints", key, before, after)
	}
	if !slices.Equal(a.Input.PullSecrets, b.Input.PullSecrets) {
		w.add("pull secrets")
	}
}

func claimOf(name string) string {
	if name == "" {
		return ""
	}
	return "claim " + name
}

// dataOf names training data without the query of an address, which may be a
// credential.
func dataOf(in v1alpha1.DataSource) string {
	var files []string
	for _, address := range in.URLs {
		u, err := url.Parse(address)
		if err != nil {
			files = append(files, "an address")
			continue
		}
		name := u.Host + "/…/" + path.Base(u.Path)
		if u.RawQuery != "" {
			name += "?…"
		}
		files = append(files, name)
	}
	if in.Claim != "" {
		files = append(files, claimOf(in.Claim))
	}
	if in.Image != "" {
		files = append(files, in.Image)
	}
	return joined(files)
}

// checkpointsOf is what the spec says of the volume of a run.
func checkpointsOf(t *v1alpha1.TuningSpec) map[string]string {
	k, said := t.Kept(), map[string]string{}
	for key, value := range map[string]string{
		"class": k.StorageClass, "size": k.Size, "kept": numbered(k.Keep), "every steps": numbered(k.SaveSteps), "retained": string(k.Retain),
	} {
		if value != "" {
			said[key] = value
		}
	}
	return said
}

// defaultRetries is the number of the runtime's base.
const defaultRetries = 6

func limitOf(t *v1alpha1.TuningSpec) string {
	if t.Timeout == nil {
		return ""
	}
	return t.Timeout.Duration.String()
}

func promotedTo(t *v1alpha1.TuningSpec) string {
	if t.Promote == nil {
		return ""
	}
	return t.Promote.To
}

func numbered(n int32) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(int(n))
}

// rowsOf says what a row of the data is and which columns have other names.
func rowsOf(f v1alpha1.DataFormat) string {
	said := []string{string(f.Type)}
	named := f.Columns.Named()
	for _, key := range slices.Sorted(maps.Keys(named)) {
		said = append(said, key+"="+named[key])
	}
	if f.Prompt != "" {
		said = append(said, "prompt "+strings.Join(strings.Fields(f.Prompt), " "))
	}
	return strings.Join(said, " ")
}
