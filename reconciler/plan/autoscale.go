// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"fmt"

	"github.com/espalier-dev/espalier/render/check"
	"github.com/espalier-dev/espalier/render/desired"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// byLoad ends the words for a number of copies that follows the load.
const byLoad = " by load"

// copiesOf is the number of copies of a service: "3", or "1 to 5 by load".
func copiesOf(s *v1alpha1.InferenceSpec) string {
	least, most := s.Copies()
	if s.Autoscale == nil {
		return fmt.Sprint(least)
	}
	return fmt.Sprintf("%d to %d", least, most) + byLoad
}

// autoscale says what differs between two ways to scale, beside the bounds.
func (w *words) autoscale(a, b *v1alpha1.Autoscale) {
	if a == nil || b == nil {
		return
	}
	w.change("waiting requests of a copy", fmt.Sprint(a.Waiting()), fmt.Sprint(b.Waiting()))
	w.change("running requests of a copy", orNone32(a.RunningRequests), orNone32(b.RunningRequests))
	w.change("cooldown", fmt.Sprintf("%d s", a.Cooldown()), fmt.Sprintf("%d s", b.Cooldown()))
	w.change("scaled by", scaler(a), scaler(b))
	if a.KEDA == nil || b.KEDA == nil {
		return
	}
	w.change("Prometheus", a.KEDA.PrometheusAddress, b.KEDA.PrometheusAddress)
	w.change("credential for Prometheus", a.KEDA.Authentication, b.KEDA.Authentication)
	w.change("wake query", brief0(a.KEDA.WakeQuery), brief0(b.KEDA.WakeQuery))
	w.change("schedules", hoursOf(a.KEDA.Schedules), hoursOf(b.KEDA.Schedules))
}

func orNone32(n int32) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint(n)
}

func brief0(s string) string {
	if s == "" {
		return ""
	}
	return brief(s)
}

func scaler(a *v1alpha1.Autoscale) string {
	if a.KEDA != nil {
		return "KEDA"
	}
	return "a HorizontalPodAutoscaler"
}

func hoursOf(list []v1alpha1.Schedule) string {
	var all []string
	for _, s := range list {
		all = append(all, fmt.Sprintf("%d from %s to %s %s", s.Replicas, s.Start, s.End, s.TimeZone))
	}
	return joined(all)
}

// scales turns the amount of the most copies into a range.
func (a *Amount) scales(c check.Candidate, s *v1alpha1.InferenceSpec) {
	a.Scales = a.Known
	if !a.Known {
		return
	}
	least, most := s.Copies()
	a.LeastUSDPerHour = round(c.LeastPrice.USD)
	a.LeastUSDPerMonth = round(c.LeastPrice.USD * HoursPerMonth)
	a.Text = fmt.Sprintf("%d to %s, at most %s", least, counted(int(most), "copy", "copies"), a.Text)
}

// upTo says how many nodes are bought when the load grows, at first and at most.
func (r rendered) upTo(w *desired.Workspace) string {
	s := w.Workspace.Spec.Inference
	c, ok := chosen(w)
	if s == nil || s.Autoscale == nil || !ok || w.Workspace.Spec.Resource.NodePool != "" || c.Nodes <= c.LeastNodes || r.pool == nil || r.pool.provider == string(v1alpha1.ProviderExisting) {
		return r.nodesWanted()
	}
	first := r.nodesWanted()
	if c.LeastNodes == 0 {
		first = "no node of " + c.InstanceType + " is bought at first"
	}
	return fmt.Sprintf("%s, up to %d as the load grows", first, c.Nodes)
}

// scalesFromZero says that Git does not know whether any copy runs.
func (t transition) scalesFromZero() bool {
	a, b := t.from.Workspace.Spec.Inference, t.to.Workspace.Spec.Inference
	return a != nil && b != nil && b.Autoscale != nil && t.is.replicas == 0 && (a.Autoscale != nil || t.was.replicas > 0)
}

// autoscaling is a change of who decides on the number of copies, or of the
// bounds: how many run just now, Git does not know.
func (t transition) autoscaling() (Effect, bool) {
	a, b := t.from.Workspace.Spec.Inference, t.to.Workspace.Spec.Inference
	if a == nil || b == nil || a.Autoscale == nil && b.Autoscale == nil {
		return Effect{}, false
	}
	was, is := copiesOf(a), copiesOf(b)
	switch {
	case a.Autoscale == nil:
		return Effect{Kind: Scales, Message: fmt.Sprintf("%s from now on, beginning with those that run; the nodes follow the copies%s, nothing restarts", is, within(t.to))}, true
	case b.Autoscale == nil:
		down := is == "0"
		end := "nothing restarts"
		if down {
			end = "requests fail"
		}
		return Effect{Kind: Scales, Downtime: down, Message: fmt.Sprintf("%s → %s whatever the load, from as many as run; the nodes follow, %s", was, is, end)}, true
	case was != is:
		return Effect{Kind: Scales, Message: fmt.Sprintf("%s → %s; the nodes follow the copies%s, nothing restarts", was, is, within(t.to))}, true
	}
	return Effect{}, false
}

// within bounds the nodes that are bought.
func within(w *desired.Workspace) string {
	c, ok := chosen(w)
	if !ok || w.Workspace.Spec.Resource.NodePool != "" {
		return ""
	}
	return fmt.Sprintf(", %d to %s", c.LeastNodes, counted(c.Nodes, "node", "nodes"))
}
