// SPDX-License-Identifier: Apache-2.0

package render_test

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/runtime"

	"github.com/espalier-dev/espalier/render"
	"github.com/espalier-dev/espalier/render/check"
)

const own = `
apiVersion: espalier.dev/v1alpha1
kind: Workspace
metadata: {name: w, namespace: n}
spec:
  resource: {instanceType: Standard_NC48ads_A100_v4}
  inference:
    template:
      spec:
        containers:
        - name: a
          image: registry.example.com/team/server:1
          ports: [{containerPort: 80}]
          readinessProbe: {tcpSocket: {port: 80}}
          resources: {limits: {nvidia.com/gpu: 2}}
`

// TestPodOfATenant says what a pod of the user's own may not ask for: what a patch
// may not either.
func TestPodOfATenant(t *testing.T) {
	for name, tc := range map[string]struct {
		reason   string
		old, new string
		want     string // part of the message; "" none
	}{
		"Harmless":       {"sidecars and disks of the pod are its own affair", "spec:\n        containers:", "spec:\n        volumes: [{name: d, emptyDir: {}}]\n        initContainers: [{name: i, image: registry.example.com/team/init:1}]\n        containers:", ""},
		"HostPath":       {"the host's disk", "        containers:", "        volumes: [{name: h, hostPath: {path: /}}]\n        containers:", "hostPath"},
		"HostNetwork":    {"the host's network", "        containers:", "        hostNetwork: true\n        containers:", "hostNetwork"},
		"Privileged":     {"privilege", "        - name: a", "        - name: a\n          securityContext: {privileged: true}", "privileged"},
		"Capability":     {"capabilities above baseline", "        - name: a", "        - name: a\n          securityContext: {capabilities: {add: [SYS_ADMIN]}}", "SYS_ADMIN"},
		"ServiceAccount": {"another account's rights", "        containers:", "        serviceAccountName: admin\n        containers:", "serviceAccountName"},
		"Token":          {"a token for the API server", "        containers:", "        volumes: [{name: t, projected: {sources: [{serviceAccountToken: {path: t}}]}}]\n        containers:", "token"},
		"NodeName":       {"past the scheduler", "        containers:", "        nodeName: n1\n        containers:", "nodeName"},
		"HostPort":       {"a port of the node", "containerPort: 80}", "containerPort: 80, hostPort: 80}", "hostPort"},
		"ProbeElsewhere": {"a probe that makes the node ask any address", "tcpSocket: {port: 80}", "tcpSocket: {port: 80, host: 169.254.169.254}", "host"},
		"AppArmor":       {"no profile, as it was said before there was a field", "      spec:", "      metadata: {annotations: {container.apparmor.security.beta.kubernetes.io/a: unconfined}}\n      spec:", "container.apparmor.security"},
		"Seccomp":        {"no filter, the same", "      spec:", "      metadata: {annotations: {container.seccomp.security.alpha.kubernetes.io/a: unconfined}}\n      spec:", "container.seccomp.security"},
		"AppArmorOurs":   {"the default profile is one", "      spec:", "      metadata: {annotations: {container.apparmor.security.beta.kubernetes.io/a: runtime/default}}\n      spec:", ""},
		"OtherNodes":     {"nodes that are not the Workspace's", "Standard_NC48ads_A100_v4}", "Standard_NC48ads_A100_v4, labelSelector: {matchLabels: {team: a}}}", ""},
	} {
		t.Run(name, func(t *testing.T) {
			in := render.Input{Workspace: workspace(t, strings.Replace(own, tc.old, tc.new, 1)), Options: options}
			assess(t, &in, check.Facts{})
			_, err := render.Render(in)
			switch {
			case tc.want == "" && err != nil:
				t.Errorf("%s: %v", tc.reason, err)
			case tc.want != "" && (err == nil || !strings.HasPrefix(err.Error(), "spec.inference.template: ") || !strings.Contains(err.Error(), tc.want)):
				t.Errorf("%s: %v, want %q of spec.inference.template", tc.reason, err, tc.want)
			}
		})
	}
}

// TestPodDigest: a template is what it says, not how it is written.
func TestPodDigest(t *testing.T) {
	digest := func(template string, configMap string) string {
		in := render.Input{Workspace: workspace(t, own), Options: options}
		if template != "" {
			in.Workspace.Spec.Inference.Template = &runtime.RawExtension{Raw: []byte(template)}
		}
		assess(t, &in, check.Facts{ConfigMaps: map[string]map[string]string{"c": {"k": configMap}}})
		out, err := render.Render(in)
		if err != nil {
			t.Fatal(err)
		}
		return out.Digest
	}
	const image = `{"spec":{"containers":[{"image":"registry.example.com/team/server:1","name":"a",`
	const rest = `"ports":[{"containerPort":80}],"readinessProbe":{"tcpSocket":{"port":80}},"resources":{"limits":{"nvidia.com/gpu":%s}}%s}]}}`
	same := strings.NewReplacer("%s}}%s", `"2"}}`).Replace(image + rest)
	if digest("", "") != digest(same, "") {
		t.Error("the same template in another order of keys is another pod")
	}
	other := strings.NewReplacer("%s}}%s", `1}}`).Replace(image + rest)
	if digest("", "") == digest(other, "") {
		t.Error("another number of GPUs is the same pod")
	}
	reads := strings.NewReplacer("%s}}%s", `2}},"envFrom":[{"configMapRef":{"name":"c"}}]`).Replace(image + rest)
	if digest(reads, "1") == digest(reads, "2") {
		t.Error("a changed ConfigMap does not reach the pod")
	}
}
