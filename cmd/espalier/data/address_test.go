// SPDX-License-Identifier: Apache-2.0

package data

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
)

func TestPermitted(t *testing.T) {
	cases := map[string]struct {
		reason    string
		addresses []string
		permitted bool
	}{
		"Public":      {"That is where data is.", []string{"140.82.121.4", "2606:4700::1111"}, true},
		"Private":     {"A data server within the cluster is common.", []string{"10.0.0.7", "192.168.1.1", "172.16.3.4", "fd12::1"}, true},
		"LinkLocal":   {"Metadata services answer there.", []string{"169.254.169.254", "169.254.170.2", "fe80::1", "fe80::1%eth0"}, false},
		"Metadata":    {"Metadata services outside of link-local.", []string{"168.63.129.16", "100.100.100.200", "192.0.0.192", "fd00:ec2::254"}, false},
		"Loopback":    {"That is the pod itself.", []string{"127.0.0.1", "127.9.9.9", "::1"}, false},
		"Unspecified": {"Linux connects to itself.", []string{"0.0.0.0", "0.0.0.7", "::"}, false},
		"Mapped":      {"The same addresses in the clothes of IPv6.", []string{"::ffff:169.254.169.254", "::ffff:127.0.0.1", "64:ff9b::a9fe:a9fe"}, false},
		"Multicast":   {"No server is there.", []string{"224.0.0.1", "ff02::1"}, false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			for _, a := range tc.addresses {
				if err := Permitted(netip.MustParseAddr(a)); (err == nil) != tc.permitted {
					t.Errorf("%s: %v; %s", a, err, tc.reason)
				}
			}
		})
	}
}

func TestRefusedAddresses(t *testing.T) {
	server := httptest.NewServer(unreached(t))
	defer server.Close()
	port := server.URL[strings.LastIndex(server.URL, ":"):]
	cases := map[string]struct{ reason, url, want string }{
		"Loopback":     {"The default refuses this very server.", server.URL + "/a", "a loopback address"},
		"LoopbackName": {"A name is judged by what it resolves to.", "http://localhost" + port + "/a", "a loopback address"},
		"Metadata":     {"The address that everybody tries first.", "http://169.254.169.254/latest/meta-data/a", "a link-local address"},
		"MetadataV6":   {"Mapped into IPv6 it is the same address.", "http://[::ffff:169.254.169.254]/a", "a link-local address"},
		"MetadataName": {"Behind a proxy the name is never resolved here.", "http://metadata.google.internal/a", "the metadata service"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			o := options(t)
			o.Permit = nil
			_, err := Fetch(t.Context(), []string{tc.url}, o)
			var no *RefusedError
			if !errors.As(err, &no) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s\nerror: %v, want a refusal with %q", tc.reason, err, tc.want)
			}
		})
	}
}

// unreached fails the test when it is reached.
func unreached(t *testing.T) http.HandlerFunc {
	return func(_ http.ResponseWriter, r *http.Request) { t.Errorf("a refused address was asked for %s", r.URL) }
}

func TestRedirects(t *testing.T) {
	cases := map[string]struct{ reason, to, want string }{
		"Metadata": {"A public server must not send us to the metadata service.", "http://169.254.169.254/token", "a link-local address"},
		"Endless":  {"A circle ends.", "/a", "more than 10 redirects"},
		"File":     {"Only HTTP is followed.", "file:///etc/passwd", "unsupported protocol scheme"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.RedirectHandler(tc.to, http.StatusFound))
			defer server.Close()
			o := options(t)
			o.Attempts = 1
			_, err := Fetch(t.Context(), []string{server.URL + "/a"}, o)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s\nerror: %v, want %q", tc.reason, err, tc.want)
			}
		})
	}
}

func TestProxy(t *testing.T) {
	asked := make(chan string, 1)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.URL.String()
		whole(content, `"a"`)(w, r)
	}))
	defer proxy.Close()
	// net/http reads the proxy environment once a process, so the test gives the
	// transport the function that reads it anew.
	f, err := newFetcher(options(t))
	if err != nil {
		t.Fatal(err)
	}
	transport := f.client.Transport.(*http.Transport)
	if transport.Proxy == nil {
		t.Fatal("proxies of the environment are not read")
	}
	transport.Proxy = func(*http.Request) (*url.URL, error) { return url.Parse(proxy.URL) }
	targets, err := parseTargets([]string{"http://data.example.com/train.jsonl", "http://169.254.169.254/token"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.file(t.Context(), targets[0]); err != nil {
		t.Fatal(err)
	}
	if got := <-asked; got != "http://data.example.com/train.jsonl" {
		t.Errorf("the proxy was asked for %s", got)
	}
	var no *RefusedError
	if _, err := f.file(t.Context(), targets[1]); !errors.As(err, &no) {
		t.Errorf("error: %v, want a refusal before the proxy is asked", err)
	}
}
