// SPDX-License-Identifier: Apache-2.0

package install

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/espalier-dev/espalier/test/harness"
)

// page is what commands.yaml says of a document.
type page struct {
	Page string `json:"page"`
	// Controller says that a controller must act, as on an installed cluster.
	Controller bool `json:"controller"`
	// In is the folder to begin in, by the document that has made it; empty: an
	// empty one.
	In string `json:"in"`
	// Words are what a reader puts in the place of words of the document.
	Words map[string]string `json:"words"`
	// Before is what a shell does before the first command.
	Before string `json:"before"`
	Steps  []step `json:"steps"`
	// Says are texts that the commands print.
	Says []string `json:"says"`
}

// step is about the commands of a page that begin with At.
type step struct {
	At string `json:"at"`
	// Before is what a shell does before the first of them.
	Before string `json:"before"`
	// Not is why they are not run here; By is a test, FILE#NAME, that does what they do.
	Not string `json:"not"`
	By  string `json:"by"`
	// Like is a page where the very same commands are run.
	Like string `json:"like"`
	// With is a program that a machine may lack: there the command is passed over.
	With string `json:"with"`
}

// guide is how the commands of all documents are run.
type guide struct {
	commands map[string][]command
	flags    map[string][]string // by page
	pages    []page              // those with commands, in the order in which they are run
}

func newGuide(t *testing.T) guide {
	t.Helper()
	g := guide{commands: map[string][]command{}, flags: map[string][]string{}}
	for name, source := range documents(t) {
		blocks, _ := code(source)
		for _, b := range blocks {
			found, flags := b.commands(name)
			g.commands[name] = append(g.commands[name], found...)
			g.flags[name] = append(g.flags[name], flags...)
		}
		if len(g.commands[name]) == 0 {
			delete(g.commands, name)
		}
	}
	content, err := os.ReadFile("testdata/commands.yaml")
	must(t, err)
	must(t, yaml.UnmarshalStrict(content, &g.pages))
	for _, name := range slices.Sorted(maps.Keys(g.commands)) {
		if !slices.ContainsFunc(g.pages, func(p page) bool { return p.Page == name }) {
			g.pages = append(g.pages, page{Page: name})
		}
	}
	slices.SortStableFunc(g.pages, func(a, b page) int { return cmp.Compare(phase(a), phase(b)) })
	return g
}

// phase orders pages: those that need a controller first.
func phase(p page) int {
	if p.Controller {
		return 0
	}
	return 1
}

// step that is about a command, or none.
func (p page) step(c command) *step {
	for i := range p.Steps {
		if strings.HasPrefix(c.text, p.Steps[i].At) {
			return &p.Steps[i]
		}
	}
	return nil
}

// runs says whether a page runs a command of this text.
func (g guide) runs(name, text string) bool {
	for _, p := range g.pages {
		for _, c := range g.commands[p.Page] {
			if s := p.step(c); p.Page == name && c.text == text && (s == nil || s.Not == "" && s.Like == "") {
				return true
			}
		}
	}
	return false
}

// TestMarks: what commands.yaml says of a command is true, and there is such a command.
func TestMarks(t *testing.T) {
	g := newGuide(t)
	run := 0
	for _, p := range g.pages {
		if len(g.commands[p.Page]) == 0 {
			t.Errorf("commands.yaml: %s is no document with commands", p.Page)
		}
		used := map[string]bool{}
		for _, c := range g.commands[p.Page] {
			if g.runs(p.Page, c.text) {
				run++
			}
			s := p.step(c)
			if s == nil {
				continue
			}
			used[s.At] = true
			if s.Like != "" && !g.runs(s.Like, c.text) {
				t.Errorf("%s: %s does not run this very command", c, s.Like)
			}
		}
		for _, s := range p.Steps {
			if !used[s.At] {
				t.Errorf("commands.yaml, %s: no command begins with %q", p.Page, s.At)
			}
			if file, name, _ := strings.Cut(s.By, "#"); s.By != "" && !has(t, file, "func "+name+"(") {
				t.Errorf("commands.yaml, %s, %q: there is no test %s", p.Page, s.At, s.By)
			}
			if s.By != "" && s.Not == "" {
				t.Errorf("commands.yaml, %s, %q: say in not why %s does it instead", p.Page, s.At, s.By)
			}
		}
	}
	if run < 100 {
		t.Errorf("only %d commands are run: where have they gone?", run)
	}
}

// has says whether a file of the checkout has a text.
func has(t *testing.T, file, part string) bool {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(root, file))
	return err == nil && strings.Contains(string(content), part)
}

var (
	flagHeading = regexp.MustCompile("(?m)^## (espalier[a-z ]*)$")
	flagRow     = regexp.MustCompile("(?m)^\\| `(?:-\\w, )?(--[a-z0-9-]+)`")
	flagUsed    = regexp.MustCompile(`(?:^|[\s\[(])(--[a-z][a-z0-9-]*)`)
	subcommand  = regexp.MustCompile(`^espalier( [a-z]+)?( [a-z]+)?`)
)

// TestFlagsShown: a flag that stands alone in a document is one of the controller, and
// `espalier …` within a sentence names a command and flags that there are.
func TestFlagsShown(t *testing.T) {
	all := documents(t)
	known := map[string][]string{}
	reference := all["docs/flags.md"]
	for _, at := range flagHeading.FindAllStringSubmatchIndex(reference, -1) {
		section, _, _ := strings.Cut(reference[at[1]:], "\n## ")
		name := reference[at[2]:at[3]]
		known[name] = []string{"--help"}
		for _, row := range flagRow.FindAllStringSubmatch(section, -1) {
			known[name] = append(known[name], row[1])
		}
	}
	if len(known["espalier controller"]) < 20 {
		t.Fatalf("docs/flags.md has %d flags of the controller", len(known["espalier controller"]))
	}
	for name, flags := range newGuide(t).flags {
		for _, f := range flags {
			flag, _, _ := strings.Cut(f, "=")
			if !slices.Contains(known["espalier controller"], flag) {
				t.Errorf("%s shows %s, which the controller does not have", name, f)
			}
		}
	}
	for name, source := range all {
		if name == "CHANGELOG.md" || strings.HasPrefix(name, "docs/design/") {
			continue // they tell of their time
		}
		_, spans := code(source)
		for _, span := range spans {
			if problem := misspelt(span, known); problem != "" {
				t.Errorf("%s: `%s`: %s", name, span, problem)
			}
		}
	}
}

// misspelt says what is wrong with a command within a sentence.
func misspelt(span string, known map[string][]string) string {
	if !strings.HasPrefix(span, "espalier ") || strings.ContainsAny(span, "/") && !strings.Contains(span, " -") {
		return ""
	}
	words := strings.Fields(subcommand.FindString(span))
	for len(words) > 1 && known[strings.Join(words, " ")] == nil {
		words = words[:len(words)-1]
	}
	if len(words) < 2 {
		return "there is no such command"
	}
	for _, m := range flagUsed.FindAllStringSubmatch(span, -1) {
		if !slices.Contains(known[strings.Join(words, " ")], m[1]) {
			return m[1] + " is no flag of it"
		}
	}
	return ""
}

// TestMisspelt: what is no command or no flag is found in a sentence.
func TestMisspelt(t *testing.T) {
	known := map[string][]string{"espalier plan": {"--base"}, "espalier presets": nil, "espalier presets lock": {"--from"}}
	for span, want := range map[string]bool{
		"espalier plan": false, "espalier plan --base main": false, "espalier plan --bsae main": true, "espalier plna": true,
		"espalier presets lock --from config.json": false, "espalier presets --from x": true, "espalier/status/<cluster>": false,
	} {
		if got := misspelt(span, known); (got != "") != want {
			t.Errorf("%s: %q", span, got)
		}
	}
}

// TestCommands runs every command of every document, as it stands there, in a sandbox:
// with the built program, real git, and the real kubectl and Helm on a real API server,
// where a controller acts that the chart has installed. What is not run is marked in
// testdata/commands.yaml, with the reason.
func TestCommands(t *testing.T) {
	s, g := theStandWithHelm(t), newGuide(t)
	for _, repo := range []string{"models"} {
		must(t, s.Git.Create(repo))
	}
	release(t, s, "install", chartFolder, forFakeAzure)
	controller := running(t, s)
	desk := newDesk(t, s)
	ran := 0
	for _, p := range g.pages {
		if controller != nil && !p.Controller {
			leave(t, s, controller)
			controller = nil
		}
		t.Run(p.Page, func(t *testing.T) { ran += desk.run(t, p, g.commands[p.Page]) })
	}
	t.Logf("%d commands were run", ran)
}

// leave empties the cluster, as docs/install.md has it.
func leave(t *testing.T, s *harness.Stand, c *harness.Controller) {
	t.Helper()
	kubectl(t, s, "delete", "reposyncs", "--all", "--all-namespaces", "--timeout=2m")
	kubectl(t, s, "delete", "workspaces,gpunodepools", "--all", "--all-namespaces", "--timeout=2m")
	must(t, c.Stop())
	helm(t, s, "uninstall", "espalier", "--namespace", namespace, "--wait")
	kubectl(t, s, "delete", "crd", "reposyncs.espalier.dev", "workspaces.espalier.dev", "gpunodepools.espalier.dev", "--timeout=1m")
	kubectl(t, s, "delete", "namespace", namespace, "models", "team-a", "--ignore-not-found", "--timeout=1m")
}

// desk is where a reader sits: a folder, a home and an environment.
type desk struct {
	folder string
	env    []string
}

func newDesk(t *testing.T, s *harness.Stand) desk {
	t.Helper()
	checkout, err := filepath.Abs(root)
	must(t, err)
	d := desk{folder: t.TempDir()}
	home := filepath.Join(d.folder, "home")
	must(t, os.Mkdir(home, 0o700))
	flags, err := s.ARM.Flags(home)
	must(t, err)
	url := s.Git.URL("models")
	d.env = append(surroundings(),
		"PATH="+filepath.Join(checkout, "bin")+":"+os.Getenv("PATH"), "CHECKOUT="+checkout, "HOME="+home, "GNUPGHOME="+home,
		"GIT_AUTHOR_NAME=N", "GIT_AUTHOR_EMAIL=n@example.com", "GIT_COMMITTER_NAME=N", "GIT_COMMITTER_EMAIL=n@example.com",
		"HELM_CACHE_HOME="+home, "HELM_CONFIG_HOME="+home, "HELM_DATA_HOME="+home,
		"ARM_FLAGS="+strings.Join(flags, " "), "REPOSITORY="+url,
		"ORIGIN="+strings.Replace(url, "://", "://"+harness.GitUser+":"+harness.GitPassword+"@", 1),
		"GIT_USER="+harness.GitUser, "GIT_PASSWORD="+harness.GitPassword,
	)
	d.env = append(d.env, s.ARM.Env()...)
	kubeconfig, err := os.ReadFile(s.Cluster.Kubeconfig)
	must(t, err)
	own := filepath.Join(home, "kubeconfig") // some page may set its namespace
	must(t, os.WriteFile(own, kubeconfig, 0o600))
	d.env = append(d.env, "KUBECONFIG="+own)
	return d
}

// run runs the commands of a page in one shell, and returns how many they were.
func (d desk) run(t *testing.T, p page, commands []command) int {
	t.Helper()
	folder := filepath.Join(d.folder, cmp.Or(p.In, p.Page))
	must(t, os.MkdirAll(folder, 0o700))
	prelude, err := os.ReadFile("testdata/prelude.sh")
	must(t, err)
	script, ran := string(prelude)+p.Before+"\n", 0
	done := map[string]bool{}
	for _, c := range commands {
		line, run := p.line(t, c, done)
		script += line
		if run {
			ran++
		}
	}
	if ran == 0 {
		return 0
	}
	file := filepath.Join(d.folder, "script.sh")
	must(t, os.WriteFile(file, []byte(script), 0o600))
	cmd := exec.CommandContext(patient(t), "bash", file)
	cmd.Dir, cmd.Env = folder, d.env
	out, err := cmd.CombinedOutput()
	said := string(out)
	if err != nil {
		at := strings.LastIndex(said, "\n==> ")
		t.Errorf("%v: the last command of these did not work:\n%s", err, said[max(0, at):])
	}
	for _, want := range p.Says {
		if !strings.Contains(said, want) {
			t.Errorf("the commands do not say %q:\n%s", want, said)
		}
	}
	return ran
}

// line is what the shell does for a command.
func (p page) line(t *testing.T, c command, done map[string]bool) (script string, run bool) {
	t.Helper()
	if s := p.step(c); s != nil {
		if s.Not != "" || s.Like != "" {
			return "", false
		}
		if _, err := exec.LookPath(s.With); s.With != "" && err != nil {
			t.Logf("%s is passed over: %v", c, err)
			return "", false
		}
		if !done[s.At] {
			script += s.Before + "\n"
		}
		done[s.At] = true
	}
	words := slices.SortedFunc(maps.Keys(p.Words), func(a, b string) int { return cmp.Compare(len(b), len(a)) })
	typed := c.text
	for _, w := range words {
		typed = strings.ReplaceAll(typed, w, p.Words[w])
	}
	return script + fmt.Sprintf("printf '\\n==> %%s\\n' %s\n%s\n", quoted(c.String()), typed), true
}

// quoted is a text as one word of the shell.
func quoted(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }
