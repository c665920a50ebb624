// SPDX-License-Identifier: Apache-2.0

package api

const onKaito = `runtime: {name: kaito, version: 0.5.0, cuda: "12.9", image: "registry.example.com/kaito-base@sha256:1111111111111111111111111111111111111111111111111111111111111111"}`

const onTransformers = `runtime: {name: kaito-transformers, version: 0.5.0, cuda: "12.9", image: "registry.example.com/kaito-base@sha256:1111111111111111111111111111111111111111111111111111111111111111"}`

// kaitoCases are of the programs in KAITO's base image.
var kaitoCases = map[string]written{
	"KaitoTunes": {
		reason: "KAITO's base image has a trainer too.",
		base:   tuning, set: `spec: {` + onKaito + `}`,
	},
	"KaitoMeasures": {
		reason: "Its trainer measures nothing.",
		base:   tuning, set: `spec: {` + onKaito + `, tuning: {evaluation: {split: 5%}}}`,
		want: "runtime kaito tunes on one node",
	},
	"KaitoFormat": {
		reason: "Its configuration names the column.",
		base:   tuning, set: `spec: {` + onKaito + `, tuning: {input: {format: {type: Text}}}}`,
		want: "runtime kaito tunes on one node",
	},
	"KaitoTrainers": {
		reason: "It trains on one node.",
		base:   tuning, set: `spec: {` + onKaito + `, resource: {count: 2}}`,
		want: "runtime kaito tunes on one node",
	},
	"StrengthOfVLLM": {
		reason: "vLLM has no weight of an adapter.",
		base:   serving, set: `spec: {inference: {adapters: [{name: a, claim: b, strength: "0.5"}]}}`,
		want: "strength is of runtime kaito-transformers",
	},
	"StrengthBeyondOne": {
		reason: "KAITO takes 0 to 1.",
		base:   serving, set: `spec: {` + onTransformers + `, inference: {adapters: [{name: a, claim: b, strength: "1.5"}]}}`,
		want: "spec.inference.adapters[0].strength",
	},
	"TransformersConfig": {
		reason: "The configuration is of vLLM.",
		base:   serving, set: `spec: {` + onTransformers + `, inference: {config: c}}`,
		want: "runtime kaito-transformers serves a preset, and has no config",
	},
	"TransformersWeights": {
		reason: "The program reads the hub alone.",
		base:   serving, set: `spec: {` + onTransformers + `, inference: {weights: {claim: c}}}`,
		want: "runtime kaito-transformers serves a preset, and has no config",
	},
}
