// SPDX-License-Identifier: Apache-2.0

package flux

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"io"
	"log"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/sigstore/sigstore/pkg/cryptoutils"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/sigstore/sigstore/pkg/signature/payload"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/espalier-dev/espalier/test/harness"
)

// TestVerified: the real source-controller verifies with cosign what it fetches, and
// only what it lets through is applied. Before anything was verified the RepoSync says
// why there is nothing; afterwards what was verified last stays.
func TestVerified(t *testing.T) {
	p := newProject(t, "verified")
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	reference := strings.TrimPrefix(server.URL, "http://") + "/models:latest"
	ours, foreign := newSigner(t), newSigner(t)
	must(t, p.world.Client.Create(t.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: p.Namespace, Name: "signers"}, Data: map[string][]byte{"team.pub": ours.public(t)},
	}))

	files := p.sample()
	first := p.pushArtifact(reference, files)
	p.apply(strings.NewReplacer("REGISTRY/NAME", strings.TrimSuffix(reference, ":latest"), "NAME", models).Replace(fromRegistry) +
		"  verify:\n    provider: cosign\n    secretRef: {name: signers}\n")
	p.apply(p.edited(files["clusters/staging/reposync.yaml"], map[string]string{"kind: GitRepository": "kind: OCIRepository"}))
	p.until("RepoSync", models, "told that nothing is signed", func(s state) bool {
		return s.is("SourceReady", "False SourceUnreachable: OCIRepository verified/models has no artifact yet: VerificationError")
	})
	ours.sign(t, first)
	p.ask("OCIRepository", "signed")
	p.until("Workspace", harness.InferenceName, "Ready", func(s state) bool { return s.is("Ready", "True") })
	applied := func(digest name.Digest) func(state) bool {
		return func(s state) bool { return s.readyAt(digest.DigestStr()) }
	}
	p.until("RepoSync", models, "applied", applied(first))

	p.replace(files, served, "contextLength: 32768", "contextLength: 8192")
	second := p.pushArtifact(reference, files)
	p.unverified("unsigned", first)
	foreign.sign(t, second)
	p.unverified("signed by another", first)
	ours.sign(t, second)
	p.ask("OCIRepository", "signed by ours too")
	p.until("RepoSync", models, "applied", applied(second))
	p.context(harness.InferenceName, "8192")
}

// unverified asserts that what the registry has is not let through, and that what was
// before it stays.
func (p *project) unverified(token string, before name.Digest) {
	p.t.Helper()
	p.ask("OCIRepository", token)
	p.until("OCIRepository", models, "refused "+token, func(s state) bool {
		return s.at("status", "lastHandledReconcileAt") == token && s.is("SourceVerified", "False VerificationError")
	})
	p.ask("RepoSync", token)
	s := p.until("RepoSync", models, "asked "+token, func(s state) bool { return s.at("status", "lastHandledReconcileAt") == token })
	if !s.readyAt(before.DigestStr()) {
		p.t.Errorf("%s: the RepoSync is at %s, %s", token, s.at("status", "lastAppliedRevision"), s.condition("Ready"))
	}
	p.context(harness.InferenceName, "32768")
}

// signer signs as `cosign sign --key --tlog-upload=false` does.
type signer struct{ signature.SignerVerifier }

func newSigner(t *testing.T) signer {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	s, err := signature.LoadECDSASignerVerifier(private, crypto.SHA256)
	must(t, err)
	return signer{s}
}

func (s signer) public(t *testing.T) []byte {
	t.Helper()
	key, err := s.PublicKey()
	must(t, err)
	text, err := cryptoutils.MarshalPublicKeyToPEM(key)
	must(t, err)
	return text
}

// sign puts the signature where cosign looks for it, beside those that are there.
func (s signer) sign(t *testing.T, artifact name.Digest) {
	t.Helper()
	text, err := payload.Cosign{Image: artifact}.MarshalJSON()
	must(t, err)
	mark, err := s.SignMessage(bytes.NewReader(text))
	must(t, err)
	tag := artifact.Context().Tag(strings.Replace(artifact.DigestStr(), ":", "-", 1) + ".sig")
	there, err := remote.Image(tag)
	if err != nil { // the first
		there = mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	}
	all, err := mutate.Append(there, mutate.Addendum{
		Layer:       static.NewLayer(text, "application/vnd.dev.cosign.simplesigning.v1+json"),
		Annotations: map[string]string{"dev.cosignproject.cosign/signature": base64.StdEncoding.EncodeToString(mark)},
	})
	must(t, err)
	must(t, remote.Write(tag, all))
}
