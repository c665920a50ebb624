// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/espalier-dev/espalier/reconciler/fault"
	"github.com/espalier-dev/espalier/render/desired"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// way is how a cluster is reached.
type way struct {
	config *rest.Config
	sum    string    // tells it from others
	asked  time.Time // when a cloud was asked where the cluster is; zero: nobody was
}

// source is what says which cluster it is, in messages.
type source struct {
	name    string
	actor   string // who signs in there, at the beginning of a sentence
	untaken string // what to do where that is taken no more
	holder  string // of the address
}

func sourceOf(s *v1alpha1.RepoSync) source {
	if s.Spec.KubeConfig.ConfigMapRef != nil {
		return source{
			name: nameOf(s), actor: "The account that signs in there", holder: "the ConfigMap",
			untaken: "does not take the token of its account: provider generic needs a cluster that trusts the issuer of this one for the audience, and provider azure an AKS cluster of the identity's tenant with Entra ID (docs/remote-clusters.md)",
		}
	}
	return source{
		name: nameOf(s), actor: "The account of the kubeconfig", holder: "the kubeconfig",
		untaken: "does not take its credentials: put a current kubeconfig into the Secret, which is watched",
	}
}

// refOf is what spec.kubeConfig names.
func refOf(s *v1alpha1.RepoSync) (kind string, key types.NamespacedName) {
	key.Namespace = s.Namespace
	switch k := s.Spec.KubeConfig; {
	case k.ConfigMapRef != nil:
		key.Name = k.ConfigMapRef.Name
		return "ConfigMap", key
	case k.SecretRef != nil:
		key.Name = k.SecretRef.Name
	}
	return "Secret", key
}

func nameOf(s *v1alpha1.RepoSync) string {
	kind, key := refOf(s)
	return fmt.Sprintf("%s %s (spec.kubeConfig)", kind, key)
}

// keyOf is the entry that is named of a Secret; "": none.
func keyOf(s *v1alpha1.RepoSync) string {
	if ref := s.Spec.KubeConfig.SecretRef; ref != nil {
		return ref.Key
	}
	return ""
}

// version tells one state of the Secret or ConfigMap from another, without reading it.
func (c *Clusters) version(ctx context.Context, s *v1alpha1.RepoSync) (string, error) {
	kind, key := refOf(s)
	named := &metav1.PartialObjectMetadata{}
	named.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind(kind))
	switch err := c.Client.Get(ctx, key, named); {
	case apierrors.IsNotFound(err):
		return "missing", nil // the read that follows says so, past the cache
	case err != nil:
		return "", fmt.Errorf("reading the metadata of %s: %w", nameOf(s), err)
	}
	return strings.Join([]string{string(named.UID), named.ResourceVersion, kind, key.Name, keyOf(s), desired.Target(s)}, "/"), nil
}

// wayTo reads how the cluster of a RepoSync is reached.
func (c *Clusters) wayTo(ctx context.Context, s *v1alpha1.RepoSync) (way, error) {
	if s.Spec.KubeConfig.ConfigMapRef != nil {
		return c.federated(ctx, s)
	}
	kubeconfig, err := c.kubeconfig(ctx, s)
	if err != nil {
		return way{}, err
	}
	config, err := c.Parse(kubeconfig)
	if err != nil {
		return way{}, invalid(s, err)
	}
	sum := sha256.Sum256(kubeconfig)
	return way{config: config, sum: hex.EncodeToString(sum[:])}, nil
}

// Keys of a kubeconfig in a Secret, where none is named; they are Flux's.
var keys = []string{"value", "value.yaml"}

func (c *Clusters) kubeconfig(ctx context.Context, s *v1alpha1.RepoSync) ([]byte, error) {
	secret := &corev1.Secret{}
	_, ref := refOf(s)
	err := c.Reader.Get(ctx, ref, secret)
	if apierrors.IsNotFound(err) {
		return nil, fault.Retry(v1alpha1.ReasonKubeConfigInvalid, fmt.Errorf("%s does not exist: create it with a kubeconfig under the key value; %s", nameOf(s), meanwhile))
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", nameOf(s), err)
	}
	named := keys
	if key := keyOf(s); key != "" {
		named = []string{key}
	}
	for _, key := range named {
		if kubeconfig := secret.Data[key]; len(kubeconfig) > 0 {
			return kubeconfig, nil
		}
	}
	return nil, invalid(s, fmt.Errorf("it has no kubeconfig under the key %s: write it there, or name its key in spec.kubeConfig.secretRef.key", strings.Join(named, " or ")))
}

func invalid(s *v1alpha1.RepoSync, err error) error {
	return fault.Stopf(v1alpha1.ReasonKubeConfigInvalid, "%s: %w; %s", nameOf(s), err, meanwhile)
}
