// SPDX-License-Identifier: Apache-2.0

package report

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
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
func fleet(n int) []*v1alpha1.Workspace {
	all := make([]*v1alpha1.Workspace, n)
	for i := range all {
		w := served()
		all[i] = &w
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
			now := serving(was.Name, is("Ready", metav1.ConditionStatus(ready), "Some", fmt.Sprintf("message %d", version)))
			all[i] = &now
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
		want, got := Files(s), maps.Collect(draft.Report().files())
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
		if said != nil && (said.Digest() == draft.Digest()) != maps.EqualFunc(maps.Collect(said.Report().files()), got, func(a, b File) bool { return a.Hash == b.Hash }) {
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

// TestBookCompares: what is found by comparing the rows of two reports is what is found by
// comparing their files.
func TestBookCompares(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng, memory, all, book := rand.New(rand.NewPCG(seed, 0)), Memory{}, fleet(8), &Book{}
	before := map[string]File{}
	for version := 100; version < 400; version++ {
		i := rng.IntN(len(all))
		w := all[i].DeepCopy()
		w.ResourceVersion = strconv.Itoa(version)
		if rng.IntN(2) == 0 {
			w.Status.Revision = fmt.Sprintf("main@sha1:%040d", version) // else only its version is another
		}
		if rng.IntN(3) == 0 {
			w.Status.Conditions = nil
		}
		all[i] = w
		some := slices.Clone(all)
		rng.Shuffle(len(some), func(a, b int) { some[a], some[b] = some[b], some[a] })
		report := memory.Draft(Snapshot{Cluster: "c", Namespace: "models", Name: "fleet", Workspaces: some[:rng.IntN(len(some)+1)]}).Report()
		if rng.IntN(4) == 0 {
			report.others[fmt.Sprintf("badges/x%d.svg", rng.IntN(2))] = fileOf([]byte("x"))
		}
		after := maps.Collect(report.files())
		d := book.compare(report)
		for path, file := range after {
			was, there := before[path]
			if _, put := d.new[path]; put == (there && was.Hash == file.Hash) {
				t.Fatalf("%s is to be put: %v", path, put)
			}
			if said := d.was[path]; (said != nil) != (there && was.Hash != file.Hash && isDocument(path)) {
				t.Fatalf("%s is told with what it was: %v", path, said != nil)
			}
		}
		for path, file := range before {
			_, again := after[path]
			if slices.Contains(d.gone, path) == again {
				t.Fatalf("%s is to go: %v", path, !again)
			}
			if said := d.was[path]; said != nil {
				if got, _ := said(); got.state != file.says.state {
					t.Fatalf("%s was %s, and is told to have been %s", path, file.says.state, got.state)
				}
			}
		}
		book.rows, book.others, before = report.rows, map[string]git.Hash{}, after
		for path, file := range report.others {
			book.others[path] = file.Hash
		}
	}
}
