// SPDX-License-Identifier: Apache-2.0

package repolayout_test

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/util/validation"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
)

func TestNames(t *testing.T) {
	long := strings.Repeat("n", 63)
	for name, c := range map[string]struct {
		reason string
		got    string
		want   string // "" where only the form is of interest
	}{
		"PoolLabel":     {"namespace and name tell pools apart", repolayout.PoolLabelValue("models", "phi"), "models.phi"},
		"PoolLabelLong": {"a label's value has at most 63 characters", repolayout.PoolLabelValue(long, long), ""},
		"CutAtADot":     {"a cut name ends in no dot", repolayout.ShortName(20, "aaaaaaaaaaa.bbbbbbbbbbbbb"), ""},
		"Run":           {"the digest tells runs apart", repolayout.RunName("tune", "sha256:0123456789abcdef"), "tune-01234567"},
		"RunShort":      {"a short digest is kept", repolayout.RunName("tune", "0123"), "tune-0123"},
	} {
		t.Run(name, func(t *testing.T) {
			if c.want != "" && c.got != c.want {
				t.Errorf("%s: got %q, want %q", c.reason, c.got, c.want)
			}
			if errs := validation.IsValidLabelValue(c.got); len(errs) > 0 {
				t.Errorf("%s: %q: %v", c.reason, c.got, errs)
			}
		})
	}
	volumes := map[string]bool{}
	for _, of := range []string{"pull-registry", "pull-a.b", "pull-a-b", "pull-" + strings.Repeat("a.", 100), "pull-" + long} {
		name := repolayout.VolumeName(of)
		if errs := validation.IsDNS1123Label(name); len(errs) > 0 || volumes[name] {
			t.Errorf("volume of %s is %q: twice, or %v", of, name, errs)
		}
		volumes[name] = true
	}
	if a, b := repolayout.ShortName(20, long+"a"), repolayout.ShortName(20, long+"b"); a == b || len(a) > 20 {
		t.Errorf("two long names are cut to %q and %q", a, b)
	}
}

func TestStatusPaths(t *testing.T) {
	if got := repolayout.StatusBranch("prod", "models", "team"); got != "espalier/status/prod/models/team" {
		t.Errorf("the branch is %q", got)
	}
	for path, want := range map[string]bool{
		repolayout.StatusFile("models", "phi"):  true,
		repolayout.StatusBadge("models", "phi"): true,
		"badges":                                false,
		repolayout.StatusReadme:                 true,
		repolayout.StatusOwnerFile:              true,
		"models/kustomization.yaml":             false,
		"workspaces":                            false,
		"workspacesx/a.yaml":                    false,
	} {
		if got := repolayout.IsStatusPath(path); got != want {
			t.Errorf("IsStatusPath(%q) = %v", path, got)
		}
	}
}
