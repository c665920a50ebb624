// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/meta"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/gpu/aks"
	"github.com/espalier-dev/espalier/gpu/karpenter"
	"github.com/espalier-dev/espalier/gpu/pool"
	"github.com/espalier-dev/espalier/gpu/price"
	"github.com/espalier-dev/espalier/gpu/sku"
	"github.com/espalier-dev/espalier/reconciler/nodepool"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

func newPoolsCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "pools",
		Short: "Look at the node pools in the cloud",
	}
	command.AddCommand(newOrphansCommand(), newQuotaCommand())
	return command
}

// orphanOptions are the flags of `espalier pools orphans`.
type orphanOptions struct {
	azure          aks.Options
	region, output string
}

func newOrphansCommand() *cobra.Command {
	o := orphanOptions{output: "text"}
	command := &cobra.Command{
		Use:   "orphans",
		Short: "List node pools of this cluster's Espalier that no GPUNodePool answers for",
		Long: "Lists the AKS agent pools, where the cluster is named, and the NodePools and NodeClaims of Karpenter, where it has any, that\n" +
			"carry the marks of this installation, the UID of the cluster's namespace kube-system, and whose GPUNodePool is not in the\n" +
			"cluster: NoObject where none of its name is, Reattach where one is under another UID, as after restoring a backup. It\n" +
			"deletes nothing and changes nothing.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return runOrphans(c, o) },
	}
	fs := command.Flags()
	o.azure.BindFlags(fs)
	fs.StringVar(&o.region, "region", "", "Cloud region that prices are quoted for; empty: the cheapest known")
	fs.StringVarP(&o.output, "output", "o", o.output, "text or json")
	return command
}

// askAzure prepares a command that asks Azure about a cluster, and answers as text
// or JSON.
func askAzure(o aks.Options, output string) (*aks.Provider, error) {
	switch {
	case output != "text" && output != "json":
		return nil, fmt.Errorf("--output %q: text or json", output)
	case !o.Enabled():
		return nil, errors.New("name the AKS cluster: --azure-subscription-id, --azure-resource-group and --azure-cluster-name")
	}
	config, err := o.Config()
	if err != nil {
		return nil, err
	}
	return aks.New(config)
}

func runOrphans(c *cobra.Command, o orphanOptions) error {
	if o.output != "text" && o.output != "json" {
		return fmt.Errorf("--output %q: text or json", o.output)
	}
	if err := unknownRegion(o.region); err != nil {
		return err
	}
	cluster, err := ctrl.GetConfig()
	if err != nil {
		return fmt.Errorf("finding a cluster: %w", err)
	}
	reader, err := client.New(cluster, client.Options{Scheme: newScheme()})
	if err != nil {
		return fmt.Errorf("connecting to the cluster: %w", err)
	}
	clouds, err := orphanClouds(o.azure, reader)
	if err != nil {
		return err
	}
	found, err := findOrphans(c.Context(), clouds, reader)
	if err != nil {
		return err
	}
	if o.output == "json" {
		return printJSON(c.OutOrStdout(), found)
	}
	if len(found) == 0 {
		fmt.Fprintln(c.ErrOrStderr(), "every node pool of this installation has its GPUNodePool")
		return nil
	}
	return printOrphans(c.OutOrStdout(), found, o.region)
}

// orphanClouds are those that are looked through: Karpenter's objects, and AKS where
// its cluster is named.
func orphanClouds(o aks.Options, cluster client.Client) (nodepool.Markers, error) {
	nodes, err := karpenter.New(karpenter.Config{Client: cluster, Live: cluster, Sizes: nodepool.Sizes})
	if err != nil {
		return nil, err
	}
	clouds := nodepool.Markers{nodes}
	if !o.Enabled() {
		_, err := cluster.RESTMapper().RESTMapping(karpenter.NodeClaim)
		if meta.IsNoMatchError(err) {
			return nil, errors.New("the cluster has no NodeClaims of Karpenter; for AKS, name the cluster: --azure-subscription-id, --azure-resource-group and --azure-cluster-name")
		}
		return clouds, nil
	}
	config, err := o.Config()
	if err != nil {
		return nil, err
	}
	agents, err := aks.New(config)
	if err != nil {
		return nil, err
	}
	return append(clouds, agents), nil
}

// findOrphans lists the cloud first, so that a pool that is made meanwhile has
// its object.
func findOrphans(ctx context.Context, cloud nodepool.Marker, reader client.Reader) ([]pool.Orphan, error) {
	installation, err := installationID(ctx, reader)
	if err != nil {
		return nil, err
	}
	marked, err := cloud.Marked(ctx, 0)
	if err != nil {
		return nil, err
	}
	var objects v1alpha1.GPUNodePoolList
	if err := reader.List(ctx, &objects); err != nil {
		return nil, fmt.Errorf("listing GPUNodePools: %w", err)
	}
	return append([]pool.Orphan{}, pool.Orphans(marked, installation, objects.Items)...), nil
}

func printOrphans(out io.Writer, found []pool.Orphan, region string) error {
	table := tabwriter.NewWriter(out, 0, 4, 3, ' ', 0)
	fmt.Fprintln(table, "POOL\tOF\tREASON\tINSTANCE\tNODES\tSTATE\tUSD/H")
	for _, o := range found {
		cost := "?"
		if i, ok := sku.Lookup(o.Candidate.InstanceType); ok {
			if p := price.AtMost(i, region, int(o.Count), o.Candidate.Priority); p.Known {
				cost = price.Plain(p.USD)
			}
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%d\t%s\t%s\n", o.Name, orDash(o.Object), o.Reason, o.Candidate.InstanceType, o.Count, o.State, cost)
	}
	return table.Flush()
}
