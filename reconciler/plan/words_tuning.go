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

	"github.com/espalier-dev/espalier/render/desired"
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

// dataOf names training data.
func dataOf(in v1alpha1.DataSource) string {
	data := shownURLs(in.URLs)
	if in.Claim != "" {
		data = append(data, claimOf(in.Claim))
	}
	if in.Image != "" {
		data = append(data, in.Image)
	}
	for _, f := range in.Files {
		source := "ConfigMap " + f.ConfigMap
		if f.Secret != "" {
			source = "Secret " + f.Secret
		}
		if len(f.Items) > 0 {
			source += " (" + joined(pathsOf(f.Items)) + ")"
		}
		data = append(data, source)
	}
	return joined(data)
}

// trainedOn names the ConfigMaps of training data whose content differs under one
// name.
func (w *words) trainedOn(was, is desired.Workspace) {
	before := map[string]bool{}
	for _, f := range was.Workspace.Spec.Tuning.Input.Files {
		before[f.ConfigMap] = true
	}
	for _, f := range is.Workspace.Spec.Tuning.Input.Files {
		if name := f.ConfigMap; name != "" && before[name] && !maps.Equal(was.ConfigMaps[name], is.ConfigMaps[name]) {
			w.add("content of ConfigMap %s", name)
		}
	}
}

func pathsOf(items []v1alpha1.FileItem) []string {
	var paths []string
	for _, i := range items {
		paths = append(paths, i.Path)
	}
	return paths
}

// shownURLs names addresses without their query, which may be a credential; of the
// checksum the beginning.
func shownURLs(addresses []string) []string {
	var shown []string
	for _, address := range addresses {
		u, err := url.Parse(address)
		if err != nil {
			shown = append(shown, "an address")
			continue
		}
		name := u.Host + "/…/" + path.Base(u.Path)
		if u.RawQuery != "" {
			name += "?…"
		}
		if sum, ok := strings.CutPrefix(strings.ToLower(u.Fragment), "sha256="); ok {
			name += "#" + short(sum)
		}
		shown = append(shown, name)
	}
	return shown
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
