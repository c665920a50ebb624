// SPDX-License-Identifier: Apache-2.0

package repolayout

import (
	"net/netip"
	"net/url"
	"strings"
	"time"
	_ "time/tzdata" // a time zone is known or not known alike on every machine

	"github.com/robfig/cron/v3"

	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// Bounds of autoscale in the CRD.
const (
	maxRequests  = 100_000
	maxCooldown  = 3600 // seconds: what a HorizontalPodAutoscaler takes
	maxSchedules = 16
	maxAddress   = 512
	maxWakeQuery = 2048
	maxZone      = 64
	maxCronText  = 100
)

func (v *validator) autoscale(path string, s v1alpha1.InferenceSpec) {
	a := s.Autoscale
	if a == nil {
		return
	}
	if s.Replicas != nil && *s.Replicas != defaultReplicas {
		v.refuse(finding.AutoscaleInvalid, path+".replicas", "autoscale decides the number of copies: remove replicas, or autoscale")
	}
	path += ".autoscale"
	v.between(path+".minReplicas", int(a.Least()), 0, maxCount, "leave it out for 1")
	v.between(path+".maxReplicas", int(a.MaxReplicas), 1, maxCount, "it is what the budget is judged against")
	v.between(path+".waitingRequests", int(a.Waiting()), 1, maxRequests, "leave it out for 5")
	v.between(path+".runningRequests", int(a.RunningRequests), 0, maxRequests, "leave it out and only the queue is looked at")
	v.between(path+".cooldownSeconds", int(a.Cooldown()), 0, maxCooldown, "leave it out for 600")
	if a.Least() > a.MaxReplicas {
		v.refuse(finding.AutoscaleInvalid, path+".minReplicas", "%d is more than maxReplicas, which is %d", a.Least(), a.MaxReplicas)
	}
	if a.Least() == 0 && (a.KEDA == nil || a.KEDA.WakeQuery == "" && len(a.KEDA.Schedules) == 0) {
		v.refuse(finding.AutoscaleInvalid, path+".minReplicas", "the queue is a metric of the pods: with no pod there is none, and nothing would start the first; "+
			"write 1, or say what else starts it: keda.wakeQuery (requests at a gateway) or keda.schedules (hours)")
	}
	if a.KEDA != nil {
		v.keda(path+".keda", *a.KEDA, a.MaxReplicas)
	}
}

func (v *validator) keda(path string, k v1alpha1.KEDA, most int32) {
	v.server(path+".prometheusAddress", k.PrometheusAddress)
	v.reference(path+".authentication", "TriggerAuthentication", k.Authentication)
	v.shorter(path+".wakeQuery", k.WakeQuery, maxWakeQuery)
	if k.WakeQuery != "" && strings.TrimSpace(k.WakeQuery) == "" {
		v.refuse(finding.AutoscaleInvalid, path+".wakeQuery", "the query is empty: write one whose value is above 0 while requests arrive, or remove it")
	}
	v.placeholder(path+".wakeQuery", k.WakeQuery)
	v.atMost(path+".schedules", len(k.Schedules), maxSchedules)
	for i, s := range k.Schedules {
		v.schedule(finding.Index(path+".schedules", i), s, most)
	}
}

// schedules are read as KEDA reads them.
var schedules = cron.NewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow)

func (v *validator) schedule(path string, s v1alpha1.Schedule, most int32) {
	for _, side := range []struct{ field, text string }{{path + ".start", s.Start}, {path + ".end", s.End}} {
		if _, err := schedules.Parse(side.text); err != nil || len(side.text) > maxCronText {
			v.refuse(finding.AutoscaleInvalid, side.field, `want minute, hour, day of the month, month and day of the week as cron writes them, such as "0 8 * * 1-5"`)
		}
	}
	if s.Start == s.End && s.Start != "" {
		v.refuse(finding.AutoscaleInvalid, path+".end", "it is the same as start, which KEDA refuses: write when the hours end")
	}
	if _, err := time.LoadLocation(s.TimeZone); err != nil || s.TimeZone == "" || s.TimeZone == "Local" || len(s.TimeZone) > maxZone {
		v.refuse(finding.AutoscaleInvalid, path+".timeZone", "want the name of a time zone in the IANA database, such as Europe/Berlin or UTC")
	}
	v.between(path+".replicas", int(s.Replicas), 1, maxCount, "it is the least number of copies in these hours")
	if s.Replicas > most && most > 0 {
		v.refuse(finding.AutoscaleInvalid, path+".replicas", "%d is more than maxReplicas, which is %d", s.Replicas, most)
	}
}

// server checks the address of a service of the cluster. It may be private, and
// not the machine itself or the cloud's metadata service.
func (v *validator) server(field, address string) {
	if address != "" && v.placeholder(field, address) {
		return
	}
	v.shorter(field, address, maxAddress)
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		v.refuse(finding.URLInvalid, field, "want an address that begins with http:// or https://, such as http://prometheus-operated.monitoring.svc:9090")
		return
	}
	if u.User != nil {
		v.refuse(finding.URLCredentials, field, "the address holds credentials, which Git would show to every reader: "+
			"withdraw them, and name a TriggerAuthentication in %s", v.name("spec.inference.autoscale.keda.authentication"))
	}
	if u.RawQuery != "" || u.Fragment != "" || strings.ContainsAny(address, " \t\r\n") {
		v.refuse(finding.URLInvalid, field, "want the address of the server alone, without ? and #")
	}
	if why := forbiddenServer(u.Hostname()); why != "" {
		v.refuse(finding.URLForbidden, field, "%s: name the Service of Prometheus as KEDA reaches it", why)
	}
}

// forbiddenServer is forbiddenHost for a server that may well be private.
func forbiddenServer(host string) string {
	if addr, err := netip.ParseAddr(host); err == nil && addr.Unmap().IsPrivate() {
		return ""
	}
	return forbiddenHost(host)
}
