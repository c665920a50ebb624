// SPDX-License-Identifier: Apache-2.0

package data

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/espalier-dev/espalier/render/check"
)

func TestNames(t *testing.T) {
	cases := map[string]struct {
		reason string
		urls   []string
		want   []string
	}{
		"QueryIsNoName": {
			reason: "The Workspace of the example has this URL.",
			urls:   []string{"https://huggingface.co/datasets/philschmid/dolly-15k-oai-style/resolve/main/data/train-00000-of-00001-54e3756291ca09c6.parquet?download=true"},
			want:   []string{"train-00000-of-00001-54e3756291ca09c6.parquet"},
		},
		"SameNames": {
			reason: "Two files of one name stay two files, by the order of the URLs.",
			urls:   []string{"https://a.example/train.jsonl", "https://b.example/train.jsonl", "https://a.example/train.jsonl", "https://a.example/train-2.jsonl"},
			want:   []string{"train.jsonl", "train-2.jsonl", "train-3.jsonl", "train-2-2.jsonl"},
		},
		"Hostile": {
			reason: "A name never leaves the folder, or hides.",
			urls:   []string{"https://a.example/..%2f..%2fetc%2fpasswd", "https://a.example/..", "https://a.example/", "https://a.example/-rf", "https://a.example/.bashrc", "https://a.example/a%00b%0a.txt"},
			want:   []string{"passwd", "data", "-", "-rf", "bashrc", "a-b-.txt"},
		},
		"Long": {
			reason: "File names have 255 bytes; the ending stays, since loaders read it.",
			urls:   []string{"https://a.example/" + strings.Repeat("x", 400) + ".parquet"},
			want:   []string{strings.Repeat("x", 232) + ".parquet"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			targets, err := parseTargets(tc.urls)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, x := range targets {
				got = append(got, x.name)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s\n%s", tc.reason, diff)
			}
		})
	}
}

func TestRefusedURLs(t *testing.T) {
	cases := map[string]struct{ url, want string }{
		"Scheme":        {"ftp://a.example/x", "only http:// and https://"},
		"NoHost":        {"https:///x", "with a host"},
		"NotAURL":       {"http://a b/\x7f?sig=hunter2", "it is not a URL"},
		"OtherFragment": {"https://a.example/x#page=2", "must be sha256="},
		"ShortSum":      {"https://a.example/x#sha256=abcd", "must be sha256="},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := parseTargets([]string{"https://a.example/good", tc.url})
			if err == nil || !strings.Contains(err.Error(), "reading URL 2 of 2: ") || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error: %v, want the number and %q", err, tc.want)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error says a token: %v", err)
			}
		})
	}
}

// FuzzParseTarget: whatever a repository holds, the file stays in its folder.
func FuzzParseTarget(f *testing.F) {
	for _, seed := range []string{"https://a.example/x?y#sha256=00", "http://[::1]/..", "https://a/%2e%2e%2f"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		got, err := parseTarget(raw)
		if err != nil {
			return
		}
		if got.name == "" || strings.ContainsAny(got.name, "/\\\x00\n") || strings.HasPrefix(got.name, ".") || len(got.name) > maxNameBytes {
			t.Errorf("%q gives the file name %q", raw, got.name)
		}
		if named := check.FileName(raw); named != "" && len(named) <= maxNameBytes && got.name != named && named != "/" {
			t.Errorf("%q is downloaded as %q, the trainer is told %q", raw, got.name, named)
		}
	})
}

func FuzzContentRange(f *testing.F) {
	for _, seed := range []string{"bytes 0-1/2", "bytes 5-9/*", "bytes */7", "x"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if start, total, ok := contentRange(s); ok && (start < 0 || total < -1 || (total >= 0 && start >= total)) {
			t.Errorf("%q is read as start %d of %d", s, start, total)
		}
	})
}
