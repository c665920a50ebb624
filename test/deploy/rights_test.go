// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

var update = flag.Bool("update", false, "write the tables of docs/rights.md; what each right is for, is kept")

const rightsPage = "../../docs/rights.md"

// account is one table of the page: what an account may do in a namespace.
type account struct{ mark, name, namespace string }

var accounts = []account{
	{"espalier", "espalier-system:espalier", "plain"},
	{"espalier in its own namespace", "espalier-system:espalier", namespace},
	{"espalier in the namespace of a team", "espalier-system:espalier", "team-a"},
	{"espalier-review", "espalier-system:espalier-review", "plain"},
	{"espalier-review in its own namespace", "espalier-system:espalier-review", namespace},
	{"espalier-review in the namespace of a RepoSync", "espalier-system:espalier-review", "team-a"},
	{"a team", "team-a:models", "team-a"},
	{"espalier with Karpenter", "plain:only-karpenter", "plain"},
}

// TestRights: docs/rights.md has every right of every account that deploy/ makes, as
// `kubectl auth can-i --list` shows it, and says of each what it is for.
func TestRights(t *testing.T) {
	c := shared.Get(t)
	api, err := client.New(c.Config, client.Options{Scheme: scheme(t)})
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range withReview(t, "../../deploy/overlays/dev") {
		apply(t, api, o)
	}
	for _, args := range [][]string{
		{"delete", "clusterrolebinding", "espalier-karpenter", "--ignore-not-found"}, // of another test
		{"create", "namespace", "plain"},
		{"create", "namespace", "team-a"},
		{"apply", "--server-side", "-f", "../../deploy/rbac/karpenter/role.yaml"},
		{"create", "clusterrolebinding", "only-karpenter", "--clusterrole=espalier-karpenter", "--serviceaccount=plain:only-karpenter"},
		{"create", "rolebinding", "models", "-n", "team-a", "--clusterrole=espalier-team", "--serviceaccount=team-a:models"},
		{"create", "rolebinding", "espalier-impersonate", "-n", "team-a", "--clusterrole=espalier-impersonate", "--serviceaccount=espalier-system:espalier"},
		{"create", "rolebinding", "espalier-review", "-n", "team-a", "--clusterrole=espalier-review-secrets", "--serviceaccount=espalier-system:espalier-review"},
	} {
		if _, err := c.Kubectl(t.Context(), args...); err != nil && !strings.Contains(err.Error(), "already exists") {
			t.Fatal(err)
		}
	}
	may := func(a account) map[string]string {
		out, err := c.Kubectl(t.Context(), "auth", "can-i", "--list", "--namespace", a.namespace, "--as", "system:serviceaccount:"+a.name)
		if err != nil {
			t.Fatal(err)
		}
		return rules(out)
	}
	// The authorizer sees a new binding a moment later.
	err = wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, 30*time.Second, true, func(context.Context) (bool, error) {
		_, bound := may(accounts[0])["nodeclaims.karpenter.sh"]
		return len(may(accounts[6])) > 5 && len(may(accounts[7])) > 2 && !bound, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	everybody := may(account{name: "espalier-system:nobody", namespace: "plain"})
	text, err := os.ReadFile(rightsPage)
	if err != nil {
		t.Fatal(err)
	}
	page, anywhere := string(text), map[string]string{}
	for _, a := range accounts {
		got := may(a)
		for resource := range everybody {
			delete(got, resource)
		}
		if a.namespace == "plain" {
			anywhere = got
		} else if strings.HasPrefix(a.name, namespace) {
			maps.DeleteFunc(got, func(resource, verbs string) bool { return anywhere[resource] == verbs })
		}
		page = table(t, page, a.mark, got)
	}
	if *update {
		if err := os.WriteFile(rightsPage, []byte(page), 0o600); err != nil {
			t.Fatal(err)
		}
	} else if page != string(text) {
		t.Errorf("docs/rights.md differs from what the accounts may do, run go test ./test/deploy -run TestRights -update and say what each is for")
	}
}

// rules are the rights that kubectl lists, verbs by resource. A resource whose right is
// for named objects alone has the names behind it.
func rules(out string) map[string]string {
	found := map[string]string{}
	lines := strings.Split(strings.TrimRight(out, "\n"), "\n")
	header := lines[0]
	urls, names, verbs := strings.Index(header, "Non-Resource"), strings.Index(header, "Resource Names"), strings.Index(header, "Verbs")
	for _, line := range lines[1:] {
		cell := func(from, to int) string { return strings.TrimSpace(line[min(from, len(line)):min(to, len(line))]) }
		resource := cell(0, urls)
		if resource == "" {
			continue // of URLs, which everybody has
		}
		if only := strings.Trim(cell(names, verbs), "[]"); only != "" {
			resource += " " + only
		}
		list := strings.Fields(strings.Trim(cell(verbs, len(line)), "[]"))
		if was := found[resource]; was != "" {
			list = append(list, strings.Split(was, ", ")...)
		}
		slices.Sort(list)
		found[resource] = strings.Join(slices.Compact(list), ", ")
	}
	return found
}

// table returns the page with the rights in the table behind a mark, each with what
// the page says it is for.
func table(t *testing.T, page, mark string, rights map[string]string) string {
	t.Helper()
	begin, end := "<!-- rights: "+mark+" -->\n", "<!-- end -->"
	before, rest, ok := strings.Cut(page, begin)
	old, after, closed := strings.Cut(rest, end)
	if !ok || !closed {
		t.Fatalf("docs/rights.md has no table for %s: write %q and %q", mark, begin, end)
	}
	why := map[string]string{}
	for line := range strings.Lines(old) {
		if cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), " | "); len(cells) == 3 {
			why[strings.Trim(strings.TrimSpace(cells[0]), "`")] = strings.TrimSpace(cells[2])
		}
	}
	var b strings.Builder
	b.WriteString("\n| on | may | for |\n|---|---|---|\n")
	for _, resource := range slices.Sorted(maps.Keys(rights)) {
		if why[resource] == "" || why[resource] == "?" {
			why[resource] = "?"
			t.Errorf("docs/rights.md, %s: say what %s on %s is for", mark, rights[resource], resource)
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", resource, rights[resource], why[resource])
	}
	b.WriteString("\n")
	return before + begin + b.String() + end + after
}
