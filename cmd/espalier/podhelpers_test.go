// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/registry"
	batchv1 "k8s.io/api/batch/v1"
	"sigs.k8s.io/yaml"

	"github.com/espalier-dev/espalier/test/images"
)

// command runs the command line and returns its exit code and what it said.
func command(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, talk bytes.Buffer
	code = run(t.Context(), args, strings.NewReader(""), &out, &talk)
	return code, out.String(), talk.String()
}

// adapterFolder is what a trainer leaves: a configuration and one empty tensor.
func adapterFolder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	header := `{"a":{"dtype":"F16","shape":[0],"data_offsets":[0,0]}}`
	weights := append(binary.LittleEndian.AppendUint64(nil, uint64(len(header))), header...)
	for name, content := range map[string][]byte{
		"adapter_config.json": []byte(`{"peft_type":"LORA"}`), "adapter_model.safetensors": weights,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestAdapterPushByOne: of the pods that have trained together one pushes.
func TestAdapterPushByOne(t *testing.T) {
	code, stdout, stderr := command(t, "adapter", "push", "--from", "/nowhere", "--to", "127.0.0.1:1/models/phi:1", "--index", "1")
	if code != exitOK || stdout != "" || !strings.Contains(stderr, "pod 0 pushes") {
		t.Errorf("exit code %d, %q: %s", code, stdout, stderr)
	}
}

// TestMemberLost: a pod that ends for the sake of another says so by its exit
// code, which the failure policy of the Job knows.
func TestMemberLost(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // the pod is told to go while it waits for the others
	var out, talk bytes.Buffer
	code := run(ctx, []string{"member", "run", "--rank=1", "--size=2", "--peer=127.0.0.1:%d", "--listen=127.0.0.1:0", "--server=",
		"--done=" + filepath.Join(t.TempDir(), "trained"), "--", "false"}, strings.NewReader(""), &out, &talk)
	if code != exitLost {
		t.Errorf("exit code %d: %s", code, talk.String())
	}
	policy, err := os.ReadFile("../../presets/runtimes/axolotl/0.19.0/nodes/job.yaml")
	if err != nil || !strings.Contains(string(policy), "values: ["+strconv.Itoa(exitLost)+"]") {
		t.Errorf("the failure policy does not know exit code %d: %v", exitLost, err)
	}
}

// TestAdapterPush: the digest goes where a script and where the controller look.
func TestAdapterPush(t *testing.T) {
	t.Setenv("DOCKER_CONFIG", "")
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	image := strings.TrimPrefix(server.URL, "http://") + "/models/phi:1"
	message := filepath.Join(t.TempDir(), "termination-log")
	code, stdout, stderr := command(t, "adapter", "push", "--from", adapterFolder(t), "--to", image,
		"--annotation", "espalier.dev/data=https://a.example/x?y=1,2", "--termination-log", message)
	if code != exitOK {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	pushed := strings.TrimSpace(stdout)
	if !regexp.MustCompile(`^127\.0\.0\.1:\d+/models/phi@sha256:[0-9a-f]{64}$`).MatchString(pushed) {
		t.Errorf("stdout: %q, want the image by digest and nothing else", stdout)
	}
	raw, err := os.ReadFile(message)
	if err != nil {
		t.Fatal(err)
	}
	var left struct{ Adapter string }
	if err := json.Unmarshal(raw, &left); err != nil || left.Adapter != pushed {
		t.Errorf("termination message: %s, want the adapter %s", raw, pushed)
	}
}

// TestAdapterPushLineage: the image says which data and which commit it is of; data that
// cannot be read keeps no adapter from being published that was paid for.
func TestAdapterPushLineage(t *testing.T) {
	t.Setenv("DOCKER_CONFIG", "")
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	data := t.TempDir()
	if err := os.WriteFile(filepath.Join(data, "a.jsonl"), []byte("a"), 0o600); err != nil {
		t.Fatal(err)
	}
	const sum = "sha256:ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"
	for name, c := range map[string]struct {
		reason         string
		data, revision string
		want           map[string]string
	}{
		"Told":     {"Where both are known.", data, "main@sha1:0123abcd", map[string]string{"espalier.dev/data-files": `{"a.jsonl":"` + sum + `"}`, "org.opencontainers.image.revision": "0123abcd"}},
		"NoCommit": {"Flux applied the Workspace, and the controller knows of no commit.", data, "", map[string]string{"espalier.dev/data-files": `{"a.jsonl":"` + sum + `"}`}},
		"NoData":   {"Unreadable data is said in the log.", filepath.Join(data, "gone"), "main@sha1:0123abcd", map[string]string{"org.opencontainers.image.revision": "0123abcd"}},
	} {
		t.Run(name, func(t *testing.T) {
			image := strings.TrimPrefix(server.URL, "http://") + "/models/" + strings.ToLower(name) + ":1"
			if code, _, stderr := command(t, "adapter", "push", "--from", adapterFolder(t), "--to", image, "--data", c.data, "--revision", c.revision); code != exitOK {
				t.Fatalf("exit code %d: %s", code, stderr)
			}
			got := images.Annotations(t, image)
			delete(got, "espalier.dev/data-digest")
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("%s\n%s", c.reason, diff)
			}
		})
	}
}

func TestHelpersRefuse(t *testing.T) {
	cases := map[string]struct {
		reason string
		args   []string
		code   int
		want   string
	}{
		"Metadata":      {"A refusal is no failure: trying again does not help, and the Job is told so.", []string{"data", "fetch", "--to", t.TempDir(), "http://169.254.169.254/latest/x"}, exitFinal, "a link-local address"},
		"NoReference":   {"So it is with a name that is none.", []string{"data", "pull", "--to", t.TempDir(), "Not an image"}, exitFinal, "is no reference of an image"},
		"NoAdapter":     {"What the trainer did not write, its next try may.", []string{"adapter", "push", "--from", t.TempDir(), "--to", "registry.example.com/phi:1"}, exitRefused, "holds no adapter"},
		"NoURL":         {"Misuse.", []string{"data", "fetch", "--to", t.TempDir()}, exitFailed, "requires at least 1 arg"},
		"NoFolder":      {"Misuse.", []string{"data", "fetch", "https://a.example/x"}, exitFailed, `required flag(s) "to" not set`},
		"BadAnnotation": {"Misuse.", []string{"adapter", "push", "--from", t.TempDir(), "--to", "registry.example.com/phi:1", "--annotation", "x"}, exitFailed, "want KEY=VALUE"},
		"BadSize":       {"Misuse.", []string{"data", "fetch", "--to", t.TempDir(), "--max-size", "much", "https://a.example/x"}, exitFailed, "--max-size"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			code, stdout, stderr := command(t, tc.args...)
			if code != tc.code || !strings.Contains(stderr, tc.want) || stdout != "" {
				t.Errorf("%s\nexit code %d, stdout %q, stderr %q; want %d and %q on stderr", tc.reason, code, stdout, stderr, tc.code, tc.want)
			}
		})
	}
}

// TestHopelessEndsTheJob: whichever container of a run says that no try can get further,
// its Job tries no more, and the paid GPU is given back.
func TestHopelessEndsTheJob(t *testing.T) {
	for _, file := range []string{"axolotl/0.19.0/job.yaml", "axolotl/0.19.0/nodes/job.yaml", "kaito/0.5.0/tuning/job.yaml"} {
		text, err := os.ReadFile("../../presets/runtimes/" + file)
		if err != nil {
			t.Fatal(err)
		}
		var job batchv1.Job
		if err := yaml.Unmarshal(text, &job); err != nil {
			t.Fatal(err)
		}
		ends := slices.ContainsFunc(job.Spec.PodFailurePolicy.Rules, func(r batchv1.PodFailurePolicyRule) bool {
			c := r.OnExitCodes
			return r.Action == batchv1.PodFailurePolicyActionFailJob && c != nil && c.ContainerName == nil && slices.Equal(c.Values, []int32{exitFinal})
		})
		if !ends {
			t.Errorf("%s: exit code %d of any container does not fail the Job", file, exitFinal)
		}
	}
	for _, component := range []string{"axolotl/0.19.0/claim", "axolotl/0.19.0/judge", "axolotl/0.19.0/tasks", "kaito/0.5.0/tuning/claim"} { // a list there would take the place of the one in the base
		files, err := filepath.Glob("../../presets/runtimes/" + component + "/*.yaml")
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %v", component, err)
		}
		for _, file := range files {
			if text, err := os.ReadFile(file); err != nil || strings.Contains(string(text), "podFailurePolicy") {
				t.Errorf("%s has a failure policy of its own (%v)", file, err)
			}
		}
	}
}

// TestHelpersLeaveWhy: the controller reads why a helper failed where Kubernetes
// keeps the last words of a container.
func TestHelpersLeaveWhy(t *testing.T) {
	for name, tc := range map[string]struct {
		reason string
		args   []string
		code   int
		want   string
	}{
		"Data":    {"A download that is refused.", []string{"data", "fetch", "--to", t.TempDir(), "http://169.254.169.254/latest/x"}, exitFinal, "a link-local address"},
		"Image":   {"Data that no image is named for.", []string{"data", "pull", "--to", t.TempDir(), "Not an image"}, exitFinal, "is no reference of an image"},
		"Adapter": {"An adapter that is none.", []string{"adapter", "push", "--from", t.TempDir(), "--to", "registry.example.com/phi:1"}, exitRefused, "holds no adapter"},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "termination-log")
			if err := os.WriteFile(file, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			if code, _, _ := command(t, append(tc.args, "--termination-log", file)...); code != tc.code {
				t.Fatalf("%s exit code %d", tc.reason, code)
			}
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var left struct{ Why string }
			if err := json.Unmarshal(raw, &left); err != nil || !strings.Contains(left.Why, tc.want) {
				t.Errorf("%s left %s, want why, with %q", tc.reason, raw, tc.want)
			}
		})
	}
}
