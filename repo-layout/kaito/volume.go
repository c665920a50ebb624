// SPDX-License-Identifier: Apache-2.0

package kaito

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// use is what a volume is for. KAITO's admission takes every kind of volume and its
// pods mount it as it stands, so that what becomes of one follows from what the kind
// is: docs/kaito.md has the table.
type use int

const (
	trainingData use = iota
	adapterFiles
	trainedAdapter
)

// holds says in a sentence what the volume would have to hold.
func (u use) holds() string {
	if u == trainingData {
		return "training data"
	}
	return "an adapter"
}

// kindOf is the name of the one kind of volume that a source names, "" where it
// names none or several, with the reason.
func (c *converter) kindOf(v *corev1.VolumeSource, path string) string {
	text, err := json.Marshal(v)
	set := map[string]json.RawMessage{}
	if err == nil {
		err = json.Unmarshal(text, &set)
	}
	if kinds := slices.Sorted(maps.Keys(set)); err == nil && len(kinds) == 1 {
		return kinds[0]
	}
	c.refuse(finding.VolumeUnsupported, path, "want one kind of volume, such as persistentVolumeClaim with claimName")
	return ""
}

// claimed takes the volumes that are claims; for others it says false, or why not.
func (c *converter) claimed(v *corev1.VolumeSource, kind, path string) (string, bool) {
	if kind != "persistentVolumeClaim" {
		return "", false
	}
	if v.PersistentVolumeClaim.ClaimName == "" {
		c.refuse(finding.ReferenceInvalid, path+".persistentVolumeClaim.claimName", "name the PersistentVolumeClaim")
	}
	return v.PersistentVolumeClaim.ClaimName, true
}

// inputVolume is the training data on a volume.
func (c *converter) inputVolume(v *corev1.VolumeSource, path string, out *v1alpha1.DataSource) {
	kind := c.kindOf(v, path)
	if name, ok := c.claimed(v, kind, path); ok {
		out.Claim = name
		return
	}
	at := path + "." + kind
	switch kind {
	case "":
	case "image":
		out.Image = v.Image.Reference
	case "configMap":
		out.Files = []v1alpha1.FileSource{{ConfigMap: v.ConfigMap.Name, Items: items(v.ConfigMap.Items)}}
	case "secret":
		out.Files = []v1alpha1.FileSource{{Secret: v.Secret.SecretName, Items: items(v.Secret.Items)}}
	case "projected":
		out.Files = c.projected(v.Projected.Sources, at+".sources")
	default:
		c.noVolume(v, kind, path, trainingData)
	}
}

// projected are the ConfigMaps and Secrets of a projected volume. What else it may
// hold is of the cluster, and no training data.
func (c *converter) projected(sources []corev1.VolumeProjection, path string) []v1alpha1.FileSource {
	var files []v1alpha1.FileSource
	for i, s := range sources {
		switch {
		case s.ConfigMap != nil:
			files = append(files, v1alpha1.FileSource{ConfigMap: s.ConfigMap.Name, Items: items(s.ConfigMap.Items)})
		case s.Secret != nil:
			files = append(files, v1alpha1.FileSource{Secret: s.Secret.Name, Items: items(s.Secret.Items)})
		default:
			c.refuse(finding.VolumeUnsupported, finding.Index(path, i),
				"only ConfigMaps and Secrets hold training data; tokens and certificates of the cluster are out of a tenant's reach: remove it")
		}
	}
	if len(sources) == 0 {
		c.refuse(finding.VolumeUnsupported, path, "nothing is projected: name the ConfigMaps and Secrets that hold the data")
	}
	return files
}

func items(list []corev1.KeyToPath) []v1alpha1.FileItem {
	var out []v1alpha1.FileItem
	for _, i := range list {
		out = append(out, v1alpha1.FileItem{Key: i.Key, Path: i.Path})
	}
	return out
}

// adapterVolume is an adapter on a volume.
func (c *converter) adapterVolume(v *corev1.VolumeSource, path string, out *v1alpha1.Adapter) {
	kind := c.kindOf(v, path)
	if name, ok := c.claimed(v, kind, path); ok {
		out.Claim = name
		return
	}
	switch kind {
	case "":
	case "image":
		out.Image = v.Image.Reference
	case "configMap", "secret", "projected":
		c.refuse(finding.VolumeUnsupported, path+"."+kind, "a ConfigMap or Secret holds at most 1 MiB, and the smallest adapter of a model of KAITO's catalogue has many: "+
			"it could never have worked there; use persistentVolumeClaim, or push the adapter as an image")
	default:
		c.noVolume(v, kind, path, adapterFiles)
	}
}

// outputVolume is where a trained adapter goes.
func (c *converter) outputVolume(v *corev1.VolumeSource, path string) string {
	kind := c.kindOf(v, path)
	if name, ok := c.claimed(v, kind, path); ok {
		if v.PersistentVolumeClaim.ReadOnly {
			c.refuse(finding.VolumeUnsupported, path+".persistentVolumeClaim.readOnly", "the adapter is written there: remove readOnly")
		}
		return name
	}
	switch kind {
	case "":
	case "configMap", "secret", "projected", "downwardAPI", "image":
		c.refuse(finding.VolumeUnsupported, path+"."+kind, "nothing can be written there, so that the run would fail when it saves: it could never have worked in KAITO; use persistentVolumeClaim")
	case "emptyDir", "ephemeral":
		c.refuse(finding.VolumeUnsupported, path+"."+kind, "it goes with the pod, and the adapter with it: nobody could ever have fetched it in KAITO; use persistentVolumeClaim, or push the adapter as an image")
	default:
		c.noVolume(v, kind, path, trainedAdapter)
	}
	return ""
}

// noVolume refuses the kinds that hold nothing, and those that the node mounts for
// a tenant.
func (c *converter) noVolume(v *corev1.VolumeSource, kind, path string, u use) {
	at := path + "." + kind
	switch kind {
	case "hostPath":
		c.refuse(finding.HostAccess, at, "a path of the node is out of a tenant's reach, and empty on a node that was just provisioned: use persistentVolumeClaim")
	case "emptyDir":
		c.refuse(finding.VolumeUnsupported, at, "it is empty when the pod starts and nothing puts %s there: it could never have worked in KAITO; use persistentVolumeClaim", u.holds())
	case "ephemeral":
		remedy := "it is empty when the pod starts and nothing puts " + u.holds() + " there: it could never have worked in KAITO; use persistentVolumeClaim"
		if filled(v.Ephemeral) {
			remedy = "each pod would copy its source anew: declare a PersistentVolumeClaim with the same dataSource, which is copied once, and name it in persistentVolumeClaim.claimName"
		}
		c.refuse(finding.VolumeUnsupported, at, "%s", remedy)
	case "downwardAPI":
		c.refuse(finding.VolumeUnsupported, at, "it holds what the pod is called, and no %s: it could never have worked in KAITO; use persistentVolumeClaim", strings.TrimPrefix(u.holds(), "an "))
	case "gitRepo":
		c.refuse(finding.VolumeUnsupported, at, "the node would run git as root for a tenant, and Kubernetes itself has turned it off: push %s as an image, or use persistentVolumeClaim", u.holds())
	default:
		c.refuse(finding.VolumeUnsupported, at, "the node would mount it with its own rights, whatever server, disk or secret a tenant names, and past every NetworkPolicy: "+
			"an administrator makes a PersistentVolume of it, and persistentVolumeClaim names the claim on that")
	}
}

// filled says that an ephemeral volume begins with the content of something.
func filled(e *corev1.EphemeralVolumeSource) bool {
	return e.VolumeClaimTemplate != nil && (e.VolumeClaimTemplate.Spec.DataSource != nil || e.VolumeClaimTemplate.Spec.DataSourceRef != nil)
}
