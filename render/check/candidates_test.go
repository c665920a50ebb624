// SPDX-License-Identifier: Apache-2.0

package check_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/espalier-dev/espalier/gpu/sku"
	"github.com/espalier-dev/espalier/render/check"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

func context(tokens int32) func(*v1alpha1.Workspace) {
	return func(w *v1alpha1.Workspace) { w.Spec.Inference.ContextLength = tokens }
}

func pinned(w *v1alpha1.Workspace) { w.Spec.Runtime = &v1alpha1.RuntimeSpec{Version: "0.26.0"} }

var namedSize = regexp.MustCompile(`the cheapest size that works is (Standard_\w+)`)

// TestTheCheapest: with the size that a refusal names the Workspace is accepted, and with
// none that costs less and fits as well. Each size is held to the image that would be chosen
// for it: that of the refused one may need a newer driver.
func TestTheCheapest(t *testing.T) {
	type makes = func(string, ...func(*v1alpha1.Workspace)) *v1alpha1.Workspace
	for name, tc := range map[string]struct {
		reason  string
		task    makes
		change  []func(*v1alpha1.Workspace)
		refused []string
		want    string // "": not said here
	}{
		"LongContext":    {"an A10's driver runs the image for CUDA 12.9", serving, []func(*v1alpha1.Workspace){context(65536)}, []string{"Standard_NC4as_T4_v3", "Standard_NC6s_v3", "Standard_NC24ads_A100_v5"}, "Standard_NV36ads_A10_v5"},
		"LongestContext": {"more than an A10 has", serving, []func(*v1alpha1.Workspace){context(131072)}, []string{"Standard_NC4as_T4_v3", "Standard_NV36ads_A10_v5", "Huge-Box"}, ""},
		"Small":          {"the smallest will do", serving, nil, []string{"Standard_NC6s_v3", "Standard_NC12s_v3"}, "Standard_NC4as_T4_v3"},
		"Version":        {"a version that is pinned has both images", serving, []func(*v1alpha1.Workspace){context(65536), pinned}, []string{"Standard_NC4as_T4_v3"}, "Standard_NV36ads_A10_v5"},
		"KAITO":          {"an image of one's own stays what it is", serving, []func(*v1alpha1.Workspace){context(65536), onKaito}, []string{"Standard_NC4as_T4_v3", "Standard_NC6s_v3"}, "Standard_NV36ads_A10_v5"},
		"Large":          {"a model for several GPUs", serving, []func(*v1alpha1.Workspace){preset("llama-3.3-70b-instruct"), gated}, []string{"Standard_NC4as_T4_v3", "Standard_NV36ads_A10_v5"}, ""},
		"Tuning":         {"Axolotl has no image for the driver of an A10", tuning, []func(*v1alpha1.Workspace){preset("phi-4")}, []string{"Standard_NV36ads_A10_v5", "Standard_NC6s_v3"}, ""},
		"TuningOfKAITO":  {"and KAITO's trainer runs there", tuning, []func(*v1alpha1.Workspace){onKaito}, []string{"Standard_NC6s_v3", "Huge-Box"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			for _, refused := range tc.refused {
				a := check.Workspace(tc.task(refused, tc.change...), check.Facts{Region: "eastus"}, nil)
				match := namedSize.FindStringSubmatch(said(a))
				if !a.Refused() || match == nil {
					t.Fatalf("%s: %s: it is not refused with a size that works: %s", tc.reason, refused, said(a))
				}
				if tc.want != "" && match[1] != tc.want {
					t.Errorf("%s: %s: got %s, want %s", tc.reason, refused, match[1], tc.want)
				}
				theCheapest(t, match[1], func(size string) *v1alpha1.Workspace { return tc.task(size, tc.change...) })
			}
		})
	}
}

// theCheapest compares a size with all others of Azure.
func theCheapest(t *testing.T, named string, with func(string) *v1alpha1.Workspace) {
	t.Helper()
	judged := func(size string) (check.Candidate, bool) {
		a := check.Workspace(with(size), check.Facts{Region: "eastus"}, nil)
		return a.Candidates[0], !a.Refused()
	}
	best, accepted := judged(named)
	if !accepted {
		t.Errorf("%s works, it is said, and is refused: %+v", named, best.Findings)
	}
	for _, i := range sku.All() {
		if i.Cloud != sku.Azure || i.Status != sku.Available {
			continue
		}
		other, accepted := judged(i.Name)
		if accepted && other.Price.Known && other.Price.USD < best.Price.USD && other.Fit.Nodes <= best.Fit.Nodes && (other.Fit.Verdict == v1alpha1.Fits || best.Fit.Verdict != v1alpha1.Fits) {
			t.Errorf("%s is said to be the cheapest for %s, and %s works for %s", named, best.Price, i.Name, other.Price)
		}
	}
}

func gated(w *v1alpha1.Workspace) { w.Spec.Model().AccessSecret = "hf" }

// said is every message.
func said(a check.Assessment) string {
	var list []string
	for _, f := range a.Findings {
		list = append(list, f.Message)
	}
	return strings.Join(list, "\n")
}

// TestAdviceOnNodesThatExist: nobody buys a size for machines that are there, so a refusal
// says what would have to be in them, and names no price.
func TestAdviceOnNodesThatExist(t *testing.T) {
	theirs := func(w *v1alpha1.Workspace) {
		w.Spec.Resource.Provider = v1alpha1.ProviderExisting
		ofRack(w)
	}
	long := func(w *v1alpha1.Workspace) { w.Spec.Tuning.Method, w.Spec.Tuning.Config = v1alpha1.LoRA, "c" }
	rack := &v1alpha1.GPUNodePoolSpec{Provider: v1alpha1.ProviderExisting, Candidates: []v1alpha1.Candidate{{InstanceType: "Standard_NC4as_T4_v3"}}}
	for name, tc := range map[string]struct {
		reason    string
		workspace *v1alpha1.Workspace
		facts     check.Facts
		says      string
	}{
		"LargerGPU":    {"the memory of a GPU that is enough", serving("Standard_NC4as_T4_v3", theirs, context(65536)), check.Facts{}, "spec.resource.count: 2 asks for that; nodes with one GPU of 24 GB (A10) would do"},
		"MoreGPUs":     {"several of them", serving("Standard_NC4as_T4_v3", theirs, preset("llama-3.3-70b-instruct"), gated), check.Facts{}, "; nodes with 2 GPUs of 94 GB (H100-NVL) would do"},
		"Pool":         {"a pool says that its nodes exist", serving("", sharing("rack"), context(65536)), check.Facts{Pool: rack}, "; nodes with one GPU of 24 GB (A10) would do"},
		"Installation": {"or the controller does", tuning("Standard_NC4as_T4_v3", preset("qwen2.5-coder-32b-instruct"), ofRack), check.Facts{Provider: v1alpha1.ProviderExisting}, "; nodes with one GPU of "},
		"Nothing":      {"no node is enough", tuning("Standard_NC4as_T4_v3", theirs, preset("llama-3.3-70b-instruct"), gated, long), check.Facts{ConfigMaps: map[string]map[string]string{"c": {"training_config.yaml": "axolotl: {sequence_len: 131072}"}}}, "; no GPUs of the catalogue would do"},
		"Unknown":      {"a GPU that no cloud has is like another one", serving("RTX-A6000", theirs), check.Facts{}, "`espalier skus --gpu` lists those with a GPU: name one with the GPU of the nodes, or with the nearest that has at most its memory (docs/own-nodes.md)"},
	} {
		t.Run(name, func(t *testing.T) {
			a := check.Workspace(tc.workspace, tc.facts, nil)
			if text := said(a); !a.Refused() || !strings.Contains(text, tc.says) || strings.Contains(text, "$") || strings.Contains(text, "cheapest") {
				t.Errorf("%s: it does not say %q, or a price:\n%s", tc.reason, tc.says, text)
			}
		})
	}
}

// fields is a position whose lines are those of the fields.
type fields map[string]int

func (f fields) At(field string) (string, int) { return "a.yaml", f[field] }

// TestWhereTheCauseIs: a finding stands where it can be mended, once, and says how.
func TestWhereTheCauseIs(t *testing.T) {
	lines := fields{"spec.resource.instanceType": 7, "spec.resource.candidates[0].instanceType": 7, "spec.resource.candidates[1].instanceType": 8, "spec.inference.contextLength": 18, "spec.inference.config": 19, "spec.budget.maxUSDPerHour": 20}
	two := candidates(v1alpha1.Candidate{InstanceType: "Standard_NC24ads_A100_v4", Priority: v1alpha1.Spot}, v1alpha1.Candidate{InstanceType: "Standard_NC24ads_A100_v4"})
	a100, configured := "Standard_NC24ads_A100_v4", func(w *v1alpha1.Workspace) { w.Spec.Inference.Config = "c" }
	defaulted := func(w *v1alpha1.Workspace) {
		w.Annotations = map[string]string{repolayout.AnnotationDefaulted: repolayout.DefaultedBudget}
	}
	for name, tc := range map[string]struct {
		reason    string
		workspace *v1alpha1.Workspace
		line      int
		says      string
	}{
		"Context":       {"no size makes a model for more", serving("", two, context(655360)), 18, "spec.inference.contextLength: 655,360 tokens are more than the 131,072 that phi-4-mini-instruct was made for: lower it"},
		"ContextConfig": {"nor does one where the configuration says it", serving(a100, configured), 19, "max-model-len: 655,360 tokens are more than the 131,072 that phi-4-mini-instruct was made for: lower it"},
		"Budget":        {"whoever allows too little reads what costs more", serving(a100, context(131072), budget("1")), 20, "spec.budget.maxUSDPerHour: Standard_NC24ads_A100_v4 costs $3.673/h list price, 2026-06-18, eastus, more than the budget of $1/h: raise spec.budget.maxUSDPerHour, or choose a smaller model or context"},
		"BudgetOther":   {"or which size costs less", serving(a100, budget("1")), 20, "more than the budget of $1/h: raise spec.budget.maxUSDPerHour, or choose another size; the cheapest size that works is Standard_NC4as_T4_v3, $0.526/h"},
		"BudgetCopies":  {"or that the size is the cheapest already", serving("Standard_NC4as_T4_v3", replicas(3), budget("1")), 20, "raise spec.budget.maxUSDPerHour, or ask for fewer copies"},
		"BudgetDefault": {"what the RepoSync says has no line in the Workspace", serving(a100, budget("1"), defaulted), 7, "sets where a Workspace has none: raise it there, or choose another size; "},
	} {
		t.Run(name, func(t *testing.T) {
			facts := check.Facts{Region: "eastus", ConfigMaps: map[string]map[string]string{"c": {"inference_config.yaml": "vllm: {max-model-len: 655360}"}}}
			a := check.Workspace(tc.workspace, facts, lines)
			if got := a.Findings; len(got) != 1 || got[0].Line != tc.line || !strings.Contains(got[0].Message, tc.says) {
				t.Errorf("%s: want line %d and %q, got %+v", tc.reason, tc.line, tc.says, got)
			}
		})
	}
}

// TestWholeSum: what is wrong with a size, what works and its sum are said whole, and of
// several candidates what works once.
func TestWholeSum(t *testing.T) {
	for name, tc := range map[string]struct {
		reason    string
		workspace *v1alpha1.Workspace
	}{
		"Three": {"a size that was retired, is too old and too small", serving("Standard_NC6s_v3", context(65536))},
		"Spot":  {"of spot and on demand", serving("", candidates(v1alpha1.Candidate{InstanceType: "Standard_NC6s_v3", Priority: v1alpha1.Spot}, v1alpha1.Candidate{InstanceType: "Standard_NC6s_v3"}), context(65536))},
	} {
		t.Run(name, func(t *testing.T) {
			text := said(check.Workspace(tc.workspace, check.Facts{}, nil))
			const sum = "which it fits: weights 7.2 + KV cache 8.0 (65,536 tokens) + activations 1.2 + overhead 1.2 = 17.6 of 20.2 GiB"
			if strings.Count(text, sum) != 1 || strings.Contains(text, "…") {
				t.Errorf("%s: want the sum once and whole:\n%s", tc.reason, text)
			}
		})
	}
}
