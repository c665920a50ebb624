// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var shared = Shared{Options: Options{JobDuration: time.Second}}

func TestMain(m *testing.M) { os.Exit(shared.Run(m)) }

// TestChain shows that a pod's whole way is real: the scheduler honours GPUs,
// taints and claims, simulated nodes run what is put on them, and the
// controllers draw the conclusions.
func TestChain(t *testing.T) {
	c := shared.Get(t)
	namespace := c.Namespace(t)
	kubectl := func(args ...string) string {
		t.Helper()
		out, err := c.Kubectl(t.Context(), append([]string{"--namespace=" + namespace}, args...)...)
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(out)
	}
	kubectl("apply", "-f", "testdata/chain.yaml")
	t.Cleanup(func() {
		if t.Failed() {
			state, err := c.Kubectl(context.Background(), "--namespace="+namespace, "get", "pods,jobs,deployments,pvc,events", "-o", "wide")
			t.Logf("state at the end: %v\n%s", err, state)
		}
		_, _ = c.Kubectl(context.Background(), "delete", "node", "gpu-0")
	})

	const patience = "--timeout=60s"
	kubectl("wait", patience, "--for=condition=Ready", "node/gpu-0")
	kubectl("wait", patience, "--for=jsonpath={.status.phase}=Bound", "pvc/work")
	kubectl("wait", patience, "--for=condition=Complete", "job/tune")
	kubectl("apply", "-f", "testdata/serve.yaml")
	kubectl("wait", patience, "--for=condition=Available", "deployment/serve")
	kubectl("apply", "-f", "testdata/late.yaml")
	kubectl("wait", patience, "--for=jsonpath={.status.conditions[0].reason}=Unschedulable", "pod/late")

	for what, want := range map[string]string{
		"job/tune {.status.succeeded}":                                       "1",
		"pod/stranger {.status.phase}":                                       "Pending",
		"node/gpu-0 {.status.phase}":                                         "Running",
		"storageclass {.items[*].metadata.name}":                             StorageClass,
		"pods -l=batch.kubernetes.io/job-name=tune {.items[*].status.phase}": "Succeeded",
		"pods -l=app=serve {.items[*].spec.nodeName}":                        "gpu-0",
	} {
		words := strings.Fields(what)
		last := len(words) - 1
		args := append([]string{"get", "-o", "jsonpath=" + words[last]}, words[:last]...)
		if got := kubectl(args...); got != want {
			t.Errorf("%s: got %q, want %q", what, got, want)
		}
	}

	// The control plane may take it for gone, which its kubelet then denies.
	kubectl("patch", "node/gpu-0", "--subresource=status", "--patch", `{"status":{"conditions":[{"type":"Ready","status":"Unknown","reason":"NodeStatusUnknown"}]}}`)
	kubectl("wait", patience, "--for=condition=Ready", "node/gpu-0")

	kubectl("delete", patience, "deployment/serve", "pvc/work", "job/tune", "pod/stranger", "pod/late")
	kubectl("wait", patience, "--for=delete", "pods", "--all")
	if left, _ := filepath.Glob(filepath.Join(c.Dir, "volumes", "*")); len(left) > 0 {
		t.Errorf("folders of volumes left over: %v", left)
	}
}

// TestVersion: the API server and the kubelet tell the version of the modules they
// were built from.
func TestVersion(t *testing.T) {
	for _, module := range []string{kubernetes.name, kubelet.name} {
		out, err := exec.CommandContext(t.Context(), "go", "list", "-C", module, "-m", "-f", "{{.Version}}", "k8s.io/kubernetes").Output()
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.TrimSpace(string(out)); got != kubernetesVersion {
			t.Errorf("%s/go.mod has %s, kubernetesVersion is %s", module, got, kubernetesVersion)
		}
	}
}
