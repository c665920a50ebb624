// SPDX-License-Identifier: Apache-2.0

package v1alpha1_test

import (
	"testing"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// TestCloudOf: a token goes to a cloud's own registries, and to no host that anybody rents.
func TestCloudOf(t *testing.T) {
	for image, want := range map[string]v1alpha1.Cloud{
		"team1.azurecr.io/models/a:1":                                v1alpha1.CloudAzure,
		"team1-d2bkazfbgeawgzgv.azurecr.io/a:1":                      v1alpha1.CloudAzure,
		"team1.azurecr.cn/a:1":                                       v1alpha1.CloudAzure,
		"team1.azurecr.us/a:1":                                       v1alpha1.CloudAzure,
		"123456789012.dkr.ecr.eu-west-1.amazonaws.com/a:1":           v1alpha1.CloudAmazon,
		"123456789012.dkr.ecr-fips.us-gov-west-1.amazonaws.com/a:1":  v1alpha1.CloudAmazon,
		"123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn/a@sha256:": v1alpha1.CloudAmazon,
		"europe-west4-docker.pkg.dev/team/models/a:1":                v1alpha1.CloudGoogle,
		"eu.gcr.io/team/a:1":                                         v1alpha1.CloudGoogle,
		"gcr.io/team/a:1":                                            v1alpha1.CloudGoogle,

		"azurecr.io/a:1":                                               "",
		"TEAM1.azurecr.io/a:1":                                         "",
		"team1.azurecr.io:443/a:1":                                     "",
		"team1.azurecr.io.example.com/a:1":                             "",
		"a.team1.azurecr.io/a:1":                                       "",
		"team1.azurecr.de/a:1":                                         "",
		"team1.westeurope.cloudapp.azure.com/a:1":                      "",
		"team1.azurewebsites.net/a:1":                                  "",
		"12345678901.dkr.ecr.eu-west-1.amazonaws.com/a:1":              "",
		"123456789012.dkr.ecr.s3.amazonaws.com/a:1":                    "", // sts.s3 would get the token
		"123456789012.dkr.ecr.evil.compute.amazonaws.com/a:1":          "",
		"123456789012.dkr.ecr.eu-west-1.amazonaws.com.example.com/a:1": "",
		"evil.s3.amazonaws.com/a:1":                                    "",
		"evil.gcr.io/a:1":                                              "",
		"evil-docker.pkg.dev.example.com/a:1":                          "",
		"docker.pkg.dev/a:1":                                           "",
		"evil.run.app/a:1":                                             "",
		"registry.example.com/team1.azurecr.io/a:1":                    "",
		"": "",
	} {
		if got := v1alpha1.CloudOf(image); got != want {
			t.Errorf("%s: %q, want %q", image, got, want)
		}
	}
}
