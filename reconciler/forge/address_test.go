// SPDX-License-Identifier: Apache-2.0

package forge

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/espalier-dev/espalier/reconciler/plan"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// TestSignedIn: each forge is signed in to as it wants, and so is Git.
func TestSignedIn(t *testing.T) {
	for name, c := range map[string]struct {
		provider  v1alpha1.ForgeProvider
		auth      map[string]string
		want, git string // header, and the user of Git
	}{
		"AzureToken":       {v1alpha1.AzureDevOps, map[string]string{"token": "t"}, "Basic OnQ=", "espalier"},
		"AzurePassword":    {v1alpha1.AzureDevOps, map[string]string{"username": "u", "password": "t"}, "Basic OnQ=", "espalier"},
		"AzureEntra":       {v1alpha1.AzureDevOps, map[string]string{"bearerToken": "t"}, "Bearer t", ""},
		"CloudAccessToken": {v1alpha1.Bitbucket, map[string]string{"token": "t"}, "Bearer t", "x-token-auth"},
		"CloudAPIToken":    {v1alpha1.Bitbucket, map[string]string{"username": "u@example.com", "password": "t"}, "Basic dUBleGFtcGxlLmNvbTp0", "x-bitbucket-api-token-auth"},
		"CloudFlux":        {v1alpha1.Bitbucket, map[string]string{"token": "u@example.com:t"}, "Basic dUBleGFtcGxlLmNvbTp0", "x-bitbucket-api-token-auth"},
		"ServerToken":      {v1alpha1.BitbucketServer, map[string]string{"token": "t"}, "Bearer t", "x-token-auth"},
		"ServerPassword":   {v1alpha1.BitbucketServer, map[string]string{"username": "u", "password": "t"}, "Basic dTp0", "u"},
	} {
		t.Run(name, func(t *testing.T) {
			var got string
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				got = r.Header.Get("Authorization")
				_, _ = w.Write([]byte("{}"))
			}))
			defer s.Close()
			auth := map[string][]byte{}
			for key, value := range c.auth {
				auth[key] = []byte(value)
			}
			f, err := Connect(Settings{Provider: c.provider, URL: s.URL + players[c.provider].path, Auth: auth})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := f.Open(t.Context(), "main"); err != nil || got != c.want {
				t.Errorf("signed in by %q, want %q: %v", got, c.want, err)
			}
			git, err := f.GitAuth(t.Context())
			if err != nil || string(git["username"]) != c.git || c.git == "" && string(git["bearerToken"]) != "t" {
				t.Errorf("Git: %q, %v", git, err)
			}
		})
	}
}

func TestLocateForges(t *testing.T) {
	for name, c := range map[string]struct {
		reason   string
		provider v1alpha1.ForgeProvider
		url      string
		want     string // server, owner, name, and where Git finds it; "": refused
	}{
		"Azure":        {"The address of a clone, with the organisation as its user.", v1alpha1.AzureDevOps, "https://org@dev.azure.com/org/My%20Project/_git/models", "https://dev.azure.com/org|My Project|models|https://dev.azure.com/org/My%20Project/_git/models"},
		"AzureSame":    {"A repository that has the name of its project.", v1alpha1.AzureDevOps, "https://dev.azure.com/org/_git/models", "https://dev.azure.com/org|models|models|https://dev.azure.com/org/models/_git/models"},
		"AzureSSH":     {"SSH has a host and a path of its own.", v1alpha1.AzureDevOps, "ssh://git@ssh.dev.azure.com/v3/org/project/models", "https://dev.azure.com/org|project|models|https://dev.azure.com/org/project/_git/models"},
		"AzureOld":     {"Organisations of old have a host each.", v1alpha1.AzureDevOps, "https://org.visualstudio.com/DefaultCollection/project/_git/models", "https://org.visualstudio.com/DefaultCollection|project|models|https://org.visualstudio.com/DefaultCollection/project/_git/models"},
		"AzureOldSame": {"And leave out what they can.", v1alpha1.AzureDevOps, "https://org.visualstudio.com/_git/models", "https://org.visualstudio.com|models|models|https://org.visualstudio.com/models/_git/models"},
		"AzureServer":  {"A server has a folder and collections.", v1alpha1.AzureDevOps, "https://tfs.example.com/tfs/Main/project/_git/models", "https://tfs.example.com/tfs/Main|project|models|https://tfs.example.com/tfs/Main/project/_git/models"},
		"AzureBare":    {"Without a project nothing is found.", v1alpha1.AzureDevOps, "https://tfs.example.com/_git/models", ""},
		"AzureOther":   {"What is no repository of it.", v1alpha1.AzureDevOps, "https://dev.azure.com/org/project/models", ""},
		"Cloud":        {"A workspace and a repository.", v1alpha1.Bitbucket, "https://bitbucket.org/fleet/models.git", "https://bitbucket.org|fleet|models|https://bitbucket.org/fleet/models.git"},
		"CloudSSH":     {"Also by SSH.", v1alpha1.Bitbucket, "ssh://git@bitbucket.org/fleet/models.git", "https://bitbucket.org|fleet|models|https://bitbucket.org/fleet/models.git"},
		"ServerClone":  {"As it is cloned.", v1alpha1.BitbucketServer, "https://git.example.com/scm/GPU/models.git", "https://git.example.com|GPU|models|https://git.example.com/scm/gpu/models.git"},
		"ServerPage":   {"As people see it, in a folder.", v1alpha1.BitbucketServer, "https://example.com/bitbucket/projects/GPU/repos/models/browse", "https://example.com/bitbucket|GPU|models|https://example.com/bitbucket/scm/gpu/models.git"},
		"ServerUser":   {"A person's own.", v1alpha1.BitbucketServer, "https://git.example.com/users/ada/repos/models", "https://git.example.com|~ada|models|https://git.example.com/scm/~ada/models.git"},
		"ServerSSH":    {"The port of SSH is not that of the web.", v1alpha1.BitbucketServer, "ssh://git@git.example.com:7999/gpu/models.git", "https://git.example.com|gpu|models|https://git.example.com/scm/gpu/models.git"},
		"ServerBare":   {"What is no repository of it.", v1alpha1.BitbucketServer, "https://git.example.com/models", ""},
	} {
		t.Run(name, func(t *testing.T) {
			at, err := locate(Settings{Provider: c.provider, URL: c.url})
			got := strings.Join([]string{at.server, at.owner, at.name, at.cloneURL()}, "|")
			if (err != nil) != (c.want == "") || err == nil && got != c.want {
				t.Errorf("%s\ngot %s, %v", c.reason, got, err)
			}
		})
	}
	for server, want := range map[string]string{
		"https://dev.azure.com/org": "https://vssps.dev.azure.com/org", "https://org.visualstudio.com": "https://org.vssps.visualstudio.com", "https://tfs.example.com/tfs/Main": "https://tfs.example.com/tfs/Main",
	} {
		if got := azureIdentities(server); got != want {
			t.Errorf("people of %s are at %s, want %s", server, got, want)
		}
	}
}

// TestHeadersAreStruck: a server that repeats what it was signed in with tells nobody.
func TestHeadersAreStruck(t *testing.T) {
	for provider, auth := range map[v1alpha1.ForgeProvider]map[string]string{
		v1alpha1.AzureDevOps: {"username": "u", "password": "pa55word-of-it"}, v1alpha1.Bitbucket: {"token": "u@example.com:pa55word-of-it"}, v1alpha1.BitbucketServer: {"token": "pa55word-of-it"},
	} {
		var header string
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			header = r.Header.Get("Authorization")
			_, password, _ := r.BasicAuth()
			w.WriteHeader(http.StatusBadRequest)
			_ = json.NewEncoder(w).Encode(map[string]string{"message": "got " + header + " and " + password})
		}))
		secret := map[string][]byte{}
		for key, value := range auth {
			secret[key] = []byte(value)
		}
		f, err := Connect(Settings{Provider: provider, URL: s.URL + players[provider].path, Auth: secret})
		if err != nil {
			t.Fatal(err)
		}
		_, err = f.Open(t.Context(), "main")
		_, proof, _ := strings.Cut(header, " ")
		if err == nil || proof == "" || strings.Contains(err.Error(), proof) || strings.Contains(err.Error(), "pa55word") {
			t.Errorf("%s, signed in by %q: %v", provider, header, err)
		}
		s.Close()
	}
}

// TestDialect: what Bitbucket would show is not written, and all is read back as it was.
func TestDialect(t *testing.T) {
	for _, body := range []string{
		commentBody,
		"<!-- a -->\n<!-- b -->\nwords\n\n<details><summary>The plan</summary>\n\n<details><summary>Inner</summary>\n\nx\n</details>\n\n</details>\n",
		"no line of it is hidden: a <!-- b --> c\n",
		"",
	} {
		plain := toPlain(body)
		if got := fromPlain(strings.ReplaceAll(plain, "\n", "\r\n")); got != body {
			t.Errorf("(-want +got):\n%s", cmp.Diff(body, got))
		}
		lines := strings.Split(plain, "\n")
		if slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, "<") }) {
			t.Errorf("HTML is left:\n%s", plain)
		}
	}
}

// TestDialectFits: what fits before fits after.
func TestDialectFits(t *testing.T) {
	f := newBitbucket(place{server: "https://bitbucket.org"}, &transport{})
	fold := "<details><summary>Rendered objects of models/phi (+1 −1 lines)</summary>\n\n```diff\n+a\n```\n</details>\n"
	body := strings.Repeat(fold, f.CommentLimit/len(fold))
	if plain := toPlain(body); len(plain) > plan.LimitBitbucket || len(body) > f.CommentLimit || fromPlain(plain) != body {
		t.Errorf("%d bytes, %d of them written, want at most %d", len(body), len(plain), plan.LimitBitbucket)
	}
}

func TestStatusKey(t *testing.T) {
	long := "espalier/production-europe-west/models-of-team-a/ready"
	if got := statusKey(long); len(got) != maxKey || !strings.HasSuffix(long, got) || statusKey("espalier/plan") != "espalier/plan" {
		t.Errorf("got %q", got)
	}
}

// FuzzDialect looks for a comment that is not read back as it was written: its mark
// would not be found, and a second one be made.
func FuzzDialect(f *testing.F) {
	f.Add(commentBody)
	f.Add("</details>\n\n</details>\n<details><summary>**a** </summary>\n<!-- x --> <!-- y -->")
	f.Fuzz(func(t *testing.T, body string) {
		for _, ours := range []string{"[//]", "<!-- fold -->", "<!-- end of fold -->", "\r"} {
			if strings.Contains(body, ours) {
				t.Skip()
			}
		}
		plain := toPlain(body)
		if got := fromPlain(plain); got != body {
			t.Errorf("%q is written as %q and read back as %q", body, plain, got)
		}
		_ = fromPlain(body) // whatever somebody else has written
	})
}
