// SPDX-License-Identifier: Apache-2.0

package adapter

import (
	"archive/tar"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

const configJSON = `{"peft_type":"LORA","base_model_name_or_path":"microsoft/Phi-3-mini-128k-instruct","revision":"a90b62ae09941edff87a90ced39ba5807e6b2ade","r":8}`

// safetensors is a whole file with one tensor of n bytes.
func safetensors(n int) []byte {
	out := safetensorsOf(fmt.Sprintf(`{"__metadata__":{"format":"pt"},"a.lora_A.weight":{"dtype":"U8","shape":[%d],"data_offsets":[0,%d]}}`, n, n))
	for i := range n {
		out = append(out, byte(i*7))
	}
	return out
}

// safetensorsOf is a header and no data.
func safetensorsOf(header string) []byte {
	return append(binary.LittleEndian.AppendUint64(nil, uint64(len(header))), header...)
}

// trained is the output folder of a trainer, with more in it than an adapter.
func trained(t *testing.T, files map[string][]byte) string {
	t.Helper()
	dir := t.TempDir()
	all := map[string][]byte{
		configFile: []byte(configJSON), weightsFile: safetensors(100_000),
		"README.md": []byte("a card"), "checkpoint-10/optimizer.pt": []byte("much"),
	}
	for name, content := range files {
		all[name] = content
	}
	for name, content := range all {
		if content == nil {
			continue
		}
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// serve starts an in-memory registry behind wrap and returns its host.
func serve(t *testing.T, wrap func(http.Handler) http.Handler) string {
	t.Helper()
	handler := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	if wrap != nil {
		handler = wrap(handler)
	}
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

func options(dir, host string) Options {
	return Options{From: dir, To: host + "/models/phi-3-dolly:0.0.1", Tries: Tries{Backoff: time.Millisecond},
		Annotations: map[string]string{"espalier.dev/workspace": "ml/phi-3"}}
}

func TestPush(t *testing.T) {
	host := serve(t, nil)
	pushed, err := Push(t.Context(), options(trained(t, nil), host))
	if err != nil {
		t.Fatal(err)
	}
	byDigest, err := name.NewDigest(pushed)
	if err != nil {
		t.Fatalf("%q: %v", pushed, err)
	}
	tag, err := name.NewTag(host + "/models/phi-3-dolly:0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	index, err := remote.Index(tag)
	if err != nil {
		t.Fatal(err)
	}
	if digest, err := index.Digest(); err != nil || digest.String() != byDigest.DigestStr() {
		t.Errorf("the tag points to %s (%v), the push reported %s", digest, err, byDigest.DigestStr())
	}
	wantWhole(t, byDigest)
	want := map[string]string{
		"espalier.dev/base-model":    "microsoft/Phi-3-mini-128k-instruct",
		"espalier.dev/base-revision": "a90b62ae09941edff87a90ced39ba5807e6b2ade",
		"espalier.dev/workspace":     "ml/phi-3",
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, manifest.Annotations); diff != "" {
		t.Errorf("annotations of the index:\n%s", diff)
	}
	for _, arch := range []string{"amd64", "arm64"} {
		t.Run(arch, func(t *testing.T) { wantImage(t, tag, arch, want) })
	}
}

// wantWhole reads every byte that was published; the client compares digests.
func wantWhole(t *testing.T, ref name.Reference) {
	t.Helper()
	for _, arch := range []string{"amd64", "arm64"} {
		image, err := remote.Image(ref, remote.WithPlatform(v1.Platform{OS: "linux", Architecture: arch}))
		if err != nil {
			t.Fatal(err)
		}
		layers, err := image.Layers()
		if err != nil || len(layers) != 1 {
			t.Fatalf("%d layers (%v), want 1", len(layers), err)
		}
		content, err := layers[0].Compressed()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, content); err != nil {
			t.Errorf("the layer for %s does not add up: %v", arch, err)
		}
		content.Close()
	}
}

// wantImage pulls as a node of that architecture does.
func wantImage(t *testing.T, ref name.Reference, arch string, annotations map[string]string) {
	image, err := remote.Image(ref, remote.WithPlatform(v1.Platform{OS: "linux", Architecture: arch}))
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := image.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(annotations, manifest.Annotations); diff != "" {
		t.Errorf("annotations of the manifest:\n%s", diff)
	}
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if config.Architecture != arch || config.OS != "linux" || !config.Created.Equal(time.Unix(0, 0)) {
		t.Errorf("the image is of %s/%s and %s, want linux/%s and 1970", config.OS, config.Architecture, config.Created, arch)
	}
	layers, err := image.Layers()
	if err != nil || len(layers) != 1 {
		t.Fatalf("%d layers (%v), want 1", len(layers), err)
	}
	content, err := layers[0].Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	defer content.Close()
	type entry struct {
		Name     string
		Mode     int64
		UID, GID int
		Bytes    int
	}
	var got []entry
	for archive := tar.NewReader(content); ; {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		raw, err := io.ReadAll(archive)
		if err != nil {
			t.Fatal(err)
		}
		if !h.ModTime.Equal(time.Unix(0, 0)) {
			t.Errorf("%s is of %s, want 1970", h.Name, h.ModTime)
		}
		got = append(got, entry{h.Name, h.Mode, h.Uid, h.Gid, len(raw)})
	}
	want := []entry{{configFile, 0o644, 0, 0, len(configJSON)}, {weightsFile, 0o644, 0, 0, len(safetensors(100_000))}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the layer holds:\n%s", diff)
	}
}

func TestSameBytesSameDigest(t *testing.T) {
	first, err := Push(t.Context(), options(trained(t, nil), serve(t, nil)))
	if err != nil {
		t.Fatal(err)
	}
	// Another folder, other times, another trainer's leavings, another registry.
	dir := trained(t, map[string][]byte{"README.md": []byte("another card"), "training_args.bin": []byte("x")})
	if err := os.Chtimes(filepath.Join(dir, weightsFile), time.Unix(1, 0), time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	second, err := Push(t.Context(), options(dir, serve(t, nil)))
	if err != nil {
		t.Fatal(err)
	}
	digest := func(ref string) string { return ref[strings.Index(ref, "@"):] }
	if digest(first) != digest(second) {
		t.Errorf("the same adapter has two digests: %s and %s", first, second)
	}
	// The digest of the first release: a change of it would publish every adapter anew.
	const want = "@sha256:2e4cd26bb42c1f684920e52d5459bffd105399171d2e1d3ac3445c5515dee910"
	if digest(first) != want {
		t.Errorf("the digest is %s, want %s", digest(first), want)
	}
}

func TestRefused(t *testing.T) {
	whole := safetensors(1000)
	longer := append(append([]byte{}, whole...), 0)
	cases := map[string]struct {
		reason string
		files  map[string][]byte
		want   string
	}{
		"NothingThere":   {"The trainer ended before it saved.", map[string][]byte{configFile: nil, weightsFile: nil}, "adapter_config.json and adapter_model.safetensors missing"},
		"NoWeights":      {"Half of an adapter is none.", map[string][]byte{weightsFile: nil}, "holds no adapter: adapter_model.safetensors missing"},
		"NoConfig":       {"Half of an adapter is none.", map[string][]byte{configFile: nil}, "holds no adapter: adapter_config.json missing"},
		"Truncated":      {"A trainer killed while saving leaves a short file.", map[string][]byte{weightsFile: whole[:len(whole)-1]}, "its header says 1"},
		"Longer":         {"Bytes that no tensor owns are not weights.", map[string][]byte{weightsFile: longer}, "is damaged: it has"},
		"EmptyWeights":   {"A full disk leaves an empty file.", map[string][]byte{weightsFile: {}}, "it ends before its header"},
		"HalfHeader":     {"Cut within the header.", map[string][]byte{weightsFile: whole[:40]}, "it ends within its header"},
		"NoSafetensors":  {"A pickle under the name of safetensors.", map[string][]byte{weightsFile: []byte("\x80\x02}q\x00X\x04\x00\x00\x00aaaa")}, "its header is not one of safetensors"},
		"NoTensor":       {"An adapter without tensors changes nothing.", map[string][]byte{weightsFile: safetensorsOf(`{}`)}, "holds no tensor"},
		"BrokenOffsets":  {"Offsets that run backwards.", map[string][]byte{weightsFile: safetensorsOf(`{"a":{"data_offsets":[9,3]}}`)}, `no valid offsets for tensor "a"`},
		"ConfigNotJSON":  {"Cut within the configuration.", map[string][]byte{configFile: []byte(configJSON[:30])}, "is not a JSON object"},
		"NotLoRA":        {"vLLM serves LoRA only.", map[string][]byte{configFile: []byte(`{"peft_type":"IA3"}`)}, `peft_type "IA3"`},
		"ConfigTooLarge": {"It would be read into memory.", map[string][]byte{configFile: []byte(`{"peft_type":"LORA","x":"` + strings.Repeat("x", maxConfigBytes) + `"}`)}, "is not a JSON object"},
	}
	for title, tc := range cases {
		t.Run(title, func(t *testing.T) {
			host := serve(t, func(http.Handler) http.Handler {
				return http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
					t.Errorf("the registry was asked for %s %s", r.Method, r.URL)
				})
			})
			_, err := Push(t.Context(), options(trained(t, tc.files), host))
			var no *RefusedError
			if !errors.As(err, &no) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s\nerror: %v, want a refusal with %q", tc.reason, err, tc.want)
			}
		})
	}
}

func TestReferences(t *testing.T) {
	for _, to := range []string{"", "registry.example.com/a@sha256:" + strings.Repeat("0", 64), "UPPER/case:1", "registry.example.com/a:b:c"} {
		_, err := Push(t.Context(), Options{From: t.TempDir(), To: to})
		var no *RefusedError
		if !errors.As(err, &no) || !strings.Contains(err.Error(), "is not a reference with a tag") {
			t.Errorf("%q: %v", to, err)
		}
	}
}

// faults answers the first requests of a kind badly.
type faults struct {
	mu     sync.Mutex
	left   int
	method string
	answer func(http.ResponseWriter)
	next   http.Handler
}

func (f *faults) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	bad := f.left > 0 && r.Method == f.method
	if bad {
		f.left--
	}
	f.mu.Unlock()
	if bad {
		f.answer(w)
		return
	}
	f.next.ServeHTTP(w, r)
}

func TestFlakyRegistry(t *testing.T) {
	drop := func(http.ResponseWriter) { panic(http.ErrAbortHandler) }
	code := func(n int) func(http.ResponseWriter) { return func(w http.ResponseWriter) { w.WriteHeader(n) } }
	cases := map[string]struct {
		reason string
		faults *faults
		want   string // part of the error, "" when the push succeeds
	}{
		"DropsUpload":   {"A connection dropped in the middle of the layer is begun anew.", &faults{left: 2, method: http.MethodPatch, answer: drop}, ""},
		"BusyUpload":    {"503 passes.", &faults{left: 2, method: http.MethodPatch, answer: code(503)}, ""},
		"BusyManifest":  {"So it does for the manifests, when the layer is there.", &faults{left: 2, method: http.MethodPut, answer: code(503)}, ""},
		"Throttled":     {"429 passes.", &faults{left: 2, method: http.MethodPost, answer: code(429)}, ""},
		"AlwaysDown":    {"It is given up in the end.", &faults{left: 1000, method: http.MethodPost, answer: code(503)}, "giving up after 8 attempts"},
		"JustAllowed":   {"A right that was given a moment ago is not known everywhere yet.", &faults{left: 2, method: http.MethodPost, answer: code(403)}, ""},
		"Forbidden":     {"A credential without the right gains nothing by more waiting.", &faults{left: 3, method: http.MethodPost, answer: code(403)}, "refuses the credential (403)"},
		"NotAllowed405": {"Neither does a registry that is read-only.", &faults{left: 1, method: http.MethodPost, answer: code(405)}, "405"},
	}
	for title, tc := range cases {
		t.Run(title, func(t *testing.T) {
			host := serve(t, func(next http.Handler) http.Handler { tc.faults.next = next; return tc.faults })
			pushed, err := Push(t.Context(), options(trained(t, nil), host))
			if tc.want != "" {
				if err == nil || !strings.Contains(err.Error(), tc.want) {
					t.Errorf("%s\nerror: %v, want %q", tc.reason, err, tc.want)
				}
				return
			}
			if err != nil {
				t.Fatalf("%s\n%v", tc.reason, err)
			}
			ref, err := name.NewDigest(pushed)
			if err != nil {
				t.Fatal(err)
			}
			wantWhole(t, ref)
		})
	}
}

// basic demands a user and password.
func basic(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "robot" || password != "hunter2" {
			w.Header().Set("WWW-Authenticate", `Basic realm="registry"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func TestCredentials(t *testing.T) {
	const auth = `{"auth":"cm9ib3Q6aHVudGVyMg=="}` // robot:hunter2
	cases := map[string]struct{ reason, file, content, want string }{
		"Docker":     {"As docker login writes it.", "config.json", `{"auths":{"HOST":` + auth + `}}`, ""},
		"Kubernetes": {"As a mounted Secret names it.", ".dockerconfigjson", `{"auths":{"HOST":{"username":"robot","password":"hunter2"}}}`, ""},
		"Repository": {"A credential of one repository.", "config.json", `{"auths":{"HOST/models/phi-3-dolly":` + auth + `}}`, ""},
		"Wrong":      {"The registry's answer is said, the password is not.", "config.json", `{"auths":{"HOST":{"username":"robot","password":"hunter3"}}}`, "refuses the credential (401)"},
		"OtherHost":  {"No credential for this registry is no credential.", "config.json", `{"auths":{"registry.example.com":` + auth + `}}`, "refuses the credential (401)"},
		"NoFile":     {"An empty mount is said as such.", "other", ``, "neither config.json nor .dockerconfigjson"},
		"NotJSON":    {"The parser's words may repeat the file.", "config.json", `{"auths":{"HOST":"hunter3"`, "is not a Docker configuration"},
	}
	for title, tc := range cases {
		t.Run(title, func(t *testing.T) {
			host := serve(t, basic)
			dir := t.TempDir()
			content := strings.ReplaceAll(tc.content, "HOST", host)
			if err := os.WriteFile(filepath.Join(dir, tc.file), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			keychain, err := DockerConfig(dir)
			if err == nil {
				o := options(trained(t, nil), host)
				o.Keychain = keychain
				_, err = Push(t.Context(), o)
			}
			if (tc.want == "") != (err == nil) || (err != nil && !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("%s\nerror: %v, want %q", tc.reason, err, tc.want)
			}
			if err != nil && strings.Contains(err.Error(), "hunter") {
				t.Errorf("the error says the password: %v", err)
			}
		})
	}
	t.Run("None", func(t *testing.T) {
		_, err := Push(t.Context(), options(trained(t, nil), serve(t, basic)))
		if err == nil || !strings.Contains(err.Error(), "the push Secret needs the right to push there, or what it holds has expired") {
			t.Errorf("error: %v", err)
		}
	})
	t.Run("Environment", func(t *testing.T) {
		t.Setenv("DOCKER_CONFIG", t.TempDir())
		if _, err := DockerConfig(""); err == nil || !strings.Contains(err.Error(), "neither config.json nor .dockerconfigjson") {
			t.Errorf("error: %v, want the folder of DOCKER_CONFIG to be looked at", err)
		}
	})
	t.Run("Default", func(t *testing.T) {
		t.Setenv("DOCKER_CONFIG", "")
		if keychain, err := DockerConfig(""); err != nil || keychain != authn.DefaultKeychain {
			t.Errorf("got %v, %v; want Docker's own default", keychain, err)
		}
	})
}

// FuzzSafetensors: a hostile file is read within bounds and without panic.
func FuzzSafetensors(f *testing.F) {
	f.Add(safetensors(10))
	f.Add(safetensorsOf(`{"a":{"data_offsets":[0,9223372036854775807]}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		h, err := readHeader(bytes.NewReader(raw))
		if err == nil && h.size() < 8 {
			t.Errorf("size %d", h.size())
		}
		if err == nil && h.size() == int64(len(raw)) {
			_ = learnt(bytes.NewReader(raw), h)
		}
	})
}
