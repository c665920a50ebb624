// SPDX-License-Identifier: Apache-2.0

package kustomize

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
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
	objects, err := Run(t.Context(), 0, tree(t), "/k")
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
	all := turns
	turns = make(chan struct{}, 1)
	defer func() { turns = all }()
	s := stuck{tree(t), make(chan struct{}, 100), make(chan struct{})}
	given := make(chan error)
	go func() {
		_, err := Run(t.Context(), time.Millisecond, s, "/k")
		given <- err
	}()
	<-s.reading
	if err := <-given; !errors.Is(err, ErrTime) {
		t.Errorf("the stuck build ended with %v", err)
	}
	late, cancelLate := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancelLate()
	if _, err := Run(late, time.Hour, tree(t), "/k"); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrTime) {
		t.Errorf("a build beside a stuck one ended with %v", err)
	}
	close(s.goOn)
	if _, err := Run(t.Context(), time.Hour, tree(t), "/k"); err != nil {
		t.Errorf("after the stuck build has ended: %v", err)
	}
}

// TestBesideEachOther is for the race detector: builds share the library's
// schema, and must only read it.
func TestBesideEachOther(t *testing.T) {
	var builds errgroup.Group
	for i := range 16 {
		builds.Go(func() error {
			files := tree(t)
			text := fmt.Sprintf("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d%d}\nspec: {template: {spec: {containers: [{name: a}]}}}\n", i)
			patch := fmt.Sprintf("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d%d}\nspec: {template: {spec: {containers: [{name: b}]}}}\n", i)
			for name, text := range map[string]string{
				"/k/d.yaml": text, "/k/p.yaml": patch, "/k/x.yaml": fmt.Sprintf("apiVersion: x/v%d\nkind: X\nmetadata: {name: x}\n", i),
				"/k/kustomization.yaml": "resources: [c.yaml, d.yaml, x.yaml]\npatches: [{path: p.yaml}]\nnamespace: team\n",
			} {
				if err := files.WriteFile(name, []byte(text)); err != nil {
					return err
				}
			}
			objects, err := Run(t.Context(), time.Minute, files, "/k")
			if err != nil || objects.Size() != 3 {
				return fmt.Errorf("build %d: %v, %w", i, objects, err)
			}
			return nil
		})
	}
	if err := builds.Wait(); err != nil {
		t.Error(err)
	}
}

// broken is a file system that panics, as the library does on some input.
type broken struct{ filesys.FileSystem }

func (broken) ReadFile(string) ([]byte, error) { panic("odd input") }

func TestPanic(t *testing.T) {
	_, err := Run(t.Context(), 0, broken{tree(t)}, "/k")
	if err == nil || !strings.Contains(err.Error(), "odd input") {
		t.Errorf("a panic became %v", err)
	}
}
