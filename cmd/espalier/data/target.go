// SPDX-License-Identifier: Apache-2.0

package data

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/url"
	"path"
	"strings"
)

// maxNameBytes leaves room below the 255 bytes of a file name for the number
// that a second file of the same name gets and for the ending of its record.
const maxNameBytes = 240

// target is one URL and the file it goes to.
type target struct {
	url   string // without the fragment, as it is requested
	shown string // scheme, host and path: what may be said of it
	name  string // of the file
	sum   string // demanded SHA-256 in hex, "" when none is
	known string // what records know it by, "" for url
}

// key identifies the target in records without keeping a token of its query.
func (t target) key() string {
	sum := sha256.Sum256([]byte(cmp.Or(t.known, t.url)))
	return hex.EncodeToString(sum[:])
}

func parseTargets(urls []string) ([]target, error) {
	targets := make([]target, 0, len(urls))
	for i, raw := range urls {
		t, err := parseTarget(raw)
		if err != nil {
			return nil, fmt.Errorf("reading URL %d of %d: %w", i+1, len(urls), err)
		}
		targets = append(targets, t)
	}
	distinct(targets)
	return targets, nil
}

func parseTarget(raw string) (target, error) {
	// The error of url.Parse repeats its input, which may hold a token.
	u, err := url.Parse(raw)
	if err != nil {
		return target{}, refused("it is not a URL")
	}
	if (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" {
		return target{}, refused("only http:// and https:// URLs with a host can be downloaded")
	}
	sum, err := demandedSum(u.Fragment)
	if err != nil {
		return target{}, err
	}
	u.Fragment, u.RawFragment = "", ""
	shown := url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}
	return target{url: u.String(), shown: shown.String(), name: baseName(u.Path), sum: sum}, nil
}

// demandedSum reads the fragment sha256=<64 hex digits>.
func demandedSum(fragment string) (string, error) {
	if fragment == "" {
		return "", nil
	}
	sum, ok := strings.CutPrefix(strings.ToLower(fragment), "sha256=")
	if raw, err := hex.DecodeString(sum); !ok || err != nil || len(raw) != sha256.Size {
		return "", refused("the part after # must be sha256= and 64 hexadecimal digits")
	}
	return sum, nil
}

// baseName is the last element of a URL's path as a plain file name: no
// separator, no leading dot, no character that a shell or a glob reads. A name
// that is plain stays as it is: the trainer's configuration names it so.
func baseName(urlPath string) string {
	name := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', strings.ContainsRune("._-", r):
			return r
		}
		return '-'
	}, path.Base(urlPath))
	name = strings.TrimLeft(name, ".")
	if name == "" {
		return "data"
	}
	if len(name) > maxNameBytes {
		ext := path.Ext(name)
		if len(ext) > 16 {
			ext = ""
		}
		name = name[:maxNameBytes-len(ext)] + ext
	}
	return name
}

// distinct gives the second and later of equal names an ending before the
// extension, in the order of the URLs: train.parquet, train-2.parquet, ….
func distinct(targets []target) {
	taken := map[string]bool{}
	for i := range targets {
		name := targets[i].name
		ext := path.Ext(name)
		for n := 2; taken[name]; n++ {
			name = fmt.Sprintf("%s-%d%s", strings.TrimSuffix(targets[i].name, ext), n, ext)
		}
		taken[name] = true
		targets[i].name = name
	}
}
