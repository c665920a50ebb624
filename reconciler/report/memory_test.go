// SPDX-License-Identifier: Apache-2.0

package report

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/espalier-dev/espalier/reconciler/git"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/scale"
)

// fleet is n Workspaces, each of a version of its own.
func fleet(n int) []v1alpha1.Workspace {
	all := make([]v1alpha1.Workspace, n)
	for i := range all {
		all[i] = served()
		all[i].Name, all[i].UID, all[i].ResourceVersion = fmt.Sprintf("model-%05d", i), types.UID(fmt.Sprintf("uid-%d", i)), strconv.Itoa(i+1)
	}
	return all
}

// What is remembered of a report is what it is, whatever happens to the Workspaces
// between: a hash that is remembered is that of the content which is rendered later.
func TestReportIsFresh(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng, memory, all, version := rand.New(rand.NewPCG(seed, 0)), Memory{}, fleet(6), 100
	var said *Draft
	for range 200 {
		switch i := rng.IntN(len(all)); rng.IntN(4) {
		case 0: // it has changed
			version++
			ready := "False"
			if rng.IntN(2) == 0 {
				ready = "True"
			}
			was := all[i]
			all[i] = serving(was.Name, is("Ready", metav1.ConditionStatus(ready), "Some", fmt.Sprintf("message %d", version)))
			all[i].UID, all[i].ResourceVersion = was.UID, strconv.Itoa(version)
		case 1: // it was made anew
			version++
			all[i].UID, all[i].ResourceVersion = types.UID(fmt.Sprintf("uid-%d", version)), strconv.Itoa(version)
		case 2: // they come in another order
			rng.Shuffle(len(all), func(a, b int) { all[a], all[b] = all[b], all[a] })
		default: // the version is not known
			version++
			all[i].ResourceVersion = []string{"", strconv.Itoa(version)}[rng.IntN(2)]
		}
		s := Snapshot{Cluster: "c", Namespace: "models", Name: "fleet", Revision: "main@sha1:" + commit, Workspaces: all[:rng.IntN(len(all))+1]}
		draft := memory.Draft(s)
		want, got := Files(s), draft.Report()
		if len(want) != len(got) {
			t.Fatalf("%d files, want %d", len(got), len(want))
		}
		for name, content := range want {
			if file := got[name]; !bytes.Equal(file.Content(), content) || file.Hash != git.HashOf(content) {
				t.Fatalf("%s is remembered as something else\n%s", name, cmp.Diff(string(content), string(file.Content())))
			}
		}
		if fresh := new(Memory).Draft(s); draft.Digest() != fresh.Digest() {
			t.Fatal("the digest is not that of the files")
		}
		if said != nil && (said.Digest() == draft.Digest()) != maps.EqualFunc(said.Report(), got, func(a, b File) bool { return a.Hash == b.Hash }) {
			t.Fatal("the digest of other files is the same, or of the same another")
		}
		said = draft
	}
}

// BenchmarkHeld prints what is held of each Workspace between two reports.
func BenchmarkHeld(b *testing.B) {
	const n = 2_000
	s := Snapshot{Cluster: "c", Namespace: "models", Name: "fleet", Revision: "main@sha1:" + commit, Workspaces: fleet(n)}
	var memory *Memory
	for b.Loop() {
		before := scale.InUse()
		memory = &Memory{}
		memory.Draft(s)
		b.ReportMetric(float64(scale.InUse()-before)/n, "B-held/Workspace")
	}
	runtime.KeepAlive(memory)
	runtime.KeepAlive(s)
}
