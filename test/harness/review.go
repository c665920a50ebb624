// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/espalier-dev/espalier/test/cluster"
)

// reviewAccount is the account that deploy/review gives to the review controller.
const reviewAccount = "espalier-review"

// StartReview starts `espalier controller --controllers=review` with its own
// account, which may read the Secrets of the namespaces that are named, as
// docs/review.md has it.
func (s *Stand) StartReview(ctx context.Context, namespaces []string, flags ...string) (*Controller, error) {
	root, err := cluster.Root()
	if err != nil {
		return nil, err
	}
	commands := [][]string{{"apply", "-f", filepath.Join(root, "deploy", "review", "rbac.yaml")}}
	for _, namespace := range namespaces {
		commands = append(commands, []string{
			"create", "rolebinding", "espalier-review", "--namespace", namespace,
			"--clusterrole=espalier-review-secrets", "--serviceaccount=" + systemNamespace + ":" + reviewAccount,
		})
	}
	for _, args := range commands {
		if out, err := s.Cluster.Kubectl(ctx, args...); err != nil {
			return nil, fmt.Errorf("installing the roles of deploy/review: %w: %s", err, out)
		}
	}
	kubeconfig, err := s.signIn(ctx, reviewAccount)
	if err != nil {
		return nil, err
	}
	return s.startProcess(ctx, s.ReviewLog(), []string{"KUBECONFIG=" + kubeconfig}, append([]string{
		"--controllers=review", "--leader-elect=false", "--cluster-name", ClusterName, "--provider", "aks", "--region", Region,
	}, flags...))
}

// ReviewLog is the file that the review controller writes its log to.
func (s *Stand) ReviewLog() string { return filepath.Join(s.dir, "review.log") }
