// SPDX-License-Identifier: Apache-2.0

package kustomize

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/kustomize/kyaml/filesys"
)

func tree(t *testing.T) filesys.FileSystem {
	t.Helper()
	files := filesys.MakeFsInMemory()
	for name, text := range map[string]string{
		"/k/kustomization.yaml": "resources: [c.yaml]\nnamePrefix: p-\n",
		"/k/c.yaml":             "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n",
	} {
		if err := files.WriteFile(name, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

func TestRun(t *testing.T) {
	objects, err := Run(t.Context(), tree(t), "/k")
	if err != nil || objects.Size() != 1 || objects.Resources()[0].GetName() != "p-c" {
		t.Errorf("got %v, %v", objects, err)
	}
}

// stuck is a file system that holds the build until it is told to go on.
type stuck struct {
	filesys.FileSystem
	reading, goOn chan struct{}
}

func (s stuck) ReadFile(name string) ([]byte, error) {
	s.reading <- struct{}{}
	<-s.goOn
	return s.FileSystem.ReadFile(name)
}

// TestDeadline: a build that does not end is given up, others wait no longer
// than their own context, and the turn comes back when it does end.
func TestDeadline(t *testing.T) {
	s := stuck{tree(t), make(chan struct{}, 100), make(chan struct{})}
	ctx, cancel := context.WithCancel(t.Context())
	given := make(chan error)
	go func() {
		_, err := Run(ctx, s, "/k")
		given <- err
	}()
	<-s.reading
	cancel()
	if err := <-given; !errors.Is(err, context.Canceled) {
		t.Errorf("the stuck build ended with %v", err)
	}
	late, cancelLate := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancelLate()
	if _, err := Run(late, tree(t), "/k"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a build beside a stuck one ended with %v", err)
	}
	close(s.goOn)
	if _, err := Run(t.Context(), tree(t), "/k"); err != nil {
		t.Errorf("after the stuck build has ended: %v", err)
	}
}

// broken is a file system that panics, as the library does on some input.
type broken struct{ filesys.FileSystem }

func (broken) ReadFile(string) ([]byte, error) { panic("odd input") }

func TestPanic(t *testing.T) {
	_, err := Run(t.Context(), broken{tree(t)}, "/k")
	if err == nil || !strings.Contains(err.Error(), "odd input") {
		t.Errorf("a panic became %v", err)
	}
}
