// SPDX-License-Identifier: Apache-2.0

package node

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// history is how the pods of a namespace came to be as they are: of a pod that is
// gone nothing else tells why it counted as a failure.
type history struct {
	mu    sync.Mutex
	lines []string
}

// watchPods notes what is said of the pods of a namespace until the test ends.
func watchPods(t *testing.T, config *rest.Config, namespace string) *history {
	t.Helper()
	clients, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	w, err := clients.CoreV1().Pods(namespace).Watch(context.Background(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Stop)
	h := &history{}
	go func() {
		for e := range w.ResultChan() {
			if pod, isPod := e.Object.(*corev1.Pod); isPod {
				h.note(string(e.Type), pod)
			}
		}
	}()
	return h
}

func (h *history) note(event string, pod *corev1.Pod) {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s %s %s %s", time.Now().Format("15:04:05.000"), event, pod.Name, pod.ResourceVersion, pod.Status.Phase)
	if pod.DeletionTimestamp != nil {
		b.WriteString(" going")
	}
	for _, c := range pod.Status.Conditions {
		fmt.Fprintf(&b, " %s=%s", c.Type, c.Status)
	}
	for _, list := range [][]corev1.ContainerStatus{pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses} {
		for _, c := range list {
			switch {
			case c.State.Running != nil:
				fmt.Fprintf(&b, " %s=running", c.Name)
			case c.State.Terminated != nil:
				fmt.Fprintf(&b, " %s=%d", c.Name, c.State.Terminated.ExitCode)
			}
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lines = append(h.lines, b.String())
}

func (h *history) String() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return strings.Join(h.lines, "\n")
}
