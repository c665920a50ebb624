// SPDX-License-Identifier: Apache-2.0

package settings

// KaitoTaken are the keys that are taken for KAITO's trainer, by section: all of them are
// to be keys of the trainer.
func KaitoTaken() map[string][]string {
	all := map[string][]string{}
	for section, readers := range kaitoForm.sections {
		for key := range readers {
			all[section] = append(all[section], key)
		}
	}
	return all
}
