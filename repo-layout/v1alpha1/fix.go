// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// Fix is what mends a finding by one line: the line of the file as it is, and as
// it should be, both without their end. It is empty where no line alone mends it,
// or which one is not certain.
// +kubebuilder:object:generate=false
type Fix struct {
	// Old is the line as the file has it, and New the one for its place.
	Old string `json:"old"`
	New string `json:"new"`
	// Key says, while a fix is of a word and not yet of its line, that the word is the
	// name of a field.
	Key bool `json:"-"`
}

// None says that there is no fix.
func (f Fix) None() bool { return f == Fix{} }
