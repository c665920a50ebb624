// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"context"
	"fmt"
	"path/filepath"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/utils/ptr"

	"github.com/espalier-dev/espalier/test/cluster"
)

// The account that deploy/ gives to the controller.
const (
	systemNamespace = "espalier-system"
	accountName     = "espalier"
)

// useAccount installs the roles of deploy/ and makes the controller use its own
// service account, so that a right that is missing there is missing here too.
func (s *Stand) useAccount(ctx context.Context, more []string) error {
	root, err := cluster.Root()
	if err != nil {
		return err
	}
	steps := [][]string{{"apply", "-f", filepath.Join(root, "deploy", "base", "namespace.yaml")}}
	for _, folder := range append([]string{"rbac"}, more...) {
		steps = append(steps, []string{"apply", "-k", filepath.Join(root, "deploy", folder)})
	}
	for _, args := range steps {
		if out, err := s.Cluster.Kubectl(ctx, args...); err != nil {
			return fmt.Errorf("installing the roles of deploy/: %w: %s", err, out)
		}
	}
	s.kubeconfig, err = s.signIn(ctx, accountName)
	return err
}

// signIn writes a kubeconfig of a service account of the system's namespace.
func (s *Stand) signIn(ctx context.Context, account string) (kubeconfig string, err error) {
	kube, err := kubernetes.NewForConfig(s.Cluster.Config)
	if err != nil {
		return "", fmt.Errorf("connecting to the local cluster: %w", err)
	}
	token, err := kube.CoreV1().ServiceAccounts(systemNamespace).CreateToken(ctx, account, &authenticationv1.TokenRequest{
		Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: ptr.To[int64](24 * 60 * 60)},
	}, metav1.CreateOptions{})
	if err != nil {
		return "", fmt.Errorf("getting a token for the account %s: %w", account, err)
	}
	config, err := clientcmd.LoadFromFile(s.Cluster.Kubeconfig)
	if err != nil {
		return "", fmt.Errorf("reading the kubeconfig: %w", err)
	}
	for name := range config.AuthInfos {
		config.AuthInfos[name] = &api.AuthInfo{Token: token.Status.Token}
	}
	kubeconfig = filepath.Join(s.dir, account+".kubeconfig")
	if err := clientcmd.WriteToFile(*config, kubeconfig); err != nil {
		return "", fmt.Errorf("writing the kubeconfig of %s: %w", account, err)
	}
	return kubeconfig, nil
}
