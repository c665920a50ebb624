// SPDX-License-Identifier: Apache-2.0

package image

import (
	"context"
	"os/exec"
	"strings"
)

// annotationRevision has the commit.
const annotationRevision = "org.opencontainers.image.revision"

// Annotations of what is made out of a checkout: where it is from, and the commit
// where the checkout is just that commit.
func Annotations(ctx context.Context, root string) map[string]string {
	all := map[string]string{
		"org.opencontainers.image.title":       "espalier",
		"org.opencontainers.image.description": "GitOps for GPU model work",
		"org.opencontainers.image.source":      "https://github.com/espalier-dev/espalier",
		"org.opencontainers.image.licenses":    "Apache-2.0",
	}
	git := func(args ...string) (string, error) {
		cmd := exec.CommandContext(ctx, "git", args...)
		cmd.Dir = root
		out, err := cmd.Output()
		return strings.TrimSpace(string(out)), err
	}
	changed, err := git("status", "--porcelain", "--untracked-files=no")
	if err != nil || changed != "" {
		return all
	}
	if commit, err := git("rev-parse", "HEAD"); err == nil {
		all[annotationRevision] = commit
	}
	return all
}
