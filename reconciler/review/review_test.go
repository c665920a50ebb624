// SPDX-License-Identifier: Apache-2.0

package review

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	kubefake "sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/espalier-dev/espalier/gpu/quota"
	"github.com/espalier-dev/espalier/reconciler/forge"
	"github.com/espalier-dev/espalier/reconciler/git"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/gitserver"
)

const repo = "fleet/models"

// stage is a forge in memory, a real Git server, and a planner that says what it is told.
type stage struct {
	t          *testing.T
	git        *gitserver.Server
	base, head string
	sync       *v1alpha1.RepoSync
	kube       client.Client
	events     *events.FakeRecorder
	now        time.Time

	pulls    map[int64]forge.PullRequest
	remarks  map[int64][]forge.Remark
	holds    map[string]bool // head and commit, that it holds it
	said     map[int64][]forge.Comment
	statuses map[string]forge.Status // commit and name
	writes   int
	bodies   []string // of the pull requests that were made
	lists    int      // how many comments Own lists at most; 0: all
	listed   int      // how often the remarks on a pull request were listed
	rights   int      // how often somebody's right was asked for
	edit     func(body string)
	gone     bool            // comments are not there to be edited
	broken   map[int64]error // what Get says
	asked    []int64         // what Get was asked for
	badOpen  error           // of Open
	opened   int             // how often the open pull requests were listed
	untimed  bool            // Own lists nothing where a time is named
	stuck    error           // of Withdraw, once
	lines    []said          // on the lines of the one pull request
	badLine  error           // of a comment on a line of the file named bad
	tried    int             // how often a comment on a line was to be made
	read     int             // how often those on lines were listed

	badSettle error  // of settling
	settledAs string // the body of what was settled last

	wrote func() // after a comment on a line

	plans   []string // heads that were planned
	planned func(Question) (Verdict, error)
}

func newStage(t *testing.T) *stage {
	t.Helper()
	server := gitserver.Serve(t, gitserver.Options{}, repo)
	s := &stage{
		t: t, git: server, now: time.Unix(1_800_000_000, 0), events: events.NewFakeRecorder(32),
		pulls: map[int64]forge.PullRequest{}, holds: map[string]bool{}, remarks: map[int64][]forge.Remark{}, said: map[int64][]forge.Comment{}, statuses: map[string]forge.Status{}, broken: map[int64]error{},
		planned: func(q Question) (Verdict, error) {
			good := Said{forge.Success, "planned " + q.Head}
			return Verdict{Markdown: "a plan of " + q.HeadName, Plan: good, Fit: good, Cost: good, Touched: []Touched{{Namespace: "team", Name: "phi"}}}, nil
		},
	}
	s.base = s.push("main", "1")
	s.head = s.push("feature", "2")
	out, err := exec.CommandContext(t.Context(), "git", "-C", server.Dir(repo), "config", "uploadpack.allowReachableSHA1InWant", "true").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	s.sync = &v1alpha1.RepoSync{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "models", UID: "u", Generation: 1}, Spec: v1alpha1.RepoSyncSpec{
		Source:   v1alpha1.Source{Git: &v1alpha1.GitSource{URL: server.URL(repo), Ref: v1alpha1.GitRef{Branch: "main"}}},
		Interval: metav1.Duration{Duration: time.Minute},
		Review:   &v1alpha1.Review{Provider: v1alpha1.Gitea, SecretRef: v1alpha1.LocalObjectReference{Name: "forge"}, Forks: v1alpha1.IgnoreForks, StatusPrefix: "espalier"},
	}}
	s.pulls[7] = forge.PullRequest{Number: 7, Base: "main", Head: s.head, MergeBase: s.base, URL: "pull7", Open: true}
	s.connect()
	return s
}

func (s *stage) connect() {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			s.t.Fatal(err)
		}
	}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "forge"}, Data: map[string][]byte{"token": []byte("t")}}
	s.kube = kubefake.NewClientBuilder().WithScheme(scheme).WithObjects(s.sync, secret).Build()
}

func (s *stage) push(branch, content string) string {
	s.t.Helper()
	hash, err := s.git.Push(repo, branch, map[string]string{"file": content}, content)
	if err != nil {
		s.t.Fatal(err)
	}
	return hash
}

func (s *stage) Plan(_ context.Context, q Question, commits *git.Commits) (Verdict, error) {
	s.plans = append(s.plans, q.Head)
	for _, hash := range []string{q.Base, q.Head} {
		if _, err := commits.Commit(hash); err != nil {
			s.t.Errorf("the planner did not get %s: %v", hash, err)
		}
	}
	return s.planned(q)
}

func (s *stage) Open(_ context.Context, branch string) ([]forge.PullRequest, error) {
	s.opened++
	var open []forge.PullRequest
	for _, number := range slices.Sorted(maps.Keys(s.pulls)) {
		if p := s.pulls[number]; p.Base == branch && p.Open {
			open = append(open, p)
		}
	}
	return open, s.badOpen
}

func (s *stage) Get(_ context.Context, number int64) (forge.PullRequest, error) {
	s.asked = append(s.asked, number)
	return s.pulls[number], s.broken[number]
}

func (s *stage) Merged(_ context.Context, branch string) ([]forge.PullRequest, error) {
	var merged []forge.PullRequest
	for _, number := range slices.Sorted(maps.Keys(s.pulls)) {
		if p := s.pulls[number]; p.Base == branch && p.Merged != "" {
			merged = append(merged, p)
		}
	}
	return merged, nil
}

func (s *stage) Contains(_ context.Context, head, commit string) (bool, error) {
	return s.holds[head+" "+commit], nil
}

func (s *stage) Others(_ context.Context, number int64, after time.Time) ([]forge.Remark, error) {
	s.listed++
	var list []forge.Remark
	for _, m := range s.remarks[number] {
		if m.At.After(after) {
			list = append(list, m)
		}
	}
	return list, nil
}

func (s *stage) MayWrite(_ context.Context, r forge.Remark) (bool, error) {
	s.rights++
	return r.Author == "dev", nil
}

func (s *stage) Own(_ context.Context, number int64, since time.Time) ([]forge.Comment, error) {
	if s.untimed && !since.IsZero() {
		return nil, nil
	}
	said := s.said[number]
	if s.lists > 0 {
		said = said[:min(s.lists, len(said))]
	}
	return said, nil
}

func (s *stage) Write(_ context.Context, number, id int64, body string) (forge.Comment, error) {
	s.writes++
	if s.gone {
		return forge.Comment{}, &forge.Error{Status: 404}
	}
	if s.edit != nil {
		s.edit(body)
	}
	if id == 0 {
		id = int64(1000*int(number) + len(s.said[number]))
		s.said[number] = append(s.said[number], forge.Comment{ID: id})
	}
	i := slices.IndexFunc(s.said[number], func(c forge.Comment) bool { return c.ID == id })
	s.said[number][i] = forge.Comment{ID: id, Body: body, URL: fmt.Sprint("comment", id)}
	return s.said[number][i], nil
}

func (s *stage) Set(_ context.Context, commit string, status forge.Status) error {
	s.writes++
	s.statuses[commit+" "+status.Name] = status
	return nil
}

// controller is a process that knows nothing yet.
func (s *stage) controller() *Reconciler {
	return New(Deps{
		Client: s.kube, Reader: s.kube, Events: s.events, Planner: s, Cluster: "prod", Clock: func() time.Time { return s.now },
		Connect: func(forge.Settings) (*forge.Forge, error) {
			return &forge.Forge{PullRequests: s, Merges: s, Comments: s, Remarks: s, Statuses: s, Proposals: s, Signer: s, Lines: s, CloneURL: s.git.URL(repo), CommentLimit: 65_535}, nil
		},
	})
}

// pass makes one when the interval is over.
func (s *stage) pass(r *Reconciler) error {
	s.now = s.now.Add(time.Minute)
	_, err := s.event(r)
	return err
}

// event makes a pass at once, as a change of a Workspace does.
func (s *stage) event(r *Reconciler) (ctrl.Result, error) {
	return r.Reconcile(s.t.Context(), ctrl.Request{NamespacedName: client.ObjectKeyFromObject(s.sync)})
}

func (s *stage) mustPass(r *Reconciler) {
	s.t.Helper()
	if err := s.pass(r); err != nil {
		s.t.Fatal(err)
	}
}

func (s *stage) state(commit string) forge.State { return s.statuses[commit+" espalier/plan"].State }

// TestOnce: the same head is answered once, whatever the branch does and however
// often the controller starts anew; another head in the same comment.
func TestOnce(t *testing.T) {
	s := newStage(t)
	r := s.controller()
	s.mustPass(r)
	if len(s.said[7]) != 1 || !strings.Contains(s.said[7][0].Body, "a plan of pull request 7") || s.state(s.head) != forge.Success {
		t.Fatalf("said %+v, statuses %+v", s.said, s.statuses)
	}
	if url := s.statuses[s.head+" espalier/cost"].URL; url != "pull7" {
		t.Errorf("a status leads to %q", url)
	}
	writes := s.writes
	s.push("main", "3")
	s.mustPass(r)
	s.mustPass(s.controller())
	if len(s.plans) != 1 || s.writes != writes {
		t.Errorf("planned %v, %d writes more", s.plans, s.writes-writes)
	}
	second := s.push("feature", "4")
	p := s.pulls[7]
	p.Head = second
	s.pulls[7] = p
	s.mustPass(r)
	if len(s.said[7]) != 1 || !strings.Contains(s.said[7][0].Body, second) || s.state(second) != forge.Success {
		t.Errorf("said %+v", s.said)
	}
}

// TestSuperseded: what was planned of a head that has gone on is dropped.
func TestSuperseded(t *testing.T) {
	s := newStage(t)
	second := s.push("feature", "4")
	plan := s.planned
	s.planned = func(q Question) (Verdict, error) {
		if q.Head == s.head {
			p := s.pulls[7]
			p.Head = second
			s.pulls[7] = p
		}
		return plan(q)
	}
	r := s.controller()
	s.mustPass(r)
	if len(s.said[7]) != 0 || s.state(s.head) != forge.Pending {
		t.Errorf("said %+v of a head that is gone: %+v", s.said, s.statuses)
	}
	s.now = s.now.Add(lookEvery - time.Minute) // it asks for itself, and does not wait for the interval
	s.mustPass(r)
	if s.state(second) != forge.Success || len(s.plans) != 2 {
		t.Errorf("planned %v, statuses %+v", s.plans, s.statuses)
	}
}

// TestForks: nobody outside makes the cluster work unless the RepoSync says so.
func TestForks(t *testing.T) {
	for policy, want := range map[v1alpha1.ForkPolicy]int{v1alpha1.IgnoreForks: 0, v1alpha1.PlanForks: 1} {
		s := newStage(t)
		p := s.pulls[7]
		p.Fork = true
		s.pulls[7] = p
		s.sync.Spec.Review.Forks = policy
		s.connect()
		s.mustPass(s.controller())
		if len(s.plans) != want || len(s.said[7]) != want {
			t.Errorf("%s: %d plans and %d comments, want %d", policy, len(s.plans), len(s.said[7]), want)
		}
	}
}

// TestUndone: a head that brings its planner down is told so, once.
func TestUndone(t *testing.T) {
	s := newStage(t)
	s.planned = func(Question) (Verdict, error) { return Verdict{}, &Undone{Why: "planning it takes longer than 2m0s"} }
	r := s.controller()
	s.mustPass(r)
	s.mustPass(r)
	if s.state(s.head) != forge.Errored || len(s.plans) != 1 || !strings.Contains(s.said[7][0].Body, "No plan: planning it takes longer than 2m0s") {
		t.Errorf("planned %v, said %+v, statuses %+v", s.plans, s.said, s.statuses)
	}
}

// TestOthersGoOn: one pull request that cannot be answered keeps no other from it,
// is told in an event, and is tried again.
func TestOthersGoOn(t *testing.T) {
	s := newStage(t)
	s.broken[3] = errors.New("the forge is confused")
	s.pulls[3] = forge.PullRequest{Number: 3, Base: "main", Head: s.head, MergeBase: s.base, Open: true}
	r := s.controller()
	if err := s.pass(r); err == nil || !strings.Contains(err.Error(), "pull request 3: the forge is confused") {
		t.Errorf("got %v", err)
	}
	if len(s.said[7]) != 1 {
		t.Error("the other was not answered")
	}
	if got := <-s.events.Events; !strings.Contains(got, "ReviewFailed") || !strings.Contains(got, "confused") {
		t.Errorf("event %q", got)
	}
	opened, asked := s.opened, len(s.asked)
	for range 3 {
		if got, err := s.event(r); err != nil || got.RequeueAfter != retryFirst {
			t.Errorf("asks to be called after %v, %v", got.RequeueAfter, err)
		}
	}
	if s.opened != opened || len(s.asked) != asked {
		t.Errorf("events of the cluster had it list %d times more, and ask for %v", s.opened-opened, s.asked[asked:])
	}
	s.now = s.now.Add(retryFirst)
	if _, err := s.event(r); err == nil || s.opened != opened+1 || !slices.Equal(s.asked[asked:], []int64{3}) {
		t.Errorf("%v: listed %d times more, asked for %v", err, s.opened-opened, s.asked[asked:])
	}
	if len(s.events.Events) != 0 {
		t.Errorf("said again: %s", <-s.events.Events)
	}
	delete(s.broken, 3)
	s.mustPass(r)
	if len(s.said[3]) != 1 {
		t.Error("it is not tried again")
	}
}

// TestRival: two that set statuses of the same names are told, and neither hides
// the other's.
func TestRival(t *testing.T) {
	s := newStage(t)
	s.said[7] = []forge.Comment{{ID: 1, Body: mark{prefix: "espalier", owner: "staging/team/models", about: subject{"b", "h", "s"}}.String()}}
	s.mustPass(s.controller())
	if got := <-s.events.Events; !strings.Contains(got, ReasonReviewConflict) || !strings.Contains(got, "staging/team/models") {
		t.Errorf("event %q", got)
	}
	if len(s.plans) != 0 || len(s.statuses) != 0 {
		t.Errorf("planned %v, set %v", s.plans, s.statuses)
	}
}

// TestQuota: what the main controller published goes into the question, and what
// nobody published does not keep a pull request from its answer.
func TestQuota(t *testing.T) {
	for name, tc := range map[string]struct {
		reason string
		data   map[string]string
		want   bool
	}{
		"Published": {"The planner gets it.", map[string]string{quota.Key: `{"location":"eastus","usageAt":"2026-11-26T08:00:00Z"}`}, true},
		"Missing":   {"Without credentials for a cloud nobody publishes.", nil, false},
		"Broken":    {"What cannot be read is left out.", map[string]string{quota.Key: "{"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t)
			at := types.NamespacedName{Namespace: "espalier-system", Name: "espalier-quota"}
			if tc.data != nil {
				if err := s.kube.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: at.Namespace, Name: at.Name}, Data: tc.data}); err != nil {
					t.Fatal(err)
				}
			}
			var got *quota.Snapshot
			said := s.planned
			s.planned = func(q Question) (Verdict, error) { got = q.Quota; return said(q) }
			r := s.controller()
			r.Quota = at
			s.mustPass(r)
			if (got != nil) != tc.want || len(s.plans) != 1 {
				t.Errorf("%s\nasked with %+v, %d plans", tc.reason, got, len(s.plans))
			}
		})
	}
}
