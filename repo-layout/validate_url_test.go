// SPDX-License-Identifier: Apache-2.0

package repolayout_test

import (
	"strings"
	"testing"
)

func TestURLs(t *testing.T) {
	for name, c := range map[string]struct {
		reason string
		url    string
		want   string // code, "" for none
	}{
		"HTTPS":        {"the plain case", "https://data.example.com/a.parquet?download=true", ""},
		"HTTP":         {"data of the cluster's own store", "http://minio.data.svc/bucket/a", ""},
		"PublicIP":     {"an address that everybody reaches", "https://8.8.8.8/a", ""},
		"PublicIPv6":   {"an address that everybody reaches", "https://[2606:4700::1111]/a", ""},
		"FTP":          {"nothing downloads it", "ftp://data.example.com/a", "URLInvalid"},
		"File":         {"the pod's own files", "file:///etc/passwd", "URLInvalid"},
		"NoHost":       {"nowhere", "https:///a", "URLInvalid"},
		"NoURL":        {"a path", "data/a.json", "URLInvalid"},
		"Broken":       {"no address", "https://[::1", "URLInvalid"},
		"Localhost":    {"the pod itself", "http://localhost:8080/a", "URLForbidden"},
		"SubLocalhost": {"the pod itself", "http://a.localhost/a", "URLForbidden"},
		"DotLocalhost": {"a last dot changes nothing", "http://LOCALHOST./a", "URLForbidden"},
		"Loopback":     {"the pod itself", "http://127.0.0.1/a", "URLForbidden"},
		"Loopback6":    {"the pod itself", "http://[::1]/a", "URLForbidden"},
		"Unspecified":  {"the pod itself", "http://0.0.0.0/a", "URLForbidden"},
		"Short":        {"127.1 is read as 127.0.0.1 by some", "http://127.1/a", "URLForbidden"},
		"Decimal":      {"2130706433 is 127.0.0.1", "http://2130706433/a", "URLForbidden"},
		"Hex":          {"0x7f000001 is 127.0.0.1", "http://0x7f000001/a", "URLForbidden"},
		"Octal":        {"0177.0.0.1 is 127.0.0.1", "http://0177.0.0.1/a", "URLForbidden"},
		"Mapped":       {"IPv4 in IPv6", "http://[::ffff:10.0.0.1]/a", "URLForbidden"},
		"NAT64":        {"IPv4 behind a translator", "http://[64:ff9b::a9fe:a9fe]/a", "URLForbidden"},
		"Zone":         {"a link-local address has a zone", "http://[fe80::1%25eth0]/a", "URLForbidden"},
		"SixToFour":    {"IPv4 in IPv6", "http://[2002:a9fe:a9fe::1]/a", "URLForbidden"},
		"Broadcast":    {"no host", "http://255.255.255.255/a", "URLForbidden"},
		"FullWidth":    {"an HTTP client reads these digits as 127.0.0.1", "http://１２７.０.０.１/a", "URLInvalid"},
		"Metadata":     {"the cloud's credentials", "http://169.254.169.254/metadata/identity", "URLForbidden"},
		"MetadataName": {"the cloud's credentials", "http://metadata.google.internal/computeMetadata/v1", "URLForbidden"},
		"WireServer":   {"Azure's own address on every machine", "http://168.63.129.16/machine", "URLForbidden"},
		"Private":      {"the network of the nodes", "http://10.0.0.1/a", "URLForbidden"},
		"UniqueLocal":  {"the network of the nodes", "http://[fd00::1]/a", "URLForbidden"},
		"CGNAT":        {"shared address space", "http://100.64.0.1/a", "URLForbidden"},
		"Multicast":    {"nobody answers", "http://224.0.0.1/a", "URLForbidden"},
		"UserInfo":     {"Git shows it to every reader", "https://user:hunter2@data.example.com/a", "URLCredentials"},
		"SAS":          {"a signature is a credential that ends: a warning", "https://a.blob.core.windows.net/b/c?sv=1&sig=hunter2", "URLCredentials"},
		"AWS":          {"a signature is a credential that ends: a warning", "https://b.s3.amazonaws.com/c?X-Amz-Signature=hunter2", "URLCredentials"},
		"Placeholder":  {"an example's", "https://<account>.blob.core.windows.net/a", "Placeholder"},
	} {
		t.Run(name, func(t *testing.T) {
			var got string
			for _, f := range judge(header + onA100 + tunes + "    input:\n      urls:\n      - '" + c.url + "'\n" + intoClaim) {
				got += f.Code
				if f.Line != 11 {
					t.Errorf("the line is %d", f.Line)
				}
				if strings.Contains(f.Message, "hunter2") {
					t.Errorf("the message shows a credential: %s", f.Message)
				}
			}
			if got != c.want {
				t.Errorf("%s: got %q, want %q", c.reason, got, c.want)
			}
		})
	}
}
