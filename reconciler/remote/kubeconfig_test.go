// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"strings"
	"testing"

	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
)

// hidden is in every kubeconfig below, in each of its parts, and must be in no message.
const hidden = "hidden"

// whole is a kubeconfig that everybody takes.
func whole() *api.Config {
	return &api.Config{
		CurrentContext: hidden,
		Contexts:       map[string]*api.Context{hidden: {Cluster: hidden, AuthInfo: hidden}},
		Clusters:       map[string]*api.Cluster{hidden: {Server: "https://hidden.example.com:6443", CertificateAuthorityData: []byte(hidden)}},
		AuthInfos:      map[string]*api.AuthInfo{hidden: {Token: hidden}},
	}
}

func TestParse(t *testing.T) {
	exec := &api.ExecConfig{APIVersion: "client.authentication.k8s.io/v1", Command: "/hidden", InteractiveMode: api.NeverExecInteractiveMode}
	for name, c := range map[string]struct {
		reason  string
		change  func(*api.Config, *api.Cluster, *api.AuthInfo)
		allowed Allowed
		want    string // part of the refusal; "": none
	}{
		"Token": {
			reason: "A server that is verified and a token are all that is needed.",
		},
		"ClientCertificate": {
			reason: "Or a certificate, in the kubeconfig itself.",
			change: func(_ *api.Config, _ *api.Cluster, u *api.AuthInfo) {
				*u = api.AuthInfo{ClientCertificateData: []byte(hidden), ClientKeyData: []byte(hidden)}
			},
		},
		"UnusedUser": {
			reason: "What the context does not use does nothing.",
			change: func(k *api.Config, _ *api.Cluster, _ *api.AuthInfo) { k.AuthInfos["other"] = &api.AuthInfo{Exec: exec} },
		},
		"Program": {
			reason: "Whoever writes a Secret would run it in the controller's pod.",
			change: func(_ *api.Config, _ *api.Cluster, u *api.AuthInfo) { *u = api.AuthInfo{Exec: exec} },
			want:   "--insecure-kubeconfig-exec",
		},
		"ProgramAllowed": {
			reason:  "Whoever runs the controller may say so.",
			change:  func(_ *api.Config, _ *api.Cluster, u *api.AuthInfo) { *u = api.AuthInfo{Exec: exec} },
			allowed: Allowed{Exec: true},
		},
		"Unverified": {
			reason: "The token would go to whoever answers.",
			change: func(_ *api.Config, c *api.Cluster, _ *api.AuthInfo) {
				c.InsecureSkipTLSVerify, c.CertificateAuthorityData = true, nil
			},
			want: "--insecure-kubeconfig-tls",
		},
		"UnverifiedAllowed": {
			reason: "Whoever runs the controller may say so.",
			change: func(_ *api.Config, c *api.Cluster, _ *api.AuthInfo) {
				c.InsecureSkipTLSVerify, c.CertificateAuthorityData = true, nil
			},
			allowed: Allowed{TLS: true},
		},
		"PlainText": {
			reason: "Plain text is verified even less.",
			change: func(_ *api.Config, c *api.Cluster, _ *api.AuthInfo) { c.Server = "http://hidden.example.com" },
			want:   "--insecure-kubeconfig-tls",
		},
		"TokenFile": {
			reason:  "The controller's own token would go to a server that somebody else names: no flag allows it.",
			change:  func(_ *api.Config, _ *api.Cluster, u *api.AuthInfo) { *u = api.AuthInfo{TokenFile: "/hidden"} },
			allowed: Allowed{Exec: true, TLS: true},
			want:    "read from files",
		},
		"KeyFile": {
			reason: "So would any other file.",
			change: func(_ *api.Config, _ *api.Cluster, u *api.AuthInfo) { u.ClientKey = "/hidden" },
			want:   "read from files",
		},
		"AuthorityFile": {
			reason: "A file that is there or not tells of the controller's disk.",
			change: func(_ *api.Config, c *api.Cluster, _ *api.AuthInfo) { c.CertificateAuthority = "/hidden" },
			want:   "certificate-authority-data",
		},
		"AuthProvider": {
			reason: "A client that knows none of it would say nothing that helps.",
			change: func(_ *api.Config, _ *api.Cluster, u *api.AuthInfo) {
				u.AuthProvider = &api.AuthProviderConfig{Name: hidden}
			},
			want: "auth-provider",
		},
		"Proxy": {
			reason:  "Who names it has the controller connect wherever the proxy is, and flags allow other things.",
			change:  func(_ *api.Config, c *api.Cluster, _ *api.AuthInfo) { c.ProxyURL = "http://hidden.example.com:3128" },
			allowed: Allowed{Exec: true, TLS: true},
			want:    "proxy-url",
		},
		"NoServer": {
			reason: "client-go would take localhost.",
			change: func(_ *api.Config, c *api.Cluster, _ *api.AuthInfo) { c.Server = "" },
			want:   "its server is no address",
		},
		"NoContext": {
			reason: "Which cluster is meant is not said.",
			change: func(k *api.Config, _ *api.Cluster, _ *api.AuthInfo) { k.CurrentContext = "" },
			want:   "current-context",
		},
		"NoCluster": {
			reason: "As above.",
			change: func(k *api.Config, _ *api.Cluster, _ *api.AuthInfo) { k.Clusters = nil },
			want:   "no cluster",
		},
		"NoUser": {
			reason: "Nobody signs in.",
			change: func(k *api.Config, _ *api.Cluster, _ *api.AuthInfo) { k.AuthInfos = nil },
			want:   "no user",
		},
		"TwoTokens": {
			reason: "What client-go says of a user that it cannot use may quote it.",
			change: func(_ *api.Config, _ *api.Cluster, u *api.AuthInfo) { u.Username = hidden },
			want:   "not whole",
		},
	} {
		t.Run(name, func(t *testing.T) {
			k := whole()
			if c.change != nil {
				c.change(k, k.Clusters[hidden], k.AuthInfos[hidden])
			}
			text, err := clientcmd.Write(*k)
			if err != nil {
				t.Fatal(err)
			}
			config, err := c.allowed.Parse(text)
			if c.want == "" && (err != nil || !strings.HasSuffix(config.Host, "hidden.example.com:6443")) {
				t.Errorf("%s\ngot %v, %v", c.reason, config, err)
			}
			if c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), hidden)) {
				t.Errorf("%s\nsays %v, want %q and nothing of the kubeconfig", c.reason, err, c.want)
			}
		})
	}
	if _, err := (Allowed{}).Parse([]byte("clusters: hidden")); err == nil || strings.Contains(err.Error(), hidden) {
		t.Errorf("what is no kubeconfig is refused without its words: %v", err)
	}
}

// FuzzParse: whatever a Secret holds, nothing of it runs, is read or is told.
func FuzzParse(f *testing.F) {
	text, err := clientcmd.Write(*whole())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte("{current-context: a, contexts: [{name: a, context: {cluster: b, user: c}}], clusters: [{name: b}], users: [{name: c}]}"))
	f.Fuzz(func(t *testing.T, text []byte) {
		config, err := Allowed{}.Parse(text)
		if err != nil {
			return
		}
		if config.ExecProvider != nil || config.Insecure || config.BearerTokenFile != "" || config.CAFile != "" || config.CertFile != "" || config.KeyFile != "" || config.Proxy != nil ||
			!strings.HasPrefix(strings.ToLower(config.Host), "https://") {
			t.Errorf("%q is taken as %v", text, config)
		}
	})
}
