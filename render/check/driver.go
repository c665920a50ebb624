// SPDX-License-Identifier: Apache-2.0

package check

import (
	"fmt"
	"slices"

	"github.com/espalier-dev/espalier/gpu/fit"
	"github.com/espalier-dev/espalier/gpu/sku"
	"github.com/espalier-dev/espalier/presets/runtimes"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// ownDriver says that no cloud installs the driver of the nodes, or that they are machines
// that the candidates only stand for: it is what Git says, if anything.
func (c *checker) ownDriver() bool {
	return c.nodesExist() || c.facts.Pool != nil && c.facts.Pool.OwnDriver()
}

// saidDriver is the oldest driver of the nodes as Git says it; "": it says none, or a cloud
// installs it.
func (c *checker) saidDriver() string {
	switch {
	case !c.ownDriver():
		return ""
	case c.facts.Pool != nil:
		return c.facts.Pool.Driver
	}
	return c.workspace.Spec.Resource.Driver
}

// onNodes is an instance type with the driver of the nodes of the task.
func (c *checker) onNodes(i sku.Instance) sku.Instance {
	if c.ownDriver() {
		return i.WithDriver(c.saidDriver())
	}
	return i
}

// driver is the oldest among the candidates, "" where none is known: one image has
// to run on whichever is obtained.
func (c *checker) driver() string {
	list, _ := c.listed()
	var oldest sku.Instance
	for _, candidate := range list {
		i, ok := sku.Lookup(candidate.InstanceType)
		if i = c.onNodes(i); ok && i.DriverBranch() > 0 && (oldest.Driver == "" || i.DriverBranch() < oldest.DriverBranch()) {
			oldest = i
		}
	}
	return oldest.Driver
}

// stays keeps the software that was chosen before for the same inputs. Where Git says another
// driver of the nodes it is another image of the same version; one that is not in the catalogue
// any more is chosen anew.
func (c *checker) stays(kept v1alpha1.Resolved, task string) bool {
	if c.sameImage(kept) {
		c.keepRuntime(kept, task)
		return true
	}
	r, ok := runtimes.Lookup(kept.Runtime, kept.Version, c.driver())
	if ok {
		c.out.Resolved.HelperImage = kept.HelperImage
		c.setRuntime(r.For(task))
	}
	return ok
}

// sameImage says that Git says nothing else of the driver than what an image was chosen for, or
// that it is not to be followed yet.
func (c *checker) sameImage(kept v1alpha1.Resolved) bool {
	said, spec := c.saidDriver(), c.workspace.Spec.Runtime
	switch {
	case c.ownsPod(), spec != nil && spec.Image != "":
		return true
	case !c.ownDriver():
		return !c.leaves(kept)
	case branch(said) == branch(kept.Driver):
		return true
	case c.facts.DriverUnseen && v1alpha1.OlderDriver(kept.Driver, said):
		c.out.Resolved.Driver = kept.Driver
		return true
	}
	return false
}

// leaves says that Git asks for other nodes than an image was chosen for, whose cloud installs a
// driver that is too old for it. That a later catalogue knows of an older one moves nothing.
func (c *checker) leaves(kept v1alpha1.Resolved) bool {
	r, pinned := runtimes.Image(kept.Image)
	has := branch(c.driver())
	return pinned && has > 0 && has < r.Requires.MinDriver && kept.Resource != "" && kept.Resource != ResourceDigest(c.workspace.Spec.Resource)
}

func branch(driver string) int { return sku.Instance{Driver: driver}.DriverBranch() }

// drivers refuses what a Workspace says of nodes that the installation's provider makes. What
// its RepoSync says is for nodes that exist alone.
func (c *checker) drivers() {
	r := c.workspace.Spec.Resource
	if r.Driver == "" || r.Provider != "" || r.NodePool != "" || c.nodesExist() || repolayout.Defaulted(c.workspace, repolayout.DefaultedDriver) {
		return // else ValidateWorkspace says so
	}
	c.refuse(finding.ProviderMismatch, driverField, "is for nodes that exist, and whoever makes these, by --provider, installs their driver: remove it, or write spec.resource.provider: existing")
}

const driverField = "spec.resource.driver"

// saidIn names where Git says the driver, or may.
func (c *checker) saidIn() string {
	switch {
	case c.facts.Pool != nil:
		return "spec.driver of GPUNodePool " + c.workspace.Spec.Resource.NodePool
	case repolayout.Defaulted(c.workspace, repolayout.DefaultedDriver):
		return "spec.defaults.driver of the RepoSync"
	}
	return driverField
}

// tooOld says that the driver runs no image that is pinned.
func tooOld(r fit.Report) bool {
	return slices.ContainsFunc(r.Reasons, func(reason fit.Reason) bool { return reason.Code == fit.CodeDriver })
}

// newerDriver says what would work where the owner of the nodes has a driver that is too old,
// and in which field the refusal belongs.
func (c *checker) newerDriver(out Candidate, field string) (remedy, at string) {
	if !out.Instance.OwnDriver || !tooOld(out.Fit) {
		return "", field
	}
	if c.facts.Pool == nil {
		field = driverField
	}
	remedy = fmt.Sprintf("; bring it to %d or newer and say so in %s", c.out.Runtime.Requires.MinDriver, c.saidIn())
	if c.trainsThere(out.Instance) {
		remedy += "; KAITO's trainer runs there: spec.runtime.name: " + runtimes.KAITO
	}
	return remedy, field
}

// trainsThere says that KAITO's trainer runs where Axolotl does not.
func (c *checker) trainsThere(i sku.Instance) bool {
	trainer, _ := runtimes.Lookup(runtimes.KAITO, "", "")
	needs := trainer.For(runtimes.Tuning).Requires
	return c.out.Runtime.Name == runtimes.Axolotl && i.DriverBranch() >= needs.MinDriver && !i.Capability.Less(needs.MinCapability)
}
