// SPDX-License-Identifier: Apache-2.0

package check

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
)

// WorkGiB is the room that a run needs on its volume: the base model as
// downloaded, and 20 GiB for prepared data and checkpoints, in steps of 32 GiB: a
// claim cannot shrink, and a corrected size in the catalogue should change none.
func WorkGiB(weightBytes int64) int64 {
	const step = 32 << 30
	need := weightBytes + weightBytes/5 + 20<<30
	return (need + step - 1) / step * 32
}

// checkpoints judges the volume of a run.
func (c *checker) checkpoints() {
	t := c.workspace.Spec.Tuning
	if t == nil || t.Checkpoints == nil {
		return
	}
	const field = "spec.tuning.checkpoints"
	k, need := t.Kept(), WorkGiB(c.out.Preset.Model.WeightBytes)
	if size, err := resource.ParseQuantity(k.Size); err == nil && size.Value() < need<<30 {
		c.refuse(CheckpointsTooSmall, field+".size", "%s has no room for %s, its prepared data and checkpoints: want %dGi or more, or leave it out", k.Size, c.out.Preset.Name(), need)
	}
	const twice = "the ConfigMap says %s too: give one of them"
	if said := c.out.Training.Saves; k.SaveSteps > 0 && said != "" {
		c.refuse(ConfigInvalid, field+".saveSteps", twice, said)
	}
	if said := c.out.Training.Keeps; k.Keep > 0 && said != "" {
		c.refuse(ConfigInvalid, field+".keep", twice, said)
	}
}

// zones says where a lost pod may not be able to go on: a disk of one zone is
// mounted by nodes of that zone only.
func (c *checker) zones() {
	if c.workspace.Spec.Tuning == nil || c.facts.ClaimZones != nil {
		return // candidates are held to the volume itself
	}
	var among []string
	for _, u := range c.out.Usable() {
		for _, zone := range zonesOf(u.Candidate) {
			if !slices.Contains(among, zone) {
				among = append(among, zone)
			}
		}
	}
	if len(among) < 2 {
		return
	}
	slices.Sort(among)
	field, class := "spec.tuning.checkpoints.storageClass", c.workspace.Spec.Tuning.Kept().StorageClass
	if class == "" {
		field, class = "spec.tuning", c.facts.StorageClass
	}
	code, why := reachOf(class)
	if code == "" {
		return
	}
	goesOn := "a run goes on only where its checkpoints can be mounted"
	if c.kaitoTrains() {
		goesOn = "the next pod of a run, which begins again, starts only where its volume can be mounted"
	}
	c.warn(code, field, "the nodes may be in %s, and %s: %s; with "+
		"checkpoints.storageClass of a zone-redundant disk or a share (azurefile-csi-premium) every zone will do, or name one zone for all candidates", spoken(among), goesOn, why)
}

// zonesOf are the zones a candidate's nodes may be in; "" stands for nodes
// without a zone.
func zonesOf(c v1alpha1.Candidate) []string {
	if len(c.Zones) == 0 {
		return []string{""}
	}
	return c.Zones
}

func spoken(zones []string) string {
	var words []string
	for _, z := range zones {
		if z == "" {
			z = "none"
		}
		words = append(words, z)
	}
	return "zones " + strings.Join(words, ", ")
}

// disks are the classes of AKS whose volumes are disks (Microsoft Learn, storage
// options for AKS, as of 2026-11): locally redundant, except where AKS made the
// cluster over several zones.
var disks = []string{"default", "managed-csi", "managed-csi-premium", "managed", "managed-premium"}

// reachOf says what is known of a class by its name: "" where volumes of it are
// mounted in every zone.
func reachOf(class string) (code, why string) {
	lower := strings.ToLower(class)
	parts := strings.FieldsFunc(lower, func(r rune) bool { return r == '-' || r == '.' || r == '_' })
	switch {
	case strings.HasPrefix(lower, "azurefile"), strings.HasPrefix(lower, "azureblob"), slices.Contains(parts, "zrs"):
		return "", ""
	case slices.Contains(parts, "lrs"):
		return ZoneLocked, fmt.Sprintf("volumes of class %s are, by its name, disks of one zone", class)
	case slices.Contains(disks, lower):
		return ZoneLocked, fmt.Sprintf("volumes of class %s are disks of one zone, unless the cluster was made over several zones with Kubernetes 1.29 or newer", class)
	case class == "":
		return ZoneUnknown, "the class is the cluster's default, of which nothing is known here"
	}
	return ZoneUnknown, fmt.Sprintf("whether volumes of class %s are is not known here", class)
}

// mountable rules out a candidate whose nodes cannot mount the checkpoints that
// are there, or the claim of the weights.
func (c *checker) mountable(candidate v1alpha1.Candidate, field string, add func(finding.Problem)) {
	if left := c.mayBeIn(candidate); left == nil || len(left) > 0 {
		return
	}
	if claim := c.workspace.Spec.WeightsClaim(); claim != "" {
		add(finding.Errorf(ZoneLocked, field, "nodes in %s cannot mount claim %q with the weights, which is in %s: add a candidate there, or keep the weights on a share or in an object store, which every zone reaches",
			spoken(zonesOf(candidate)), claim, spoken(c.facts.ClaimZones)))
		return
	}
	if c.workspace.Spec.Tuning == nil {
		return
	}
	add(finding.Errorf(ZoneLocked, field, "nodes in %s cannot mount the volume of the run, which are in %s: add a candidate there, or, once nothing on them is wanted: kubectl delete pvc -n %s %s",
		spoken(zonesOf(candidate)), spoken(c.facts.ClaimZones), c.workspace.Namespace, repolayout.WorkClaimName(c.workspace.Name)))
}

// mayBeIn are the zones that nodes of a candidate may be in, which mount the claim that
// is there; nil: all.
func (c *checker) mayBeIn(candidate v1alpha1.Candidate) []string {
	switch {
	case len(candidate.Zones) == 0 && c.anywhere():
		return c.facts.ClaimZones
	case c.facts.ClaimZones != nil:
		return InZones(candidate, c.facts.ClaimZones)
	}
	return zonesOf(candidate)
}

// anywhere says that nodes of candidates without zones may be in each: those that exist
// are where they are, Karpenter brings those of a pool that it fills to the volume, and
// a Workspace's own are ordered there. AKS gives such nodes no zone.
func (c *checker) anywhere() bool {
	if p := c.facts.Pool; p != nil {
		return p.Provider == v1alpha1.ProviderExisting || p.ByKarpenter()
	}
	of := cmp.Or(c.workspace.Spec.Resource.Provider, c.facts.Provider)
	return of == v1alpha1.ProviderExisting || of == v1alpha1.ProviderKarpenter
}

// ZoneName is a zone as candidates and volumes both have it: Azure labels eastus-1 what
// its pools call 1, and others call a zone as they label it, such as us-east-1a.
func ZoneName(zone string) string {
	if _, err := strconv.Atoi(zone[strings.LastIndexByte(zone, '-')+1:]); err == nil {
		return zone[strings.LastIndexByte(zone, '-')+1:]
	}
	return zone
}

// InZones are the zones of a candidate that a volume of certain zones can be
// mounted in; "" stands for nodes without a zone.
func InZones(candidate v1alpha1.Candidate, volume []string) []string {
	return mounting(zonesOf(candidate), volume)
}

// mounting are those of some zones that a volume can be mounted in.
func mounting(zones, volume []string) []string {
	return slices.DeleteFunc(slices.Clone(zones), func(zone string) bool { return !slices.Contains(volume, ZoneName(zone)) })
}
