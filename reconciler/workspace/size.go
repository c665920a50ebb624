// SPDX-License-Identifier: Apache-2.0

package workspace

import (
	"cmp"
	"context"
	"errors"
	"strconv"
	"strings"

	"github.com/espalier-dev/espalier/reconciler/fault"
	"github.com/espalier-dev/espalier/render"
	"github.com/espalier-dev/espalier/render/check"
	"github.com/espalier-dev/espalier/render/desired"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// size judges the Workspace before anything is paid. What runs or has run for
// the same spec and inputs is left alone even where today's catalogue would
// refuse it: an upgrade of Espalier moves nothing.
func (r *Reconciler) size(_ context.Context, p *pass) error {
	facts := check.Facts{ConfigMaps: p.configMaps, Region: r.Region, Resolved: p.ws.Status.Resolved, ClaimModes: p.claimModes,
		ClaimZones: p.claimZones, VolumeZones: p.volumeZones, StorageClass: r.Render.StorageClass, Provider: cmp.Or(p.providerKept(), r.Render.Provider)}
	if p.ws.Spec.Resource.NodePool != "" {
		facts.Pool = &p.pool.Spec
	}
	facts.DriverUnseen = !p.driverSeen()
	p.assessment = check.Workspace(p.ws, facts, sourceOf(p.ws))
	usable := p.assessment.Usable()
	if p.assessment.Refused() || len(usable) == 0 {
		if p.sameAsResolved() && (p.pool != nil || p.ws.Status.Tuning != nil) {
			p.settled = true
			return nil
		}
		sizing := p.assessment.Status(0)
		p.ws.Status.Sizing = &sizing
		return fault.Stop(v1alpha1.ReasonRefused, errors.New(refusal(p.assessment)))
	}
	candidate, ok := p.obtained(usable)
	if !ok && p.sameAsResolved() && p.ws.Status.Resolved.InstanceType == p.pool.Status.Candidate.InstanceType {
		p.settled = true
		return nil
	}
	p.candidate = candidate
	p.tellSizing()
	return nil
}

// driverSeen says that the pool has judged its nodes by the driver that Git says now, so that
// an image may be chosen for it: a service does not roll onto nodes that are not as they should be.
func (p *pass) driverSeen() bool {
	shared := p.ws.Spec.Resource.NodePool != ""
	return p.poolReady() && (shared || p.pool.Spec.Driver == p.ws.Spec.Resource.Driver)
}

// tellSizing puts the verdict on the obtained candidate into the status.
func (p *pass) tellSizing() {
	for i, c := range p.assessment.Candidates {
		if c.InstanceType != p.candidate.InstanceType || c.Priority != p.candidate.Priority {
			continue
		}
		sizing := p.assessment.Status(i)
		if p.scales() {
			sizing = p.candidate.Size(sizing, int(p.copies()))
		}
		p.ws.Status.Sizing = &sizing
		return
	}
}

// sameAsResolved says that neither the spec nor an input has changed since the
// Workspace was last rendered.
func (p *pass) sameAsResolved() bool {
	was := p.ws.Status.Resolved
	return was != nil && was.Generation == p.ws.Generation && was.Digest == p.assessment.Resolved.Digest
}

// obtained is the candidate that the node pool has got, else the first that
// works. It says whether that is the one that the pool has, if it has one.
func (p *pass) obtained(usable []check.Candidate) (check.Candidate, bool) {
	if p.pool == nil || p.pool.Status.Candidate == nil || p.pool.Spec.ByKarpenter() {
		return usable[0], true // there may be nodes of several, and the same pods run on all of them
	}
	has := p.pool.Status.Candidate
	for _, c := range usable {
		if c.InstanceType == has.InstanceType && c.Priority == has.Priority {
			return c, true
		}
	}
	return usable[0], false
}

// refusal joins the error findings into one message, each with its code, as
// `espalier validate` and the plan say them.
func refusal(a check.Assessment) string {
	var parts []string
	for _, f := range a.Findings {
		if f.Severity == finding.Error {
			parts = append(parts, coded(f.Message, f.Code))
		}
	}
	return strings.Join(parts, "; ")
}

func coded(message, code string) string { return message + " (" + code + ")" }

// sourceOf locates findings at the line of the repository that the Workspace
// came from.
func sourceOf(ws *v1alpha1.Workspace) repolayout.Position {
	file, line, _ := strings.Cut(ws.Annotations[repolayout.AnnotationSource], ":")
	n, _ := strconv.Atoi(line)
	return fixedPosition{file, n}
}

type fixedPosition struct {
	file string
	line int
}

// At returns the same place for every field: the cluster holds no lines.
func (f fixedPosition) At(string) (string, int) { return f.file, f.line }

// render turns the Workspace into its children; no cluster access.
func (r *Reconciler) render(_ context.Context, p *pass) error {
	if p.settled {
		return nil
	}
	out, err := render.Render(render.Input{
		Workspace: p.ws, Assessment: p.assessment, Candidate: p.candidate,
		Versions: p.versions, Options: r.Render, Copies: p.counted(), Provider: p.providerKept(),
	})
	if err != nil {
		return fault.Stop(v1alpha1.ReasonRefused, errors.New(coded(err.Error(), desired.RenderRefused)))
	}
	p.out = out
	resolved := out.Resolved
	resolved.Generation = p.ws.Generation
	p.ws.Status.Resolved = &resolved
	return nil
}
