// SPDX-License-Identifier: Apache-2.0

package hook

import (
	"testing"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// TestElsewhere: a call that is verified and of another repository, where somebody has
// copied a webhook, is of no use.
func TestElsewhere(t *testing.T) {
	const form = "application/x-www-form-urlencoded"
	for name, c := range map[string]struct {
		reason      string
		url, review string
		body        string
		content     string
		want        bool
	}{
		"GitHub":        {"Its own.", "https://github.com/Team/Models.git", "", `{"repository": {"full_name": "team/models"}}`, "", false},
		"GitHubOther":   {"Another of the same owner.", "https://github.com/team/models", "", `{"repository": {"full_name": "team/website"}}`, "", true},
		"GitHubForm":    {"GitHub may be told to send a form.", "https://github.com/team/models", "", `payload=%7B%22repository%22%3A%7B%22full_name%22%3A%22team%2Fwebsite%22%7D%7D`, form, true},
		"SSH":           {"An address of SSH.", "ssh://git@github.com/team/models.git", "", `{"repository": {"full_name": "team/models"}}`, "", false},
		"SSHShort":      {"Its short form.", "git@github.com:team/models.git", "", `{"repository": {"full_name": "team/other"}}`, "", true},
		"Folder":        {"A forge in a folder of its host.", "https://example.com/gitea/team/models", "", `{"repository": {"full_name": "team/models"}}`, "", false},
		"Suffix":        {"A name that ends alike is another.", "https://example.com/my-team/models", "", `{"repository": {"full_name": "team/models"}}`, "", true},
		"GitLab":        {"Groups have groups.", "https://gitlab.com/a/b/models.git", "", `{"project": {"path_with_namespace": "a/b/models"}}`, "", false},
		"GitLabOther":   {"Another group.", "https://gitlab.com/a/b/models.git", "", `{"project": {"path_with_namespace": "a/c/models"}}`, "", true},
		"DataCenter":    {"The key of the project, whatever its case.", "https://bitbucket.example.com/scm/key/models.git", "", `{"repository": {"slug": "models", "project": {"key": "KEY"}}}`, "", false},
		"DataCenterTo":  {"Of a pull request, where it goes to.", "https://bitbucket.example.com/scm/key/models.git", "", `{"pullRequest": {"toRef": {"repository": {"slug": "other", "project": {"key": "KEY"}}}}}`, "", true},
		"Azure":         {"The address of the repository.", "https://dev.azure.com/org/project/_git/models", "", `{"resource": {"repository": {"remoteUrl": "https://org@dev.azure.com/org/project/_git/models"}}}`, "", false},
		"AzureOther":    {"Another of the project.", "https://dev.azure.com/org/project/_git/models", "", `{"resource": {"repository": {"remoteUrl": "https://dev.azure.com/org/project/_git/other"}}}`, "", true},
		"Review":        {"The clone comes from a mirror: the review knows the forge's own name.", "https://mirror.example.com/x.git", "https://github.com/team/models", `{"repository": {"full_name": "team/models"}}`, "", false},
		"Mirror":        {"The clone comes from a mirror, whose name says nothing.", "https://mirror.example.com/x.git", "", `{"repository": {"full_name": "team/models", "html_url": "https://github.com/team/models"}}`, "", false},
		"SameHost":      {"On one host names can be compared.", "git@github.com:team/models.git", "", `{"repository": {"full_name": "team/website", "html_url": "https://github.com/team/website"}}`, "", true},
		"GitLabMirror":  {"Of GitLab too.", "https://git.example.com/models.git", "", `{"project": {"path_with_namespace": "a/website", "web_url": "https://gitlab.com/a/website"}}`, "", false},
		"CloudMirror":   {"And of Bitbucket.", "https://git.example.com/models.git", "", `{"repository": {"full_name": "a/website", "links": {"html": {"href": "https://bitbucket.org/a/website"}}}}`, "", false},
		"ServerLinks":   {"A list of links is no accusation, and hides none.", "https://bitbucket.example.com/scm/key/models.git", "", `{"repository": {"slug": "other", "project": {"key": "KEY"}, "links": {"self": [{"href": "https://bitbucket.example.com/projects/KEY/repos/other"}]}}}`, "", true},
		"AzureOld":      {"Its old host, with the collection that nobody writes.", "https://dev.azure.com/org/project/_git/models", "", `{"resource": {"repository": {"remoteUrl": "https://org.visualstudio.com/DefaultCollection/project/_git/models"}}}`, "", false},
		"Pipeline":      {"A call of one's own names nothing.", "https://github.com/team/models", "", `{}`, "", false},
		"NoJSON":        {"Nor does what is no JSON.", "https://github.com/team/models", "", `hello`, "", false},
		"Artifact":      {"Of an artifact no address is known.", "", "", `{"repository": {"full_name": "team/models"}}`, "", false},
		"OtherDocument": {"A body of other types is no accusation.", "https://github.com/team/models", "", `{"repository": "team/models"}`, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			s := &v1alpha1.RepoSync{}
			if c.url != "" {
				s.Spec.Source.Git = &v1alpha1.GitSource{URL: c.url}
			}
			if c.review != "" {
				s.Spec.Review = &v1alpha1.Review{URL: c.review}
			}
			if got := elsewhere(about([]byte(c.body), c.content), s); got != c.want {
				t.Errorf("%s\ngot %t: %v against %q", c.reason, got, about([]byte(c.body), c.content), addresses(s))
			}
		})
	}
}
