// SPDX-License-Identifier: Apache-2.0

package desired

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/espalier-dev/espalier/render"
	"github.com/espalier-dev/espalier/render/check"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// Codes of findings on what a Workspace names, and on what it renders to.
const (
	InputNotInGit = finding.InputNotInGit // warning: judged without an input that Git does not hold
	RenderRefused = "RenderRefused"       // the objects of the Workspace cannot be rendered, mostly for a patch
)

// defaultNamespace is where kubectl puts what names no namespace.
const defaultNamespace = "default"

// Workspace is one Workspace of a revision, judged.
type Workspace struct {
	Document
	// ConfigMaps is the data of the ConfigMaps that the spec names, by name; one
	// that Git does not hold is absent.
	ConfigMaps map[string]map[string]string
	// Assessment is never nil. It is shared with other States: treat it as read-only.
	Assessment *check.Assessment
	// Missing lists the inputs that the spec names and Git does not hold, as
	// "Secret/name": where Git does not hold them on purpose, the cluster must.
	Missing []string
	// Versions number the contents of the Secrets that Git holds, by "Secret/name":
	// another number is another content.
	Versions map[string]string
	// Key identifies everything that the verdict and the rendered objects rest on:
	// two Workspaces of one key come to the same.
	Key string

	claimModes map[string][]string // of the claims that several pods may mount, where Git holds them
	render     renderer
}

// renderer renders a Workspace whose nodes are there already, from a provider, or
// are not ("").
type renderer func(kept v1alpha1.Provider) (render.Output, error)

// Render renders the children for the first candidate that works. What it
// returns is not kept: a fleet's objects are many times larger than its verdicts.
func (w Workspace) Render() (render.Output, error) { return w.render("") }

// RenderOn is Render where nodes of a provider are there, which they stay with.
func (w Workspace) RenderOn(kept v1alpha1.Provider) (render.Output, error) { return w.render(kept) }

// ProviderOf is where the nodes of a Workspace of this state come from.
func (s State) ProviderOf(w *v1alpha1.Workspace) v1alpha1.Provider {
	return cmp.Or(w.Spec.Resource.Provider, s.Provider)
}

// State is what a revision wants, judged.
type State struct {
	// Documents in the order of the build, also those that collide.
	Documents []Document
	// Workspaces in the order of the documents.
	Workspaces []Workspace
	// Findings on the build and the documents: while one of them is an error,
	// nothing is pruned.
	Findings []v1alpha1.Finding
	// Verdicts are the findings of Judge on Workspaces and node pools.
	Verdicts []v1alpha1.Finding
	// Region that prices were quoted for, "" for the cheapest of each size, and
	// Provider of the node pools that Workspaces do not share.
	Region   string
	Provider v1alpha1.Provider
}

// All are all findings on the state, in the order of the files. Only what they agree
// on is fixed: a base may be of several Workspaces.
func (s State) All() []v1alpha1.Finding {
	all := slices.Concat(s.Findings, s.Verdicts)
	finding.Agree(all)
	finding.Sort(all)
	return all
}

// Judge judges and renders, each content once. It is safe for concurrent use.
type Judge struct {
	// Region that prices are quoted for; "": the cheapest known of each size.
	Region string
	// Render are the settings of the installation.
	Render render.Options

	mu      sync.Mutex
	known   map[string]*verdict // of this State, by Key
	before  map[string]*verdict // of the State before
	secrets map[string][]string // digests of the contents that were seen, by name
	last    []*judged           // what the last State came to
}

// verdict is what is known of one key.
type verdict struct {
	once       sync.Once
	assessment check.Assessment // its findings name the field where the file belongs
	render     renderer
}

// State judges the Workspaces of a revision. Documents and findings are those of
// Units or Assemble; what collides is judged too, so that its findings are seen.
func (j *Judge) State(documents []Document, findings []v1alpha1.Finding) State {
	s := State{Documents: documents, Findings: findings, Region: j.Region, Provider: j.Render.Provider}
	known, last := inputsOf(documents, findings), j.begin()
	j.number(known)
	workspaces := make([]int, 0, len(documents)) // of documents
	for i, d := range documents {
		if d.Workspace != nil {
			workspaces = append(workspaces, i)
		}
	}
	results := make([]*judged, len(workspaces))
	eachBeside(len(workspaces), func(i int) { results[i] = j.recall(i, documents[workspaces[i]], known, last) })
	verdicts, spelt := 0, &spelling{known: known}
	for _, w := range results {
		verdicts += len(w.findings)
	}
	s.Workspaces, s.Verdicts = make([]Workspace, 0, len(workspaces)), make([]v1alpha1.Finding, 0, verdicts)
	for _, w := range results {
		s.Verdicts = append(s.Verdicts, w.findings...)
		if f := w.notInGit(spelt); f != nil {
			s.Verdicts = append(s.Verdicts, *f)
		}
		s.Workspaces = append(s.Workspaces, w.Workspace)
	}
	j.remember(results)
	s.pools()
	return s
}

// pools judges the pools that Git declares, by themselves and by what is wanted of them.
func (s *State) pools() {
	claims := map[string][]check.Claim{}
	for _, w := range s.Workspaces {
		if name := w.Workspace.Spec.Resource.NodePool; name != "" && !w.Collides {
			claims[name] = append(claims[name], w.Assessment.Claim(w.Workspace))
		}
	}
	for _, d := range s.Documents {
		if d.Pool == nil {
			continue
		}
		s.Verdicts = append(s.Verdicts, check.Pool(d.Pool, d.Position)...)
		if !d.Collides {
			s.Verdicts = append(s.Verdicts, check.Claims(d.Pool, claims[d.Pool.Name], d.Position)...)
		}
	}
}

func (j *Judge) workspace(d Document, known inputs) Workspace {
	w := Workspace{Document: d, ConfigMaps: map[string]map[string]string{}}
	for _, name := range d.Workspace.Spec.ConfigMaps() {
		if data := known.configMap(name, d.Workspace.Spec.TrainsOn(name)); data != nil {
			w.ConfigMaps[name] = data
		}
	}
	w.Missing = missing(d.names, known)
	pool, absent := known.pool(d.Workspace.Spec.Resource.NodePool)
	w.Versions = j.versions(&d.Workspace.Spec, known)
	w.claimModes = known.accessModes(d.Workspace.Spec.SharedClaims())
	w.Key = check.Sum(d.Workspace.Namespace, d.Workspace.Name, d.Workspace.Spec, w.ConfigMaps, pool, absent, w.Versions, w.claimModes, j.Region, j.Render, d.Workspace.Annotations[repolayout.AnnotationDefaulted], check.Misput(d.Workspace))
	v := j.verdict(w, check.Facts{Pool: pool, PoolAbsent: absent})
	placed := place(v.assessment, d, known.configPosition(d.Workspace))
	w.Assessment, w.render = &placed, v.render
	return w
}

// number remembers the contents of the Secrets that Git holds, in the order that
// they were seen.
func (j *Judge) number(known inputs) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.secrets == nil {
		j.secrets = map[string][]string{}
	}
	for kindAndName := range known.there {
		name, isSecret := strings.CutPrefix(kindAndName, "Secret/")
		if !isSecret {
			continue
		}
		if digest, _ := known.secret(name); !slices.Contains(j.secrets[name], digest) {
			j.secrets[name] = append(j.secrets[name], digest)
		}
	}
}

// versions number the contents that a Secret in Git has had before this Judge, in
// the place of the cluster's resourceVersion: a rotated credential restarts a
// service, and nothing that is made of its content is shown.
func (j *Judge) versions(spec *v1alpha1.WorkspaceSpec, known inputs) map[string]string {
	j.mu.Lock()
	defer j.mu.Unlock()
	versions := map[string]string{}
	for _, name := range spec.Secrets() {
		if digest, ok := known.secret(name); ok {
			versions["Secret/"+name] = strconv.Itoa(slices.Index(j.secrets[name], digest))
		}
	}
	return versions
}

// named lists the inputs that a Workspace names, as kind/name.
func named(spec *v1alpha1.WorkspaceSpec) []string {
	named := []string{"PersistentVolumeClaim/" + spec.CacheClaim(), "PersistentVolumeClaim/" + spec.WeightsClaim()}
	for _, c := range spec.AdapterClaims() {
		named = append(named, "PersistentVolumeClaim/"+c)
	}
	for _, c := range spec.ConfigMaps() {
		named = append(named, "ConfigMap/"+c)
	}
	for _, s := range spec.Secrets() {
		named = append(named, "Secret/"+s)
	}
	if t := spec.Tuning; t != nil {
		named = append(named, "PersistentVolumeClaim/"+t.Input.Claim, "PersistentVolumeClaim/"+t.Output.Claim)
	}
	return slices.DeleteFunc(named, func(n string) bool { return strings.HasSuffix(n, "/") })
}

// missing lists the inputs that Git does not hold.
func missing(names []string, known inputs) []string {
	var list []string
	for _, n := range names {
		if _, ok := known.there[n]; !ok && !slices.Contains(list, n) {
			list = append(list, n)
		}
	}
	return list
}

// verdict looks a key up, in this State and the one before, or judges it. The facts are those
// on its pool.
func (j *Judge) verdict(w Workspace, facts check.Facts) *verdict {
	j.mu.Lock()
	v := j.known[w.Key]
	if v == nil {
		v = j.before[w.Key]
	}
	if v == nil {
		v = &verdict{}
	}
	j.known[w.Key] = v
	j.mu.Unlock()
	v.once.Do(func() { j.judge(v, w, facts) })
	return v
}

// judge judges a Workspace, and renders one with patches: a patch that cannot be
// applied shows only there.
func (j *Judge) judge(v *verdict, w Workspace, facts check.Facts) {
	judged := w.Workspace
	if name := judged.Spec.ConfigName(); name != "" && w.ConfigMaps[name] == nil {
		// The cluster may hold it: that is no reason to refuse. Without a lock file,
		// nothing can be said of the model.
		judged = withoutConfig(judged)
	}
	facts.ConfigMaps, facts.ClaimModes = w.ConfigMaps, w.claimModes
	facts.Region, facts.StorageClass, facts.Provider = j.Region, j.Render.StorageClass, j.Render.Provider
	a := check.Workspace(judged, facts, byField{})
	in := render.Input{Workspace: judged, Assessment: a, Versions: w.Versions, Options: j.Render}
	v.assessment = a
	v.render = func(kept v1alpha1.Provider) (render.Output, error) {
		usable := a.Usable()
		if a.Refused() || len(usable) == 0 {
			return render.Output{}, fmt.Errorf("%s is refused: nothing is rendered", in.Workspace.Name)
		}
		in := in
		in.Candidate, in.Provider = usable[0], kept
		return render.Render(in)
	}
	if (len(judged.Spec.Patches) > 0 || a.Pod != nil || elsewhere(judged)) && !a.Refused() {
		out, err := v.render("")
		if err != nil {
			v.assessment.Findings = append(v.assessment.Findings, refusal(judged, err))
		}
		v.assessment.Findings = append(v.assessment.Findings, idlePatches(judged, out)...)
	}
}

// elsewhere says that weights come from where, or pods are who, the installation has to
// agree with, which shows where they are rendered.
func elsewhere(w *v1alpha1.Workspace) bool {
	s := w.Spec.Inference
	return w.Spec.ServiceAccountName != "" || s != nil && s.Weights != nil && (s.Weights.Local != "" || s.Weights.ServiceAccountName != "")
}

// refusal is the finding on a Workspace that cannot be rendered. The error names
// the patch.
func refusal(w *v1alpha1.Workspace, err error) v1alpha1.Finding {
	field, message, _ := strings.Cut(err.Error(), ": ")
	if !strings.HasPrefix(field, "spec.") {
		field, message = "", err.Error()
	}
	return finding.Errorf(RenderRefused, field, "%s", message).At(byField{}, v1alpha1.WorkspaceKind+"/"+w.Namespace+"/"+w.Name)
}

// idlePatches warns of patches that change nothing: a kind or a name that no child
// has is mostly a mistake, and now and then a patch that several Workspaces share.
func idlePatches(w *v1alpha1.Workspace, out render.Output) []v1alpha1.Finding {
	var children []string
	for _, o := range out.Objects() {
		children = append(children, o.GetKind()+" "+o.GetName())
	}
	var findings []v1alpha1.Finding
	for _, i := range out.Idle {
		p := finding.Warningf(finding.PatchIdle, finding.Index("spec.patches", i)+".target", "selects none of the objects that are rendered, so that the patch changes nothing; they are %s", strings.Join(children, ", "))
		findings = append(findings, p.At(byField{}, v1alpha1.WorkspaceKind+"/"+w.Namespace+"/"+w.Name))
	}
	return findings
}

func withoutConfig(w *v1alpha1.Workspace) *v1alpha1.Workspace {
	w = w.DeepCopy()
	if w.Spec.Inference != nil {
		w.Spec.Inference.Config = ""
	}
	if w.Spec.Tuning != nil {
		w.Spec.Tuning.Config = ""
	}
	return w
}
