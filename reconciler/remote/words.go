// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"syscall"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/espalier-dev/espalier/reconciler/fault"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// retold turns what a request ended in into what may be shown. An error of the
// network names the address, and what answers there may be no API server and say
// anything: both are told in words of our own. What an API server says stays.
func (c *Cluster) retold(err error) error {
	var status apierrors.APIStatus
	var unable *signInError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &unable):
		return unsigned(c.of.name, unable.of)
	case apierrors.IsUnauthorized(err):
		return fault.Retry(v1alpha1.ReasonAuthFailed, fmt.Errorf("the cluster of %s %s; %s", c.of.name, c.of.untaken, meanwhile))
	case isUnknownKind(err):
		return fault.Retry(v1alpha1.ReasonClusterUnreachable, fmt.Errorf("the cluster of %s does not know the kinds of Espalier: install it there (docs/remote-clusters.md); %s", c.of.name, meanwhile))
	case errors.As(err, &status) && !apierrors.HasStatusCause(err, metav1.CauseTypeUnexpectedServerResponse):
		return err
	case status != nil:
		return c.unreachable("what answers there is no Kubernetes API server, or a proxy of it says no")
	}
	return c.unreachable(ofNetwork(err))
}

// isUnknownKind says that a kind of ours is what is missing, and not an object of it: of
// an object the answer is a Status.
func isUnknownKind(err error) bool {
	var status apierrors.APIStatus
	if !apierrors.IsNotFound(err) || !errors.As(err, &status) || status.Status().Details == nil {
		return false
	}
	details := status.Status().Details
	return details.Group == v1alpha1.Group && (details.Name == "" || apierrors.HasStatusCause(err, metav1.CauseTypeUnexpectedServerResponse))
}

// meanwhile ends what is said of a cluster that is not to be had.
const meanwhile = "nothing is applied or pruned there meanwhile, and what runs there runs on"

func (c *Cluster) unreachable(words string) error {
	return fault.Retry(v1alpha1.ReasonClusterUnreachable, fmt.Errorf("the cluster of %s cannot be reached: %s; %s. It is asked again by itself; compare the address in %s, and see that this controller may connect there", c.of.name, words, meanwhile, c.of.holder))
}

// tooSlow says that a pass has ended in its midst. The cluster is there.
func (c *Cluster) tooSlow() error {
	return fault.Retry(v1alpha1.ReasonClusterUnreachable, fmt.Errorf("the cluster of %s answers too slowly for all that there is to do: after %d minutes others have their turn, "+
		"and the next pass goes on where this one ends", c.of.name, int(passLimit.Minutes())))
}

// ofNetwork says what is wrong between here and a server. What is none of this is of
// what the server answered, and may quote it.
func ofNetwork(err error) string {
	var request *url.Error
	var dns *net.DNSError
	var timeout net.Error
	switch {
	case errors.Is(err, errRedirected):
		return "its server leads elsewhere by a redirect, which is not followed: name the address it leads to"
	case errors.Is(err, errTooLarge):
		return "it answers more than any API server that is asked for this"
	case errors.As(err, &dns):
		return "the name of its server is not known here"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return "it does not answer in time"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "its server refuses the connection"
	case ofCertificate(err):
		return "its certificate is not one that the authority and the address given for it allow"
	case errors.As(err, &request), errors.As(err, &timeout), errors.Is(err, context.Canceled):
		return "the connection fails"
	}
	return "what it answers cannot be read as that of a Kubernetes API server"
}

func ofCertificate(err error) bool {
	var authority x509.UnknownAuthorityError
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	var verification *tls.CertificateVerificationError
	return errors.As(err, &authority) || errors.As(err, &host) || errors.As(err, &invalid) || errors.As(err, &verification)
}
