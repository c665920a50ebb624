// SPDX-License-Identifier: Apache-2.0

package repolayout

import (
	"encoding/json"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/internal/strict"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// resourceGPU is what NVIDIA's device plugin calls a GPU.
const resourceGPU = corev1.ResourceName("nvidia.com/gpu")

// template checks a pod template of the user's own: its fields are those of
// Kubernetes, and it must be possible to run, reach and pay for it. What a tenant
// may not ask for is judged where it is rendered, as for patches.
func (v *validator) template(path string, s v1alpha1.InferenceSpec) {
	v.besideTemplate(path, s)
	path += ".template"
	pod := &corev1.PodTemplateSpec{}
	tree, problems := strict.Parse(s.Template.Raw)
	if len(problems) == 0 {
		problems = strict.Into(tree, pod, nil)
	}
	for _, p := range problems {
		v.refuse(p.Code, strings.TrimSuffix(path+"."+p.Field, "."), "%s", p.Message)
	}
	if len(problems) > 0 {
		return
	}
	v.templateMetadata(path+".metadata", pod.ObjectMeta)
	v.pod(path+".spec", pod.Spec)
}

// besideTemplate refuses what belongs to a model that vLLM serves.
func (v *validator) besideTemplate(path string, s v1alpha1.InferenceSpec) {
	for _, f := range []struct {
		name string
		set  bool
	}{
		{"preset", s.Preset != ""}, {"model", s.Model != nil}, {"revision", s.Revision != ""}, {"accessSecret", s.AccessSecret != ""},
		{"config", s.Config != ""}, {"adapters", len(s.Adapters) > 0}, {"contextLength", s.ContextLength != 0},
		{"trustRemoteCode", s.TrustRemoteCode}, {"cache", s.Cache != nil}, {"weights", s.Weights != nil}, {"performanceMode", s.PerformanceMode != ""},
	} {
		if f.set {
			v.refuse(finding.TemplateInvalid, path+"."+f.name, "template is set as well, and this belongs to a model that Espalier runs: remove it, or the template")
		}
	}
	if s.Autoscale != nil {
		v.refuse(finding.TemplateInvalid, path+".autoscale", "it reads the queue of vLLM, which a pod of your own need not have: set replicas")
	}
}

func (v *validator) templateMetadata(path string, m metav1.ObjectMeta) {
	v.labels(path+".labels", m.Labels)
	for _, list := range []struct {
		name string
		keys map[string]string
	}{{"labels", m.Labels}, {"annotations", m.Annotations}} {
		for _, key := range sortedKeys(list.keys) {
			if ReservedPodKey(key) {
				v.refuse(finding.LabelReserved, finding.Key(path+"."+list.name, key), "Espalier writes this: remove it")
			}
		}
	}
	m.Labels, m.Annotations = nil, nil
	if text, err := json.Marshal(m); err != nil || string(text) != "{}" {
		v.refuse(finding.TemplateInvalid, path, "pods are named by their Deployment: only labels and annotations are possible")
	}
}

// ReservedPodKey says whether a label or annotation of a pod is Espalier's.
func ReservedPodKey(key string) bool {
	domain, _, _ := strings.Cut(key, "/")
	return domain == v1alpha1.Group || strings.HasSuffix(domain, "."+v1alpha1.Group) || domain == "app.kubernetes.io"
}

func (v *validator) pod(path string, spec corev1.PodSpec) {
	if len(spec.Containers) == 0 {
		v.refuse(finding.TemplateInvalid, path+".containers", "name at least one container")
		return
	}
	if spec.RestartPolicy != "" && spec.RestartPolicy != corev1.RestartPolicyAlways {
		v.refuse(finding.TemplateInvalid, path+".restartPolicy", "a service is started again when it ends: write Always, or leave it out")
	}
	for key := range spec.NodeSelector {
		if ReservedPodKey(key) {
			v.refuse(finding.LabelReserved, finding.Key(path+".nodeSelector", key), "Espalier chooses the nodes of the Workspace's pool: remove it")
		}
	}
	gpus := false
	for _, list := range []struct {
		name string
		all  []corev1.Container
	}{{"initContainers", spec.InitContainers}, {"containers", spec.Containers}} {
		for i, c := range list.all {
			at := finding.Index(path+"."+list.name, i)
			v.image(at+".image", c.Image, imageRead)
			gpus = gpus || !c.Resources.Limits.Name(resourceGPU, "").IsZero()
		}
	}
	if !gpus {
		v.refuse(finding.TemplateInvalid, finding.Index(path+".containers", 0)+".resources.limits", "no container asks for a GPU, and nodes with GPUs are what is bought: set %s", resourceGPU)
	}
	v.answers(path, spec)
}

// answers checks that requests have somewhere to go, and that they are sent there
// when something listens.
func (v *validator) answers(path string, spec corev1.PodSpec) {
	i, _, found := AnsweringPort(spec)
	if !found {
		v.refuse(finding.TemplateInvalid, finding.Index(path+".containers", 0)+".ports", "no container names a containerPort: the Service sends its port 80 to the first of them")
		return
	}
	if spec.Containers[i].ReadinessProbe == nil {
		v.warn(finding.ProbeMissing, finding.Index(path+".containers", i)+".readinessProbe",
			"without one the pod counts as ready when its container runs, and requests fail until the model is loaded")
	}
}

// AnsweringPort is the container, and its port by name or number, that the Service
// of a pod template sends requests to: the first that is named.
func AnsweringPort(spec corev1.PodSpec) (container int, port string, found bool) {
	for i, c := range spec.Containers {
		if len(c.Ports) == 0 {
			continue
		}
		if p := c.Ports[0]; p.Name != "" {
			return i, p.Name, true
		}
		return i, strconv.Itoa(int(c.Ports[0].ContainerPort)), true
	}
	return 0, "", false
}

// PodGPUs is the number of GPUs that a pod takes: containers that run beside each
// other add up, those that run before them count where they take more.
func PodGPUs(spec corev1.PodSpec) int64 {
	gpus := func(c corev1.Container) int64 { return c.Resources.Limits.Name(resourceGPU, "").Value() }
	var beside, before int64
	for _, c := range spec.Containers {
		beside += gpus(c)
	}
	var sidecars int64
	for _, c := range spec.InitContainers {
		if c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			sidecars += gpus(c)
			continue
		}
		before = max(before, sidecars+gpus(c))
	}
	return max(before, beside+sidecars)
}
