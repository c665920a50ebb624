// SPDX-License-Identifier: Apache-2.0

package inventory

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

func entry(kind, name string) v1alpha1.InventoryEntry {
	group := v1alpha1.Group
	if kind == "ConfigMap" || kind == "Secret" {
		group = ""
	}
	return v1alpha1.InventoryEntry{ID: strings.Join([]string{"models", name, group, kind}, "_"), Version: "v1"}
}

func workspaces(n int) []v1alpha1.InventoryEntry {
	var all []v1alpha1.InventoryEntry
	for i := range n {
		all = append(all, entry("Workspace", fmt.Sprintf("w%02d", i)))
	}
	return all
}

func TestDecidePrune(t *testing.T) {
	const commit = "4f5c2a9c0d3b1e6f7a8b9c0d1e2f3a4b5c6d7e8f"
	for name, c := range map[string]struct {
		reason string
		in     PruneInput
		want   PruneDecision
	}{
		"NothingDropped": {
			reason: "What is wanted is never touched.",
			in:     PruneInput{Inventory: workspaces(3), Wanted: workspaces(3), Commit: commit},
		},
		"OneOfTwo": {
			reason: "Up to two objects go unasked however small the inventory is.",
			in:     PruneInput{Inventory: workspaces(2), Wanted: workspaces(1), Commit: commit},
			want:   PruneDecision{Delete: workspaces(2)[1:]},
		},
		"QuarterOfMany": {
			reason: "A quarter of a large inventory goes unasked.",
			in:     PruneInput{Inventory: workspaces(40), Wanted: workspaces(30), Commit: commit},
			want:   PruneDecision{Delete: workspaces(40)[30:]},
		},
		"MoreThanAQuarter": {
			reason: "One more than a quarter waits for a person: a mistake in Git is likelier than the wish.",
			in:     PruneInput{Inventory: workspaces(40), Wanted: workspaces(29), Commit: commit},
			want:   PruneDecision{Keep: workspaces(40)[29:], HeldReason: v1alpha1.ReasonTooMuchToPrune},
		},
		"Approved": {
			reason: "A person approved exactly these deletions at exactly this commit.",
			in:     PruneInput{Inventory: workspaces(40), Wanted: workspaces(1), Commit: commit, Approved: PruneToken(commit, workspaces(40)[1:])},
			want:   PruneDecision{Delete: workspaces(40)[1:]},
		},
		"ApprovedAnotherCommit": {
			reason: "An approval is for one commit and does not carry over to the next.",
			in:     PruneInput{Inventory: workspaces(40), Wanted: workspaces(1), Commit: commit, Approved: PruneToken("0"+commit[1:], workspaces(40)[1:])},
			want:   PruneDecision{Keep: workspaces(40)[1:], HeldReason: v1alpha1.ReasonTooMuchToPrune},
		},
		"ApprovedOtherDeletions": {
			reason: "After a mistyped spec.path the same commit drops more than was approved.",
			in:     PruneInput{Inventory: workspaces(40), Commit: commit, Approved: PruneToken(commit, workspaces(40)[20:])},
			want:   PruneDecision{Keep: workspaces(40), HeldReason: v1alpha1.ReasonNothingBuilt},
		},
		"ApprovedTheCommitAlone": {
			reason: "A commit does not say what is deleted.",
			in:     PruneInput{Inventory: workspaces(40), Wanted: workspaces(1), Commit: commit, Approved: commit},
			want:   PruneDecision{Keep: workspaces(40)[1:], HeldReason: v1alpha1.ReasonTooMuchToPrune},
		},
		"Emptied": {
			reason: "A folder that is gone or holds nothing deletes nothing, even a single object.",
			in:     PruneInput{Inventory: workspaces(1), Commit: commit},
			want:   PruneDecision{Keep: workspaces(1), HeldReason: v1alpha1.ReasonNothingBuilt},
		},
		"WhileSomethingFails": {
			reason: "What is missing from a revision that fails in part may only be broken.",
			in:     PruneInput{Inventory: workspaces(3), Wanted: workspaces(2), Failed: 1, Commit: commit},
			want:   PruneDecision{Keep: workspaces(3)[2:]},
		},
		"FailingBeatsApproval": {
			reason: "An approval does not make a broken revision whole.",
			in:     PruneInput{Inventory: workspaces(3), Wanted: workspaces(1), Failed: 1, Commit: commit, Approved: PruneToken(commit, workspaces(3)[1:])},
			want:   PruneDecision{Keep: workspaces(3)[1:]},
		},
		"Disabled": {
			reason: "With prune: false what Git drops is left to whoever runs the cluster.",
			in:     PruneInput{Inventory: workspaces(3), Wanted: workspaces(1), Disabled: true, Commit: commit},
		},
		"GeneratedConfigMaps": {
			reason: "A generator renames ConfigMaps with every change of content; they do not count as loss.",
			in: PruneInput{
				Inventory: append(workspaces(1), entry("ConfigMap", "a-1"), entry("ConfigMap", "b-1"), entry("Secret", "c-1")),
				Wanted:    append(workspaces(1), entry("ConfigMap", "a-2"), entry("ConfigMap", "b-2"), entry("Secret", "c-2")),
				Commit:    commit,
			},
			want: PruneDecision{Delete: []v1alpha1.InventoryEntry{entry("ConfigMap", "a-1"), entry("ConfigMap", "b-1"), entry("Secret", "c-1")}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := DecidePrune(c.in)
			if diff := cmp.Diff(c.want, got, cmpopts.IgnoreFields(PruneDecision{}, "HeldFact", "HeldMessage"), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("%s\n-want +got:\n%s", c.reason, diff)
			}
			if held := got.HeldReason != ""; held != strings.HasSuffix(got.HeldMessage, "="+PruneToken(commit, got.Keep)) {
				t.Errorf("a held prune, and only that, says how to approve it: %q", got.HeldMessage)
			}
		})
	}
}

func TestPruneToken(t *testing.T) {
	const commit = "4f5c2a9c0d3b1e6f7a8b9c0d1e2f3a4b5c6d7e8f"
	all := workspaces(3)
	want := PruneToken(commit, all)
	if !strings.HasPrefix(want, commit[:12]+"-") || len(want) != 12+1+8 {
		t.Errorf("token %q, want 12 digits of the commit and 8 of what is deleted", want)
	}
	if got := PruneToken(commit, []v1alpha1.InventoryEntry{all[2], all[0], all[1]}); got != want {
		t.Errorf("the order changes the token: %s, %s", got, want)
	}
	if got := PruneToken("main", all[:2]); got == want || !strings.HasPrefix(got, "main-") {
		t.Errorf("token of a short revision and other objects: %s", got)
	}
}

func TestStubReadsWhatEntryWrote(t *testing.T) {
	for _, e := range []v1alpha1.InventoryEntry{entry("Workspace", "phi-4"), entry("ConfigMap", "config")} {
		stub, err := Stub(e)
		if err != nil {
			t.Fatal(err)
		}
		if got := Entry(stub, ""); got.ID != e.ID || got.Version != e.Version {
			t.Errorf("Entry(Stub(%v)) = %v", e, got)
		}
	}
	if _, err := Stub(v1alpha1.InventoryEntry{ID: "not an entry"}); err == nil {
		t.Error("an entry without four parts must be refused: it could name anything")
	}
}
