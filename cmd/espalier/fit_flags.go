// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/espalier-dev/espalier/gpu/price"
	"github.com/espalier-dev/espalier/gpu/sku"
	"github.com/espalier-dev/espalier/presets/runtimes"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// fitOptions are the settings of `espalier fit`.
type fitOptions struct {
	Model, ModelFile string
	InstanceType     string
	All              bool
	Cloud            string

	Tune           string
	Context        int
	MicroBatch     int
	Rank           int
	TargetModules  []string
	FusedLoss      bool
	KeepAll        bool
	Nodes          int
	Utilization    float64
	KVCacheDType   string
	TensorParallel int
	MIG            string
	Driver         string

	Runtime, RuntimeVersion string
	Region                  string
	Spot                    bool
	MaxUSDPerHour           string
	Tokens                  int64
	TokensPerSecond         float64
	Output                  string
}

// BindFlags binds the options to flags.
func (o *fitOptions) BindFlags(fs *pflag.FlagSet) {
	fs.StringVar(&o.Model, "model", "", "Model: a short name or repository id; `espalier presets` lists them")
	fs.StringVar(&o.ModelFile, "model-file", "", "Lock file of a model outside the catalogue, made by `espalier presets lock`")
	fs.StringVar(&o.InstanceType, "instance-type", "", "Instance type; `espalier skus` lists them")
	fs.BoolVar(&o.All, "all", false, "Compare every instance type of a cloud, cheapest first")
	fs.StringVar(&o.Cloud, "cloud", "", "Cloud of --all and of alternatives: azure, aws, gcp or any; empty: that of --instance-type, else azure")

	fs.StringVar(&o.Tune, "tune", "", "Judge tuning in place of serving: qlora or lora")
	fs.IntVar(&o.Context, "context", 0, "Longest request, or training sequence, in tokens; 0: the longest that fits; for tuning 2048, and 1024 with KAITO's trainer")
	fs.IntVar(&o.MicroBatch, "micro-batch", 1, "Sequences of one training step on one GPU")
	fs.IntVar(&o.Rank, "rank", 16, "Rank of the adapter")
	fs.StringSliceVar(&o.TargetModules, "target-modules", nil, "Matrices the adapter changes, by name; empty: all of them")
	fs.BoolVar(&o.FusedLoss, "fused-loss", false, "The loss is computed in pieces (cut cross-entropy)")
	fs.BoolVar(&o.KeepAll, "no-checkpointing", false, "Every activation is kept instead of computed again")
	fs.IntVar(&o.Nodes, "nodes", 0, "Number of nodes; 0: the smallest that works, 1 for tuning")
	fs.Float64Var(&o.Utilization, "gpu-memory-utilization", 0.9, "Share of a GPU's memory that vLLM may use")
	fs.StringVar(&o.KVCacheDType, "kv-cache-dtype", "auto", "Type of the KV cache: auto or fp8")
	fs.IntVar(&o.TensorParallel, "tensor-parallel", 0, "GPUs that share each layer; 0: chosen")
	fs.StringVar(&o.MIG, "mig", "", "MIG profile that each GPU is cut into, for example 3g")

	fs.StringVar(&o.Driver, "driver", "", "NVIDIA driver of nodes of your own that are like --instance-type, for example 580; empty: the one that AKS installs")

	fs.StringVar(&o.Runtime, "runtime", "", "Runtime: vllm, axolotl, kaito or kaito-transformers; empty: the task's, for the node's driver")
	fs.StringVar(&o.RuntimeVersion, "runtime-version", "", "Version of --runtime; empty: its default")
	fs.StringVar(&o.Region, "region", "", "Cloud region that prices are quoted for; empty: the cheapest known")
	fs.BoolVar(&o.Spot, "spot", false, "Price as spot")
	fs.StringVar(&o.MaxUSDPerHour, "max-usd-per-hour", "", "Budget: what costs more is refused")
	fs.Int64Var(&o.Tokens, "tokens", 0, "Tokens of a tuning run, all epochs together: prices the run")
	fs.Float64Var(&o.TokensPerSecond, "tokens-per-second", 0, "Speed of one GPU that you measured; 0: a range is stated")
	fs.StringVarP(&o.Output, "output", "o", "text", "text or json")
}

// Validate says what is wrong with the flags, all in one line.
func (o *fitOptions) Validate() error {
	var wrong []string
	check := func(bad bool, format string, args ...any) {
		if bad {
			wrong = append(wrong, fmt.Sprintf(format, args...))
		}
	}
	check((o.Model == "") == (o.ModelFile == ""), "one of --model and --model-file is required")
	check((o.InstanceType == "") == !o.All, "one of --instance-type and --all is required")
	check(!slices.Contains([]string{"", "qlora", "lora"}, o.Tune), "--tune %q: qlora or lora", o.Tune)
	check(!slices.Contains([]string{"auto", "fp8"}, o.KVCacheDType), "--kv-cache-dtype %q: auto or fp8", o.KVCacheDType)
	check(!slices.Contains([]string{"", "any", sku.Azure, sku.AWS, sku.GCP}, o.Cloud), "--cloud %q: azure, aws, gcp or any", o.Cloud)
	check(!slices.Contains([]string{"text", "json"}, o.Output), "--output %q: text or json", o.Output)
	check(o.Driver != "" && !v1alpha1.IsDriver(o.Driver), "--driver %q: a branch such as 580 or a version such as 580.95.05", o.Driver)
	check(o.Context < 0 || o.TensorParallel < 0, "--context and --tensor-parallel are not negative")
	check(o.Nodes < 0 || o.Nodes > maxFitNodes, "--nodes %d: 0 to %d", o.Nodes, maxFitNodes)
	check(o.MicroBatch < 1 || o.MicroBatch > 1024, "--micro-batch %d: 1 to 1024", o.MicroBatch)
	check(o.Rank < 1 || o.Rank > 512, "--rank %d: 1 to 512", o.Rank)
	check(unknownRegion(o.Region) != nil, "%v", unknownRegion(o.Region))
	check(o.Utilization <= 0 || o.Utilization > 1, "--gpu-memory-utilization %g: between 0 and 1", o.Utilization)
	check(o.Tokens < 0 || o.TokensPerSecond < 0, "--tokens and --tokens-per-second are not negative")
	_, err := o.budget()
	check(err != nil, "--max-usd-per-hour %q: an amount in USD", o.MaxUSDPerHour)
	check(o.Runtime == "" && o.RuntimeVersion != "", "--runtime-version needs --runtime")
	if len(wrong) > 0 {
		return errors.New(strings.Join(wrong, "; "))
	}
	return nil
}

// maxFitNodes bounds --nodes as the API bounds spec.resource.count.
const maxFitNodes = 1000

// Flags that say something of one task only, or of one engine.
var (
	vllmFlags    = []string{"gpu-memory-utilization", "kv-cache-dtype"}
	servingFlags = []string{"gpu-memory-utilization", "kv-cache-dtype", "tensor-parallel"}
	tuningFlags  = []string{"micro-batch", "rank", "target-modules", "fused-loss", "no-checkpointing", "tokens", "tokens-per-second"}
)

// ofTask says which flags would be ignored, because they are for the other task or for
// another engine.
func (o *fitOptions) ofTask(fs *pflag.FlagSet) error {
	ignored := notGiven(fs, tuningFlags, "for --tune")
	if o.Tune != "" {
		ignored = notGiven(fs, servingFlags, "for serving, not for --tune")
	}
	if o.Tune == "" && o.Runtime == runtimes.KAITOTransformers {
		return errors.Join(ignored, notGiven(fs, vllmFlags, "vLLM's, not for --runtime "+o.Runtime))
	}
	return ignored
}

// notGiven says which of the flags are given, and whose they are.
func notGiven(fs *pflag.FlagSet, flags []string, whose string) error {
	var wrong []string
	for _, name := range flags {
		if fs.Changed(name) {
			wrong = append(wrong, "--"+name)
		}
	}
	switch len(wrong) {
	case 0:
		return nil
	case 1:
		return fmt.Errorf("%s is %s", wrong[0], whose)
	}
	return fmt.Errorf("%s are %s", strings.Join(wrong, " and "), whose)
}

// unknownRegion says that no price is known for a region, with the nearest that
// has one.
func unknownRegion(region string) error {
	known := sku.Regions()
	if region == "" || slices.Contains(known, strings.ToLower(region)) {
		return nil
	}
	best := slices.MinFunc(known, func(a, b string) int {
		return sku.Distance(strings.ToLower(region), a) - sku.Distance(strings.ToLower(region), b)
	})
	hint := "prices are known for " + strings.Join(known, ", ")
	if sku.Distance(strings.ToLower(region), best) <= 3 {
		hint = "did you mean " + best + "?"
	}
	return fmt.Errorf("--region %q: no price is known there; %s", region, hint)
}

// budget is --max-usd-per-hour, nil when none is set.
func (o *fitOptions) budget() (*v1alpha1.Budget, error) {
	if o.MaxUSDPerHour == "" {
		return nil, nil
	}
	b := &v1alpha1.Budget{MaxUSDPerHour: o.MaxUSDPerHour}
	if err := price.Within(price.Price{Known: true}, b); err != nil {
		return nil, err
	}
	return b, nil
}
