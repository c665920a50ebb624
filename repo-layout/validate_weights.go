// SPDX-License-Identifier: Apache-2.0

package repolayout

import (
	"regexp"
	"slices"
	"strings"

	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

var (
	volumeFolder   = regexp.MustCompile(`^[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*$`)
	weightsURL     = regexp.MustCompile(`^(az|s3|gs)://[a-z0-9][a-z0-9._-]*(/[A-Za-z0-9._-]+)*$`)
	storeEndpoint  = regexp.MustCompile(`^https?://[^\s/?#@]+$`)
	storageAccount = regexp.MustCompile(`^[a-z0-9]{3,24}$`)
	registryURL    = regexp.MustCompile(`^https://[a-z0-9.-]+\.(api\.azureml\.ms|api\.ml\.azure\.us|api\.ml\.azure\.cn|services\.ai\.azure\.(com|us|cn))(/[A-Za-z0-9._-]+)+(\?[A-Za-z0-9=&._-]+)?$`)
	clientID       = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)
	localFolder    = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]*$`)
)

// Lengths of the CRD.
const (
	maxFolder      = 512
	maxWeightsURL  = 1024
	maxLocalFolder = 128
)

// folder says whether a path stays within the volume that it is of.
func folder(path string) bool {
	parts := strings.Split(path, "/")
	return len(path) <= maxFolder && volumeFolder.MatchString(path) && !slices.Contains(parts, "..") && !slices.Contains(parts, ".")
}

// weights judges where the weights of a served model are.
func (v *validator) weights(inference string, s v1alpha1.InferenceSpec) {
	v.performance(inference+".performanceMode", s.PerformanceMode)
	w := s.Weights
	if w == nil {
		return
	}
	path := inference + ".weights"
	set := 0
	for _, one := range []string{w.Claim, w.URL, w.Local} {
		if one != "" {
			set++
		}
	}
	if w.Registry != nil {
		set++
	}
	if set != 1 {
		v.refuse(finding.WeightsInvalid, path, "say where the weights are: exactly one of claim, url, local and registry")
	}
	v.besideWeights(inference, s)
	v.reference(path+".claim", "PersistentVolumeClaim", w.Claim)
	if w.Path != "" && (w.Claim == "" || !folder(w.Path)) {
		v.refuse(finding.WeightsInvalid, path+".path", "want a folder of the claim, such as phi-4-mini/0123abcd; without . and .. in it")
	}
	v.local(path+".local", w.Local)
	v.store(path, *w)
	v.signIn(path, *w)
	v.registry(path, *w)
}

// registry judges a version of a model in a registry of Azure: the address gets a token of
// the identity, and so is Azure's own.
func (v *validator) registry(path string, w v1alpha1.Weights) {
	r := w.Registry
	if r == nil {
		return
	}
	shown, _, _ := strings.Cut(r.URL, "?")
	switch {
	case v.placeholder(path+".registry.url", r.URL):
	case len(r.URL) > maxWeightsURL || !registryURL.MatchString(r.URL):
		v.refuse(finding.WeightsInvalid, path+".registry.url", "want the address of a version of a model at an interface of Azure's own, because it gets a token of the identity: https://REGION.api.azureml.ms/…/models/NAME/versions/VERSION, "+
			"https://PROJECT.services.ai.azure.com/…, or …/registries/REGISTRY/datarefs/NAME/versions/VERSION of a public registry")
	case strings.HasSuffix(strings.TrimSuffix(shown, "/"), "/credentials"):
		v.refuse(finding.WeightsInvalid, path+".registry.url", "want the address of the version itself, without /credentials at its end")
	}
	if !v.placeholder(path+".registry.clientID", r.ClientID) && !clientID.MatchString(r.ClientID) {
		v.refuse(finding.WeightsInvalid, path+".registry.clientID", "want the client id of the identity that may read the registry: 32 hex digits in five groups")
	}
}

func (v *validator) performance(field string, mode v1alpha1.PerformanceMode) {
	switch mode {
	case "", v1alpha1.ModeBalanced, v1alpha1.ModeInteractivity, v1alpha1.ModeThroughput:
	default:
		v.refuse(finding.NotOneOf, field, "want %s, %s or %s", v1alpha1.ModeBalanced, v1alpha1.ModeInteractivity, v1alpha1.ModeThroughput)
		meant(v, mode, v1alpha1.ModeBalanced, v1alpha1.ModeInteractivity, v1alpha1.ModeThroughput)
	}
}

// local is one folder: a tenant names no path of the node.
func (v *validator) local(field, name string) {
	if name == "" || v.placeholder(field, name) {
		return
	}
	if len(name) > maxLocalFolder || !localFolder.MatchString(name) {
		v.refuse(finding.WeightsInvalid, field, "want the name of one folder, in lower case and without /: the directory that it is in is the controller's to choose")
	}
}

// besideWeights refuses what is about a download.
func (v *validator) besideWeights(inference string, s v1alpha1.InferenceSpec) {
	for _, f := range []struct {
		name string
		set  bool
	}{{"cache", s.Cache != nil}, {"revision", s.Revision != ""}, {"accessSecret", s.AccessSecret != ""}} {
		if f.set {
			v.refuse(finding.WeightsInvalid, inference+"."+f.name, "is about a download, and with weights nothing is downloaded: remove it, or weights")
		}
	}
	if s.TrustRemoteCode {
		v.refuse(finding.WeightsInvalid, inference+".trustRemoteCode", "runs code of a pinned commit, and what lies at weights is pinned by nothing: remove it, or weights")
	}
}

// store judges an object store.
func (v *validator) store(path string, w v1alpha1.Weights) {
	scheme, account := w.Store(), storageAccount.MatchString(w.StorageAccount)
	if w.URL != "" && !v.placeholder(path+".url", w.URL) && (len(w.URL) > maxWeightsURL || !weightsURL.MatchString(w.URL)) {
		v.refuse(finding.WeightsInvalid, path+".url", "want a folder of an object store: az://CONTAINER/PATH, s3://BUCKET/PATH or gs://BUCKET/PATH, without a key in it")
	}
	switch {
	case scheme == "az" && !account:
		v.refuse(finding.WeightsInvalid, path+".storageAccount", "name the Azure storage account that has the container: 3 to 24 lower-case letters and digits")
	case scheme != "az" && w.StorageAccount != "":
		v.refuse(finding.WeightsInvalid, path+".storageAccount", "is of an az:// url: remove it")
	}
	if w.Endpoint != "" && (scheme != "s3" || !storeEndpoint.MatchString(w.Endpoint)) {
		v.refuse(finding.WeightsInvalid, path+".endpoint", "want the address of a store that speaks S3, https://HOST, beside an s3:// url")
	}
}

// signIn judges what reads an object store, and what no other place asks for.
func (v *validator) signIn(path string, w v1alpha1.Weights) {
	v.reference(path+".secret", "Secret", w.Secret)
	v.reference(path+".serviceAccountName", "ServiceAccount", w.ServiceAccountName)
	switch {
	case w.Secret != "" && w.ServiceAccountName != "":
		v.refuse(finding.WeightsInvalid, path+".secret", "serviceAccountName is set as well, and one of them signs in: remove the other")
	case w.URL == "" && (w.Secret != "" || w.ServiceAccountName != "" && w.Registry == nil):
		v.refuse(finding.WeightsInvalid, path, "secret and serviceAccountName sign in to an object store: remove them, a claim and a folder of the node ask for nothing")
	case w.URL != "" && w.Stream:
		v.refuse(finding.WeightsInvalid, path+".stream", "weights at a url are always streamed: remove it")
	}
}
