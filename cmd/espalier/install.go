// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/espalier-dev/espalier/deploy"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
)

// installOptions are the flags of `espalier install`.
type installOptions struct {
	deploy.Options
	export bool
}

func newInstallCommand() *cobra.Command {
	options := installOptions{}
	command := &cobra.Command{
		Use:   "install --export",
		Short: "Write the manifests that install this version",
		Long: "Writes the manifests of this version, the CRDs, the roles and the Deployment, for a repository that Flux or\n" +
			"Argo CD applies, or for kubectl. It touches no cluster. docs/install.md has the other ways.",
		Example: "  espalier install --export --image registry.example.com/espalier:dev --provider existing --cluster-name staging > espalier.yaml\n" +
			"  kubectl apply --server-side -f espalier.yaml",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := options.Validate(); err != nil {
				return err
			}
			manifests, err := deploy.Manifests(options.Options)
			if err != nil {
				return err
			}
			if options.ClusterName == "" {
				fmt.Fprintln(c.ErrOrStderr(), "--cluster-name is empty: RepoSyncs with spec.report will say ClusterNameMissing")
			}
			_, err = c.OutOrStdout().Write(manifests)
			return err
		},
	}
	options.BindFlags(command.Flags())
	return command
}

// BindFlags binds the options to flags.
func (o *installOptions) BindFlags(fs *pflag.FlagSet) {
	fs.BoolVar(&o.export, "export", false, "Write the manifests to standard output; required, because nothing is applied")
	fs.StringVar(&o.Image, "image", "", "Image of this version in your registry; required, none is published")
	fs.StringVar(&o.Provider, "provider", deploy.Existing, "Where the nodes of Workspaces come from: "+strings.Join([]string{deploy.AKS, deploy.Karpenter, deploy.Existing}, ", "))
	fs.StringVar(&o.ClusterName, "cluster-name", "", "Name of the cluster in status branches and comments")
	fs.StringVar(&o.Region, "region", "", "Cloud region that prices are quoted for; empty: the cheapest known")
	fs.StringVar(&o.SubscriptionID, "azure-subscription-id", "", "With --provider aks: subscription of the AKS cluster")
	fs.StringVar(&o.ResourceGroup, "azure-resource-group", "", "With --provider aks: resource group of the AKS cluster")
	fs.StringVar(&o.AKSCluster, "azure-cluster-name", "", "With --provider aks: name of the AKS cluster")
	fs.StringVar(&o.ClientID, "azure-client-id", "", "With --provider aks: client id of the managed identity (docs/aks.md)")
	fs.BoolVar(&o.Review, "review", false, "Install the controller that answers pull requests too (docs/review.md)")
	fs.StringArrayVar(&o.Args, "arg", nil, "Further flag of the controller, such as --arg=--start-limit=1h; repeatable")
}

// Validate says what is missing, all at once.
func (o *installOptions) Validate() error {
	var problems []error
	if !o.export {
		problems = append(problems, errors.New("--export is required: the manifests are written, and applied by kubectl, Flux or Argo CD"))
	}
	if o.Image == "" {
		problems = append(problems, errors.New("--image is required: none is published; build it from deploy/Dockerfile and push it to your registry"))
	}
	azure := o.SubscriptionID != "" && o.ResourceGroup != "" && o.AKSCluster != "" && o.ClientID != ""
	if o.Provider == deploy.AKS && !azure {
		problems = append(problems, errors.New("--provider aks needs --azure-subscription-id, --azure-resource-group, --azure-cluster-name and --azure-client-id"))
	}
	if o.Review && o.ClusterName == "" {
		problems = append(problems, errors.New("--review needs --cluster-name: comments on pull requests have it"))
	}
	for _, arg := range o.Args {
		problems = append(problems, checkArg(arg))
	}
	return errors.Join(append(problems, checkProvider(o.Provider))...)
}

// checkArg refuses what `espalier controller` would not start with.
func checkArg(arg string) error {
	if !strings.HasPrefix(arg, "--") {
		return fmt.Errorf("--arg %q: want a flag of `espalier controller`, such as --arg=--start-limit=1h", arg)
	}
	flags := newControllerCommand().Flags()
	name, _, _ := strings.Cut(arg[2:], "=")
	if flags.Lookup(name) != nil {
		if err := flags.Parse([]string{arg}); err != nil {
			return fmt.Errorf("--arg %q: %w", arg, err)
		}
		return nil
	}
	var known []string
	flags.VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			known = append(known, f.Name)
		}
	})
	hint := "docs/flags.md has those that there are"
	if near := repolayout.Nearest(name, known); near != "" {
		hint = "did you mean --" + near + "?"
	}
	return fmt.Errorf("--arg %q: `espalier controller` has no flag --%s: %s", arg, name, hint)
}
