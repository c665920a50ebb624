// SPDX-License-Identifier: Apache-2.0

package desired

// Decoded names the objects that a Memory holds decoded.
func Decoded(m *Memory) []string {
	var names []string
	for _, u := range m.units {
		if u.light {
			continue
		}
		for _, d := range u.whole.documents {
			names = append(names, d.ObjectName())
		}
	}
	return names
}
