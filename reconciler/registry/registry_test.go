// SPDX-License-Identifier: Apache-2.0

package registry_test

import (
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	server "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/espalier-dev/espalier/reconciler/registry"
)

// serve starts a registry in memory behind wrap and returns its host.
func serve(t *testing.T, wrap func(http.Handler) http.Handler) string {
	t.Helper()
	handler := server.New(server.Logger(log.New(io.Discard, "", 0)))
	if wrap != nil {
		handler = wrap(handler)
	}
	s := httptest.NewServer(handler)
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

// pushed puts an index with annotations under a tag.
func pushed(t *testing.T, image string, annotations map[string]string) string {
	t.Helper()
	ref, err := name.NewTag(image)
	if err != nil {
		t.Fatal(err)
	}
	index := mutate.Annotations(empty.Index, annotations).(v1.ImageIndex)
	if err := remote.WriteIndex(ref, index); err != nil {
		t.Fatal(err)
	}
	digest, err := index.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return ref.Context().Digest(digest.String()).String()
}

func TestLook(t *testing.T) {
	image := serve(t, nil) + "/models/tone:1"
	client, anyone := registry.Client{}, authn.NewMultiKeychain()
	if tag, err := client.Look(t.Context(), image, anyone); tag != nil || err != nil {
		t.Errorf("a repository that is not there: got %v, %v", tag, err)
	}
	want := pushed(t, image, map[string]string{"espalier.dev/input-digest": "sha256:a"})
	tag, err := client.Look(t.Context(), image, anyone)
	if err != nil || tag == nil {
		t.Fatal(tag, err)
	}
	if tag.Reference != want || tag.Annotations["espalier.dev/input-digest"] != "sha256:a" {
		t.Errorf("got %+v, want %s", tag, want)
	}
	if tag, err := client.Look(t.Context(), strings.Replace(image, ":1", ":2", 1), anyone); tag != nil || err != nil {
		t.Errorf("another tag: got %v, %v", tag, err)
	}
}

func TestLookTrouble(t *testing.T) {
	answer := func(code int) func(http.Handler) http.Handler {
		return func(http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				http.Error(w, "token=hidden", code)
			})
		}
	}
	hang := func(http.Handler) http.Handler {
		return http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	}
	for name, tc := range map[string]struct {
		reason string
		wrap   func(http.Handler) http.Handler
		denied bool
		says   string
	}{
		"Unauthorized": {"A credential that may only push.", answer(401), true, ""},
		"Forbidden":    {"Some registries answer so about what is not there.", answer(403), true, ""},
		"Down":         {"It may answer another time.", answer(503), false, "answers 503"},
		"Hangs":        {"A look is bounded.", hang, false, "does not answer in time"},
		"NoManifest":   {"An answer that is no manifest.", answer(200), false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			client := registry.Client{Timeout: 200 * time.Millisecond}
			tag, err := client.Look(t.Context(), serve(t, tc.wrap)+"/models/tone:1", authn.NewMultiKeychain())
			if err == nil || tag != nil {
				t.Fatalf("%s: got %v without an error", tc.reason, tag)
			}
			if errors.Is(err, registry.ErrDenied) != tc.denied || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("%s: got %v", tc.reason, err)
			}
			if strings.Contains(err.Error(), "hidden") {
				t.Errorf("what the registry answers is in the error: %v", err)
			}
		})
	}
}

// TestCredentialHelpers: a configuration that names a program to ask starts none.
func TestCredentialHelpers(t *testing.T) {
	path, told := t.TempDir(), filepath.Join(t.TempDir(), "asked")
	script := "#!/bin/sh\ntouch " + told + "\necho '{\"Username\":\"a\",\"Secret\":\"b\"}'\n"
	if err := os.WriteFile(filepath.Join(path, "docker-credential-theirs"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", path+string(os.PathListSeparator)+os.Getenv("PATH"))
	target, err := name.NewRepository("registry.example.com/models")
	if err != nil {
		t.Fatal(err)
	}
	for _, config := range []string{`{"credsStore": "theirs"}`, `{"credHelpers": {"registry.example.com": "theirs"}}`} {
		keys, err := registry.Credentials(strings.NewReader(config))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := keys.Resolve(target); err != nil || got != authn.Anonymous {
			t.Errorf("%s: %v, %v, want nobody", config, got, err)
		}
		if _, err := os.Stat(told); err == nil {
			t.Errorf("%s starts a program", config)
		}
	}
}

func TestCredentials(t *testing.T) {
	locked := func(under http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if user, password, _ := r.BasicAuth(); user != "robot" || password != "hunter2" {
				w.Header().Set("WWW-Authenticate", `Basic realm="registry"`)
				http.Error(w, "no", http.StatusUnauthorized)
				return
			}
			under.ServeHTTP(w, r)
		})
	}
	host := serve(t, locked)
	for name, tc := range map[string]struct {
		reason, config string
		denied         bool
	}{
		"Right": {"The Secret that pushes also reads.", `{"auths":{"` + host + `":{"username":"robot","password":"hunter2"}}}`, false},
		"Other": {"A credential of another registry is none.", `{"auths":{"registry.example.com":{"username":"robot","password":"hunter2"}}}`, true},
	} {
		t.Run(name, func(t *testing.T) {
			keys, err := registry.Credentials(strings.NewReader(tc.config))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := (registry.Client{}).Look(t.Context(), host+"/a/b:1", keys); errors.Is(err, registry.ErrDenied) != tc.denied {
				t.Errorf("%s: got %v", tc.reason, err)
			}
		})
	}
	if _, err := registry.Credentials(strings.NewReader(`{"auths": "hunter2`)); !errors.Is(err, registry.ErrNoConfig) || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("a broken file: got %v", err)
	}
}
