// SPDX-License-Identifier: Apache-2.0

package spoke

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/espalier-dev/espalier/reconciler/condition"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

const dolly = "registry.example.com/models/dolly"

// pinned is an adapter by digest; each n has another one.
func pinned(n int) string {
	return fmt.Sprintf("%s@sha256:%x", dolly, sha256.Sum256([]byte{byte(n), byte(n >> 8)}))
}

func following() *v1alpha1.RepoSync {
	return &v1alpha1.RepoSync{Spec: v1alpha1.RepoSyncSpec{
		KubeConfig: &v1alpha1.KubeConfig{}, Review: &v1alpha1.Review{}, Report: &v1alpha1.Report{PullRequest: true},
	}}
}

// run is one that trains, with all that a cluster writes of it.
func run(name string, percent int32, loss string) v1alpha1.Workspace {
	w := v1alpha1.Workspace{ObjectMeta: metav1.ObjectMeta{
		Namespace: "models", Name: name, UID: "u", ResourceVersion: "17", Generation: 3,
		Annotations: map[string]string{repolayout.AnnotationRevision: "main@sha1:1", repolayout.AnnotationSource: "a.yaml:1", "other": "x"},
	}}
	w.Spec.Tuning = &v1alpha1.TuningSpec{Output: v1alpha1.DataDestination{Image: dolly + ":v1", PushSecret: "push"}, Promote: &v1alpha1.Promote{To: "phi"}}
	condition.Progressing(&w, v1alpha1.ReasonJobRunning, "The Job runs")
	w.Status.ObservedGeneration = 3
	w.Status.Tuning = &v1alpha1.TuningStatus{Run: name, UID: "job", SpentUSD: "1.20", Progress: &v1alpha1.TuningProgress{
		Percent: percent, Step: int64(percent), Loss: loss, Remaining: &metav1.Duration{Duration: 20 * time.Minute}, At: metav1.Now(),
	}}
	return w
}

func served(name string) v1alpha1.Workspace {
	w := v1alpha1.Workspace{ObjectMeta: metav1.ObjectMeta{Namespace: "models", Name: name, Generation: 2}}
	w.Spec.Inference = &v1alpha1.InferenceSpec{Adapters: []v1alpha1.Adapter{{Name: "dolly", Image: dolly + ":v1"}, {Name: "other", Image: dolly + "-other:v2"}}}
	condition.Ready(&w, v1alpha1.ReasonSucceeded, "The model answers")
	w.Status.Inference = &v1alpha1.InferenceStatus{Endpoint: "http://phi.models.svc/v1", Models: []string{"phi"}}
	return w
}

// asGit says that Git says of each what the cluster does.
func asGit(all ...v1alpha1.Workspace) []Seen {
	var seen []Seen
	for i := range all {
		seen = append(seen, Seen{Live: &all[i], Git: GitOf(&all[i], "a.yaml:1")})
	}
	return seen
}

// tell is what a status says, and the Workspaces that are read of it.
func tell(t *testing.T, s *v1alpha1.RepoSync, all ...v1alpha1.Workspace) (*v1alpha1.SpokeStatus, []v1alpha1.Workspace) {
	t.Helper()
	return seen(t, s, asGit(all...)...)
}

func seen(t *testing.T, s *v1alpha1.RepoSync, all ...Seen) (*v1alpha1.SpokeStatus, []v1alpha1.Workspace) {
	t.Helper()
	told, err := new(Memory).Told(s, nil, all)
	if err != nil {
		t.Fatal(err)
	}
	read, err := Workspaces(told)
	if err != nil {
		t.Fatal(err)
	}
	return told, read
}

// TestTold: what is read is the little that was written, and nothing else of it.
func TestTold(t *testing.T) {
	_, got := tell(t, following(), run("dolly-run", 47, "1.23"), served("phi"))
	if len(got) != 2 || got[0].UID != "" || got[0].ResourceVersion != "" || len(got[0].Annotations) != 2 || got[0].Spec.Tuning.Output.PushSecret != "" {
		t.Errorf("told %+v", got)
	}
	if d := cmp.Diff(&v1alpha1.TuningProgress{Percent: 40, Loss: "1.23", Remaining: &metav1.Duration{Duration: 20 * time.Minute}}, got[0].Status.Tuning.Progress); d != "" || got[0].Status.Tuning.SpentUSD != "" {
		t.Error(d, got[0].Status.Tuning)
	}
	if a := got[1].Spec.Inference.Adapters; len(a) != 1 || a[0].Name != "dolly" || got[1].Status.Inference.Endpoint == "" {
		t.Errorf("told %+v", got[1])
	}
	late := asGit(served("phi"))
	late[0].Behind = true
	if _, late := seen(t, following(), late...); late[0].Generation != 3 {
		t.Errorf("what the cache has not heard of counts as applied: generation %d", late[0].Generation)
	}
}

// TestToldWhom: nobody is told of what nobody asks for.
func TestToldWhom(t *testing.T) {
	all := []v1alpha1.Workspace{run("dolly-run", 0, ""), served("phi"), served("other")}
	for name, c := range map[string]struct {
		reason string
		change func(*v1alpha1.RepoSync)
		want   int
	}{
		"Merges":     {"A merge may touch any of them.", func(*v1alpha1.RepoSync) {}, 3},
		"Promotions": {"Without merges only an adapter's way from one to another counts.", func(s *v1alpha1.RepoSync) { s.Spec.Report = nil }, 2},
		"NoReview":   {"Nobody answers pull requests.", func(s *v1alpha1.RepoSync) { s.Spec.Review = nil }, 0},
		"Here":       {"In this cluster they can be looked at.", func(s *v1alpha1.RepoSync) { s.Spec.KubeConfig = nil }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			s := following()
			c.change(s)
			if told, got := tell(t, s, all...); len(got) != c.want || (told == nil) != (c.want == 0) {
				t.Errorf("%s\ntold of %d, want %d", c.reason, len(got), c.want)
			}
		})
	}
}

// TestToldAnew: a status is written for what is told, and not for each step of a run.
func TestToldAnew(t *testing.T) {
	for name, c := range map[string]struct {
		reason string
		is     v1alpha1.Workspace
		anew   bool
	}{
		"Same":     {"Nothing happened.", run("dolly-run", 40, "1.23"), false},
		"Step":     {"A step is no news, nor is its loss.", run("dolly-run", 44, "1.21"), false},
		"TenSteps": {"Ten per cent are.", run("dolly-run", 50, "1.19"), true},
		"Time": {"So is another time that it takes.", func() v1alpha1.Workspace {
			w := run("dolly-run", 44, "1.2")
			w.Status.Tuning.Progress.Remaining.Duration = time.Hour
			return w
		}(), true},
		"Done": {"So is its end.", func() v1alpha1.Workspace {
			w := run("dolly-run", 44, "1.2")
			condition.Ready(&w, v1alpha1.ReasonSucceeded, "It is")
			return w
		}(), true},
	} {
		t.Run(name, func(t *testing.T) {
			m := &Memory{}
			before, err := m.Told(following(), nil, asGit(run("dolly-run", 41, "1.25")))
			if err != nil {
				t.Fatal(err)
			}
			if after, err := m.Told(following(), before, asGit(c.is)); (after != before) != c.anew || err != nil {
				t.Errorf("%s\nwritten anew: %v, %v", c.reason, after != before, err)
			}
			if after, err := new(Memory).Told(following(), before, asGit(c.is)); after == before || err != nil {
				t.Errorf("what was told is not known: it is told once more, and not unpacked: %v", err)
			}
		})
	}
}

// TestToldOfAStranger: what a cluster says may be anything. It is not written into a
// commit, and one that says much says nothing.
func TestToldOfAStranger(t *testing.T) {
	w := run("dolly-run", 0, "")
	condition.Ready(&w, v1alpha1.ReasonSucceeded, strings.Repeat("y", 1<<15))
	for image, want := range map[string]string{pinned(1): pinned(1), dolly + ":v1": dolly + ":v1", "registry.example.com/else@sha256:" + strings.Repeat("a", 64): "", "no image\n": ""} {
		w.Status.Tuning.Adapter = image
		if _, got := tell(t, following(), w); got[0].Status.Tuning.Adapter != want || len(condition.Get(&got[0], v1alpha1.ConditionReady).Message) > 1<<10 {
			t.Errorf("of %q it tells %q, want %q", image, got[0].Status.Tuning.Adapter, want)
		}
	}
	w.Status.Instance = strings.Repeat("z", oneAtMost)
	if _, got := tell(t, following(), w); got[0].Name != "dolly-run" || got[0].Status.Instance != "" || got[0].Spec.Tuning != nil {
		t.Errorf("one that is too long is told: %d bytes", len(got[0].Status.Instance))
	}
}

// TestToldOfALiar: what a Workspace is to be, and where that is written, Git says. A
// cluster that says something else has nothing of it told.
func TestToldOfALiar(t *testing.T) {
	run, phi, other := run("dolly-run", 0, ""), served("phi"), served("other")
	git := asGit(*run.DeepCopy(), *phi.DeepCopy(), *other.DeepCopy())
	run.Spec.Tuning.Output.Image, run.Spec.Tuning.Promote.To = "registry.example.com/evil:v1", "other"
	run.Status.Tuning.Adapter = "registry.example.com/evil@sha256:" + strings.Repeat("a", 64)
	phi.Annotations = map[string]string{repolayout.AnnotationSource: ".github/workflows/ci.yaml:1"}
	phi.Spec.Inference.Adapters = []v1alpha1.Adapter{{Name: "evil", Image: "registry.example.com/evil:v1"}}
	git[0].Live, git[1].Live, git[2].Live = &run, &phi, &other
	_, got := seen(t, following(), git...)
	if is := got[0].Spec.Tuning; is.Output.Image != dolly+":v1" || is.Promote.To != "phi" || got[0].Status.Tuning.Adapter != "" {
		t.Errorf("of the run it tells %+v and adapter %q", is, got[0].Status.Tuning.Adapter)
	}
	if a := got[1].Spec.Inference.Adapters; got[1].Annotations[repolayout.AnnotationSource] != "a.yaml:1" || len(a) != 1 || a[0].Image != dolly+":v1" {
		t.Errorf("of the service it tells %v and %+v", got[1].Annotations, a)
	}
	if a := got[2].Spec.Inference.Adapters; len(a) > 0 {
		t.Errorf("adapters that nobody promotes are told: %+v", a)
	}
	_, got = seen(t, following(), Seen{Live: &run}, Seen{Live: &phi})
	if got[0].Spec.Tuning == nil || got[0].Spec.Tuning.Promote != nil || got[0].Status.Tuning.Adapter != "" || len(got[1].Spec.Inference.Adapters) > 0 || len(got[1].Annotations) > 0 {
		t.Errorf("Git says nothing of them, and they are told as %+v", got)
	}
}

// TestToldOfMany: 4,000 services and 400 runs fit; where they do not, that is said.
func TestToldOfMany(t *testing.T) {
	fleet := func(n int) []v1alpha1.Workspace {
		var all []v1alpha1.Workspace
		for i := range n {
			w := served(fmt.Sprintf("model-%05d", i))
			w.Annotations = map[string]string{repolayout.AnnotationRevision: "main@sha1:" + pinned(i / 5)[len(dolly)+len("@sha256:"):][:40], repolayout.AnnotationSource: fmt.Sprintf("models/model-%05d/workspace.yaml:1", i)}
			w.Spec.Inference.Adapters[0].Image = pinned(i)
			all = append(all, w)
			if i%10 == 0 {
				r := run(fmt.Sprintf("run-%05d", i), 0, "")
				r.Status.Tuning.Adapter = pinned(i)
				all = append(all, r)
			}
		}
		return all
	}
	told, got := tell(t, following(), fleet(4000)...)
	if len(got) != 4400 || told.Workspaces != 4400 {
		t.Errorf("told of %d", len(got))
	}
	if kib := len(told.List) >> 10; kib > 192 {
		t.Errorf("4,400 Workspaces are %d KiB", kib)
	}
	many, err := new(Memory).Told(following(), nil, asGit(fleet(20_000)...))
	if err != nil || many.Workspaces != 22_000 || len(many.List) > 0 {
		t.Fatalf("%v: %d Workspaces in %d bytes", err, many.Workspaces, len(many.List))
	}
	if _, err := Workspaces(many); !errors.Is(err, ErrTooMany) {
		t.Errorf("says %v", err)
	}
}

// TestToldOfAFlood: a cluster may have any number of Workspaces with our labels, each with
// as much as fits.
func TestToldOfAFlood(t *testing.T) {
	var all []v1alpha1.Workspace
	for i := range 3000 {
		w := served(fmt.Sprintf("w-%d", i))
		w.Status.Instance = strings.Repeat("z", oneAtMost-800)
		all = append(all, w)
	}
	for reason, all := range map[string][]v1alpha1.Workspace{"What packs well is long.": all, "Small ones take memory.": make([]v1alpha1.Workspace, countAtMost+1)} {
		m := &Memory{}
		told, err := m.Told(following(), nil, asGit(all...))
		if err != nil || len(told.List) > 0 || told.Workspaces != len(all) {
			t.Fatalf("%s\n%v: %d in %d bytes", reason, err, told.Workspaces, len(told.List))
		}
		if again, err := m.Told(following(), told, asGit(all...)); again != told || err != nil {
			t.Errorf("%s\nit is written again: %v", reason, err)
		}
	}
}

// TestWorkspacesOfALiar: a list that becomes more than it should is not read.
func TestWorkspacesOfALiar(t *testing.T) {
	for name, c := range map[string]struct {
		reason, text string
		count        int
	}{
		"Long": {"A kilobyte may unpack to a megabyte.", `[{"metadata":{"name":"` + strings.Repeat("a", unpackedAtMost) + `"}}]`, 1},
		"More": {"Three bytes would become a Workspace.", "[" + strings.Repeat("{},", 1<<20) + "{}]", 2},
		"Many": {"The count is bounded too.", "[{}]", countAtMost + 1},
		"Half": {"It ends before its end.", "[{}", 1},
	} {
		var packed bytes.Buffer
		z := gzip.NewWriter(&packed)
		if _, err := z.Write([]byte(c.text)); err != nil || z.Close() != nil {
			t.Fatal(err)
		}
		if got, err := Workspaces(&v1alpha1.SpokeStatus{Workspaces: c.count, List: packed.Bytes()}); err == nil {
			t.Errorf("%s: %s\nread %d", name, c.reason, len(got))
		}
	}
}

// FuzzWorkspaces: whoever may write a status may have written anything.
func FuzzWorkspaces(f *testing.F) {
	told, err := new(Memory).Told(following(), nil, asGit(run("dolly-run", 47, "1.23"), served("phi")))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(told.List)
	f.Add([]byte("no gzip"))
	f.Fuzz(func(_ *testing.T, list []byte) {
		_, _ = Workspaces(&v1alpha1.SpokeStatus{Workspaces: 1, List: list})
	})
}
