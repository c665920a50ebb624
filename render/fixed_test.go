// SPDX-License-Identifier: Apache-2.0

package render_test

import (
	"strings"
	"testing"

	"github.com/espalier-dev/espalier/render"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// TestPatchesThatReachOut: what acts on an object with rights of its own, Prometheus, KEDA, a
// Gateway, the network, gives a patch no more of them than the spec does.
func TestPatchesThatReachOut(t *testing.T) {
	const monitored, scaled, spread, tuned = "inference-monitored", "inference-autoscale-keda", "inference-nodes", "tuning-nodes"
	for name, tc := range map[string]struct {
		reason string
		golden string // of testdata, whose Workspace is patched
		kind   string
		patch  string // operations
		want   string // part of the message; "" none
	}{
		"MonitorPace":        {"how often is asked", monitored, render.KindServiceMonitor, "- {op: add, path: /spec/endpoints/0/interval, value: 60s}\n- {op: add, path: /spec/endpoints/0/scrapeTimeout, value: 5s}", ""},
		"MonitorToken":       {"the token of Prometheus", monitored, render.KindServiceMonitor, "- {op: add, path: /spec/endpoints/0/bearerTokenFile, value: /var/run/secrets/kubernetes.io/serviceaccount/token}", "spec.endpoints"},
		"MonitorProxy":       {"whoever the proxy is hears what is asked", monitored, render.KindServiceMonitor, "- {op: add, path: /spec/endpoints/0/proxyUrl, value: 'http://mine:80'}", "spec.endpoints"},
		"MonitorFile":        {"a file of Prometheus", monitored, render.KindServiceMonitor, "- {op: add, path: /spec/endpoints/0/tlsConfig, value: {keyFile: /etc/prometheus/key}}", "spec.endpoints"},
		"MonitorAddress":     {"Prometheus asks whoever is named", monitored, render.KindServiceMonitor, "- {op: add, path: /spec/endpoints/0/relabelings, value: [{targetLabel: __address__, replacement: '169.254.169.254:80'}]}", "spec.endpoints"},
		"MonitorSpoof":       {"metrics in the name of others", monitored, render.KindServiceMonitor, "- {op: add, path: /spec/endpoints/0/honorLabels, value: true}", "spec.endpoints"},
		"MonitorSecond":      {"nor by an endpoint beside", monitored, render.KindServiceMonitor, "- {op: add, path: /spec/endpoints/-, value: {port: http, path: /x}}", "spec.endpoints"},
		"MonitorClass":       {"a class may have credentials", monitored, render.KindServiceMonitor, "- {op: add, path: /spec/scrapeClass, value: admin}", "spec.scrapeClass"},
		"ScalerPace":         {"how fast it scales", scaled, render.KindScaledObject, "- {op: replace, path: /spec/pollingInterval, value: 60}\n- {op: replace, path: /spec/cooldownPeriod, value: 60}\n- {op: replace, path: /spec/advanced/horizontalPodAutoscalerConfig/behavior/scaleUp/stabilizationWindowSeconds, value: 0}", ""},
		"ScalerThreshold":    {"by how much, and how the credential is shown that the spec names", scaled, render.KindScaledObject, "- {op: replace, path: /spec/triggers/0/metadata/threshold, value: '20'}\n- {op: add, path: /spec/triggers/0/metadata/authModes, value: bearer}\n- {op: add, path: /spec/triggers/0/metricType, value: Value}", ""},
		"ScalerCredential":   {"a ClusterTriggerAuthentication is the credential of somebody else", scaled, render.KindScaledObject, "- {op: add, path: /spec/triggers/0/authenticationRef/kind, value: ClusterTriggerAuthentication}", "spec.triggers"},
		"ScalerServer":       {"a credential goes to the server that the spec names", scaled, render.KindScaledObject, "- {op: replace, path: /spec/triggers/0/metadata/serverAddress, value: 'http://mine:80'}", "spec.triggers"},
		"ScalerHeaders":      {"metrics of another tenant", scaled, render.KindScaledObject, "- {op: add, path: /spec/triggers/0/metadata/customHeaders, value: X-Scope-OrgID=other}", "spec.triggers"},
		"ScalerOther":        {"KEDA knows dozens of servers", scaled, render.KindScaledObject, "- {op: add, path: /spec/triggers/-, value: {type: metrics-api, metadata: {url: 'http://mine:80', valueLocation: a, targetValue: '1'}}}", "spec.triggers"},
		"ScalerPinned":       {"KEDA takes a number of copies from an annotation, past the bounds", scaled, render.KindScaledObject, "- {op: add, path: /metadata/annotations, value: {autoscaling.keda.sh/paused-replicas: '100'}}", "autoscaling.keda.sh/paused-replicas"},
		"PolicyNarrow":       {"who may ask is the user's to say", spread, "NetworkPolicy", "- {op: add, path: /spec/ingress/0/from, value: [{namespaceSelector: {matchLabels: {team: a}}}]}", ""},
		"PolicyFewer":        {"nobody may", spread, "NetworkPolicy", "- {op: remove, path: /spec/ingress/0}", ""},
		"PolicyRule":         {"processes of a copy trust whoever reaches them", spread, "NetworkPolicy", "- {op: add, path: /spec/ingress/-, value: {}}", "spec.ingress"},
		"PolicyMembers":      {"nor do these let in others", spread, "NetworkPolicy", "- {op: add, path: /spec/ingress/1/from/-, value: {namespaceSelector: {}}}", "spec.ingress"},
		"PolicyMembersOfJob": {"those of a run neither", tuned, "NetworkPolicy", "- {op: remove, path: /spec/ingress/0/from}", "spec.ingress"},
		"PolicyPort":         {"nor by other ports", spread, "NetworkPolicy", "- {op: remove, path: /spec/ingress/0/ports}", "spec.ingress"},
		"PolicyOut":          {"what an administrator forbids with a policy is not allowed by ours", spread, "NetworkPolicy", "- {op: add, path: /spec/egress, value: [{}]}", "spec.egress"},
		"PolicyTypes":        {"nor is ours without effect", spread, "NetworkPolicy", "- {op: replace, path: /spec/policyTypes, value: [Egress]}", "spec.policyTypes"},
	} {
		t.Run(name, func(t *testing.T) {
			in := cases(t)[tc.golden].input(t)
			in.Workspace.Spec.Patches = []v1alpha1.Patch{json6902(tc.kind, tc.patch)}
			_, err := render.Render(in)
			switch {
			case tc.want == "" && err != nil:
				t.Errorf("%s: %v", tc.reason, err)
			case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want+" ")):
				t.Errorf("%s: %v, want %q", tc.reason, err, tc.want)
			}
		})
	}
}

// TestPatchesOfGPUs: a pod takes the GPUs that were sized and priced, whatever a patch says.
func TestPatchesOfGPUs(t *testing.T) {
	const at = "- {op: add, path: /spec/template/spec/containers/0/resources/limits/nvidia.com~1gpu, value: "
	for name, tc := range map[string]struct {
		reason string
		of     string // the Workspace
		patch  v1alpha1.Patch
		want   string // part of the message; "" none
	}{
		"More":     {"no node has them, or others of a shared pool were to have them", service, json6902("Deployment", at+"4}"), "container vllm: resources.limits nvidia.com/gpu cannot be patched: set spec.resource.gpus, or tensor-parallel-size"},
		"None":     {"the runtime finds none", service, json6902("Deployment", at+"0}"), "nvidia.com/gpu cannot be patched"},
		"Removed":  {"nor without its limits", service, json6902("Deployment", "- {op: remove, path: /spec/template/spec/containers/0/resources}"), "nvidia.com/gpu cannot be patched"},
		"Slice":    {"nor beside them", service, json6902("Deployment", "- {op: add, path: /spec/template/spec/containers/0/resources/limits/nvidia.com~1mig-1g.5gb, value: 1}"), "nvidia.com/mig-1g.5gb cannot be patched"},
		"Beside":   {"nor by a container of its own", service, pod("{containers: [{name: x, image: y, resources: {limits: {nvidia.com/gpu: 1}}}]}"), "container x: resources.limits nvidia.com/gpu cannot be patched"},
		"Same":     {"the number in another form is the same", service, json6902("Deployment", at+"'1'}"), ""},
		"Others":   {"what is no GPU is the user's to say", service, json6902("Deployment", "- {op: add, path: /spec/template/spec/containers/0/resources/limits/rdma~1ib, value: 1}\n- {op: add, path: /spec/template/spec/containers/0/resources/limits/memory, value: 60Gi}"), ""},
		"Run":      {"nor has a run more than its node", run, json6902("Job", "- {op: add, path: /spec/template/spec/initContainers/2/resources/limits/nvidia.com~1gpu, value: 4}"), "container train: resources.limits nvidia.com/gpu cannot be patched: a run trains on all GPUs of its nodes; set spec.resource"},
		"Template": {"those of a pod of the user's own are in its template, where they are held against the size", own, json6902("Deployment", at+"1}"), "of a pod of your own spec.inference.template"},
	} {
		t.Run(name, func(t *testing.T) {
			in := render.Input{Workspace: workspace(t, tc.of), Options: options}
			in.Workspace.Spec.Patches = []v1alpha1.Patch{tc.patch}
			assess(t, &in, facts(`vllm: {}`))
			_, err := render.Render(in)
			switch {
			case tc.want == "" && err != nil:
				t.Errorf("%s: %v", tc.reason, err)
			case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)):
				t.Errorf("%s: %v, want %q", tc.reason, err, tc.want)
			}
		})
	}
}

// TestPatchesThatSwap: objects that change places are each held to what stood in theirs.
func TestPatchesThatSwap(t *testing.T) {
	in := render.Input{Workspace: workspace(t, service), Options: options}
	const spec = "{replicas: null, selector: {matchLabels: {espalier.dev/workspace: w}}, template: {metadata: {labels: {app: mine}}, spec: {containers: [{name: x, image: y}]}}}"
	in.Workspace.Spec.Patches = []v1alpha1.Patch{
		json6902("Deployment", "- {op: replace, path: /kind, value: Third}"),
		json6902("PodDisruptionBudget", "- {op: replace, path: /kind, value: Deployment}\n- {op: replace, path: /apiVersion, value: apps/v1}\n- {op: replace, path: /spec, value: "+spec+"}"),
		json6902("Third", "- {op: replace, path: /kind, value: PodDisruptionBudget}\n- {op: replace, path: /apiVersion, value: policy/v1}\n- {op: replace, path: /spec, value: {selector: {matchLabels: {espalier.dev/workspace: w}}}}"),
	}
	assess(t, &in, facts(`vllm: {}`))
	out, err := render.Render(in)
	if err == nil {
		t.Errorf("a pod that is on no node of its Workspace was rendered:\n%s", text(t, out))
	}
}
