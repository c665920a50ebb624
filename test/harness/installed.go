// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"context"
	"fmt"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/test/port"
)

// StartInstalled starts the controller of a Deployment that somebody has installed,
// as a process: with its arguments and its variables, and with a token of its
// ServiceAccount. Only where it listens, and how it reaches what plays the cloud, is
// said anew; its leader election is that of a pod of the namespace.
func (s *Stand) StartInstalled(ctx context.Context, name string) (*Controller, error) {
	d := &appsv1.Deployment{}
	if err := s.Client.Get(ctx, client.ObjectKey{Namespace: systemNamespace, Name: name}, d); err != nil {
		return nil, fmt.Errorf("reading what is installed: %w", err)
	}
	pod := d.Spec.Template.Spec
	variables, err := s.variables(ctx, pod.Containers[0])
	if err != nil {
		return nil, err
	}
	args, err := expanded(pod.Containers[0].Args, variables)
	if err != nil {
		return nil, err
	}
	kubeconfig, err := s.signIn(ctx, pod.ServiceAccountName)
	if err != nil {
		return nil, err
	}
	progress, err := port.FreeAddress()
	if err != nil {
		return nil, err
	}
	args = append(args[1:], "--progress-addr="+progress, "--leader-elect-namespace="+systemNamespace)
	for _, f := range s.armFlags {
		if strings.HasPrefix(f, "--azure-endpoint=") || strings.HasPrefix(f, "--azure-ca-file=") {
			args = append(args, f)
		}
	}
	if s.poll > 0 {
		args = append(args, "--pool-poll-interval="+s.poll.String())
	}
	return s.startProcess(ctx, s.ControllerLog(), append(s.ARM.Env(), "KUBECONFIG="+kubeconfig), args)
}

// variables are those of a container, as its pod would see them.
func (s *Stand) variables(ctx context.Context, container corev1.Container) (map[string]string, error) {
	found := map[string]string{}
	for _, from := range container.EnvFrom {
		settings := &corev1.ConfigMap{}
		if err := s.Client.Get(ctx, client.ObjectKey{Namespace: systemNamespace, Name: from.ConfigMapRef.Name}, settings); err != nil {
			return nil, fmt.Errorf("reading the settings of what is installed: %w", err)
		}
		for name, value := range settings.Data {
			found[name] = value
		}
	}
	for _, v := range container.Env {
		found[v.Name] = v.Value
	}
	return found, nil
}

// expanded are arguments with the values of the variables in them. The first is the
// command.
func expanded(args []string, variables map[string]string) ([]string, error) {
	all := make([]string, len(args))
	for i, arg := range args {
		for name, value := range variables {
			arg = strings.ReplaceAll(arg, "$("+name+")", value)
		}
		if strings.Contains(arg, "$(") {
			return nil, fmt.Errorf("the argument %s names a variable that the pod does not have", arg)
		}
		all[i] = arg
	}
	if len(all) == 0 || all[0] != "controller" {
		return nil, fmt.Errorf("the installed container runs %q, not the controller", all)
	}
	return all, nil
}
