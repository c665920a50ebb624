// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"encoding/json"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// Pod decodes the pod template; nil where the spec has none.
func (s *InferenceSpec) Pod() (*corev1.PodTemplateSpec, error) {
	if s.Template == nil {
		return nil, nil // no template is no error
	}
	pod := &corev1.PodTemplateSpec{}
	if err := json.Unmarshal(s.Template.Raw, pod); err != nil {
		return nil, fmt.Errorf("reading spec.inference.template: %w", err)
	}
	return pod, nil
}

// names are objects of the namespace that pods cannot start without.
type names struct{ configMaps, secrets, claims []string }

// named lists what the pod template names and does not call optional.
func (s *InferenceSpec) named() names {
	pod, err := s.Pod()
	if err != nil || pod == nil {
		return names{} // validation says so
	}
	var n names
	for _, c := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
		n.container(c)
	}
	for _, v := range pod.Spec.Volumes {
		n.volume(v)
	}
	for _, r := range pod.Spec.ImagePullSecrets {
		n.secrets = append(n.secrets, r.Name)
	}
	for _, list := range []*[]string{&n.configMaps, &n.secrets, &n.claims} {
		slices.Sort(*list)
		*list = slices.DeleteFunc(slices.Compact(*list), func(name string) bool { return name == "" })
	}
	return n
}

// Claims returns the names of the PersistentVolumeClaims of the pod template.
func (s *InferenceSpec) Claims() []string { return s.named().claims }

func (n *names) container(c corev1.Container) {
	for _, e := range c.EnvFrom {
		if r := e.ConfigMapRef; r != nil {
			n.configMap(r.Name, r.Optional)
		}
		if r := e.SecretRef; r != nil {
			n.secret(r.Name, r.Optional)
		}
	}
	for _, e := range c.Env {
		if e.ValueFrom == nil {
			continue
		}
		if r := e.ValueFrom.ConfigMapKeyRef; r != nil {
			n.configMap(r.Name, r.Optional)
		}
		if r := e.ValueFrom.SecretKeyRef; r != nil {
			n.secret(r.Name, r.Optional)
		}
	}
}

func (n *names) volume(v corev1.Volume) {
	if c := v.PersistentVolumeClaim; c != nil {
		n.claims = append(n.claims, c.ClaimName)
	}
	if c := v.ConfigMap; c != nil {
		n.configMap(c.Name, c.Optional)
	}
	if c := v.Secret; c != nil {
		n.secret(c.SecretName, c.Optional)
	}
	if v.Projected == nil {
		return
	}
	for _, source := range v.Projected.Sources {
		if c := source.ConfigMap; c != nil {
			n.configMap(c.Name, c.Optional)
		}
		if c := source.Secret; c != nil {
			n.secret(c.Name, c.Optional)
		}
	}
}

func (n *names) configMap(name string, optional *bool) {
	if optional == nil || !*optional {
		n.configMaps = append(n.configMaps, name)
	}
}

func (n *names) secret(name string, optional *bool) {
	if optional == nil || !*optional {
		n.secrets = append(n.secrets, name)
	}
}
