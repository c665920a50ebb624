// SPDX-License-Identifier: Apache-2.0

package desired

// Decoded names the objects that a Memory holds decoded.
func Decoded(m *Memory) []string {
	var names []string
	for _, u := range m.units {
		for _, d := range u.documents {
			names = append(names, d.ObjectName())
		}
	}
	return names
}
