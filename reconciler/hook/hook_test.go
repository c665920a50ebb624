// SPDX-License-Identifier: Apache-2.0

package hook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"testing"
)

func TestVerified(t *testing.T) {
	const token, body = "s3cret", `{"ref":"refs/heads/main"}`
	mac := hmac.New(sha256.New, []byte(token))
	mac.Write([]byte(body))
	signature := hex.EncodeToString(mac.Sum(nil))
	for name, c := range map[string]struct {
		reason string
		header map[string]string
		token  string
		want   bool
	}{
		"GitHub":          {"GitHub signs the body with HMAC-SHA256.", map[string]string{"X-Hub-Signature-256": "sha256=" + signature}, token, true},
		"Gitea":           {"Gitea sends the same signature without a prefix.", map[string]string{"X-Gitea-Signature": signature}, token, true},
		"GitLab":          {"GitLab sends the token itself.", map[string]string{"X-Gitlab-Token": token}, token, true},
		"Bearer":          {"curl and CI send a bearer token.", map[string]string{"Authorization": "Bearer " + token}, token, true},
		"Bitbucket":       {"Bitbucket signs as GitHub does, under another name.", map[string]string{"X-Hub-Signature": "sha256=" + signature}, token, true},
		"GitHubSHA1":      {"What GitHub sends under that name is by SHA-1, and proves nothing.", map[string]string{"X-Hub-Signature": "sha1=" + signature[:40]}, token, false},
		"AzureDevOps":     {"A service hook has a user and a password.", map[string]string{"Authorization": "Basic " + base64.StdEncoding.EncodeToString([]byte("any:"+token))}, token, true},
		"WrongPassword":   {"The password is compared whole, and the user is no password.", map[string]string{"Authorization": "Basic " + base64.StdEncoding.EncodeToString([]byte(token+":any"))}, token, false},
		"NoBasic":         {"What is no such header is none.", map[string]string{"Authorization": "Basic " + token}, token, false},
		"WrongSignature":  {"Another body or key has another signature.", map[string]string{"X-Hub-Signature-256": "sha256=" + signature[1:] + "0"}, token, false},
		"WrongToken":      {"A token is compared whole.", map[string]string{"X-Gitlab-Token": token + "x"}, token, false},
		"NoHeader":        {"A call without proof is nobody's.", nil, token, false},
		"EmptySecret":     {"An empty secret would accept everybody.", map[string]string{"X-Gitlab-Token": ""}, "", false},
		"EmptySecretHMAC": {"Nor does an empty key verify a signature made with it.", map[string]string{"X-Gitea-Signature": signature}, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			header := http.Header{}
			for k, v := range c.header {
				header.Set(k, v)
			}
			if got := verified(header, []byte(body), []byte(c.token)); got != c.want {
				t.Errorf("verified = %v, want %v: %s", got, c.want, c.reason)
			}
		})
	}
}
