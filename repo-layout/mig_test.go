// SPDX-License-Identifier: Apache-2.0

package repolayout_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// TestMIGProfiles: the marker, which cannot name the list, has what the list has.
func TestMIGProfiles(t *testing.T) {
	text, err := os.ReadFile("../deploy/crd/espalier.dev_gpunodepools.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var crd apiextensionsv1.CustomResourceDefinition
	if err := yaml.UnmarshalStrict(text, &crd); err != nil {
		t.Fatal(err)
	}
	var marked []string
	mig := crd.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["spec"].Properties["aks"].Properties["mig"]
	for _, v := range mig.Enum {
		marked = append(marked, strings.Trim(string(v.Raw), `"`))
	}
	if want := fmt.Sprint(v1alpha1.MIGProfiles); fmt.Sprint(marked) != want {
		t.Errorf("the enum is %v, want %s", marked, want)
	}
}
