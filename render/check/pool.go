// SPDX-License-Identifier: Apache-2.0

package check

import (
	"github.com/espalier-dev/espalier/gpu/pool"
	"github.com/espalier-dev/espalier/gpu/sku"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// Pool is what the catalogue has against a GPUNodePool that Git declares: the node
// pool controller passes such candidates over. A size that is not in the catalogue
// is the cloud's to judge.
func Pool(p *v1alpha1.GPUNodePool, pos repolayout.Position) []v1alpha1.Finding {
	var found []v1alpha1.Finding
	object := v1alpha1.GPUNodePoolKind + "/" + p.Namespace + "/" + p.Name
	for i, c := range p.Spec.Candidates {
		instance, ok := sku.Lookup(c.InstanceType)
		if !ok {
			continue
		}
		why := pool.Unsuited(&p.Spec, c, pool.SizeOf(instance))
		if why == "" {
			continue
		}
		found = append(found, finding.Errorf(finding.OutOfRange, indexed("spec.candidates", i)+".instanceType", "%s", why).At(pos, object))
	}
	if len(found) < len(p.Spec.Candidates) {
		for i := range found {
			found[i].Severity = finding.Warning // the next candidate is taken
		}
	}
	return found
}
