// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clientset "k8s.io/client-go/kubernetes"
)

// Shared is one cluster for all tests of a package, started by the first test
// that asks for it:
//
//	var shared = cluster.Shared{Options: cluster.Options{Parts: cluster.APIServer}}
//
//	func TestMain(m *testing.M) { os.Exit(shared.Run(m)) }
//
//	func TestX(t *testing.T) { c := shared.Get(t); ns := c.Namespace(t); … }
type Shared struct {
	// Options to start with. An empty CRDs stands for deploy/crd of the checkout.
	Options Options

	once    sync.Once
	cluster *Cluster
	err     error
}

// Run runs the tests and stops the cluster if one was started.
func (s *Shared) Run(m *testing.M) int {
	code := m.Run()
	if s.cluster != nil {
		s.cluster.Stop()
	}
	return code
}

// Get returns the cluster, starting it the first time. A test never goes on
// without one: what to build first is in the message.
func (s *Shared) Get(t testing.TB) *Cluster {
	t.Helper()
	s.once.Do(func() { s.cluster, s.err = s.start() })
	if s.err != nil {
		t.Fatalf("starting the local cluster: %v", s.err)
	}
	return s.cluster
}

func (s *Shared) start() (*Cluster, error) {
	o := s.Options
	if o.CRDs == "" {
		root, err := Root()
		if err != nil {
			return nil, err
		}
		o.CRDs = filepath.Join(root, "deploy", "crd")
	}
	if o.Existing == "" {
		o.Existing = os.Getenv("ESPALIER_TEST_KUBECONFIG")
	}
	return Start(context.Background(), o)
}

// Namespace makes a namespace for one test, named after it, and asks for its
// deletion when the test ends.
func (c *Cluster) Namespace(t testing.TB) string {
	t.Helper()
	client, err := clientset.NewForConfig(c.Config)
	if err != nil {
		t.Fatal(err)
	}
	namespace, err := client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{
		ObjectMeta: metav1.ObjectMeta{GenerateName: namespacePrefix(t.Name())},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatalf("creating a namespace: %v", err)
	}
	t.Cleanup(func() {
		err := client.CoreV1().Namespaces().Delete(context.Background(), namespace.Name, metav1.DeleteOptions{})
		if err != nil {
			t.Errorf("deleting namespace %s: %v", namespace.Name, err)
		}
	})
	return namespace.Name
}

// namespacePrefix turns a test's name into the beginning of a namespace's.
func namespacePrefix(test string) string {
	clean := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			return r
		case r >= 'A' && r <= 'Z':
			return r - 'A' + 'a'
		}
		return '-'
	}, test)
	if len(clean) > 40 {
		clean = clean[:40]
	}
	return fmt.Sprintf("%s-", strings.Trim(clean, "-"))
}
