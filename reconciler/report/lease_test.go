// SPDX-License-Identifier: Apache-2.0

package report

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/util/validation"
)

func TestLease(t *testing.T) {
	is := Target{URL: "https://git.example.com/team/models.git", Branch: "main"}
	for name, c := range map[string]struct {
		reason string
		other  Target
		same   bool
	}{
		"Credentials": {"Who writes with another user writes to the same branch.", Target{URL: "https://user:s3cret@git.example.com/team/models.git", Branch: "main"}, true},
		"Token":       {"A token in the address is no part of it.", Target{URL: "https://git.example.com/team/models.git?access_token=s3cret", Branch: "main"}, true},
		"Spelling":    {"Forges take all of these.", Target{URL: "HTTPS://Git.Example.com/team/models/", Branch: "main"}, true},
		"Folder":      {"Several report into one branch, each with a folder of its own.", Target{URL: is.URL, Branch: "main", Folder: "status/b", Namespace: "b"}, true},
		"Branch":      {"Two branches are written beside each other.", Target{URL: is.URL, Branch: "status"}, false},
		"Repository":  {"So are two repositories.", Target{URL: "https://git.example.com/team/other.git", Branch: "main"}, false},
		"Path":        {"A path is told apart by case.", Target{URL: "https://git.example.com/Team/models.git", Branch: "main"}, false},
		"Joined":      {"Address and branch are not one word.", Target{URL: "https://git.example.com/team/models.gitma", Branch: "in"}, false},
		"NoAddress":   {"What cannot be read as an address has a name too.", Target{URL: "git@git.example.com:team/models.git", Branch: "main"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			got := c.other.Lease()
			if (got == is.Lease()) != c.same {
				t.Errorf("%s\n%s and %s", c.reason, got, is.Lease())
			}
			if bad := validation.IsDNS1123Subdomain(got); len(bad) > 0 || strings.Contains(got, "example") {
				t.Errorf("%q is no name for a Lease: %v", got, bad)
			}
		})
	}
}
