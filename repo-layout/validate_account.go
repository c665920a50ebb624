// SPDX-License-Identifier: Apache-2.0

package repolayout

import (
	"strings"

	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// account judges as whom pods sign in to registries, and what pushes where nobody is named.
func (v *validator) account(s v1alpha1.WorkspaceSpec) {
	const field, output = "spec.serviceAccountName", "spec.tuning.output"
	pushes := s.Tuning != nil && s.Tuning.Output.Image != "" && s.Tuning.Output.PushSecret == ""
	if pushes && s.ServiceAccountName == "" {
		v.refuse(finding.PushSecretMissing, output, "image needs %s: a Secret of type kubernetes.io/dockerconfigjson that may push there%s", v.name(output+".pushSecret"), v.orAccount(s.Tuning.Output.Image))
	}
	if s.ServiceAccountName == "" {
		return
	}
	v.reference(field, "ServiceAccount", s.ServiceAccountName)
	switch images := s.WithoutSecret(); {
	case len(images) == 0:
		v.refuse(finding.AccountInvalid, field, "signs in to registries of images without a Secret, and there is none: remove it")
	case pushes && v1alpha1.CloudOf(s.Tuning.Output.Image) == "":
		host, _, _ := strings.Cut(s.Tuning.Output.Image, "/")
		v.refuse(finding.AccountInvalid, output+".image", "no identity signs in to %.100q, only to %s: name pushSecret", host, v1alpha1.CloudRegistries)
	}
	if other := weightsAccount(s); other != "" && other != s.ServiceAccountName {
		v.refuse(finding.AccountInvalid, field, "a pod has one account, and spec.inference.weights.serviceAccountName is another: name the same")
	}
}

// weightsAccount is who reads the weights, "" where nobody is named.
func weightsAccount(s v1alpha1.WorkspaceSpec) string {
	if s.Inference == nil || s.Inference.Weights == nil {
		return ""
	}
	return s.Inference.Weights.ServiceAccountName
}

// orAccount is what else may push there.
func (v *validator) orAccount(image string) string {
	if v1alpha1.CloudOf(image) == "" || v.name("spec.tuning.output.pushSecret") != "pushSecret" { // kaito.sh has no such field
		return ""
	}
	return "; or spec.serviceAccountName, an account whose identity may"
}
