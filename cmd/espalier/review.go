// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/api/resource"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/espalier-dev/espalier/reconciler/forge"
	"github.com/espalier-dev/espalier/reconciler/hook"
	"github.com/espalier-dev/espalier/reconciler/review"
)

// Values of --controllers.
const (
	mainControllers  = "main"
	reviewController = "review"
)

// reviewOptions are about planning what strangers wrote.
type reviewOptions struct {
	Timeout time.Duration
	Memory  resource.QuantityValue
}

// leastMemory is what a plan of a small repository takes, in bytes.
const leastMemory = 128 << 20

// BindFlags binds the options to flags.
func (o *reviewOptions) BindFlags(fs *pflag.FlagSet) {
	o.Memory.Quantity = resource.MustParse("512Mi")
	fs.DurationVar(&o.Timeout, "review-timeout", 2*time.Minute, "How long planning one head of a pull request may take before it is ended")
	fs.Var(&o.Memory, "review-memory", "How much memory planning one head of a pull request may take before it is ended; two may be planned at once")
}

func (o *controllerOptions) validateReview() error {
	var problems []error
	if o.ClusterName == "" {
		problems = append(problems, errors.New("--cluster-name is required with --controllers=review: comments of several clusters are told apart by it"))
	}
	if o.Review.Timeout <= 0 {
		problems = append(problems, fmt.Errorf("--review-timeout %s: more than 0", o.Review.Timeout))
	}
	if o.Review.Memory.Value() < leastMemory {
		problems = append(problems, fmt.Errorf("--review-memory %s: at least %d MiB", o.Review.Memory.String(), leastMemory>>20))
	}
	return errors.Join(problems...)
}

// addReview adds the controller that answers pull requests, alone: it has an
// account of its own, which may do nothing else.
func addReview(mgr ctrl.Manager, o controllerOptions) error {
	planner, err := newProcessPlanner(o.Review)
	if err != nil {
		return err
	}
	program := review.Program{Region: o.Region, Render: o.render()}
	if program.Render.HelperImage == "" {
		program.Render.HelperImage = defaultRender().HelperImage
	}
	if program.Render.LocalWeights == "" && len(program.Render.WeightsAccounts) == 0 {
		// Nobody told this process what the main controller allows.
		program.Render.LocalWeights, program.Render.WeightsAccounts = defaultRender().LocalWeights, defaultRender().WeightsAccounts
	}
	if len(program.Render.RegistryAccounts) == 0 {
		program.Render.RegistryAccounts = defaultRender().RegistryAccounts
	}
	quotas, err := objectName(quotaFlag, o.QuotaConfigMap)
	if err != nil {
		return err
	}
	reviews := review.New(review.Deps{
		Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Events: mgr.GetEventRecorder("review"),
		Connect: forge.Connect, Planner: planner, Program: program, Cluster: o.ClusterName, Quota: quotas, Jitter: o.IntervalJitter, Clock: time.Now,
	})
	if err := reviews.SetupWithManager(mgr); err != nil {
		return fmt.Errorf("setting up the review controller: %w", err)
	}
	return addHook(mgr, hook.Server{Addr: o.HookAddr, Path: "/review", Wake: reviews.LookNow})
}

// addHook listens for webhooks where there is an address to.
func addHook(mgr ctrl.Manager, server hook.Server) error {
	if server.Addr == "" {
		return nil
	}
	server.Client, server.Reader = mgr.GetClient(), mgr.GetAPIReader()
	if err := mgr.Add(&server); err != nil {
		return fmt.Errorf("adding the webhook server: %w", err)
	}
	return nil
}
