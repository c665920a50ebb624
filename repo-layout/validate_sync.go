// SPDX-License-Identifier: Apache-2.0

package repolayout

import (
	"regexp"
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

func (v *validator) substitutions(path string, table map[string]string) {
	v.atMost(path, len(table), maxSubstitutions)
	for _, from := range sortedKeys(table) {
		at := finding.Key(path, from)
		v.instanceType(at, table[from], true)
		if _, chained := table[table[from]]; chained {
			v.refuse(finding.NotOneOf, at, "what it becomes is substituted itself, and only one step is taken: write the last instance type")
		}
	}
}

func (v *validator) decryption(path string, d *v1alpha1.Decryption) {
	if d == nil {
		return
	}
	if d.Provider != v1alpha1.DecryptionSOPS {
		v.refuse(finding.NotOneOf, path+".provider", "want %s, which is what files can be encrypted with", v1alpha1.DecryptionSOPS)
		meant(v, d.Provider, v1alpha1.DecryptionSOPS)
	}
	v.secretRef(path+".secretRef", d.SecretRef)
	v.reference(path+".serviceAccountName", "ServiceAccount", d.ServiceAccountName)
}

// kubeConfig is where a RepoSync applies, if not in its own cluster.
func (v *validator) kubeConfig(path string, s v1alpha1.RepoSyncSpec) {
	if s.KubeConfig == nil {
		return
	}
	if s.Mode == v1alpha1.ModeReportOnly {
		v.refuse(finding.NotOneOf, path, "is where a RepoSync applies, and mode ReportOnly applies nothing: remove it, and report from the cluster where the Workspaces are")
	}
	ref, config := s.KubeConfig.SecretRef, s.KubeConfig.ConfigMapRef
	if (ref == nil) == (config == nil) {
		v.refuse(finding.MissingField, path, "want exactly one of secretRef, a Secret with a kubeconfig, and configMapRef, a ConfigMap that says which account signs in to which cluster")
		return
	}
	if config != nil {
		v.named(path+".configMapRef.name", "ConfigMap", config.Name)
		return
	}
	v.secretRef(path+".secretRef", &v1alpha1.LocalObjectReference{Name: ref.Name})
	if at := path + ".secretRef.key"; ref.Key != "" && !v.placeholder(at, ref.Key) && len(validation.IsConfigMapKey(ref.Key)) > 0 {
		v.refuse(finding.ReferenceInvalid, at, "no entry of a Secret can have this name: want letters, digits, '-', '_' and '.', 253 at most")
	}
}

// named is a reference that may not be left out.
func (v *validator) named(path, kind, name string) {
	if name == "" {
		v.refuse(finding.ReferenceInvalid, path, "name the %s", kind)
	}
	v.reference(path, kind, name)
}

// variable is how the name of one is written.
var variable = regexp.MustCompile(`^[_a-zA-Z][_a-zA-Z0-9]{0,62}$`)

// maxVariable bounds the value of a variable, in characters.
const maxVariable = 1024

func (v *validator) variables(path string, p *v1alpha1.PostBuild) {
	if p == nil {
		return
	}
	path += ".substitute"
	if len(p.Substitute) == 0 {
		v.refuse(finding.MissingField, path, "give a variable a value, or remove postBuild")
	}
	v.atMost(path, len(p.Substitute), maxSubstitutions)
	for _, name := range sortedKeys(p.Substitute) {
		at := finding.Key(path, name)
		if !variable.MatchString(name) {
			v.refuse(finding.NotOneOf, at, "the name of a variable has letters, digits and underscores, 63 at most, and begins with no digit")
		}
		if utf8.RuneCountInString(string(p.Substitute[name])) > maxVariable {
			v.refuse(finding.OutOfRange, at, "at most %d characters", maxVariable)
		}
	}
}

func (v *validator) defaults(path string, d *v1alpha1.SyncDefaults) {
	if d == nil {
		return
	}
	v.budget(path+".budget", d.Budget)
	v.mirror(path+".registryMirror", d.RegistryMirror)
	v.imageVolumes(path+".imageVolumes", d.ImageVolumes)
	v.reference(path+".storageClass", "StorageClass", d.StorageClass)
	v.provider(path+".provider", d.Provider, false)
	v.instanceType(path+".instanceType", d.InstanceType, false)
	v.driver(path+".driver", d.Driver)
	v.kaitoImage(path+".kaitoImage", d.KaitoImage)
	v.reference(path+".weightsServiceAccount", "ServiceAccount", d.WeightsServiceAccount)
}
