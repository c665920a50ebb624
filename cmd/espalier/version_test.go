// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"runtime"
	"strings"
	"testing"
)

func TestVersion(t *testing.T) {
	for name, c := range map[string]struct {
		reason   string
		args     []string
		code     int
		out, err string
	}{
		"Command": {"Who reports a problem is asked for it.", []string{"version"}, exitOK, "espalier version devel", ""},
		"Flag":    {"As other programs have it.", []string{"--version"}, exitOK, "espalier version devel", ""},
		"JSON":    {"For scripts.", []string{"version", "-o", "json"}, exitOK, `"version": "devel"`, ""},
		"Other":   {"No other form.", []string{"version", "-o", "yaml"}, exitFailed, "", `--output "yaml": text or json`},
	} {
		t.Run(name, func(t *testing.T) {
			var out, talk bytes.Buffer
			if code := run(t.Context(), c.args, nil, &out, &talk); code != c.code {
				t.Fatalf("%s\nexit code %d: %s", c.reason, code, talk.String())
			}
			if !strings.Contains(out.String(), c.out) || !strings.Contains(talk.String(), c.err) {
				t.Errorf("%s\ngot %s and %s", c.reason, out.String(), talk.String())
			}
			if c.code == exitOK && !strings.Contains(out.String(), runtime.Version()) {
				t.Errorf("%s\nno version of Go in %s", c.reason, out.String())
			}
		})
	}
}
