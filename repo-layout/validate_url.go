// SPDX-License-Identifier: Apache-2.0

package repolayout

import (
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"unicode"

	"github.com/espalier-dev/espalier/repo-layout/finding"
)

// fetched is what is downloaded from an address, for sentences: what it is, and how
// else it can be brought, and what fails without it.
type fetched struct{ what, instead, fails string }

// data is what a run trains on, or is measured on.
func (v *validator) data() fetched {
	return fetched{"training data comes", "the data as an image with " + v.name("spec.tuning.input.pullSecrets"), "the run fails"}
}

// url checks an address that a pod downloads from. A message never repeats the
// address: it may hold a credential.
func (v *validator) url(field, address string, f fetched) {
	if v.placeholder(field, address) {
		return
	}
	u, err := url.Parse(address)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" {
		v.refuse(finding.URLInvalid, field, "want an address that begins with https:// or http://")
		return
	}
	if strings.ContainsFunc(u.Host, func(r rune) bool { return r > unicode.MaxASCII }) {
		v.refuse(finding.URLInvalid, field, "write the host in ASCII, as xn--…: other letters can look like a host that they are not")
		return
	}
	if why := forbiddenHost(u.Hostname()); why != "" {
		v.refuse(finding.URLForbidden, field, "%s: %s from a public address, an image or a claim", why, f.what)
	}
	if u.User != nil {
		v.refuse(finding.URLCredentials, field, "the address holds credentials, which Git would show to every reader: withdraw them, and bring %s or on a claim", f.instead)
	}
	if signed(u) {
		v.warn(finding.URLCredentials, field, "the address is signed: whoever can read the repository can use the signature until it ends, and %s after", f.fails)
	}
}

// signed says whether an address carries a signature or token as Azure, AWS
// and Google Cloud storage write it.
func signed(u *url.URL) bool {
	for key := range u.Query() {
		switch strings.ToLower(key) {
		case "sig", "x-amz-signature", "x-goog-signature", "token", "access_token":
			return true
		}
	}
	return false
}

// forbiddenNames are hosts that only mean something within the machine or the
// network of the node.
var forbiddenNames = map[string]string{
	"localhost":                "localhost is the pod itself",
	"metadata":                 "this is the cloud's metadata service",
	"metadata.google.internal": "this is the cloud's metadata service",
	"metadata.azure.internal":  "this is the cloud's metadata service",
	"instance-data":            "this is the cloud's metadata service",
}

// wireServer is Azure's own service address on every virtual machine; it is no
// private address by number.
// https://learn.microsoft.com/azure/virtual-network/what-is-ip-address-168-63-129-16
var wireServer = netip.MustParseAddr("168.63.129.16")

// forbiddenRanges are ranges that netip does not name and that lead inside or
// nowhere: shared address space (RFC 6598), "this network", reserved and
// broadcast, site-local, and IPv4 within IPv6 (NAT64, 6to4).
var forbiddenRanges = []netip.Prefix{
	netip.MustParsePrefix("100.64.0.0/10"),
	netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("fec0::/10"),
	netip.MustParsePrefix("64:ff9b::/96"),
	netip.MustParsePrefix("64:ff9b:1::/48"),
	netip.MustParsePrefix("2002::/16"),
}

// numeric is a last label that resolvers may read as a number of an address
// (127.1, 0x7f000001): every one but a plain dotted address is refused.
var numeric = regexp.MustCompile(`^(0[xX][0-9a-fA-F]*|[0-9]+)$`)

// forbiddenHost says why a host is within the machine or its network, "" when
// it is not.
func forbiddenHost(host string) string {
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	if why, found := forbiddenNames[host]; found {
		return why
	}
	if strings.HasSuffix(host, ".localhost") {
		return "localhost is the pod itself"
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		if numeric.MatchString(host[strings.LastIndexByte(host, '.')+1:]) {
			return "a host that ends in a number is no name"
		}
		return ""
	}
	return forbiddenAddr(addr.WithZone("").Unmap())
}

func forbiddenAddr(a netip.Addr) string {
	switch {
	case a.IsLoopback() || a.IsUnspecified():
		return "this address is the pod itself"
	case a == wireServer:
		return "this is the cloud's metadata service"
	case a.IsLinkLocalUnicast():
		return "this is a link-local address, such as the cloud's metadata service has"
	case a.IsPrivate():
		return "this is a private address"
	case a.IsMulticast():
		return "this is a multicast address"
	}
	for _, r := range forbiddenRanges {
		if r.Contains(a) {
			return "this address leads into the network of the node or nowhere"
		}
	}
	return ""
}
