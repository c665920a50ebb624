// SPDX-License-Identifier: Apache-2.0

package render_test

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/espalier-dev/espalier/render"
	"github.com/espalier-dev/espalier/render/check"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// smp is a strategic merge patch of a child called w.
func smp(kind, body string) v1alpha1.Patch {
	version := map[string]string{"Deployment": "apps/v1", "Job": "batch/v1", "Service": "v1", "GPUNodePool": "espalier.dev/v1alpha1", render.KindHPA: "autoscaling/v2"}[kind]
	return v1alpha1.Patch{Patch: "apiVersion: " + version + "\nkind: " + kind + "\nmetadata:\n  name: w\n" + body}
}

// pod is a strategic merge patch of the pod of a service.
func pod(fields string) v1alpha1.Patch {
	return smp("Deployment", "spec: {template: {spec: "+fields+"}}\n")
}

func json6902(kind, operations string) v1alpha1.Patch {
	return v1alpha1.Patch{Target: &v1alpha1.PatchTarget{Kind: kind}, Patch: operations}
}

// TestPatchesOfATenant says what a patch may not do. Each case is the second of
// two patches, and must be named as that.
func TestPatchesOfATenant(t *testing.T) {
	harmless := smp("Deployment", "  annotations: {example.com/a: b}\n")
	for name, tc := range map[string]struct {
		reason string
		patch  v1alpha1.Patch
		want   string // part of the message
	}{
		"Rename":            {"names are the contract", json6902("Deployment", "- {op: replace, path: /metadata/name, value: x}"), "renames"},
		"Namespace":         {"namespaces bound a tenant", json6902("Deployment", "- {op: replace, path: /metadata/namespace, value: kube-system}"), "renames"},
		"Kind":              {"a kind is another object", json6902("Service", "- {op: replace, path: /kind, value: Pod}"), "renames"},
		"Remove":            {"a child that is missing is found out late", smp("Service", "$patch: delete\n"), "removes"},
		"OwnerReference":    {"owners decide what is deleted", json6902("Service", "- {op: add, path: /metadata/ownerReferences, value: [{apiVersion: v1, kind: Node, name: x, uid: y}]}"), "owner references"},
		"Finalizer":         {"finalizers block deletion", json6902("Service", "- {op: add, path: /metadata/finalizers, value: [x/y]}"), "finalizers"},
		"OurLabel":          {"labels find children", json6902("Service", "- {op: replace, path: /metadata/labels/espalier.dev~1workspace, value: x}"), "labels"},
		"NewLabelOfOurs":    {"labels of ours mean something", smp("Service", "  labels: {espalier.dev/reposync-name: x}\n"), "labels"},
		"PodLabel":          {"the Service selects pods by it", smp("Deployment", "spec: {template: {metadata: {labels: {espalier.dev/workspace: x}}}}\n"), "labels"},
		"Digest":            {"the digest says what runs", smp("Deployment", "spec: {template: {metadata: {annotations: {espalier.dev/input-digest: x}}}}\n"), "annotations"},
		"Selector":          {"a selector reaches other pods", json6902("Service", "- {op: replace, path: /spec/selector, value: {app: x}}"), "spec.selector"},
		"Replicas":          {"replicas are sized and priced", smp("Deployment", "spec: {replicas: 9}\n"), "spec.replicas"},
		"Candidates":        {"candidates are sized and priced", json6902("GPUNodePool", "- {op: replace, path: /spec/candidates/0/instanceType, value: Standard_ND96isr_H100_v5}"), "spec.candidates"},
		"Nodes":             {"nodes are priced", json6902("GPUNodePool", "- {op: replace, path: /spec/replicas, value: 100}"), "spec.replicas"},
		"Orphan":            {"nodes go with their Workspace", json6902("GPUNodePool", "- {op: add, path: /spec/deletionPolicy, value: Orphan}"), "spec.deletionPolicy"},
		"ClustersNodes":     {"a cluster autoscaler buys what its bounds say", json6902("GPUNodePool", "- {op: add, path: /spec/aks, value: {autoscale: {min: 100, max: 1000}}}"), "spec.aks"},
		"SurgeNodes":        {"a node beyond those that are wanted is paid for", json6902("GPUNodePool", "- {op: add, path: /spec/aks, value: {osDiskType: Ephemeral, upgrade: {maxSurge: 100%}}}"), "spec.aks"},
		"Reservation":       {"a reservation of others is theirs", json6902("GPUNodePool", "- {op: add, path: /spec/aks, value: {capacityReservationGroup: /subscriptions/s/resourceGroups/r/providers/Microsoft.Compute/capacityReservationGroups/g}}"), "spec.aks"},
		"Slices":            {"pods are sized for whole GPUs", json6902("GPUNodePool", "- {op: add, path: /spec/aks, value: {mig: MIG1g}}"), "spec.aks"},
		"IdleNodes":         {"nodes go with the work of their Workspace", json6902("GPUNodePool", "- {op: add, path: /spec/idle, value: {after: 1m}}"), "spec.idle"},
		"UnknownOfThePool":  {"a field that a later release has is closed until somebody opens it", json6902("GPUNodePool", "- {op: add, path: /spec/later, value: 1}"), "spec.later"},
		"RouteGateway":      {"who publishes it is reviewed in the spec", json6902("HTTPRoute", "- {op: replace, path: /spec/parentRefs/0/name, value: other}"), "spec.parentRefs"},
		"RouteHostname":     {"for which name as well", json6902("HTTPRoute", "- {op: replace, path: /spec/hostnames, value: [other.example.com]}"), "spec.hostnames"},
		"RouteBackend":      {"another service is not this one's to publish", json6902("HTTPRoute", "- {op: replace, path: /spec/rules/0/backendRefs/0/name, value: other}"), "backendRefs"},
		"RouteNewRule":      {"nor by a rule beside", json6902("HTTPRoute", "- {op: add, path: /spec/rules/-, value: {backendRefs: [{name: other, port: 80}]}}"), "backendRefs"},
		"RouteAuthorizer":   {"nor asked about elsewhere, with all that is in them", json6902("HTTPRoute", "- {op: add, path: /spec/rules/0/filters, value: [{type: ExternalAuth, externalAuth: {protocol: HTTP, backendRef: {name: other, port: 80}}}]}"), "ExternalAuth"},
		"RouteRedirect":     {"nor sent there by who asks", json6902("HTTPRoute", "- {op: add, path: /spec/rules/0/filters, value: [{type: RequestRedirect, requestRedirect: {hostname: other.example.com}}]}"), "RequestRedirect"},
		"RouteDefault":      {"Gateways that the spec does not name", json6902("HTTPRoute", "- {op: add, path: /spec/useDefaultGateways, value: All}"), "spec.useDefaultGateways"},
		"PoolPicker":        {"who sees the requests is reviewed in the spec", json6902("InferencePool", "- {op: replace, path: /spec/endpointPickerRef/name, value: other}"), "spec.endpointPickerRef"},
		"PoolOfOthers":      {"pods of others are theirs to publish", json6902("InferencePool", "- {op: replace, path: /spec/selector/matchLabels, value: {app: other}}"), "spec.selector"},
		"PoolPort":          {"other ports of the pods are for themselves", json6902("InferencePool", "- {op: replace, path: /spec/targetPorts/0/number, value: 29500}"), "spec.targetPorts"},
		"RouteMirror":       {"requests are copied to nobody", json6902("HTTPRoute", "- {op: add, path: /spec/rules/0/filters, value: [{type: RequestMirror, requestMirror: {backendRef: {name: other, port: 80}}}]}"), "RequestMirror"},
		"HostNetwork":       {"the host's network", pod("{hostNetwork: true}"), "hostNetwork"},
		"HostPID":           {"the host's processes", pod("{hostPID: true}"), "hostPID"},
		"HostPath":          {"the host's disk", pod("{volumes: [{name: h, hostPath: {path: /}}]}"), "hostPath"},
		"HostPathOverOurs":  {"through a volume of ours", pod("{volumes: [{name: tmp, emptyDir: null, hostPath: {path: /}}]}"), "hostPath"},
		"HostPort":          {"a port of the node", json6902("Deployment", "- {op: add, path: /spec/template/spec/containers/0/ports/0/hostPort, value: 80}"), "hostPort"},
		"Privileged":        {"privilege", pod("{containers: [{name: vllm, securityContext: {privileged: true}}]}"), "privileged"},
		"PrivilegedSidecar": {"privilege of a container of its own", pod("{initContainers: [{name: x, image: y, securityContext: {privileged: true}}]}"), "privileged"},
		"Capability":        {"capabilities above baseline", pod("{containers: [{name: vllm, securityContext: {capabilities: {add: [SYS_ADMIN]}}}]}"), "SYS_ADMIN"},
		"Seccomp":           {"no filter", pod("{securityContext: {seccompProfile: {type: Unconfined}}}"), "seccompProfile"},
		"SeccompOfOld":      {"nor as it was said before there was a field", smp("Deployment", "spec: {template: {metadata: {annotations: {seccomp.security.alpha.kubernetes.io/pod: unconfined}}}}\n"), "seccomp.security"},
		"AppArmor":          {"no profile", pod("{securityContext: {appArmorProfile: {type: Unconfined}}}"), "appArmorProfile"},
		"AppArmorOfOld":     {"nor by the annotation, which Kubernetes takes where there is no field", smp("Deployment", "spec: {template: {metadata: {annotations: {container.apparmor.security.beta.kubernetes.io/vllm: unconfined}}}}\n"), "container.apparmor.security"},
		"Token":             {"a token for the API server", pod("{automountServiceAccountToken: true}"), "automountServiceAccountToken"},
		"ProjectedToken":    {"the same by a volume", pod("{volumes: [{name: t, projected: {sources: [{serviceAccountToken: {path: t}}]}}]}"), "token"},
		"ServiceAccount":    {"another account's rights", pod("{serviceAccountName: admin}"), "serviceAccountName"},
		"NodeName":          {"past the scheduler", pod("{nodeName: n1}"), "nodeName"},
		"OtherPool":         {"another Workspace's nodes", pod("{nodeSelector: {espalier.dev/pool: other.x}}"), "nodeSelector"},
		"ProbeElsewhere":    {"a probe that makes the node ask any address", pod("{containers: [{name: vllm, livenessProbe: {httpGet: {host: 169.254.169.254}}}]}"), "host"},
		"HookElsewhere":     {"the kubelet asks for the hooks of a container too", pod("{containers: [{name: vllm, lifecycle: {postStart: {httpGet: {host: 169.254.169.254, port: 80}}}}]}"), "host"},
		"NoSuchObject":      {"a patch that finds nothing is a mistake", v1alpha1.Patch{Patch: "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: other}\n"}, "other"},
		"NoYAML":            {"text that is no patch", v1alpha1.Patch{Patch: "a: [", Target: &v1alpha1.PatchTarget{Kind: "Service"}}, "no YAML"},
		"Bomb":              {"a patch that grows", v1alpha1.Patch{Target: &v1alpha1.PatchTarget{Kind: "Service"}, Patch: bomb()}, "aliases"},
		"Copy":              {"an operation that doubles", json6902("Service", "- {op: copy, from: /spec, path: /spec/x}"), "copy"},
		"RemoteInPatch":     {"a file of another host", v1alpha1.Patch{Patch: "https://example.com/p.yaml"}, "spec.patches[1]"},
	} {
		t.Run(name, func(t *testing.T) {
			in := render.Input{Workspace: workspace(t, service), Options: options}
			in.Workspace.Spec.Inference.Route = &v1alpha1.Route{ParentRefs: []v1alpha1.RouteParent{{Name: "public"}}, Hostnames: []string{"models.example.com"},
				InferencePool: &v1alpha1.InferencePool{EndpointPickerRef: v1alpha1.EndpointPickerRef{Name: "picker"}}}
			in.Workspace.Spec.Patches = []v1alpha1.Patch{harmless, tc.patch, harmless}
			assess(t, &in, facts(`vllm: {}`))
			out, err := render.Render(in)
			if err == nil {
				t.Fatalf("%s: it was rendered:\n%s", tc.reason, text(t, out))
			}
			if m := err.Error(); !strings.HasPrefix(m, "spec.patches[1]: ") || !strings.Contains(m, tc.want) || strings.Contains(m, "\n") {
				t.Errorf("%s: the message is %q, want spec.patches[1] and %q", tc.reason, m, tc.want)
			}
		})
	}
}

// TestPatchesThatTune: what changes neither how many nodes there are, nor whose, nor who is
// reached, is the user's to change.
func TestPatchesThatTune(t *testing.T) {
	for name, tc := range map[string]struct {
		reason string
		patch  v1alpha1.Patch
	}{
		"Disk":     {"a model of one's own may have a large image", json6902("GPUNodePool", "- {op: add, path: /spec/osDiskSizeGiB, value: 512}")},
		"DiskType": {"where the system disk is", json6902("GPUNodePool", "- {op: add, path: /spec/aks, value: {osDiskType: Ephemeral, gpuDriver: None}}")},
		"Patience": {"a scarce size may take long", json6902("GPUNodePool", "- {op: add, path: /spec/timeouts, value: {provision: 1h}}")},
	} {
		t.Run(name, func(t *testing.T) {
			in := render.Input{Workspace: workspace(t, service), Options: options}
			in.Workspace.Spec.Patches = []v1alpha1.Patch{tc.patch}
			assess(t, &in, facts(`vllm: {}`))
			if _, err := render.Render(in); err != nil {
				t.Errorf("%s: %v", tc.reason, err)
			}
		})
	}
}

// TestWeightsOfTheNode: the folder of the node is everybody's, and a patch makes
// nobody its writer.
func TestWeightsOfTheNode(t *testing.T) {
	beside := func(mount string) v1alpha1.Patch {
		return pod("{initContainers: [{name: x, image: y, volumeMounts: [" + mount + "]}]}")
	}
	for name, tc := range map[string]struct {
		reason string
		patch  v1alpha1.Patch
		want   string // part of the message; "" none
	}{
		"Writable": {"what is written there is served to others", json6902("Deployment", "- {op: replace, path: /spec/template/spec/containers/0/volumeMounts/0/readOnly, value: false}"), "for reading alone"},
		"Unsaid":   {"a mount is for writing where it says nothing", beside("{name: weights, mountPath: /w}"), "for reading alone"},
		"Quoted":   {"text is no true", beside("{name: weights, mountPath: /w, readOnly: 'true'}"), "for reading alone"},
		"Reads":    {"a container beside may read", beside("{name: weights, mountPath: /w, readOnly: true}"), ""},
		"Another":  {"a volume of the pod is its own affair", beside("{name: tmp, mountPath: /w}"), ""},
		"Path":     {"another folder is not vouched for", json6902("Deployment", "- {op: replace, path: /spec/template/spec/volumes/0/hostPath/path, value: /etc}"), "hostPath"},
	} {
		t.Run(name, func(t *testing.T) {
			in := render.Input{Workspace: workspace(t, service), Options: options}
			in.Options.LocalWeights = "/models"
			in.Workspace.Spec.Inference.Weights = &v1alpha1.Weights{Local: "phi-4"}
			in.Workspace.Spec.Inference.Revision = ""
			in.Workspace.Spec.Inference.Adapters = nil
			assess(t, &in, facts(`vllm: {}`))
			for _, patches := range [][]v1alpha1.Patch{nil, {tc.patch}} {
				in.Workspace.Spec.Patches = patches
				_, err := render.Render(in)
				if want := tc.want; patches != nil && want != "" {
					if err == nil || !strings.Contains(err.Error(), want) {
						t.Errorf("%s: %v, want %q", tc.reason, err, want)
					}
				} else if err != nil {
					t.Errorf("%s: %v", tc.reason, err)
				}
			}
		})
	}
}

func bomb() string {
	var b strings.Builder
	b.WriteString("a0: &a0 [x,x,x,x,x,x,x,x,x]\n")
	for i := 1; i < 9; i++ {
		level := string(rune('0' + i))
		below := "*a" + string(rune('0'+i-1)) + ","
		b.WriteString("a" + level + ": &a" + level + " [" + strings.TrimSuffix(strings.Repeat(below, 9), ",") + "]\n")
	}
	return b.String()
}

// TestPatchesKeepOrder: init containers run one after the other, and each needs what the
// one before has left, whichever of them a patch names.
func TestPatchesKeepOrder(t *testing.T) {
	for name, tc := range map[string]struct {
		reason string
		patch  string // the list of init containers, or operations of a JSON 6902 patch
		want   string
	}{
		"Last":    {"A merge puts what it names first: the trainer would begin without data, and from no checkpoint.", "[{name: train, resources: {limits: {memory: 60Gi}}}]", "data resume train"},
		"Several": {"Nor does their order in the patch count.", "[{name: train, env: [{name: A, value: b}]}, {name: data, env: [{name: A, value: b}]}]", "data resume train"},
		"Added":   {"What is new stays where the merge puts it, before all.", "[{name: wait, image: x}, {name: train, env: [{name: A, value: b}]}]", "wait data resume train"},
		"Behind":  {"Named behind the trainer it was still merged before the data, which may need it.", "[{name: train, env: [{name: A, value: b}]}, {name: wait, image: x}]", "wait data resume train"},
		"Between": {"Between two that it names it stays before what is not named as well.", "[{name: data, env: [{name: A, value: b}]}, {name: wait, image: x}, {name: train, env: [{name: A, value: b}]}]", "data wait resume train"},
		"Two":     {"What is new keeps the order that it has in the patch.", "[{name: wait, image: x}, {name: train, env: [{name: A, value: b}]}, {name: more, image: x}]", "wait more data resume train"},
		"List":    {"Nor does a JSON 6902 patch order anew what needs what the one before has left.", "- {op: replace, path: /spec/template/spec/initContainers, value: [{name: train, image: x, resources: {limits: {nvidia.com/gpu: 1}}}, {name: resume, image: x}, {name: data, image: x}]}", "data resume train"},
		"Index":   {"One that is put at an index stands there.", "- {op: add, path: /spec/template/spec/initContainers/1, value: {name: wait, image: x}}", "data wait resume train"},
		"End":     {"One that is put at the end is the last.", "- {op: add, path: /spec/template/spec/initContainers/-, value: {name: last, image: x}}", "data resume train last"},
		"Removed": {"What is taken out leaves no gap.", "[{name: data, $patch: delete}, {name: train, env: [{name: A, value: b}]}]", "resume train"},
	} {
		t.Run(name, func(t *testing.T) {
			in := render.Input{Workspace: workspace(t, run), Options: options}
			text := tc.patch
			if strings.HasPrefix(text, "[") {
				text = "apiVersion: batch/v1\nkind: Job\nmetadata: {name: any}\nspec: {template: {spec: {initContainers: " + text + "}}}\n"
			}
			in.Workspace.Spec.Patches = []v1alpha1.Patch{json6902("Job", text)}
			assess(t, &in, check.Facts{})
			out, err := render.Render(in)
			if err != nil {
				t.Fatal(err)
			}
			list, _, err := unstructured.NestedSlice(out.Workload.Object, "spec", "template", "spec", "initContainers")
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, c := range list {
				names = append(names, c.(map[string]any)["name"].(string))
			}
			if got := strings.Join(names, " "); got != tc.want {
				t.Errorf("%s\nthey run as %s, want %s", tc.reason, got, tc.want)
			}
		})
	}
}

func TestRenderRefuses(t *testing.T) {
	in := render.Input{Workspace: workspace(t, run), Options: render.Options{Provider: v1alpha1.ProviderAKS}}
	assess(t, &in, check.Facts{})
	if _, err := render.Render(in); err == nil || !strings.Contains(err.Error(), "--helper-image") {
		t.Errorf("without a helper image: %v", err)
	}
	in.Candidate = check.Candidate{}
	if _, err := render.Render(in); err == nil {
		t.Error("a Workspace without a candidate was rendered")
	}
}

func BenchmarkRender(b *testing.B) {
	in := render.Input{Workspace: &v1alpha1.Workspace{}, Options: options}
	in.Workspace.Name, in.Workspace.Namespace = "w", "n"
	in.Workspace.Spec.Resource.InstanceType = "Standard_NC24ads_A100_v4"
	in.Workspace.Spec.Inference = &v1alpha1.InferenceSpec{ModelRef: v1alpha1.ModelRef{Preset: "phi-4-mini-instruct"}}
	in.Assessment = check.Workspace(in.Workspace, check.Facts{}, nil)
	in.Candidate = in.Assessment.Usable()[0]
	for b.Loop() {
		if _, err := render.Render(in); err != nil {
			b.Fatal(err)
		}
	}
}
