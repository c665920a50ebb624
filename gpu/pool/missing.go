// SPDX-License-Identifier: Apache-2.0

package pool

// working are the GPUs of a node that do what is wanted of it, whoever holds them. They
// are never more than are wanted: what one node has to spare stands for none of another.
func (f Facts) working(n Node, instance, problem string) int32 {
	wanted := f.each(instance)
	if f.byPods() {
		wanted = promised(n.InstanceType, f.Catalog)
	}
	switch {
	case !n.Ready:
		return 0
	case problem == "":
		return wanted
	}
	whole := max(wanted, n.Offered)
	if f.Seen.External && !f.Pool.Spec.Mixed() { // of a mixed node only Offered says how many there are
		whole = max(whole, f.ownOf(n, instance))
	}
	return max(wanted-max(whole-n.GPUs, 0), 0)
}
