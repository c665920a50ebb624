// SPDX-License-Identifier: Apache-2.0

// Package keyvault has Azure Key Vault decrypt the data keys of files that SOPS
// encrypted, as a ServiceAccount of the namespace that the files belong to, or as the
// controller.
//
// Which vault is asked stands in the file, and so is written by whoever can push. A
// request goes to a host that is a vault of the cloud that is configured, and to no
// other, by https, to no redirect; what it carries is a token for vaults alone. An error
// of it says what is missing, where, and who can give it. Of a vault's answer it repeats
// no words; of a refusal of Entra ID the code, and where that is no known one, its first
// sentence.
//
// Why it is so: docs/design/0079.
package keyvault

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azkeys"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/reconciler/account"
	"github.com/espalier-dev/espalier/reconciler/identity"
	"github.com/espalier-dev/espalier/render/sops"
)

// Options are what a Client is made of.
type Options struct {
	// Cloud as --azure-cloud has it: public, government or china; "" is public.
	Cloud string
	// Foreign says that the cloud is one of somebody's own, whose vaults nobody knows:
	// none is asked.
	Foreign bool
	// HTTP is who is asked by; nil: http.DefaultClient. Redirects are never followed.
	HTTP *http.Client
	// Kube makes tokens of accounts, and reads those past the cache.
	Kube   client.Client
	Reader client.Reader
	// Env has the environment of the controller, in which its own workload identity is.
	Env func(string) string
}

// Client asks vaults.
type Client struct {
	Options
	http  *http.Client
	where vaults
}

// vaults are those of one cloud.
type vaults struct {
	name, suffix string // of hosts
	scope        string // of tokens, which are good for vaults and for nothing else
	cloud        cloud.Configuration
}

// The suffixes are Microsoft's own
// (https://learn.microsoft.com/azure/key-vault/general/about-keys-secrets-certificates#dns-suffixes-for-object-identifiers).
var clouds = map[string]vaults{
	"public":     {"public", ".vault.azure.net", "https://vault.azure.net/.default", cloud.AzurePublic},
	"government": {"government", ".vault.usgovcloudapi.net", "https://vault.usgovcloudapi.net/.default", cloud.AzureGovernment},
	"china":      {"china", ".vault.azure.cn", "https://vault.azure.cn/.default", cloud.AzureChina},
}

// New returns a Client. A cloud that is not known has no vaults.
func New(o Options) *Client {
	if o.Cloud == "" {
		o.Cloud = "public"
	}
	c := &Client{Options: o, http: identity.Direct(o.HTTP)}
	if !o.Foreign {
		c.where = clouds[o.Cloud]
	}
	return c
}

// What one pass over a repository may take: who pushes decides how many vaults it names.
const (
	maxSession = 2 * time.Minute
	maxAnswer  = 25 * time.Second // of one question, with its tries
)

// Session asks for one pass over a repository. It belongs to one goroutine at a time.
type Session struct {
	*Client
	as     account.Account
	nobody string                 // why nothing is asked at all
	live   *corev1.ServiceAccount // as it was when the pass began; nil: unread, or the controller asks
	unread *refusal               // why it was not read

	pass  context.Context // a tree of files, which asks, has none
	limit time.Duration   // of all questions together
	ctx   context.Context // of those; nil: none was asked yet
	close func()

	signed         *signer // who signs in; nil: nothing was asked yet
	clients        map[string]*azkeys.Client
	unanswered     map[string]*refusal // vaults and keys that are not asked again, with why
	refused, retry bool
}

// Session begins a pass, as the account that has the name now. Close ends it.
func (c *Client) Session(ctx context.Context, as account.Account) *Session {
	s := &Session{Client: c, as: as, pass: ctx, limit: maxSession, close: func() {}, clients: map[string]*azkeys.Client{}, unanswered: map[string]*refusal{}}
	if !as.Own() && c.where.suffix != "" {
		s.live, s.unread = s.read()
	}
	return s
}

// Mark tells who asks from all others: what was opened for one is not handed to another. An
// account that was made anew is another, whatever its name, and so is one whose workload
// identity was changed.
func (s *Session) Mark() string {
	if s.nobody != "" {
		return ""
	}
	mark := s.as.User()
	if s.live != nil {
		mark = fmt.Sprintf("%s %q %q", mark, s.live.UID, []string{s.live.Annotations[identity.AnnotationClient], s.live.Annotations[identity.AnnotationTenant]})
	}
	return mark
}

// within is what bounds all questions. It begins with the first: how long a build takes
// before is no vault's doing.
func (s *Session) within() context.Context {
	if s.ctx == nil {
		s.ctx, s.close = context.WithTimeout(s.pass, s.limit)
	}
	return s.ctx
}

// late says that the time of all questions is up, while that of the pass is not.
func (s *Session) late() bool { return s.ctx != nil && s.ctx.Err() != nil && s.pass.Err() == nil }

// Nobody is a Session that asks nothing, and says why.
func Nobody(why string) *Session { return &Session{Client: &Client{}, nobody: why, close: func() {}} }

// Close ends a Session; nil asks nothing.
func (s *Session) Close() {
	if s != nil {
		s.close()
	}
}

// Refused says whether something was not decrypted.
func (s *Session) Refused() bool { return s != nil && s.refused }

// Retryable says whether waiting can cure something of it.
func (s *Session) Retryable() bool { return s != nil && s.retry }

var (
	vaultName = regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9-]{1,22}[a-zA-Z0-9]$`)
	keyName   = regexp.MustCompile(`^[a-zA-Z0-9-]{1,127}$`)
	version   = regexp.MustCompile(`^[a-zA-Z0-9]{0,64}$`)
)

// hostOf is the host of a vault of the cloud that is configured, and of nothing else.
func (v vaults) hostOf(address string) (host string, ok bool) {
	at, err := url.Parse(address)
	if err != nil || v.suffix == "" || at.Scheme != "https" || at.User != nil || at.RawQuery != "" || at.Fragment != "" || strings.Trim(at.Path, "/") != "" {
		return "", false
	}
	name, ok := strings.CutSuffix(strings.ToLower(at.Host), v.suffix) // with a port it is no vault
	return name + v.suffix, ok && vaultName.MatchString(name)
}

// Decrypt implements sops.Vaults.
func (s *Session) Decrypt(key sops.VaultKey, encrypted []byte) ([]byte, error) {
	opened, refused := s.decrypt(key, encrypted)
	if refused == nil {
		return opened, nil
	}
	s.refused, s.retry = true, s.retry || refused.retry
	return nil, refused
}

// vaultOf is the host of a key's vault, where one may be asked for such a key.
func (s *Session) vaultOf(key sops.VaultKey) (host string, refused *refusal) {
	host, ok := s.where.hostOf(key.URL)
	switch {
	case s.nobody != "":
		return "", refusef("%s", s.nobody)
	case s.where.suffix == "":
		return "", errForeign
	case !ok:
		return "", s.noVault(key.URL)
	case !keyName.MatchString(key.Name) || !version.MatchString(key.Version):
		return "", refusef("the file names a key of %s that no vault can have: encrypt it anew", host)
	}
	return host, nil
}

func (s *Session) decrypt(key sops.VaultKey, encrypted []byte) (opened []byte, refused *refusal) {
	host, refused := s.vaultOf(key)
	if refused != nil {
		return nil, refused
	}
	one := host + "/" + key.Name + "/" + key.Version
	for _, place := range []string{everywhere, host, one} {
		if refused := s.unanswered[place]; refused != nil {
			return nil, refused
		}
	}
	opened, refused = s.ask(host, key, encrypted)
	if refused == nil {
		return opened, nil
	}
	if refused.retry && s.late() {
		refused = retryf("%s was not asked within %s, which is what key vaults have for a revision", host, s.limit)
		refused.of = ofAll
	}
	switch refused.of {
	case ofAll:
		s.unanswered[everywhere] = refused
	case ofVault:
		s.unanswered[host] = refused
	case ofKey:
		s.unanswered[one] = refused
	}
	return nil, refused
}

// everywhere stands for all vaults.
const everywhere = ""

// ask asks one vault.
func (s *Session) ask(host string, key sops.VaultKey, encrypted []byte) (opened []byte, refused *refusal) {
	// What a proxy puts in the place of a challenge can make the library panic.
	defer func() {
		if recover() != nil {
			opened, refused = nil, unreadable(host)
		}
	}()
	signed, refused := s.signIn()
	if refused != nil {
		return nil, refused
	}
	vault, err := s.clientOf(host, signed)
	if err != nil {
		return nil, unreadable(host)
	}
	ctx, cancel := context.WithTimeout(s.within(), maxAnswer)
	defer cancel()
	answer, err := vault.Decrypt(ctx, key.Name, key.Version, azkeys.KeyOperationParameters{
		Algorithm: ptr.To(azkeys.EncryptionAlgorithmRSAOAEP256), Value: encrypted,
	}, nil)
	if err != nil {
		return nil, said{host: host, key: key.Name, version: key.Version, who: signed.who}.of(err)
	}
	return answer.Result, nil
}

func (s *Session) clientOf(host string, as azcore.TokenCredential) (*azkeys.Client, error) {
	if c := s.clients[host]; c != nil {
		return c, nil
	}
	c, err := azkeys.NewClient("https://"+host, as, &azkeys.ClientOptions{ClientOptions: s.azure().ClientOptions()})
	if err == nil {
		s.clients[host] = c
	}
	return c, err
}

// azure signs in.
func (c *Client) azure() identity.Azure {
	return identity.Azure{Accounts: identity.Accounts{Kube: c.Kube, Reader: c.Reader}, Cloud: c.where.cloud, HTTP: c.http, Env: c.Env}
}
