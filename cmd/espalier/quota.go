// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/yaml"

	"github.com/espalier-dev/espalier/gpu/aks"
	"github.com/espalier-dev/espalier/gpu/pool"
	"github.com/espalier-dev/espalier/gpu/quota"
	"github.com/espalier-dev/espalier/reconciler/nodepool"
)

// quotaOptions are the flags of `espalier pools quota`.
type quotaOptions struct {
	azure  aks.Options
	output string
}

func newQuotaCommand() *cobra.Command {
	o := quotaOptions{output: "text"}
	command := &cobra.Command{
		Use:   "quota",
		Short: "List the quotas and sizes that Azure has for GPU nodes of this cluster",
		Long: "Asks Azure, with the credentials of the environment, which GPU sizes the subscription may have where the AKS cluster is,\n" +
			"and how much of each quota is used. `espalier plan --quota FILE` takes what -o json writes. It changes nothing.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return runQuota(c, o) },
	}
	o.azure.BindFlags(command.Flags())
	command.Flags().StringVarP(&o.output, "output", "o", o.output, "text or json")
	return command
}

func runQuota(c *cobra.Command, o quotaOptions) error {
	cloud, err := askAzure(o.azure, o.output)
	if err != nil {
		return err
	}
	listed, err := cloud.Offers(c.Context())
	if listed == nil {
		return err
	}
	if err != nil {
		fmt.Fprintf(c.ErrOrStderr(), "in part: %v\n", err)
	}
	if o.output == "json" {
		text, err := quota.Write(listed)
		if err != nil {
			return err
		}
		_, err = c.OutOrStdout().Write(text)
		return err
	}
	return printQuota(c.OutOrStdout(), listed)
}

func printQuota(out io.Writer, s *quota.Snapshot) error {
	table := tabwriter.NewWriter(out, 0, 4, 3, ' ', 0)
	fmt.Fprintln(table, "QUOTA\tUSED\tLIMIT\tVCPUS LEFT")
	for _, u := range s.Usages {
		fmt.Fprintf(table, "%s\t%d\t%d\t%d\n", quota.Draw{Name: u.Name}.Label(), u.Used, u.Limit, max(u.Limit-u.Used, 0))
	}
	fmt.Fprintln(table, "\nSIZE\tFAMILY\tVCPUS\tZONES\tON DEMAND\tSPOT")
	for _, z := range s.Sizes {
		fmt.Fprintf(table, "%s\t%s\t%d\t%s\t%s\t%s\n", z.Name, z.Family, z.VCPUs, orDash(strings.Join(z.Zones, " ")), nodesLeft(s, z, false), nodesLeft(s, z, true))
	}
	return table.Flush()
}

// nodesLeft says how many nodes of a size the quotas still allow, or why none.
func nodesLeft(s *quota.Snapshot, z quota.Size, spot bool) string {
	if why := pool.Foreseen(s.Unfit(quota.Ask{InstanceType: z.Name, Spot: spot}), s); why != nil {
		return string(why.Class)
	}
	draws := s.Draws(quota.Ask{InstanceType: z.Name, Spot: spot, Nodes: 1})
	if len(draws) == 0 {
		return "?"
	}
	left := -1
	for _, d := range draws {
		if n := max(d.Limit-d.Used, 0) / d.Needed; left < 0 || n < left {
			left = n
		}
	}
	return fmt.Sprint(left)
}

// readQuota reads what `espalier pools quota -o json` wrote, or the ConfigMap in
// which the controller publishes the same.
func readQuota(file string) (*quota.Snapshot, error) {
	if file == "" {
		return nil, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("--quota: %w", err)
	}
	var published corev1.ConfigMap
	if yaml.Unmarshal(text, &published) == nil && published.Kind == "ConfigMap" {
		text = []byte(published.Data[quota.Key])
	}
	listed, err := quota.Read(text)
	if err != nil {
		return nil, fmt.Errorf("--quota %s: %w", file, err)
	}
	return listed, nil
}

const quotaFlag = "--quota-config-map"

// objectName reads the NAMESPACE/NAME that a flag gives; empty for empty.
func objectName(flag, s string) (types.NamespacedName, error) {
	namespace, name, ok := strings.Cut(s, "/")
	if s != "" && (!ok || namespace == "" || name == "" || strings.Contains(name, "/")) {
		return types.NamespacedName{}, fmt.Errorf("%s %q: NAMESPACE/NAME", flag, s)
	}
	return types.NamespacedName{Namespace: namespace, Name: name}, nil
}

// addPublisher publishes the quotas of the cloud where there is one to ask.
func addPublisher(mgr ctrl.Manager, o controllerOptions, from pool.Provider) error {
	source, ok := from.(nodepool.Forecaster)
	name, err := objectName(quotaFlag, o.QuotaConfigMap)
	if err != nil || !ok || name.Name == "" {
		return err
	}
	p := &nodepool.Publisher{Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Offers: source, Name: name, Clock: time.Now}
	if err := mgr.Add(p); err != nil {
		return fmt.Errorf("adding the publisher of quotas: %w", err)
	}
	return nil
}
