// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/espalier-dev/espalier/gpu/fit"
	"github.com/espalier-dev/espalier/gpu/price"
	"github.com/espalier-dev/espalier/gpu/sku"
	"github.com/espalier-dev/espalier/presets"
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
	fs.IntVar(&o.Context, "context", 0, "Longest request, or training sequence, in tokens; 0: the longest that fits, 2048 for tuning")
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

	fs.StringVar(&o.Runtime, "runtime", "", "Runtime: vllm or axolotl; empty: the task's, for the node's driver")
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
	check(o.Context < 0 || o.Nodes < 0 || o.TensorParallel < 0, "--context, --nodes and --tensor-parallel are not negative")
	check(o.MicroBatch < 1 || o.Rank < 1, "--micro-batch and --rank are at least 1")
	check(o.Utilization <= 0 || o.Utilization > 1, "--gpu-memory-utilization %g: between 0 and 1", o.Utilization)
	check((o.Tokens != 0 || o.TokensPerSecond != 0) && o.Tune == "", "--tokens and --tokens-per-second are for --tune")
	check(o.Tokens < 0 || o.TokensPerSecond < 0, "--tokens and --tokens-per-second are not negative")
	_, err := o.budget()
	check(err != nil, "--max-usd-per-hour %q: an amount in USD", o.MaxUSDPerHour)
	check(o.Runtime == "" && o.RuntimeVersion != "", "--runtime-version needs --runtime")
	if len(wrong) > 0 {
		return errors.New(strings.Join(wrong, "; "))
	}
	return nil
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

func newFitCommand() *cobra.Command {
	var o fitOptions
	command := &cobra.Command{
		Use:   "fit --model MODEL (--instance-type TYPE | --all)",
		Short: "Say whether a model fits GPUs, show the sum, and what would fit",
		Long: "Says whether a model fits the GPUs of an instance type, with the sum of one GPU's memory, how it is\n" +
			"spread over GPUs and nodes, the longest context, the list price, and what else would work.\n" +
			"It works from embedded facts: no network, no cluster. Exits with 1 when the model does not fit or the\n" +
			"price is over --max-usd-per-hour; a verdict of unknown is no refusal.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := o.Validate(); err != nil {
				return err
			}
			return runFit(c, o)
		},
	}
	o.BindFlags(command.Flags())
	return command
}

func runFit(c *cobra.Command, o fitOptions) error {
	j, err := newJudge(o)
	if err != nil {
		return err
	}
	if o.All {
		return j.compare(c.OutOrStdout())
	}
	return j.one(c.OutOrStdout())
}

// judge answers questions about one model and one task.
type judge struct {
	options fitOptions
	preset  presets.Preset
	task    string // serve, qlora or lora
	runtime *runtimes.Runtime
	among   []sku.Instance
	solo    sku.Instance
}

// judged is the answer for one instance type.
type judged struct {
	instance sku.Instance
	report   fit.Report
	runtime  runtimes.Runtime
	price    price.Price
	budget   error // over it, or not comparable with it
	run      *price.Run
}

func newJudge(o fitOptions) (*judge, error) {
	j := &judge{options: o, task: "serve"}
	if o.Tune != "" {
		j.task = o.Tune
	}
	var err error
	if j.preset, err = o.preset(); err != nil {
		return nil, err
	}
	if o.Runtime != "" {
		r, err := o.runtime()
		if err != nil {
			return nil, err
		}
		j.runtime = &r
	}
	cloud := o.Cloud
	if o.InstanceType != "" {
		if j.solo, err = findInstance(o.InstanceType); err != nil {
			return nil, err
		}
		if cloud == "" {
			cloud = j.solo.Cloud
		}
	}
	j.among = instancesOf(cloud)
	if o.MIG != "" {
		return j, j.slice()
	}
	return j, nil
}

// instancesOf lists the types of a cloud; "" is Azure, "any" is all of them.
func instancesOf(cloud string) []sku.Instance {
	if cloud == "" {
		cloud = sku.Azure
	}
	var of []sku.Instance
	for _, i := range sku.All() {
		if cloud == "any" || i.Cloud == cloud {
			of = append(of, i)
		}
	}
	return of
}

// slice cuts every GPU by --mig; with --all, types that cannot be cut are left out.
func (j *judge) slice() error {
	if j.options.InstanceType != "" {
		cut, err := j.solo.Slice(j.options.MIG)
		if err != nil {
			return err
		}
		j.solo = cut
	}
	var among []sku.Instance
	for _, i := range j.among {
		if cut, err := i.Slice(j.options.MIG); err == nil {
			among = append(among, cut)
		}
	}
	if len(among) == 0 {
		return fmt.Errorf("--mig %q: no instance type has that profile", j.options.MIG)
	}
	j.among = among
	return nil
}

func (o fitOptions) preset() (presets.Preset, error) {
	if o.ModelFile != "" {
		text, err := os.ReadFile(o.ModelFile)
		if err != nil {
			return presets.Preset{}, err
		}
		p, err := presets.DecodeLock(text)
		if err != nil {
			return presets.Preset{}, fmt.Errorf("reading %s: %w", o.ModelFile, err)
		}
		return p, nil
	}
	return findPreset(o.Model)
}

func (o fitOptions) runtime() (runtimes.Runtime, error) {
	r, ok := runtimes.Lookup(o.Runtime, o.RuntimeVersion)
	want := runtimes.Inference
	if o.Tune != "" {
		want = runtimes.Tuning
	}
	switch {
	case !ok && len(runtimes.Versions(o.Runtime)) > 0:
		return r, fmt.Errorf("%s has no version %q here: %s", o.Runtime, o.RuntimeVersion, strings.Join(runtimes.Versions(o.Runtime), ", "))
	case !ok:
		return r, fmt.Errorf("no runtime %q: vllm serves, axolotl tunes", o.Runtime)
	case r.Task != want:
		return r, fmt.Errorf("%s is for %s, not for %s", r.Name, r.Task, want)
	}
	return r, nil
}

// usable says whether an answer works within the budget.
func (a judged) usable() bool { return a.report.Works() && a.budget == nil }

// judge answers for one instance type, with the runtime its driver can run.
func (j *judge) judge(i sku.Instance) judged {
	o := j.options
	task := runtimes.Inference
	if o.Tune != "" {
		task = runtimes.Tuning
	}
	out := judged{instance: i}
	if j.runtime != nil {
		out.runtime = *j.runtime
	} else if r, ok := runtimes.Default(task, i.Driver); ok {
		out.runtime = r
	}
	if o.Tune != "" {
		out.report = fit.Tune(j.preset.Model, i, fit.Tuning{
			Method: v1alpha1.TuningMethod(o.Tune), SequenceLength: o.Context, MicroBatch: o.MicroBatch, Rank: o.Rank,
			TargetModules: o.TargetModules, FusedLoss: o.FusedLoss, NoCheckpointing: o.KeepAll, Nodes: o.Nodes,
			Image: out.runtime.Requires,
		})
	} else {
		s := fit.Serving{
			Context: o.Context, Utilization: o.Utilization, Nodes: o.Nodes, TensorParallel: o.TensorParallel,
			Image: out.runtime.Requires,
		}
		if o.KVCacheDType == "fp8" {
			s.KVElementBytes = 1
		}
		out.report = fit.Serve(j.preset.Model, i, s)
	}
	priority := v1alpha1.OnDemand
	if o.Spot {
		priority = v1alpha1.Spot
	}
	out.price = price.Hourly(i, o.Region, out.report.Nodes, priority)
	if budget, err := o.budget(); err == nil {
		out.budget = price.Within(out.price, budget)
	}
	if o.Tokens > 0 {
		speed, _ := price.Estimate(i, j.preset.Model.Params())
		if o.TokensPerSecond > 0 {
			speed = price.Measured(o.TokensPerSecond, "--tokens-per-second")
		}
		run := price.Training(i, o.Region, out.report.Nodes, priority, o.Tokens, speed)
		out.run = &run
	}
	return out
}

// findPreset and findInstance look a name up and, failing that, say the nearest.
func findPreset(name string) (presets.Preset, error) {
	p, ok := presets.Lookup(name)
	if !ok {
		return p, errors.New(presets.Unknown(name))
	}
	return p, nil
}

func findInstance(name string) (sku.Instance, error) {
	i, ok := sku.Lookup(name)
	if !ok {
		return i, fmt.Errorf("no instance type %q%s; `espalier skus` lists them", name, nearest(sku.Suggest(name)))
	}
	return i, nil
}

func nearest(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return ": did you mean " + strings.Join(names, ", ")
}
