// SPDX-License-Identifier: Apache-2.0

package data

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"syscall"
	"time"
)

// maxRedirects is what net/http and curl agree is enough.
const maxRedirects = 10

// metadata are addresses at which clouds serve credentials and settings to a
// machine, beyond link-local 169.254.0.0/16 and fe80::/10.
var metadata = map[netip.Addr]string{
	netip.MustParseAddr("168.63.129.16"):   "Azure's wire server",
	netip.MustParseAddr("100.100.100.200"): "Alibaba Cloud's metadata service",
	netip.MustParseAddr("192.0.0.192"):     "Oracle Cloud's metadata service",
	netip.MustParseAddr("fd00:ec2::254"):   "the metadata service of AWS",
	netip.MustParseAddr("fd20:ce::254"):    "the metadata service of Google Cloud",
}

// nat64 addresses hold an IPv4 address in their last four bytes (RFC 6052).
var nat64 = netip.MustParsePrefix("64:ff9b::/96")

// Permitted refuses the addresses that a URL out of a repository must not
// reach: those of this machine and of its cloud's metadata. Private networks
// are permitted, because a data server within the cluster is common.
func Permitted(a netip.Addr) error {
	a = a.Unmap()
	if nat64.Contains(a) {
		b := a.As16()
		a = netip.AddrFrom4([4]byte(b[12:]))
	}
	a = a.WithZone("")
	var what string
	switch {
	case metadata[a] != "":
		what = metadata[a]
	case a.IsLoopback():
		what = "a loopback address"
	case a.IsLinkLocalUnicast(), a.IsLinkLocalMulticast():
		what = "a link-local address, where metadata services answer"
	case !a.IsValid(), a.IsUnspecified(), a.Is4() && a.As4()[0] == 0:
		what = "an unspecified address"
	case a.IsMulticast():
		what = "a multicast address"
	default:
		return nil
	}
	return refused("%s is %s: nothing that a repository names is read from there", a, what)
}

// newClient returns a client that checks each address as it connects, after
// the name was resolved, so that neither DNS nor a redirect leads around it.
// The address of a proxy from the environment is checked alike; what the proxy
// itself resolves is the proxy's to refuse, except literal addresses.
func newClient(permit func(netip.Addr) error) *http.Client {
	return &http.Client{
		Transport: newTransport(permit),
		CheckRedirect: func(req *http.Request, via []*http.Request) error {
			if len(via) >= maxRedirects {
				return refused("more than %d redirects", maxRedirects)
			}
			if via[len(via)-1].URL.Scheme == "https" && req.URL.Scheme != "https" {
				return refused("the server redirects from https to %s", req.URL.Scheme)
			}
			return permitHost(req.URL, permit)
		},
	}
}

// PermittedRegistry refuses what Permitted does, but loopback: a pod has its own, with
// nothing in it but the pod, and a person pushes to a registry beside the terminal.
func PermittedRegistry(a netip.Addr) error {
	if a.Unmap().IsLoopback() {
		return nil
	}
	return Permitted(a)
}

// Transport is for other clients of addresses that a repository names: it reaches
// none that is not Permitted.
func Transport() http.RoundTripper { return permitted{Permitted, newTransport(Permitted)} }

// RegistryTransport is for clients of a registry in a pod: it reaches none that is not
// PermittedRegistry, whatever a name resolves to, a redirect leads to or a registry says
// of where its tokens are.
func RegistryTransport() http.RoundTripper {
	under := newTransport(PermittedRegistry)
	under.ResponseHeaderTimeout = committed
	return permitted{PermittedRegistry, under}
}

// committed is how long a registry may take over the last request of a layer, when it
// reads gigabytes once more.
const committed = 10 * time.Minute

// permitted checks hosts that are written as addresses, which a proxy would be
// asked for.
type permitted struct {
	permit func(netip.Addr) error
	under  http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (p permitted) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := permitHost(r.URL, p.permit); err != nil {
		return nil, err
	}
	return p.under.RoundTrip(r)
}

func newTransport(permit func(netip.Addr) error) *http.Transport {
	dialer := &net.Dialer{
		Timeout:   30 * time.Second,
		KeepAlive: 30 * time.Second,
		ControlContext: func(_ context.Context, _, address string, _ syscall.RawConn) error {
			ap, err := netip.ParseAddrPort(address)
			if err != nil {
				return fmt.Errorf("reading the address to connect to: %w", err)
			}
			return permit(ap.Addr())
		},
	}
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           dialer.DialContext,
		ForceAttemptHTTP2:     true,
		TLSHandshakeTimeout:   15 * time.Second,
		ResponseHeaderTimeout: time.Minute,
		IdleConnTimeout:       time.Minute,
		// A range of compressed bytes is not a range of the file.
		DisableCompression: true,
	}
}

// permitHost refuses a URL whose host is written as a refused address: behind a
// proxy that address is never dialled from here.
func permitHost(u *url.URL, permit func(netip.Addr) error) error {
	a, err := netip.ParseAddr(u.Hostname())
	if err != nil {
		if strings.EqualFold(strings.TrimSuffix(u.Hostname(), "."), "metadata.google.internal") {
			return refused("%s is the metadata service of Google Cloud: training data must not come from there", u.Hostname())
		}
		return nil
	}
	return permit(a)
}

// plain takes the URL, and with it any token in its query, out of an error of
// net/http.
func plain(err error) error {
	var ue *url.Error
	if errors.As(err, &ue) {
		return ue.Err
	}
	return err
}
