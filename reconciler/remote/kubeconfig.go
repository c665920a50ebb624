// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"errors"
	"net/url"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
)

// Allowed are the kinds of kubeconfigs that whoever runs the controller takes beside
// harmless ones.
type Allowed struct {
	Exec bool // users that are a program to run: --insecure-kubeconfig-exec
	TLS  bool // servers whose certificate nobody verifies: --insecure-kubeconfig-tls
}

// Parse makes a client's configuration of a kubeconfig. Whoever wrote it runs nothing
// here and reads no file of the controller. What it says of one that it refuses holds
// nothing of it: names and addresses are somebody's secret too.
func (a Allowed) Parse(kubeconfig []byte) (*rest.Config, error) {
	whole, err := clientcmd.Load(kubeconfig)
	if err != nil {
		return nil, errors.New("it is no kubeconfig: try it with kubectl --kubeconfig FILE config view")
	}
	at := whole.Contexts[whole.CurrentContext]
	if at == nil {
		return nil, errors.New("its current-context names no context of it")
	}
	cluster, user := whole.Clusters[at.Cluster], whole.AuthInfos[at.AuthInfo]
	if cluster == nil {
		return nil, errors.New("its current context names no cluster of it")
	}
	if user == nil {
		return nil, errors.New("its current context names no user of it")
	}
	if err := errors.Join(a.judgeServer(cluster), a.judgeUser(user)); err != nil {
		return nil, err
	}
	// What the context does not use is nobody's business.
	used := api.Config{
		Clusters: map[string]*api.Cluster{at.Cluster: cluster}, AuthInfos: map[string]*api.AuthInfo{at.AuthInfo: user},
		Contexts: map[string]*api.Context{whole.CurrentContext: at}, CurrentContext: whole.CurrentContext,
	}
	config, err := clientcmd.NewDefaultClientConfig(used, &clientcmd.ConfigOverrides{}).ClientConfig()
	if err != nil {
		return nil, errors.New("its server or user is not whole: try it with kubectl --kubeconfig FILE get namespaces")
	}
	return config, nil
}

func (a Allowed) judgeServer(c *api.Cluster) error {
	at, err := url.Parse(c.Server)
	switch {
	case err != nil || at.Host == "" || at.Scheme != "https" && at.Scheme != "http":
		return errors.New("its server is no address such as https://cluster.example.com:6443")
	case c.CertificateAuthority != "":
		return errors.New("its certificate-authority is a file: put the certificate itself into certificate-authority-data")
	case c.ProxyURL != "":
		return errors.New("it has a proxy-url, which is refused: the controller connects to the server itself, or through the proxy of its own environment")
	case a.TLS:
		return nil
	case at.Scheme == "http":
		return errors.New("its server is spoken to in plain text, which is refused without the flag --insecure-kubeconfig-tls of the controller: use https")
	case c.InsecureSkipTLSVerify:
		return errors.New("it has insecure-skip-tls-verify, which is refused without the flag --insecure-kubeconfig-tls of the controller: put the certificate of the authority into certificate-authority-data")
	}
	return nil
}

func (a Allowed) judgeUser(u *api.AuthInfo) error {
	switch {
	case u.TokenFile != "" || u.ClientCertificate != "" || u.ClientKey != "":
		return errors.New("its user is read from files, which would be the controller's own: put token, client-certificate-data and client-key-data themselves into it")
	case u.AuthProvider != nil:
		return errors.New("its user has an auth-provider, which no client knows any more: put a token or a client certificate into it")
	case u.Exec != nil && !a.Exec:
		return errors.New("its user is a program to run (exec), which is refused without the flag --insecure-kubeconfig-exec of the controller: put a token or a client certificate into it")
	}
	return nil
}
