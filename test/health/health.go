// SPDX-License-Identifier: Apache-2.0

// Package health says what the tools that wait for objects make of ours: Flux by
// kstatus, with the very library that its controllers wait with, and Argo CD by the
// scripts of deploy/argocd, in the interpreter that it runs scripts in.
//
// It judges what controllers have written, and decides nothing by itself.
package health

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	lua "github.com/yuin/gopher-lua"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/cluster"
)

// Health is what both make of an object.
type Health struct {
	Flux string // a status of kstatus
	Argo string // a health of Argo CD
}

// What an object may be.
var (
	Ready       = Health{Flux: "Current", Argo: "Healthy"}
	Progressing = Health{Flux: "InProgress", Argo: "Progressing"}
	Stalled     = Health{Flux: "Failed", Argo: "Degraded"}
	// Suspended: kstatus has no word for it, so that who waits, waits in vain.
	Suspended = Health{Flux: "InProgress", Argo: "Suspended"}
	// Deleting: Argo CD asks no script about what is being deleted.
	Deleting = Health{Flux: "Terminating", Argo: "Progressing"}
)

// Of judges an object of ours as it is in the API, where a status that nobody has
// written yet is that of the CRD.
func Of(o client.Object) (Health, error) {
	kind, err := kindOf(o)
	if err != nil {
		return Health{}, err
	}
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
	if err != nil {
		return Health{}, fmt.Errorf("reading a %s: %w", kind, err)
	}
	u := &unstructured.Unstructured{Object: content}
	u.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(kind))
	result, err := status.Compute(u)
	if err != nil {
		return Health{}, fmt.Errorf("asking kstatus about a %s: %w", kind, err)
	}
	said, err := argo(kind, u)
	return Health{Flux: result.Status.String(), Argo: said}, err
}

func kindOf(o client.Object) (string, error) {
	switch o.(type) {
	case *v1alpha1.Workspace:
		return v1alpha1.WorkspaceKind, nil
	case *v1alpha1.RepoSync:
		return v1alpha1.RepoSyncKind, nil
	case *v1alpha1.GPUNodePool:
		return v1alpha1.GPUNodePoolKind, nil
	}
	return "", fmt.Errorf("%T is no kind of ours", o)
}

// argo judges as Argo CD does: what is being deleted by itself, all else by the script.
func argo(kind string, u *unstructured.Unstructured) (string, error) {
	if u.GetDeletionTimestamp() != nil {
		return Deleting.Argo, nil
	}
	script, err := scriptFor(kind)
	if err != nil {
		return "", err
	}
	// Argo CD opens these libraries to a script, unless it is told otherwise.
	l := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer l.Close()
	for name, open := range map[string]lua.LGFunction{lua.BaseLibName: lua.OpenBase, lua.TabLibName: lua.OpenTable} {
		if err := l.CallByParam(lua.P{Fn: l.NewFunction(open), Protect: true}, lua.LString(name)); err != nil {
			return "", fmt.Errorf("opening the library %q: %w", name, err)
		}
	}
	l.SetGlobal("obj", value(l, u.Object))
	if err := l.DoString(script); err != nil {
		return "", fmt.Errorf("running the script for a %s: %w", kind, err)
	}
	table, ok := l.Get(-1).(*lua.LTable)
	if !ok {
		return "", fmt.Errorf("the script for a %s returns %s, not a table", kind, l.Get(-1).Type())
	}
	if message := table.RawGetString("message"); message.Type() != lua.LTString {
		return "", fmt.Errorf("the script for a %s has the message %v", kind, message)
	}
	return table.RawGetString("status").String(), nil
}

// scriptFor is that of a kind in deploy/argocd.
func scriptFor(kind string) (string, error) {
	root, err := cluster.Root()
	if err != nil {
		return "", err
	}
	text, err := os.ReadFile(filepath.Join(root, "deploy", "argocd", "health.yaml"))
	if err != nil {
		return "", fmt.Errorf("reading the scripts: %w", err)
	}
	settings := &corev1.ConfigMap{}
	if err := yaml.UnmarshalStrict(text, settings); err != nil {
		return "", fmt.Errorf("reading the scripts: %w", err)
	}
	script := settings.Data["resource.customizations.health."+v1alpha1.GroupVersion.Group+"_"+kind]
	if script == "" {
		return "", fmt.Errorf("deploy/argocd has no script for a %s", kind)
	}
	return script, nil
}

// value of a document, as Argo CD hands it to a script.
func value(l *lua.LState, v any) lua.LValue {
	switch v := v.(type) {
	case map[string]any:
		table := l.NewTable()
		for key, item := range v {
			table.RawSetString(key, value(l, item))
		}
		return table
	case []any:
		table := l.NewTable()
		for _, item := range v {
			table.Append(value(l, item))
		}
		return table
	case string:
		return lua.LString(v)
	case int64:
		return lua.LNumber(v)
	case float64:
		return lua.LNumber(v)
	case bool:
		return lua.LBool(v)
	}
	return lua.LNil
}
