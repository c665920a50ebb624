// SPDX-License-Identifier: Apache-2.0

package data

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"strings"
	"time"
)

// Model is a version of a model in a registry of Azure.
type Model struct {
	// URL of the version, as spec.inference.weights.registry.url.
	URL string
	// Token signs in to the registry for a scope. A RefusedError of it is final.
	Token func(ctx context.Context, scope string) (string, error)
}

// Scopes of the tokens: of public registries and of projects (KAITO's fetch_sas.py, as of
// v0.12).
const (
	publicScope  = "https://management.azure.com/.default"
	projectScope = "https://ai.azure.com/.default"
)

// Bounds of what a registry and a container answer.
const (
	maxAnswer = 16 << 20 // bytes, one of them
	maxPages  = 200      // of the list of a container
	askWithin = time.Minute
)

// weightsSuffix ends the names of files of weights.
const weightsSuffix = ".safetensors"

// Below Azure's domains are hosts on which customers run what they like
// (cloudapp.azure.com, instances.azureml.ms, inference.ml.azure.com): only the interfaces
// of registries and projects get a token.
var (
	azureHost = regexp.MustCompile(`^[a-z0-9.-]+\.(api\.azureml\.ms|api\.ml\.azure\.us|api\.ml\.azure\.cn|services\.ai\.azure\.(com|us|cn))$`)
	blobHost  = regexp.MustCompile(`^[a-z0-9]+\.(z[0-9]+\.)?blob\.(core\.windows\.net|core\.usgovcloudapi\.net|core\.chinacloudapi\.cn|storage\.azure\.net)$`)
)

// FetchModel downloads the files of a version into o.Dir: those beside its weights, and no
// folder below. Each is whole or not there; neither the token nor what signs the files
// reaches a log or an error.
func FetchModel(ctx context.Context, m Model, o Options) ([]File, error) {
	o.defaults()
	r := registry{client: newClient(o.Permit), azure: azureHost, blobs: blobHost}
	// A token goes to the address that Git names, and nowhere else.
	r.client.CheckRedirect = func(*http.Request, []*http.Request) error {
		return refused("the registry sends elsewhere, where no token of the identity goes")
	}
	defer r.client.CloseIdleConnections()
	files, err := r.patiently(ctx, m, o)
	if err != nil {
		return nil, err
	}
	return fetchSigned(ctx, m.URL, files, o)
}

// fetchSigned is Fetch for the files of a version, which each start signs anew: they are
// known by the version and their addresses without the signature.
func fetchSigned(ctx context.Context, version string, files []string, o Options) ([]File, error) {
	targets, err := parseTargets(files)
	if err != nil {
		return nil, err
	}
	for i := range targets {
		targets[i].known = version + "\n" + targets[i].shown
	}
	return fetch(ctx, targets, o)
}

// patiently asks for the files as long as a file is asked for: each attempt signs in anew, so
// that a token that has ended, or a role that was given a moment ago, ends nothing.
func (r registry) patiently(ctx context.Context, m Model, o Options) ([]string, error) {
	p, lines := newPatience(o), &progress{out: o.Progress}
	for {
		files, err := r.files(ctx, m)
		var again *retryError
		if err == nil || !errors.As(err, &again) || ctx.Err() != nil {
			return files, err
		}
		pause, err := p.pause(again)
		if err != nil {
			return nil, err
		}
		lines.printf("%v; trying again in %s", again.err, pause.Round(time.Millisecond))
		if err := Sleep(ctx, pause); err != nil {
			return nil, err
		}
	}
}

// registry asks a registry and the container that it names.
type registry struct {
	client       *http.Client
	azure, blobs *regexp.Regexp // hosts; tests have others
}

// files are the signed addresses of the files of a version.
func (r registry) files(ctx context.Context, m Model) ([]string, error) {
	version, mint, public, err := r.addresses(m.URL)
	if err != nil {
		return nil, err
	}
	scope := projectScope
	if public {
		scope = publicScope
	}
	token, err := m.Token(ctx, scope)
	var no *RefusedError
	if errors.As(err, &no) {
		return nil, refused("signing in: %s", no.Message)
	}
	if err != nil {
		return nil, &retryError{err: fmt.Errorf("signing in: %w", err)}
	}
	blob, id, err := r.resolve(ctx, version, token)
	if err != nil {
		return nil, err
	}
	if !public {
		id = ""
	}
	signed, err := r.sign(ctx, mint, token, blob, id)
	if err != nil {
		return nil, err
	}
	return r.list(ctx, signed)
}

// addresses of a version: where it is described, and where its files are signed.
func (r registry) addresses(raw string) (version, mint *url.URL, public bool, err error) {
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "https" || u.User != nil || !r.azure.MatchString(u.Hostname()) {
		return nil, nil, false, refused("want the https address of a version at an interface of Azure's registries or projects")
	}
	version, mint = new(url.URL), new(url.URL)
	*version, *mint = *u, *u
	version.Path = strings.TrimRight(u.Path, "/")
	mint.Path = version.Path
	if public = strings.Contains(u.Path, "/datarefs/"); public {
		version.Path = strings.Replace(version.Path, "/datarefs/", "/models/", 1)
	} else {
		mint.Path += "/credentials"
	}
	return version, mint, public, nil
}

// resolve asks where the files of a version are, and for its id.
func (r registry) resolve(ctx context.Context, version *url.URL, token string) (blob, id string, err error) {
	var answer struct {
		ID         string `json:"id"`
		Properties struct {
			ModelURI string `json:"modelUri"`
		} `json:"properties"`
		Blob        reference `json:"blobReference"`
		Consumption reference `json:"blobReferenceForConsumption"`
	}
	if err := r.ask(ctx, version, token, nil, &answer); err != nil {
		return "", "", err
	}
	for _, found := range []string{answer.Properties.ModelURI, answer.Blob.URI, answer.Consumption.URI} {
		if found != "" {
			return found, answer.ID, nil
		}
	}
	return "", "", refused("%s says of no place that its files are in", shownURL(version))
}

// reference is how registries name a container.
type reference struct {
	URI        string `json:"blobUri"`
	Credential struct {
		SAS string `json:"sasUri"`
	} `json:"credential"`
}

// sign asks for an address of the container that is signed for a while.
func (r registry) sign(ctx context.Context, mint *url.URL, token, blob, id string) (*url.URL, error) {
	asked := map[string]string{"blobUri": blob}
	if id != "" {
		asked["assetId"] = id
	}
	body, err := json.Marshal(asked)
	if err != nil {
		return nil, fmt.Errorf("asking for a signature: %w", err)
	}
	var answer struct {
		Blob        reference `json:"blobReference"`
		Consumption reference `json:"blobReferenceForConsumption"`
	}
	if err := r.ask(ctx, mint, token, body, &answer); err != nil {
		return nil, err
	}
	sas := answer.Consumption.Credential.SAS
	if sas == "" {
		sas = answer.Blob.Credential.SAS
	}
	signed, err := url.Parse(sas)
	if err != nil || signed.Scheme != "https" || signed.RawQuery == "" || !r.blobs.MatchString(signed.Hostname()) {
		return nil, refused("%s signs no container of Azure's", shownURL(mint)) // the answer holds a secret
	}
	// The signature is of the container, whatever path the answer has.
	container, _, _ := strings.Cut(strings.Trim(signed.Path, "/"), "/")
	signed.Path, signed.RawPath = "/"+container, ""
	return signed, nil
}

// ask sends a request of the registry: GET, or POST with a body.
func (r registry) ask(ctx context.Context, u *url.URL, token string, body []byte, answer any) error {
	method := http.MethodGet
	if body != nil {
		method = http.MethodPost
	}
	header := http.Header{"Authorization": {"Bearer " + token}, "Content-Type": {"application/json"}}
	text, err := r.read(ctx, request{method, u, header, body})
	if err != nil {
		return err
	}
	if json.Unmarshal(text, answer) != nil {
		return refused("%s answers no JSON", shownURL(u)) // an error would repeat the answer
	}
	return nil
}

type request struct {
	method string
	url    *url.URL
	header http.Header
	body   []byte
}

func (r registry) read(ctx context.Context, q request) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	asked, err := http.NewRequestWithContext(ctx, q.method, q.url.String(), bytes.NewReader(q.body))
	if err != nil {
		return nil, refused("%s is no address", shownURL(q.url))
	}
	asked.Header = q.header
	response, err := r.client.Do(asked)
	if err != nil {
		var refusal *RefusedError
		if errors.As(err, &refusal) {
			return nil, refusal
		}
		return nil, &retryError{err: fmt.Errorf("asking %s: no answer", shownURL(q.url))} // the cause repeats the query
	}
	defer response.Body.Close()
	if response.StatusCode >= http.StatusMultipleChoices {
		return nil, asking(q.url, unwilling(response))
	}
	text, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	if len(text) > maxAnswer {
		return nil, refused("the answer of %s is longer than %d bytes", shownURL(q.url), maxAnswer)
	}
	if err != nil {
		return nil, &retryError{err: fmt.Errorf("the answer of %s was cut short", shownURL(q.url))} // the cause may repeat the query
	}
	return text, nil
}

// asking says of an answer without content who gave it, and what it means of a registry.
func asking(u *url.URL, err error) error {
	var again *retryError
	if !errors.As(err, &again) {
		return refused("asking %s: %v", shownURL(u), err)
	}
	said := fmt.Errorf("asking %s: %w", shownURL(u), again.err)
	if again.denied {
		said = fmt.Errorf("%w: it is not there, or the identity may not read it", said)
	}
	return &retryError{err: said, after: again.after, denied: again.denied}
}

// list names the files in the folder of the container that has the safetensors.
func (r registry) list(ctx context.Context, signed *url.URL) ([]string, error) {
	var names []string
	marker := ""
	for range maxPages {
		page := *signed
		page.RawQuery += "&restype=container&comp=list"
		if marker != "" {
			page.RawQuery += "&marker=" + url.QueryEscape(marker)
		}
		text, err := r.read(ctx, request{method: http.MethodGet, url: &page, header: http.Header{}})
		if err != nil {
			return nil, err
		}
		more, next, err := listed(text)
		if err != nil {
			return nil, refused("%s answers no list of files", shownURL(signed))
		}
		names = append(names, more...)
		if marker = next; marker == "" {
			return addressed(signed, names)
		}
	}
	return nil, refused("%s has too many files", shownURL(signed))
}

// listed reads a page of the list of a container.
func listed(text []byte) (names []string, next string, err error) {
	var answer struct {
		Names []string `xml:"Blobs>Blob>Name"`
		Next  string   `xml:"NextMarker"`
	}
	err = xml.Unmarshal(text, &answer)
	return answer.Names, answer.Next, err
}

// addressed are the signed addresses of the files beside the weights.
func addressed(signed *url.URL, names []string) ([]string, error) {
	for _, name := range names { // a folder of one that is absolute would have no end
		if name == "" || path.Clean("/"+name) != "/"+name || strings.ContainsAny(name, "\\\x00") {
			return nil, refused("%s has a file whose name leads elsewhere", shownURL(signed))
		}
	}
	folder, found := weightsFolder(names)
	if !found {
		return nil, refused("%s has no *%s", shownURL(signed), weightsSuffix)
	}
	var files []string
	whole := false
	for _, name := range names {
		if path.Dir(name) != folder {
			continue
		}
		whole = whole || strings.HasSuffix(name, weightsSuffix)
		file := *signed
		file.Path += "/" + name
		files = append(files, file.String())
	}
	if !whole {
		return nil, refused("%s has its *%s in several folders", shownURL(signed), weightsSuffix)
	}
	return files, nil
}

// weightsFolder is the one that has all safetensors, or the one above those that do, as
// KAITO finds it.
func weightsFolder(names []string) (folder string, found bool) {
	for _, name := range names {
		if !strings.HasSuffix(name, weightsSuffix) {
			continue
		}
		if !found {
			folder, found = path.Dir(name), true
			continue
		}
		for folder != "." && path.Dir(name) != folder && !strings.HasPrefix(name, folder+"/") {
			folder = path.Dir(folder)
		}
	}
	return folder, found
}

// shownURL is an address without what may sign it.
func shownURL(u *url.URL) string {
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}
