// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/espalier-dev/espalier/gpu/price"
	"github.com/espalier-dev/espalier/gpu/sku"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// skuOptions filter `espalier skus`.
type skuOptions struct {
	Cloud, GPU, Region, Output string
	MinMemory, MaxUSD          float64
	Schedulable                bool
}

func (o skuOptions) validate() error {
	switch {
	case !slices.Contains([]string{"", sku.Azure, sku.AWS, sku.GCP}, o.Cloud):
		return fmt.Errorf("--cloud %q: azure, aws or gcp", o.Cloud)
	case !slices.Contains([]string{"text", "json"}, o.Output):
		return fmt.Errorf("--output %q: text or json", o.Output)
	case o.MinMemory < 0 || o.MaxUSD < 0:
		return errors.New("--min-memory and --max-usd are not negative")
	case !slices.ContainsFunc(sku.All(), o.hasGPU):
		return fmt.Errorf("--gpu %q: no type has such a GPU; they are %s; of a node of your own name a type with the nearest that has at most its memory and compute capability (docs/own-nodes.md)", o.GPU, strings.Join(chips(), ", "))
	}
	return unknownRegion(o.Region)
}

// skuAnswer is an instance type as JSON. What is not known is absent or null.
type skuAnswer struct {
	Name            string   `json:"name"`
	Cloud           string   `json:"cloud"`
	GPU             string   `json:"gpu"`
	GPUs            *int     `json:"gpus"`
	Fraction        string   `json:"fraction,omitempty"`
	MemoryMiBPerGPU *int64   `json:"memoryMiBPerGPU"`
	VendorGBPerGPU  float64  `json:"vendorGBPerGPU"`
	Capability      string   `json:"computeCapability,omitempty"`
	BF16            bool     `json:"bf16"`
	FP8             bool     `json:"fp8"`
	NVLink          bool     `json:"nvlink"`
	RDMA            bool     `json:"rdma"`
	Arch            string   `json:"arch"`
	Driver          string   `json:"driver,omitempty"`
	VCPUs           int      `json:"vcpus"`
	RAMGiB          float64  `json:"ramGiB,omitempty"`
	LocalDiskGiB    float64  `json:"localDiskGiB,omitempty"`
	QuotaFamily     string   `json:"quotaFamily"`
	QuotaVerified   bool     `json:"quotaFamilyVerified"`
	Status          string   `json:"status"`
	RetiredOn       string   `json:"retiredOn,omitempty"`
	HourlyUSD       *float64 `json:"hourlyUSD"`
	SpotUSD         *float64 `json:"spotUSD"`
	PriceDate       string   `json:"priceDate"`
	PriceRegion     string   `json:"priceRegion,omitempty"`
	Note            string   `json:"note,omitempty"`
	WhyNot          string   `json:"notSchedulable,omitempty"`
}

func newSKUsCommand() *cobra.Command {
	o := skuOptions{Output: "text"}
	command := &cobra.Command{
		Use:   "skus",
		Short: "List GPU instance types with memory, driver and list price",
		Long: "Lists the GPU instance types of Azure, AWS and Google Cloud. Memory is what the driver reports, not the\n" +
			"data sheet's figure; prices are list prices of one node, with the day they were read.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := o.validate(); err != nil {
				return err
			}
			found := o.find()
			if o.Output == "json" {
				return printJSON(c.OutOrStdout(), found)
			}
			return printSKUs(tabwriter.NewWriter(c.OutOrStdout(), 0, 4, 2, ' ', 0), found)
		},
	}
	fs := command.Flags()
	fs.StringVar(&o.Cloud, "cloud", "", "Only types of azure, aws or gcp")
	fs.StringVar(&o.GPU, "gpu", "", "Only types whose GPU's name contains this, for example A100")
	fs.Float64Var(&o.MinMemory, "min-memory", 0, "Only types with at least this many GiB on all GPUs together")
	fs.Float64Var(&o.MaxUSD, "max-usd", 0, "Only types with a list price of at most this many USD an hour; 0: any")
	fs.StringVar(&o.Region, "region", "", "Cloud region that prices are quoted for; empty: the cheapest known")
	fs.BoolVar(&o.Schedulable, "schedulable", false, "Only types that can be created and used")
	fs.StringVarP(&o.Output, "output", "o", o.Output, "text or json")
	return command
}

func (o skuOptions) find() []skuAnswer {
	found := []skuAnswer{}
	for _, i := range sku.All() {
		p := price.Hourly(i, o.Region, 1, v1alpha1.OnDemand)
		memory := float64(i.MemoryMiB) * float64(i.GPUs) / 1024
		switch {
		case o.Cloud != "" && i.Cloud != o.Cloud,
			!o.hasGPU(i),
			memory < o.MinMemory,
			o.MaxUSD > 0 && (!p.Known || p.USD > o.MaxUSD),
			o.Schedulable && i.Schedulable() != nil:
			continue
		}
		found = append(found, answerSKU(i, p, price.Hourly(i, o.Region, 1, v1alpha1.Spot)))
	}
	return found
}

func (o skuOptions) hasGPU(i sku.Instance) bool {
	return strings.Contains(strings.ToLower(i.GPU), strings.ToLower(o.GPU))
}

// chips are the names of GPUs that --gpu takes.
func chips() []string {
	var names []string
	for _, i := range sku.All() {
		names = append(names, i.Chip())
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func answerSKU(i sku.Instance, p, spot price.Price) skuAnswer {
	a := skuAnswer{
		Name: i.Name, Cloud: i.Cloud, GPU: i.GPU, Fraction: i.Fraction, VendorGBPerGPU: i.VendorGB, BF16: i.BF16, FP8: i.FP8,
		NVLink: i.NVLink, RDMA: i.RDMA, Arch: i.Arch, Driver: i.Driver, VCPUs: i.VCPUs, RAMGiB: i.RAMGiB, LocalDiskGiB: i.LocalDiskGiB,
		QuotaFamily: i.QuotaFamily, QuotaVerified: i.QuotaVerified, Status: i.Status, RetiredOn: i.RetiredOn,
		PriceDate: i.PriceDate, PriceRegion: p.Region, Note: i.Note,
	}
	if i.GPUs > 0 {
		a.GPUs = &i.GPUs
	}
	if i.MemoryMiB > 0 {
		a.MemoryMiBPerGPU = &i.MemoryMiB
	}
	if i.Capability.Known() {
		a.Capability = i.Capability.String()
	}
	if p.Known {
		a.HourlyUSD = &p.USD
	}
	if spot.Known {
		a.SpotUSD = &spot.USD
	}
	if err := i.Schedulable(); err != nil {
		a.WhyNot = err.Error()
	}
	return a
}

func printSKUs(table *tabwriter.Writer, found []skuAnswer) error {
	fmt.Fprintln(table, "INSTANCE TYPE\tCLOUD\tGPUS\tGiB A GPU\tCC\tDRIVER\tVCPU\tRAM GiB\tUSD/H\tSPOT\tREGION\tPRICE DATE\tSTATUS")
	for _, a := range found {
		memory, cost, spot := "?", "?", "?"
		instance, _ := sku.Lookup(a.Name)
		if a.MemoryMiBPerGPU != nil {
			memory = fmt.Sprintf("%.1f", float64(*a.MemoryMiBPerGPU)/1024)
		}
		if a.HourlyUSD != nil {
			cost = strings.TrimPrefix(price.USD(*a.HourlyUSD), "$")
		}
		if a.SpotUSD != nil {
			spot = strings.TrimPrefix(price.USD(*a.SpotUSD), "$")
		}
		status := a.Status
		if a.RetiredOn != "" {
			status += " " + a.RetiredOn
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%d\t%g\t%s\t%s\t%s\t%s\t%s\n", a.Name, a.Cloud, gpusOf(instance), memory, orUnknown(a.Capability),
			orUnknown(a.Driver), a.VCPUs, a.RAMGiB, cost, spot, orUnknown(a.PriceRegion), a.PriceDate, status)
	}
	return table.Flush()
}

func orUnknown(s string) string {
	if s == "" {
		return "?"
	}
	return s
}
