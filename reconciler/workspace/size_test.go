// SPDX-License-Identifier: Apache-2.0

package workspace

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/espalier-dev/espalier/reconciler/condition"
	"github.com/espalier-dev/espalier/render"
	"github.com/espalier-dev/espalier/render/desired"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// TestSameFindings: what `espalier validate` and the plan call errors, by
// desired.Judge, stands in the condition of the Workspace, each with its code.
func TestSameFindings(t *testing.T) {
	const head = "apiVersion: espalier.dev/v1alpha1\nkind: Workspace\nmetadata: {name: a, namespace: models}\nspec:\n"
	for name, tc := range map[string]struct {
		reason, spec string
		codes        []string
	}{
		"Model":   {"the catalogue does not have it", "  resource: {instanceType: Standard_NC24ads_A100_v4}\n  inference: {preset: no-such-model}\n", []string{"UnknownModel"}},
		"Size":    {"neither", "  resource: {instanceType: Standard_Bogus}\n  inference: {preset: phi-4}\n", []string{"UnknownInstanceType"}},
		"Retired": {"no node of it can be had", "  resource: {instanceType: Standard_NC6s_v3}\n  inference: {preset: phi-4-mini-instruct}\n", []string{"InstanceTypeRetired"}},
		"Fit":     {"it is too large", "  resource: {instanceType: Standard_NC4as_T4_v3, count: 1}\n  inference: {preset: phi-4}\n", []string{"DoesNotFit"}},
		"Budget":  {"it costs more", "  resource: {instanceType: Standard_NC24ads_A100_v4}\n  budget: {maxUSDPerHour: \"1\"}\n  inference: {preset: phi-4}\n", []string{"BudgetExceeded"}},
		"Runtime": {"a version that nobody knows", "  resource: {instanceType: Standard_NC24ads_A100_v4}\n  runtime: {version: 0.0.1}\n  inference: {preset: phi-4}\n", []string{"UnknownRuntime"}},
		"Gated":   {"a licence to accept", "  resource: {instanceType: Standard_NC24ads_A100_v4}\n  inference: {preset: llama-3.1-8b-instruct}\n", []string{"ModelGated"}},
		"Tuning":  {"nobody knows what it takes", "  resource: {instanceType: Standard_NC24ads_A100_v4}\n  tuning: {preset: gpt-oss-20b, method: qlora, input: {urls: ['https://example.com/a.json']}, output: {claim: out}}\n", []string{"FitUnknown", "NotTunable"}},
		"Two":     {"each is said", "  resource: {instanceType: Standard_Bogus}\n  inference: {preset: llama-3.1-8b-instruct}\n", []string{"ModelGated", "UnknownInstanceType"}},
		"Patch":   {"found when it is rendered", "  resource: {instanceType: Standard_NC24ads_A100_v4}\n  inference: {preset: phi-4}\n  patches: [{target: {kind: Deployment}, patch: '- {op: add, path: /spec/template/spec/hostNetwork, value: true}'}]\n", []string{"RenderRefused"}},
		"None":    {"nothing is wrong", "  resource: {instanceType: Standard_NC24ads_A100_v4}\n  inference: {preset: phi-4}\n", nil},
	} {
		t.Run(name, func(t *testing.T) {
			sync := &v1alpha1.RepoSync{}
			sync.Namespace = "models"
			documents, findings := desired.Assemble(sync, []desired.Text{{YAML: []byte(head + tc.spec), Position: repolayout.Split("a.yaml", []byte(head+tc.spec))[0]}})
			judge := desired.Judge{Render: testOptions()}
			var codes []string
			errors := slices.DeleteFunc(judge.State(documents, findings).All(), func(f v1alpha1.Finding) bool { return f.Severity != finding.Error })
			message := refused(t, documents[0].Workspace)
			for _, f := range errors {
				codes = append(codes, f.Code)
				if !strings.Contains(message, f.Message+" ("+f.Code+")") {
					t.Errorf("%s: validate says %q (%s), the condition %q", tc.reason, f.Message, f.Code, message)
				}
			}
			slices.Sort(codes)
			if diff := cmp.Diff(tc.codes, slices.Compact(codes)); diff != "" {
				t.Errorf("%s: codes of validate, -want +got:\n%s", tc.reason, diff)
			}
			if (message == "") != (tc.codes == nil) {
				t.Errorf("%s: the condition is %q", tc.reason, message)
			}
		})
	}
}

func testOptions() render.Options {
	return render.Options{HelperImage: "registry.example.com/espalier:1"}
}

// refused is the message of Ready after the controller has sized and rendered a
// Workspace, "" where it refuses nothing.
func refused(t *testing.T, ws *v1alpha1.Workspace) string {
	t.Helper()
	r, p := New(Deps{Render: testOptions()}), &pass{ws: ws.DeepCopy()}
	err := r.size(t.Context(), p)
	if err == nil {
		err = r.render(t.Context(), p)
	}
	if err == nil {
		return ""
	}
	p.conclude(err)
	return condition.Get(p.ws, v1alpha1.ConditionReady).Message
}
