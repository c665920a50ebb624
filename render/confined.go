// SPDX-License-Identifier: Apache-2.0

package render

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// forbiddenFields of a pod reach the host, the API server or past the scheduler.
var forbiddenFields = []string{
	"hostNetwork", "hostPID", "hostIPC", "hostUsers", "shareProcessNamespace", "automountServiceAccountToken",
	"serviceAccountName", "serviceAccount", "nodeName", "schedulerName", "runtimeClassName", "priorityClassName",
}

// podContainers are the lists of containers that a pod has.
var podContainers = []string{"initContainers", "containers", "ephemeralContainers"}

// confined refuses a pod that reaches the host or the API server: Pod Security
// level baseline (https://kubernetes.io/docs/concepts/security/pod-security-standards/),
// and no service account but the namespace's default one, whose token is not
// mounted.
func confined(pod object) error {
	for _, field := range forbiddenFields {
		if v := pod[field]; v != nil && v != "" && v != false {
			return fmt.Errorf("%s is not allowed", field)
		}
	}
	if err := confinedContext(pod, "pod"); err != nil {
		return err
	}
	if sysctls, ok, _ := unstructured.NestedSlice(pod, "securityContext", "sysctls"); ok && len(sysctls) > 0 {
		return fmt.Errorf("securityContext.sysctls is not allowed")
	}
	if err := confinedVolumes(pod); err != nil {
		return err
	}
	for _, list := range podContainers {
		for _, c := range objects(pod[list]) {
			if err := confinedContainer(c); err != nil {
				return err
			}
		}
	}
	return nil
}

// profiles are what annotations that name a profile begin with: what securityContext says now.
// Kubernetes still takes those of AppArmor where no field says it.
var profiles = []string{
	"container.apparmor.security.beta.kubernetes.io/", "seccomp.security.alpha.kubernetes.io/", "container.seccomp.security.alpha.kubernetes.io/",
}

// confinedAnnotations refuses annotations of a pod that take a profile from a container.
func confinedAnnotations(annotations map[string]string) error {
	for _, key := range slices.Sorted(maps.Keys(annotations)) {
		value := annotations[key]
		allowed := value == "runtime/default" || value == "docker/default" || strings.HasPrefix(value, "localhost/")
		if !allowed && slices.ContainsFunc(profiles, func(p string) bool { return strings.HasPrefix(key, p) }) {
			return fmt.Errorf("annotation %s %s is not allowed", key, value)
		}
	}
	return nil
}

// volumeTypes are the volumes that stay within the namespace.
var volumeTypes = []string{"configMap", "downwardAPI", "emptyDir", "ephemeral", "image", "persistentVolumeClaim", "projected", "secret"}

func confinedVolumes(pod object) error {
	for _, v := range objects(pod["volumes"]) {
		for kind, value := range v {
			if kind != "name" && value != nil && !slices.Contains(volumeTypes, kind) {
				return fmt.Errorf("volume %v is a %s: allowed are %s", v["name"], kind, strings.Join(volumeTypes, ", "))
			}
		}
		projected, _ := v["projected"].(object)
		for _, source := range objects(projected["sources"]) {
			if source["serviceAccountToken"] != nil || source["clusterTrustBundle"] != nil || source["podCertificate"] != nil {
				return fmt.Errorf("volume %v projects a token of the cluster", v["name"])
			}
		}
	}
	return nil
}

// capabilities that level baseline allows to add.
var capabilities = []string{"AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT"}

func confinedContainer(c object) error {
	name := fmt.Sprintf("container %v", c["name"])
	for _, p := range objects(c["ports"]) {
		if port, ok := p["hostPort"]; ok && port != nil && port != int64(0) {
			return fmt.Errorf("%s: hostPort is not allowed", name)
		}
	}
	for _, handler := range []string{"livenessProbe", "readinessProbe", "startupProbe", "lifecycle.postStart", "lifecycle.preStop"} {
		if err := confinedProbe(c, name, handler); err != nil {
			return err
		}
	}
	added, _, _ := unstructured.NestedStringSlice(c, "securityContext", "capabilities", "add")
	for _, a := range added {
		if !slices.Contains(capabilities, a) {
			return fmt.Errorf("%s: capability %s is not allowed", name, a)
		}
	}
	return confinedContext(c, name)
}

// confinedProbe keeps what the kubelet asks, for probes and for the hooks of a
// container, on the pod: a host in one makes the node ask any address.
func confinedProbe(c object, name, handler string) error {
	for _, kind := range []string{"httpGet", "tcpSocket"} {
		if host, _, _ := unstructured.NestedString(c, append(strings.Split(handler, "."), kind, "host")...); host != "" {
			return fmt.Errorf("%s: %s.%s.host is not allowed", name, handler, kind)
		}
	}
	return nil
}

// confinedContext checks a securityContext of a pod or a container.
func confinedContext(owner object, name string) error {
	context, _, err := unstructured.NestedMap(owner, "securityContext")
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	for _, field := range []string{"privileged", "allowPrivilegeEscalation"} {
		if v, _ := context[field].(bool); v {
			return fmt.Errorf("%s: %s is not allowed", name, field)
		}
	}
	for _, profile := range []string{"seccompProfile", "appArmorProfile"} {
		kind, _, _ := unstructured.NestedString(context, profile, "type")
		if kind == "Unconfined" {
			return fmt.Errorf("%s: %s Unconfined is not allowed", name, profile)
		}
	}
	for _, field := range []string{"windowsOptions", "seLinuxOptions"} {
		if context[field] != nil {
			return fmt.Errorf("%s: %s is not allowed", name, field)
		}
	}
	if mount, _ := context["procMount"].(string); mount != "" && mount != "Default" {
		return fmt.Errorf("%s: procMount %s is not allowed", name, mount)
	}
	return nil
}

// objects returns the mappings of a list.
func objects(list any) []object {
	items, _ := list.([]any)
	var out []object
	for _, i := range items {
		if o, ok := i.(object); ok {
			out = append(out, o)
		}
	}
	return out
}
