// SPDX-License-Identifier: Apache-2.0

package check

import (
	"fmt"
	"strings"

	"github.com/espalier-dev/espalier/presets"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// locked reads the lock file of a model outside the catalogue. Where it is
// missing, wrong or does not say enough, nothing that depends on it is judged.
func (c *checker) locked(m v1alpha1.LockedModel, field string) (presets.Preset, bool) {
	data := c.facts.ConfigMaps[m.Lock]
	text, ok := data[repolayout.LockFile]
	switch {
	case data == nil:
		c.refuse(InputMissing, field, "ConfigMap %q is not there: list the lock file of %s below configMapGenerator of the kustomization", m.Lock, m.ID)
		return presets.Preset{}, false
	case !ok:
		c.refuse(LockInvalid, field, "ConfigMap %q has no key %s: a configMapGenerator names the key by the file, so call the file that", m.Lock, repolayout.LockFile)
		return presets.Preset{}, false
	}
	p, err := presets.DecodeLock([]byte(text))
	if err != nil {
		c.refuse(LockInvalid, field, "%s: %s; write it anew with `%s`", repolayout.LockFile, oneLine(err), lockCommand(m.ID))
		return presets.Preset{}, false
	}
	if p.ID != m.ID {
		c.refuse(LockInvalid, field, "%s is the lock file of %.100s and model.id is %s: name its model, or write it anew with `%s`", repolayout.LockFile, p.ID, m.ID, lockCommand(m.ID))
		return p, false
	}
	c.catalogued(&p, field)
	return p, c.enough(p, field)
}

// catalogued warns of a lock file for a model that the catalogue has, whose
// parsers and arguments are then not used. A licence holds all the same.
func (c *checker) catalogued(p *presets.Preset, field string) {
	known, ok := presets.Lookup(p.ID)
	if !ok || !strings.EqualFold(known.ID, p.ID) {
		return
	}
	p.Gated = p.Gated || known.Gated
	c.warn(ModelInCatalogue, field, "the catalogue has %s, with what the runtime is told for it, which a lock file does not say: preset: %s needs no lock file", p.ID, known.Name())
}

// enough says whether the lock file has every field that the memory fit needs.
func (c *checker) enough(p presets.Preset, field string) bool {
	missing, task := p.Model.MissingToServe(), "serving"
	if c.workspace.Spec.Tuning != nil {
		missing, task = p.Model.MissingToTune(), "tuning"
		if why := p.Model.NotTunable(); why != "" {
			c.refuse(NotTunable, field, "%s", why)
			return false
		}
	}
	if len(missing) == 0 {
		return true
	}
	c.refuse(FitUnknown, field, "%s does not say %s, so nobody can say whether %s fits: `%s` fills in what those files say, and the rest is added by hand, with its source",
		repolayout.LockFile, strings.Join(missing, ", "), task, lockCommand(p.ID))
	return false
}

// lockCommand writes a lock file with everything that a model's files say.
func lockCommand(id string) string {
	return fmt.Sprintf("espalier presets lock %s --from config.json --index model.safetensors.index.json -o %s", id, repolayout.LockFile)
}

func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }
