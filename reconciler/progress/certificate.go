// SPDX-License-Identifier: Apache-2.0

package progress

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/cert"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Times of the certificate. Trainers read the authority once, when they start, so
// that a new one must be rare.
const (
	validFor = 10 * 365 * 24 * time.Hour
	renewAt  = 365 * 24 * time.Hour // before its end
)

// Identity is what the server shows, and what trainers know it by.
type Identity struct {
	Certificate tls.Certificate
	Authority   []byte // PEM
}

// Obtain reads the identity from a Secret, or makes one for the host that tuning
// pods call and keeps it there, so that a restart changes nothing for runs under
// way. Replicas that start together come to the same one.
func Obtain(ctx context.Context, c client.Client, reader client.Reader, key types.NamespacedName, host string, now time.Time) (Identity, error) {
	secret := &corev1.Secret{}
	err := reader.Get(ctx, key, secret)
	if client.IgnoreNotFound(err) != nil {
		return Identity{}, fmt.Errorf("reading Secret %s: %w", key, err)
	}
	missing := err != nil
	if id, ok := usable(secret.Data, host, now); ok {
		return id, nil
	}
	secret.Name, secret.Namespace, secret.Type = key.Name, key.Namespace, corev1.SecretTypeTLS
	if secret.Data, err = issue(host); err != nil {
		return Identity{}, err
	}
	if missing {
		err = c.Create(ctx, secret)
	} else {
		err = c.Update(ctx, secret)
	}
	if apierrors.IsAlreadyExists(err) || apierrors.IsConflict(err) {
		if err := reader.Get(ctx, key, secret); err != nil {
			return Identity{}, fmt.Errorf("reading Secret %s: %w", key, err)
		}
	} else if err != nil {
		return Identity{}, fmt.Errorf("keeping the certificate for progress in Secret %s: %w", key, err)
	}
	id, ok := usable(secret.Data, host, now)
	if !ok {
		return Identity{}, fmt.Errorf("the certificate that another replica has put into Secret %s is not for %s: give both the same --progress-url", key, host)
	}
	return id, nil
}

// authorityKey is the key of the authority, beside those of a TLS Secret.
const authorityKey = "ca.crt"

func issue(host string) (map[string][]byte, error) {
	certificate, key, err := cert.GenerateSelfSignedCertKeyWithOptions(cert.SelfSignedCertKeyOptions{Host: host, MaxAge: validFor})
	if err != nil {
		return nil, fmt.Errorf("making a certificate for %s: %w", host, err)
	}
	// The first is the server's, the second who signed it.
	_, authority := pem.Decode(certificate)
	if block, _ := pem.Decode(authority); block == nil {
		return nil, errors.New("making a certificate: it came without its authority")
	}
	return map[string][]byte{corev1.TLSCertKey: certificate, corev1.TLSPrivateKeyKey: key, authorityKey: authority}, nil
}

// usable says whether a Secret holds an identity for the host that does not end
// soon.
func usable(data map[string][]byte, host string, now time.Time) (Identity, bool) {
	pair, err := tls.X509KeyPair(data[corev1.TLSCertKey], data[corev1.TLSPrivateKeyKey])
	if err != nil {
		return Identity{}, false
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(data[authorityKey]) {
		return Identity{}, false
	}
	_, err = pair.Leaf.Verify(x509.VerifyOptions{DNSName: host, Roots: roots, CurrentTime: now.Add(renewAt)})
	return Identity{Certificate: pair, Authority: data[authorityKey]}, err == nil
}
