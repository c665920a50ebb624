// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"regexp"
	"strings"
)

// Cloud is whose registry an image is in, where that is one of a cloud's own: pods sign in
// there by what the cloud says of their ServiceAccount, without a Secret.
type Cloud string

// Values of Cloud. Others have no registry that an identity signs in to.
const (
	CloudAzure  Cloud = "Azure"
	CloudAmazon Cloud = "Amazon"
	CloudGoogle Cloud = "Google"
)

// registryHosts are the registries of each cloud, and no host beside them: below
// amazonaws.com and azure.com there are many on which customers run what they like, and a
// token goes to whatever host stands here.
var registryHosts = map[Cloud]*regexp.Regexp{
	CloudAzure:  regexp.MustCompile(`^[a-z0-9]{5,50}(-[a-z0-9]+)?\.azurecr\.(io|cn|us)$`),
	CloudAmazon: regexp.MustCompile(`^[0-9]{12}\.dkr\.ecr(-fips)?\.[a-z]{2,4}(-[a-z]+)+-[0-9]{1,2}\.amazonaws\.com(\.cn)?$`),
	CloudGoogle: regexp.MustCompile(`^([a-z0-9-]+-docker\.pkg\.dev|((us|eu|asia)\.)?gcr\.io)$`),
}

// CloudRegistries says in words which registries an identity signs in to.
const CloudRegistries = "registries of Azure (NAME.azurecr.io), Amazon (ID.dkr.ecr.REGION.amazonaws.com) and Google (REGION-docker.pkg.dev, gcr.io)"

// CloudOf is the cloud whose registry an image is in, "" where it is none of a cloud's.
func CloudOf(image string) Cloud {
	host, _, _ := strings.Cut(image, "/")
	for cloud, hosts := range registryHosts {
		if hosts.MatchString(host) {
			return cloud
		}
	}
	return ""
}

// WithoutSecret are the images that pods push, or would copy where nodes mount none, and for
// whose registry no Secret is named.
func (s *WorkspaceSpec) WithoutSecret() []string {
	var images []string
	add := func(image string, secrets ...string) {
		if image != "" && strings.Join(secrets, "") == "" {
			images = append(images, image)
		}
	}
	if t := s.Tuning; t != nil {
		add(t.Output.Image, t.Output.PushSecret)
		add(t.Input.Image, t.Input.PullSecrets...)
	}
	if s.Inference != nil {
		for _, a := range s.Inference.Adapters {
			add(a.Image, a.PullSecrets...)
		}
	}
	return images
}

// SignsIn says that pods sign in as spec.serviceAccountName for an image. One that is mounted
// is the node's to pull.
func (s *WorkspaceSpec) SignsIn(image string, secrets ...string) bool {
	if s.ServiceAccountName == "" || CloudOf(image) == "" || strings.Join(secrets, "") != "" {
		return false
	}
	return s.CopiesImages() || s.Pushes(image)
}

// Pushes says that the image is where the adapter goes.
func (s *WorkspaceSpec) Pushes(image string) bool {
	return s.Tuning != nil && s.Tuning.Output.Image == image
}

// SignedIn are the images for which pods sign in as spec.serviceAccountName.
func (s *WorkspaceSpec) SignedIn() []string {
	var images []string
	for _, image := range s.WithoutSecret() {
		if s.SignsIn(image) {
			images = append(images, image)
		}
	}
	return images
}

// ServiceAccounts are the accounts that pods run as to be somebody in a cloud.
func (s *WorkspaceSpec) ServiceAccounts() []string {
	var names []string
	if s.ServiceAccountName != "" && len(s.SignedIn()) > 0 {
		names = append(names, s.ServiceAccountName)
	}
	if i := s.Inference; i != nil && i.Weights != nil && i.Weights.ServiceAccountName != "" && i.Weights.ServiceAccountName != s.ServiceAccountName {
		names = append(names, i.Weights.ServiceAccountName)
	}
	return names
}
