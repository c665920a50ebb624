// SPDX-License-Identifier: Apache-2.0

package adapter

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/sigstore/sigstore/pkg/signature/payload"

	"github.com/espalier-dev/espalier/reconciler/cosign"
)

// Where cosign looks for signatures, from its SIGNATURE_SPEC.
const (
	signatureSuffix     = ".sig"
	signatureAnnotation = "dev.cosignproject.cosign/signature"
	signatureMediaType  = types.MediaType("application/vnd.dev.cosign.simplesigning.v1+json")
)

// maxPayload bounds a payload that a registry gives, in bytes; ours has some 300.
const maxPayload = 64 << 10

// Key signs as `cosign sign --key` does, without a transparency log.
type Key struct{ signer signature.SignerVerifier }

// LoadKey reads cosign.key of dir, and cosign.password where there is one.
func LoadKey(dir string) (*Key, error) {
	text, err := os.ReadFile(filepath.Join(dir, cosign.KeyFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil, refused("%s holds no %s: mount the Secret that cosign generate-key-pair k8s://NAMESPACE/NAME makes", dir, cosign.KeyFile)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the signing key: %w", err)
	}
	password, err := os.ReadFile(filepath.Join(dir, cosign.PasswordFile))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("reading the password of the signing key: %w", err)
	}
	signer, err := cosign.Open(text, password)
	if err != nil {
		return nil, refused("%v", err)
	}
	return &Key{signer}, nil
}

// sign adds a signature of the image to those that the repository has of it,
// unless one by this key is among them, and returns their tag.
func (k *Key) sign(ctx context.Context, image name.Digest, o ...remote.Option) (name.Tag, error) {
	tag := image.Context().Tag(strings.Replace(image.DigestStr(), ":", "-", 1) + signatureSuffix)
	o = append(o, remote.WithContext(ctx))
	there, err := signatures(tag, o)
	if err != nil {
		return tag, err
	}
	signed, err := k.among(there, image)
	if err != nil || signed {
		return tag, err
	}
	more, err := k.add(there, image)
	if err != nil {
		return tag, err
	}
	return tag, remote.Write(tag, more, o...)
}

// signatures is the image that holds them, an empty one where there are none.
func signatures(tag name.Tag, o []remote.Option) (v1.Image, error) {
	image, err := remote.Image(tag, o...)
	var answer *transport.Error
	if errors.As(err, &answer) && answer.StatusCode == http.StatusNotFound {
		return mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON), nil
	}
	return image, err
}

// among says whether this key has signed the image already.
func (k *Key) among(there v1.Image, image name.Digest) (bool, error) {
	manifest, err := there.Manifest()
	if err != nil {
		return false, fmt.Errorf("reading the signatures that are there: %w", err)
	}
	for _, l := range manifest.Layers {
		mark, err := base64.StdEncoding.DecodeString(l.Annotations[signatureAnnotation])
		if err != nil || l.Size > maxPayload {
			continue
		}
		text, err := content(there, l.Digest)
		if err != nil {
			return false, fmt.Errorf("reading a signature that is there: %w", err)
		}
		var said payload.Cosign
		if k.signer.VerifySignature(bytes.NewReader(mark), bytes.NewReader(text)) != nil || said.UnmarshalJSON(text) != nil {
			continue
		}
		if said.Image.DigestStr() == image.DigestStr() {
			return true, nil
		}
	}
	return false, nil
}

func content(image v1.Image, digest v1.Hash) ([]byte, error) {
	layer, err := image.LayerByDigest(digest)
	if err != nil {
		return nil, err
	}
	r, err := layer.Compressed()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(io.LimitReader(r, maxPayload))
}

func (k *Key) add(there v1.Image, image name.Digest) (v1.Image, error) {
	text, err := payload.Cosign{Image: image}.MarshalJSON()
	if err != nil {
		return nil, fmt.Errorf("writing what is signed: %w", err)
	}
	mark, err := k.signer.SignMessage(bytes.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("signing %s: %w", image, err)
	}
	return mutate.Append(there, mutate.Addendum{
		Layer:       static.NewLayer(text, signatureMediaType),
		Annotations: map[string]string{signatureAnnotation: base64.StdEncoding.EncodeToString(mark)},
	})
}
