// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"path/filepath"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// TestPolicyPorts: a NetworkPolicy lets nothing in by the name of a port that no container has.
func TestPolicyPorts(t *testing.T) {
	for _, folder := range overlays(t) {
		t.Run(filepath.Base(folder), func(t *testing.T) {
			objects := build(t, folder)
			ports := map[string]bool{}
			for _, c := range find[*appsv1.Deployment](t, objects).Spec.Template.Spec.Containers {
				for _, p := range c.Ports {
					ports[p.Name] = true
				}
			}
			for _, rule := range find[*networkingv1.NetworkPolicy](t, objects).Spec.Ingress {
				for _, p := range rule.Ports {
					if p.Port.Type == intstr.String && !ports[p.Port.StrVal] {
						t.Errorf("port %q is let in, and the controller has %v", p.Port.StrVal, ports)
					}
				}
			}
		})
	}
}
