// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"path"

	"github.com/spf13/pflag"

	"github.com/espalier-dev/espalier/render"
)

// weightsOptions say what Workspaces may reach for weights that are not downloaded, and who
// their pods may be in the cloud: rights that no tenant can give itself.
type weightsOptions struct {
	Local      string
	Accounts   []string
	Registries []string
}

// BindFlags binds the options to flags.
func (o *weightsOptions) BindFlags(fs *pflag.FlagSet) {
	fs.StringVar(&o.Local, "local-weights", "", "Directory of the nodes that holds weights, such as /opt/kaito/models: Workspaces may mount a folder of it, read-only, by spec.inference.weights.local; empty: they may not")
	fs.StringSliceVar(&o.Accounts, "weights-service-account", nil, "ServiceAccount that Workspaces may name in spec.inference.weights, to read an object store by its workload identity; repeatable, "+render.AnyAccount+" allows every one")
	fs.StringSliceVar(&o.Registries, "registry-service-account", nil, "ServiceAccount that Workspaces may name in spec.serviceAccountName, to sign in to registries of clouds by its workload identity; repeatable, "+render.AnyAccount+" allows every one")
}

// Validate says what is wrong.
func (o *weightsOptions) Validate() error {
	if o.Local == "" || path.IsAbs(o.Local) && path.Clean(o.Local) == o.Local && o.Local != "/" {
		return nil
	}
	return fmt.Errorf("--local-weights %q: want the absolute path of a directory, such as /opt/kaito/models, that holds nothing but weights", o.Local)
}

func (o *weightsOptions) set(r *render.Options) {
	r.LocalWeights, r.WeightsAccounts, r.RegistryAccounts = o.Local, o.Accounts, o.Registries
}
