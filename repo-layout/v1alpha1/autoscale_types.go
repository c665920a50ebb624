// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// Defaults of Autoscale; the CRD sets them as well.
const (
	DefaultWaitingRequests int32 = 5
	DefaultCooldownSeconds int32 = 600
)

// Autoscale lets the number of copies follow the queue of the pods. Without keda
// it becomes a HorizontalPodAutoscaler, which reads the queue from the API of
// custom metrics; with it a ScaledObject of KEDA, which asks Prometheus.
//
// +kubebuilder:validation:XValidation:rule="self.minReplicas <= self.maxReplicas",message="minReplicas is more than maxReplicas"
// +kubebuilder:validation:XValidation:rule="self.minReplicas > 0 || (has(self.keda) && ((has(self.keda.wakeQuery) && self.keda.wakeQuery.size() > 0) || has(self.keda.schedules)))",message="minReplicas 0 needs keda.wakeQuery or keda.schedules: the queue is a metric of the pods, and with no pod nothing would start the first"
// +kubebuilder:validation:XValidation:rule="!has(self.keda) || !has(self.keda.schedules) || self.keda.schedules.all(s, s.replicas <= self.maxReplicas)",message="a schedule asks for more copies than maxReplicas"
type Autoscale struct {
	// MinReplicas is the least number of copies. 0 lets the last copy and its
	// nodes go, and needs something beside the pods' own queue that starts the
	// first one again: keda with wakeQuery or schedules.
	// +kubebuilder:default=1
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000
	MinReplicas *int32 `json:"minReplicas,omitempty"`
	// MaxReplicas is the greatest number of copies: what is judged against the
	// budget, and what the price is at most.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000
	MaxReplicas int32 `json:"maxReplicas"`
	// WaitingRequests is how many requests may wait in the queue of vLLM, for
	// each copy, before another copy is started.
	// +kubebuilder:default=5
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100000
	WaitingRequests *int32 `json:"waitingRequests,omitempty"`
	// RunningRequests is how many requests each copy works on at once before
	// another is started. 0 or absent: only the queue is looked at.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100000
	RunningRequests int32 `json:"runningRequests,omitempty"`
	// CooldownSeconds is how long fewer copies must have been enough before one
	// goes: its node is given back, and getting it again takes minutes.
	// +kubebuilder:default=600
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=3600
	CooldownSeconds *int32 `json:"cooldownSeconds,omitempty"`
	// KEDA says that the cluster has KEDA, and where it reads the metrics.
	KEDA *KEDA `json:"keda,omitempty"`
}

// KEDA is how KEDA scales a service.
type KEDA struct {
	// PrometheusAddress is the URL of the Prometheus that has the metrics of the
	// pods, as KEDA reaches it.
	// +kubebuilder:validation:Pattern=`^https?://[^\s/?#@]+(/[^\s?#]*)?$`
	// +kubebuilder:validation:MaxLength=512
	PrometheusAddress string `json:"prometheusAddress"`
	// Authentication names a TriggerAuthentication of the namespace, where
	// Prometheus asks for a credential.
	// +kubebuilder:validation:MaxLength=253
	Authentication string `json:"authentication,omitempty"`
	// WakeQuery is a query of Prometheus whose value is above 0 while requests
	// arrive somewhere before the pods, such as at a gateway: it starts the first
	// copy, and keeps one.
	// +kubebuilder:validation:MaxLength=2048
	WakeQuery string `json:"wakeQuery,omitempty"`
	// Schedules are hours in which copies run whatever the load.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	Schedules []Schedule `json:"schedules,omitempty"`
}

// Schedule is hours in which copies run whatever the load.
type Schedule struct {
	// Start of the hours, as cron writes it: minute, hour, day of the month, month,
	// day of the week.
	// +kubebuilder:validation:MinLength=9
	// +kubebuilder:validation:MaxLength=100
	Start string `json:"start"`
	// End of the hours, written in the same way.
	// +kubebuilder:validation:MinLength=9
	// +kubebuilder:validation:MaxLength=100
	End string `json:"end"`
	// TimeZone by its name in the IANA database, such as Europe/Berlin.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	TimeZone string `json:"timeZone"`
	// Replicas is the least number of copies in these hours.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000
	Replicas int32 `json:"replicas"`
}

// Least is the least number of copies, 1 when the spec is silent.
func (a *Autoscale) Least() int32 {
	if a.MinReplicas == nil {
		return 1
	}
	return *a.MinReplicas
}

// Waiting is how many requests may wait for each copy.
func (a *Autoscale) Waiting() int32 {
	if a.WaitingRequests == nil {
		return DefaultWaitingRequests
	}
	return *a.WaitingRequests
}

// Cooldown is how long fewer copies must have been enough before one goes, in
// seconds.
func (a *Autoscale) Cooldown() int32 {
	if a.CooldownSeconds == nil {
		return DefaultCooldownSeconds
	}
	return *a.CooldownSeconds
}

// Copies bounds the number of copies of a service: the same twice, unless it
// scales by itself.
func (s *InferenceSpec) Copies() (least, most int32) {
	switch {
	case s.Autoscale != nil:
		return s.Autoscale.Least(), s.Autoscale.MaxReplicas
	case s.Replicas != nil:
		return *s.Replicas, *s.Replicas
	}
	return 1, 1
}
