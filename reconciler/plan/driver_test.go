// SPDX-License-Identifier: Apache-2.0

package plan_test

// onRack are edits of a service, or a run, on nodes that exist, whose driver Git says.
func onRack(driver string) []string {
	if driver != "" {
		driver = "\n    driver: \"" + driver + "\""
	}
	on := "instanceType: Standard_NC24ads_A100_v4\n    provider: existing\n    labelSelector: {matchLabels: {rack: \"7\"}}" + driver
	return []string{"instanceType: Standard_NC24ads_A100_v4", on, "instanceType: Standard_NC4as_T4_v3", on}
}

const rackPool = `apiVersion: espalier.dev/v1alpha1
kind: GPUNodePool
metadata:
  name: rack-8
spec:
  provider: existing
  nodeLabels: {rack: "8"}
  candidates:
  - instanceType: Standard_NC24ads_A100_v4
`
