// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/espalier-dev/espalier/gpu/fit"
	"github.com/espalier-dev/espalier/gpu/price"
	"github.com/espalier-dev/espalier/gpu/sku"
	"github.com/espalier-dev/espalier/presets"
	"github.com/espalier-dev/espalier/presets/runtimes"
	"github.com/espalier-dev/espalier/render/settings"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

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
			if err := errors.Join(o.Validate(), o.ofTask(c.Flags())); err != nil {
				return errors.New(strings.ReplaceAll(err.Error(), "\n", "; "))
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
	j.onDriver()
	if err := j.targets(); err != nil {
		return nil, err
	}
	if o.MIG != "" {
		return j, j.slice()
	}
	return j, nil
}

// onDriver gives every node the driver of --driver.
func (j *judge) onDriver() {
	if j.options.Driver == "" {
		return
	}
	j.solo = j.solo.WithDriver(j.options.Driver)
	for n, i := range j.among {
		j.among[n] = i.WithDriver(j.options.Driver)
	}
}

// targets says which of --target-modules the model does not have.
func (j *judge) targets() error {
	matrices := j.preset.Model.Matrices()
	for _, name := range j.options.TargetModules {
		if !slices.Contains(matrices, name) {
			return fmt.Errorf("--target-modules: %s has no matrix %q: %s", j.preset.Name(), name, strings.Join(matrices, ", "))
		}
	}
	return nil
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
	r, ok := runtimes.Lookup(o.Runtime, o.RuntimeVersion, "")
	want := runtimes.Inference
	if o.Tune != "" {
		want = runtimes.Tuning
	}
	if ok && runtimes.Does(r.Name, want) {
		r = r.For(want)
	}
	switch {
	case !ok && len(runtimes.Versions(o.Runtime)) > 0:
		return r, fmt.Errorf("%s has no version %q here: %s", o.Runtime, o.RuntimeVersion, strings.Join(runtimes.Versions(o.Runtime), ", "))
	case !ok:
		return r, fmt.Errorf("no runtime %q: vllm, kaito and kaito-transformers serve, axolotl and kaito tune", o.Runtime)
	case r.Task != want:
		return r, fmt.Errorf("%s is for %s, not for %s", r.Name, r.Task, want)
	}
	return r, nil
}

// usable says whether an answer works within the budget.
func (a judged) usable() bool { return a.report.Works() && a.budget == nil }

// atMost says that the price is the list price, which a spot node without a published price
// stays below.
func (j *judge) atMost(a judged) bool { return j.options.Spot && a.price.Known && !a.price.Spot }

// judge answers for one instance type, with the runtime its driver can run.
func (j *judge) judge(i sku.Instance) judged {
	o := j.options
	task := runtimes.Inference
	if o.Tune != "" {
		task = runtimes.Tuning
	}
	out := judged{instance: i}
	if j.runtime != nil {
		out.runtime, _ = runtimes.Lookup(j.runtime.Name, j.runtime.Version, i.Driver)
		out.runtime = out.runtime.For(task)
	} else if r, ok := runtimes.Default(task, i.Driver); ok {
		out.runtime = r
	}
	if o.Tune != "" {
		defaults := settings.DefaultTraining(out.runtime)
		out.report = fit.Tune(j.preset.Model, i, fit.Tuning{
			Method: v1alpha1.TuningMethod(o.Tune), SequenceLength: cmp.Or(o.Context, defaults.SequenceLength), MicroBatch: o.MicroBatch, Rank: o.Rank,
			TargetModules: o.TargetModules, FusedLoss: o.FusedLoss, NoCheckpointing: o.KeepAll, Nodes: o.Nodes,
			Image: out.runtime.Requires, Optimizer32Bit: !defaults.EightBit(), Recast: out.runtime.Recasts(),
		})
	} else {
		s := fit.Serving{
			Context: o.Context, Utilization: o.Utilization, Nodes: o.Nodes, TensorParallel: o.TensorParallel,
			Image: out.runtime.Requires, Unpaged: out.runtime.Name == runtimes.KAITOTransformers,
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
	out.price = price.AtMost(i, o.Region, out.report.Nodes, priority)
	if budget, err := o.budget(); err == nil {
		out.budget = price.Within(out.price, budget)
	}
	if o.Tokens > 0 {
		speed, _ := price.Estimate(i, j.preset.Model.Params())
		if o.TokensPerSecond > 0 {
			speed = price.Measured(o.TokensPerSecond, "--tokens-per-second")
		}
		run := price.Training(out.price, out.report.GPUs, o.Tokens, speed)
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
