// SPDX-License-Identifier: Apache-2.0

package karpenter

import (
	"fmt"
	"strings"

	"github.com/spf13/pflag"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// Options are the settings of the controller for NodeClaims.
type Options struct {
	On          bool
	NodeClasses []string // GROUP/KIND/NAME
}

// BindFlags makes the options flags.
func (o *Options) BindFlags(fs *pflag.FlagSet) {
	fs.BoolVar(&o.On, "karpenter", false, "Offer the provider karpenter to GPUNodePools; --provider karpenter does as well")
	fs.StringSliceVar(&o.NodeClasses, "karpenter-node-class", nil, "Node class GROUP/KIND/NAME that GPUNodePools may name, such as karpenter.k8s.aws/EC2NodeClass/gpu; repeatable, the first is the default. Empty: an AKSNodeClass for each pool")
}

// Enabled says whether the provider is offered at all.
func (o *Options) Enabled() bool { return o.On || len(o.NodeClasses) > 0 }

// Classes are the node classes that were named.
func (o *Options) Classes() ([]v1alpha1.NodeClassReference, error) {
	var all []v1alpha1.NodeClassReference
	for _, text := range o.NodeClasses {
		parts := strings.Split(text, "/")
		if len(parts) != 3 || parts[0] == "" || parts[1] == "" || parts[2] == "" {
			return nil, fmt.Errorf("--karpenter-node-class %q: want GROUP/KIND/NAME, such as karpenter.azure.com/AKSNodeClass/gpu", text)
		}
		all = append(all, v1alpha1.NodeClassReference{Group: parts[0], Kind: parts[1], Name: parts[2]})
	}
	return all, nil
}
