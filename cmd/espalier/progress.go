// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/spf13/pflag"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/espalier-dev/espalier/reconciler/progress"
	"github.com/espalier-dev/espalier/render"
)

// progressOptions are where trainers say how far they are.
type progressOptions struct {
	Addr, URL, Secret string
}

// BindFlags binds the options to flags.
func (o *progressOptions) BindFlags(fs *pflag.FlagSet) {
	fs.StringVar(&o.URL, "progress-url", "", "https:// address at which tuning pods reach --progress-addr, to say how far they are; empty: they do not")
	fs.StringVar(&o.Addr, "progress-addr", ":9443", "Address that the progress of tuning runs is taken at, over TLS")
	fs.StringVar(&o.Secret, "progress-secret", "espalier-system/espalier-progress", "Secret NAMESPACE/NAME that the certificate for --progress-url is kept in, and made in when it is not there")
}

// Validate says what is missing.
func (o *progressOptions) Validate() error {
	if o.URL == "" {
		return nil
	}
	var problems []error
	if u, err := url.Parse(o.URL); err != nil || u.Scheme != "https" || u.Hostname() == "" || u.Path != "" && u.Path != "/" {
		problems = append(problems, fmt.Errorf("--progress-url %q: https://HOST[:PORT], where tuning pods send a token", o.URL))
	}
	if o.Addr == "" {
		problems = append(problems, errors.New("--progress-url needs --progress-addr, to listen on"))
	}
	key, err := objectName("--progress-secret", o.Secret)
	if err == nil && key.Name == "" {
		err = errors.New("--progress-url needs --progress-secret, for its certificate")
	}
	return errors.Join(append(problems, err)...)
}

// serve adds the server to the manager, and tells tuning pods of it; nil where
// nobody listens.
func (o *progressOptions) serve(ctx context.Context, mgr ctrl.Manager, to *render.Options) (*progress.Store, error) {
	if o.URL == "" {
		return nil, nil
	}
	u, err := url.Parse(o.URL)
	if err != nil {
		return nil, fmt.Errorf("--progress-url: %w", err)
	}
	key, err := objectName("--progress-secret", o.Secret)
	if err != nil {
		return nil, err
	}
	identity, err := progress.Obtain(ctx, mgr.GetClient(), mgr.GetAPIReader(), key, u.Hostname(), time.Now())
	if err != nil {
		return nil, err
	}
	store := progress.NewStore(time.Now)
	err = mgr.Add(&progress.Server{
		Addr: o.Addr, Certificate: identity.Certificate, Store: store,
		Callers: progress.NewCallers(mgr.GetClient(), mgr.GetAPIReader(), time.Now),
	})
	if err != nil {
		return nil, fmt.Errorf("adding the server of progress: %w", err)
	}
	to.Progress = &render.Progress{URL: u.JoinPath(progress.Path).String(), Audience: progress.Audience, Authority: string(identity.Authority)}
	return store, nil
}
