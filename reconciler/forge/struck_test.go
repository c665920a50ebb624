// SPDX-License-Identifier: Apache-2.0

package forge

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// TestStruck: what a forge repeats of the credential that it got is struck out, also
// where only the beginning of it would be shown.
func TestStruck(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	app := map[string][]byte{
		"githubAppID": []byte("12345"), "githubAppInstallationID": []byte("678"),
		"githubAppPrivateKey": pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}),
	}
	for name, tc := range map[string]struct {
		reason string
		auth   map[string][]byte
		before string // what the forge says before it
		signs  bool   // it refuses to make a token
		says   string
	}{
		"Installation": {reason: "A token of an installation stands in no Secret.", auth: app, before: "you sent ", says: "(it says: you sent Bearer ***)"},
		"App":          {reason: "Nor does what the App signs in with to get one.", auth: app, before: "you sent ", signs: true, says: "(it says: you sent Bearer ***)"},
		"Cut":          {reason: "A message is cut, and half a token is no match.", auth: map[string][]byte{"token": []byte(token)}, before: strings.Repeat("x", 187) + " ", says: "x Bearer ***)"},
	} {
		t.Run(name, func(t *testing.T) {
			sent := ""
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				if strings.HasSuffix(req.URL.Path, "/access_tokens") && !tc.signs {
					w.WriteHeader(http.StatusCreated)
					_, _ = w.Write([]byte(`{"token":"ghs_0123456789abcdef","expires_at":"2100-01-01T00:00:00Z"}`))
					return
				}
				_, sent, _ = strings.Cut(req.Header.Get("Authorization"), " ")
				said, _ := json.Marshal(map[string]string{"message": tc.before + req.Header.Get("Authorization")})
				w.WriteHeader(http.StatusUnprocessableEntity)
				_, _ = w.Write(said)
			}))
			t.Cleanup(s.Close)
			f, err := Connect(Settings{Provider: v1alpha1.GitHub, URL: s.URL + "/octocat/Hello-World", Auth: tc.auth})
			if err != nil {
				t.Fatal(err)
			}
			_, err = f.Open(t.Context(), "main")
			if err == nil || sent == "" || strings.Contains(err.Error(), sent[:4]) || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("%s\ngot %v", tc.reason, err)
			}
		})
	}
}
