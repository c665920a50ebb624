// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"fmt"
	"strings"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// routeOf is where a service is published.
func routeOf(r *v1alpha1.Route) string {
	if r == nil {
		return ""
	}
	var gateways []string
	for _, p := range r.ParentRefs {
		gateways = append(gateways, strings.Trim(p.Namespace+"/"+p.Name+"/"+p.SectionName, "/"))
	}
	hosts := "every hostname"
	if len(r.Hostnames) > 0 {
		hosts = joined(r.Hostnames)
	}
	return hosts + r.Path + " by Gateway " + joined(gateways) + pickerOf(r.InferencePool)
}

// pickerOf is who chooses the copy of a request, and what without an answer of it.
func pickerOf(pool *v1alpha1.InferencePool) string {
	if pool == nil {
		return ""
	}
	ref := pool.EndpointPickerRef
	return fmt.Sprintf(" to copies picked by %s:%d (%s)", ref.Name, ref.At(), ref.Fails())
}
