// SPDX-License-Identifier: Apache-2.0

package data

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// azure answers as a registry and its container do. Both are one server, whose address
// is not known before it runs.
type azure struct {
	server *httptest.Server
	public bool
	pages  []string // of the list of the container
	status int      // of the registry; 0: it answers
	first  int      // that many requests get the status; 0: all do
	asked  []string
}

const (
	bearer = "bearer-of-the-identity"
	sas    = "sig=signature-of-the-container"
)

func (a *azure) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	a.asked = append(a.asked, q.Method+" "+q.URL.Path)
	if q.URL.Query().Get("comp") == "list" {
		a.list(w, q)
		return
	}
	body, _ := io.ReadAll(q.Body)
	switch {
	case q.Header.Get("Authorization") != "Bearer "+bearer:
		w.WriteHeader(http.StatusUnauthorized)
	case a.status != 0 && (a.first == 0 || len(a.asked) <= a.first):
		w.WriteHeader(a.status)
	case q.Method == http.MethodGet && a.public:
		fmt.Fprintf(w, `{"id": "asset", "properties": {"modelUri": "%s/container/x"}}`, a.server.URL)
	case q.Method == http.MethodGet:
		fmt.Fprintf(w, `{"id": "asset", "blobReference": {"blobUri": "%s/container/x"}}`, a.server.URL)
	case a.public != strings.Contains(string(body), `"assetId":"asset"`):
		w.WriteHeader(http.StatusBadRequest)
	default:
		fmt.Fprintf(w, `{"blobReferenceForConsumption": {"credential": {"sasUri": "%s/container?%s"}}}`, a.server.URL, sas)
	}
}

func (a *azure) list(w http.ResponseWriter, q *http.Request) {
	n := 0
	if q.URL.Query().Get("marker") != "" {
		n = 1
	}
	if q.Header.Get("Authorization") != "" || q.URL.Query().Get("sig") == "" {
		w.WriteHeader(http.StatusForbidden)
		return
	}
	fmt.Fprintf(w, "<EnumerationResults><Blobs>%s</Blobs>", a.pages[n])
	if n+1 < len(a.pages) {
		fmt.Fprint(w, "<NextMarker>next</NextMarker>")
	}
	fmt.Fprint(w, "</EnumerationResults>")
}

func blobs(names ...string) string {
	text := ""
	for _, n := range names {
		text += "<Blob><Name>" + n + "</Name></Blob>"
	}
	return text
}

// TestRegistry: of a version the files beside its weights are found, and who is asked what
// with which secret.
func TestRegistry(t *testing.T) {
	for name, tc := range map[string]struct {
		reason string
		azure  azure
		path   string
		want   []string // paths of the files
		says   string   // where it is refused
		asked  []string
	}{
		"Project": {
			reason: "A project says itself where the files are, and signs them below /credentials.",
			azure:  azure{pages: []string{blobs("config.json", "model.safetensors", "original/x.pt")}},
			path:   "/models/m/versions/3", want: []string{"/container/config.json", "/container/model.safetensors"},
			asked: []string{"GET /models/m/versions/3", "POST /models/m/versions/3/credentials", "GET /container"},
		},
		"Public": {
			reason: "A public registry describes a version elsewhere than it signs it, and wants its id.",
			azure:  azure{public: true, pages: []string{blobs("mlflow/model/config.json", "mlflow/model/a.safetensors"), blobs("mlflow/model/b.safetensors", "mlflow/MLmodel")}},
			path:   "/registries/r/datarefs/m/versions/3",
			want:   []string{"/container/mlflow/model/config.json", "/container/mlflow/model/a.safetensors", "/container/mlflow/model/b.safetensors"},
			asked:  []string{"GET /registries/r/models/m/versions/3", "POST /registries/r/datarefs/m/versions/3", "GET /container", "GET /container"},
		},
		"NoWeights":  {"A folder that holds no model is none.", azure{pages: []string{blobs("README.md")}}, "/models/m/versions/3", nil, "has no *.safetensors", nil},
		"TwoFolders": {"Which of two would be served, nobody can say.", azure{pages: []string{blobs("a/x.safetensors", "b/x.safetensors")}}, "/models/m/versions/3", nil, "in several folders", nil},
		"Elsewhere":  {"A name leads out of no folder.", azure{pages: []string{blobs("a.safetensors", "../x")}}, "/models/m/versions/3", nil, "leads elsewhere", nil},
		"Absolute":   {"A folder above the root would have no end.", azure{pages: []string{blobs("/a.safetensors", "b/x.safetensors")}}, "/models/m/versions/3", nil, "leads elsewhere", nil},
		"Forbidden":  {"What is missing is the right, and trying again does not help.", azure{status: http.StatusForbidden}, "/models/m/versions/3", nil, "the identity may not read it, 4 times in a row", nil},
		"NotThere":   {"Git names a version that is not there.", azure{status: http.StatusNotFound}, "/models/m/versions/3", nil, "404 Not Found: it is not there", nil},
		"Mistaken":   {"A request that is wrong stays wrong.", azure{status: http.StatusBadRequest}, "/models/m/versions/3", nil, "400 Bad Request", nil},
		"NotYet": {
			reason: "A role that was given a moment ago is not known everywhere, nor is a version that was published.",
			azure:  azure{status: http.StatusNotFound, first: 3, pages: []string{blobs("model.safetensors")}},
			path:   "/models/m/versions/3", want: []string{"/container/model.safetensors"},
			asked: []string{"GET /models/m/versions/3", "GET /models/m/versions/3", "GET /models/m/versions/3", "GET /models/m/versions/3", "POST /models/m/versions/3/credentials", "GET /container"},
		},
		"Busy": {
			reason: "A registry that is started anew is there a while later.",
			azure:  azure{status: http.StatusServiceUnavailable, first: 6, pages: []string{blobs("model.safetensors")}},
			path:   "/models/m/versions/3", want: []string{"/container/model.safetensors"},
			asked: append(slices.Repeat([]string{"GET /models/m/versions/3"}, 7), "POST /models/m/versions/3/credentials", "GET /container"),
		},
	} {
		t.Run(name, func(t *testing.T) {
			tc.azure.server = httptest.NewTLSServer(&tc.azure)
			defer tc.azure.server.Close()
			local := regexp.MustCompile(`^127\.0\.0\.1$`)
			r := registry{client: tc.azure.server.Client(), azure: local, blobs: local}
			token := func(context.Context, string) (string, error) { return bearer, nil }
			o := options(t)
			o.defaults()
			files, err := r.patiently(t.Context(), Model{URL: tc.azure.server.URL + tc.path + "?api-version=1", Token: token}, o)
			if tc.says != "" {
				var refusal *RefusedError
				if !errors.As(err, &refusal) || !strings.Contains(err.Error(), tc.says) || strings.Contains(err.Error(), "sig") || strings.Contains(err.Error(), bearer) {
					t.Errorf("%s: %v", tc.reason, err)
				}
				return
			}
			var paths []string
			for _, f := range files {
				p, query, _ := strings.Cut(strings.TrimPrefix(f, tc.azure.server.URL), "?")
				if query != sas {
					t.Errorf("%s is not signed", p)
				}
				paths = append(paths, p)
			}
			if err != nil || !slices.Equal(paths, tc.want) || !slices.Equal(tc.azure.asked, tc.asked) {
				t.Errorf("%s: %v %v, asked %v", tc.reason, err, paths, tc.azure.asked)
			}
		})
	}
}

// TestAtOnce: what no wait can mend is not asked for twice, while a GPU waits.
func TestAtOnce(t *testing.T) {
	for name, tc := range map[string]struct {
		reason string
		long   bool
		token  error
		says   string
		again  bool // another try may do better
		asked  int
	}{
		"Long":    {"The same answer is as long the next time.", true, nil, "is longer than 16777216 bytes", false, 1},
		"Nobody":  {"No wait makes an identity.", false, &RefusedError{Message: "AADSTS700016: no such application"}, "signing in: AADSTS700016", false, 0},
		"Passing": {"A token service that is away is asked again.", false, errors.New("no answer"), "giving up after 3 attempts that came no further: signing in: no answer", true, 0},
	} {
		t.Run(name, func(t *testing.T) {
			asked, tokens := 0, 0
			server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				asked++
				if tc.long {
					_, _ = w.Write(bytes.Repeat([]byte(" "), maxAnswer+1))
				}
			}))
			defer server.Close()
			local := regexp.MustCompile(`^127\.0\.0\.1$`)
			r := registry{client: server.Client(), azure: local, blobs: local}
			token := func(context.Context, string) (string, error) { tokens++; return bearer, tc.token }
			o := options(t)
			o.Attempts = 3
			o.defaults()
			_, err := r.patiently(t.Context(), Model{URL: server.URL + "/models/m/versions/3", Token: token}, o)
			var refusal *RefusedError
			if err == nil || errors.As(err, &refusal) == tc.again || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("%s: %v, want %q", tc.reason, err, tc.says)
			}
			if asked != tc.asked || !tc.again && tokens != 1 {
				t.Errorf("%s: %d requests and %d tokens", tc.reason, asked, tokens)
			}
		})
	}
}

// TestTokenThatEnded: a token that ends before it is shown is asked for anew, and nobody has
// to wait for another pod.
func TestTokenThatEnded(t *testing.T) {
	a := azure{pages: []string{blobs("model.safetensors")}}
	a.server = httptest.NewTLSServer(&a)
	defer a.server.Close()
	local := regexp.MustCompile(`^127\.0\.0\.1$`)
	tokens := []string{bearer, "one-that-has-ended"}
	token := func(context.Context, string) (string, error) {
		next := tokens[len(tokens)-1]
		tokens = tokens[:len(tokens)-1]
		return next, nil
	}
	var said bytes.Buffer
	o := options(t)
	o.Progress = &said
	o.defaults()
	r := registry{client: a.server.Client(), azure: local, blobs: local}
	if files, err := r.patiently(t.Context(), Model{URL: a.server.URL + "/models/m/versions/3", Token: token}, o); err != nil || len(files) != 1 {
		t.Errorf("%v, %v", files, err)
	}
	if !strings.Contains(said.String(), "401 Unauthorized") || strings.Contains(said.String(), "one-that") {
		t.Errorf("it said %q", said.String())
	}
}

// TestTokenStaysWithAzure: no host but Azure's gets a token of the identity, whatever Git
// names or a registry answers.
func TestTokenStaysWithAzure(t *testing.T) {
	token := func(context.Context, string) (string, error) {
		t.Error("a token was asked for")
		return "", nil
	}
	for _, address := range []string{
		"https://evil.example.com/models/m/versions/1", "http://a.api.azureml.ms/models/m/versions/1", "https://api.azureml.ms.evil.example.com/models/m/versions/1",
		"https://u:p@a.api.azureml.ms/models/m/versions/1", "https://azure.com/models/m", "://",
		// Hosts below Azure's domains on which customers run what they like.
		"https://evil.westus.cloudapp.azure.com/models/m/versions/1", "https://evil.eastus.inference.ml.azure.com/models/m/versions/1",
		"https://evil.eastus.instances.azureml.ms/models/m/versions/1", "https://evil.usgovarizona.inference.ml.azure.us/models/m/versions/1",
	} {
		var refusal *RefusedError
		if _, err := FetchModel(t.Context(), Model{URL: address, Token: token}, Options{Dir: t.TempDir()}); !errors.As(err, &refusal) {
			t.Errorf("%s: %v", address, err)
		}
	}
	for _, host := range []string{
		"eastus.api.azureml.ms", "usgovarizona.api.ml.azure.us", "chinaeast2.api.ml.azure.cn", "team.services.ai.azure.com", "team.services.ai.azure.us", "team.services.ai.azure.cn",
	} {
		if !azureHost.MatchString(host) {
			t.Errorf("%s is a registry's or a project's", host)
		}
	}
	for host, want := range map[string]bool{
		"team.blob.core.windows.net": true, "team.z12.blob.storage.azure.net": true, "team.blob.core.windows.net.evil.example.com": false, "169.254.169.254": false,
	} {
		if blobHost.MatchString(host) != want {
			t.Errorf("%s is taken for a container's: %v", host, !want)
		}
	}
}

// FuzzList: whatever a container answers, no file is asked for outside of it, and none
// without its signature.
func FuzzList(f *testing.F) {
	for _, seed := range []string{
		blobs("config.json", "model.safetensors"), blobs("a/x.safetensors", "../b"), blobs("/x.safetensors", "a//b", "a/./b.safetensors"), "<Blob>", "",
		blobs("a%2f..%2fb.safetensors", "a?b=c.safetensors", "a#b.safetensors"),
	} {
		f.Add("<EnumerationResults><Blobs>" + seed + "</Blobs></EnumerationResults>")
	}
	signed := &url.URL{Scheme: "https", Host: "a.blob.core.windows.net", Path: "/container", RawQuery: sas}
	f.Fuzz(func(t *testing.T, text string) {
		names, _, err := listed([]byte(text))
		if err != nil {
			return
		}
		files, err := addressed(signed, names)
		if err != nil {
			return
		}
		for _, file := range files {
			u, err := url.Parse(file)
			if err != nil || u.Host != signed.Host || u.RawQuery != sas || u.Fragment != "" || !strings.HasPrefix(path.Clean(u.Path), "/container/") {
				t.Errorf("%q is asked for", file)
			}
		}
	})
}

// TestSignedAnew: each start signs the files of a version anew, and what an earlier one has
// downloaded stays.
func TestSignedAnew(t *testing.T) {
	const half = 400_000
	var asked []string // file and range
	broken := true
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		asked = append(asked, path.Base(q.URL.Path)+" "+q.Header.Get("Range"))
		if broken && path.Base(q.URL.Path) == "b.safetensors" {
			cut(half, `"a"`)(w, q)
		}
		whole(content, `"a"`)(w, q)
	}))
	defer server.Close()
	o := options(t)
	o.Attempts, o.Parallel = 1, 1
	starts := 0
	fetch := func(version string) ([]File, error) {
		asked = nil
		starts++
		var files []string
		for _, name := range []string{"a.safetensors", "b.safetensors"} {
			files = append(files, fmt.Sprintf("%s/container/%s?sig=%d", server.URL, name, starts))
		}
		return fetchSigned(t.Context(), version, files, o)
	}
	if _, err := fetch("https://r.api.azureml.ms/models/m/versions/3"); err == nil {
		t.Fatal("a connection that is cut is no download")
	}
	broken = false
	files, err := fetch("https://r.api.azureml.ms/models/m/versions/3")
	want := []string{fmt.Sprintf("b.safetensors bytes=%d-", half)}
	if err != nil || !files[0].Kept || files[1].Kept || files[1].SHA256 != sumOf(content) || !slices.Equal(asked, want) {
		t.Errorf("signed anew: %v %+v, asked %q, want %q", err, files, asked, want)
	}
	files, err = fetch("https://r.api.azureml.ms/models/m/versions/4")
	if err != nil || files[0].Kept || files[1].Kept {
		t.Errorf("the files of another version are kept: %v %+v", err, files)
	}
}
