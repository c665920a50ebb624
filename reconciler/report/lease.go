// SPDX-License-Identifier: Apache-2.0

package report

import (
	"crypto/sha256"
	"encoding/hex"
	"net/url"
	"strings"

	"github.com/espalier-dev/espalier/reconciler/git"
)

// Lease is the name of the Lease under which the branch is written: one for all that
// report into the branch, whatever credentials are theirs. It is a digest, because an
// address is nobody's business who may see Leases.
func (t Target) Lease() string {
	address := git.Remote{URL: t.URL, Auth: t.Auth}.Address()
	if u, err := url.Parse(address); err == nil {
		u.Scheme, u.Host = strings.ToLower(u.Scheme), strings.ToLower(u.Host)
		address = u.String()
	}
	address = strings.TrimSuffix(strings.TrimRight(address, "/"), ".git")
	sum := sha256.Sum256([]byte(address + "\n" + t.Branch))
	return "report.espalier.dev-" + hex.EncodeToString(sum[:8])
}
