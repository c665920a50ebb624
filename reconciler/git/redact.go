// SPDX-License-Identifier: Apache-2.0

package git

import (
	"encoding/base64"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

const struck = "***"

var (
	userinfo   = regexp.MustCompile(`(?i)\b([a-z][a-z0-9+.-]*://)[^/\s"'<>]*@`)
	queryToken = regexp.MustCompile(`(?i)([?&](?:access_token|private_token|token|password|sig|auth)=)[^&\s"']+`)
)

// secretKeys are the keys of a Secret in Flux's form that hold a secret.
var secretKeys = []string{"password", "bearerToken", "identity", "tls.key"}

// redact strikes out user name and password of every address in a text, and the
// credentials wherever and however they appear.
func (r Remote) redact(text string) string {
	for _, secret := range r.secrets() {
		text = strings.ReplaceAll(text, secret, struck)
	}
	text = userinfo.ReplaceAllString(text, "$1")
	return queryToken.ReplaceAllString(text, "${1}"+struck)
}

// secrets lists what must not be told, the longest first, so that no part of a
// long one is left over by a short one.
func (r Remote) secrets() []string {
	var list []string
	add := func(user, secret string) {
		if secret == "" {
			return
		}
		list = append(list, secret, url.QueryEscape(secret), url.PathEscape(secret),
			url.UserPassword("", secret).String()[1:],
			base64.StdEncoding.EncodeToString([]byte(user+":"+secret)))
	}
	user := string(r.Auth["username"])
	for _, key := range secretKeys {
		add(user, string(r.Auth[key]))
		add(strings.TrimSpace(user), strings.TrimSpace(string(r.Auth[key])))
	}
	if u, err := url.Parse(r.URL); err == nil && u.User != nil {
		password, _ := u.User.Password()
		add(u.User.Username(), password)
	}
	slices.SortFunc(list, func(a, b string) int { return len(b) - len(a) })
	return slices.Compact(list)
}
