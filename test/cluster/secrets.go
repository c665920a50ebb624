// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// Files of a cluster's folder; components run in it.
const (
	accountKey         = "service-account.key"
	tokenFile          = "tokens.csv"
	authenticationFile = "authentication.yaml"
	servingCertificate = "certs/apiserver.crt" // the API server makes it, self-signed
	// etcdSocket is a file, etcd.sock:0: etcd wants a port in every address.
	etcdSocket = "unix://etcd.sock:0"
)

// user is somebody the API server knows by a token.
type user struct {
	name, group, token string
}

// newUsers returns the users of a cluster: the administrator, whose kubeconfig
// is "admin", and the components that have roles of their own.
func newUsers() []user {
	users := []user{
		{name: "admin", group: "system:masters"},
		{name: "system:kube-controller-manager", group: "system:components"},
		{name: "system:kube-scheduler", group: "system:components"},
	}
	for i := range users {
		users[i].token = rand.Text()
	}
	return users
}

// file is the name of the user's kubeconfig.
func (u user) file() string { return strings.TrimPrefix(u.name, "system:") + ".kubeconfig" }

// writeSecrets writes what the API server reads when it starts.
func (c *Cluster) writeSecrets(users []user) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return err
	}
	block := pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})
	if err := os.WriteFile(filepath.Join(c.Dir, accountKey), block, 0o600); err != nil {
		return err
	}
	var tokens strings.Builder
	for _, u := range users {
		fmt.Fprintf(&tokens, "%s,%s,%s,%q\n", u.token, u.name, u.name, u.group)
	}
	return errors.Join(
		os.WriteFile(filepath.Join(c.Dir, tokenFile), []byte(tokens.String()), 0o600),
		os.WriteFile(filepath.Join(c.Dir, authenticationFile), []byte(c.options.Authentication), 0o600),
	)
}

// writeKubeconfigs writes one kubeconfig a user and keeps the administrator's.
func (c *Cluster) writeKubeconfigs(port int, users []user) error {
	ca, err := os.ReadFile(filepath.Join(c.Dir, servingCertificate))
	if err != nil {
		return err
	}
	for _, u := range users {
		k := clientcmdapi.NewConfig()
		k.Clusters["local"] = &clientcmdapi.Cluster{
			Server:                   fmt.Sprintf("https://127.0.0.1:%d", port),
			CertificateAuthorityData: ca,
		}
		k.AuthInfos[u.name] = &clientcmdapi.AuthInfo{Token: u.token}
		k.Contexts["local"] = &clientcmdapi.Context{Cluster: "local", AuthInfo: u.name}
		k.CurrentContext = "local"
		if err := clientcmd.WriteToFile(*k, filepath.Join(c.Dir, u.file())); err != nil {
			return err
		}
	}
	c.Kubeconfig = filepath.Join(c.Dir, users[0].file())
	c.Config, err = clientcmd.BuildConfigFromFlags("", c.Kubeconfig)
	return err
}
