// SPDX-License-Identifier: Apache-2.0

// Package train runs the real Axolotl, in the version of presets/runtimes/pins.yaml,
// with what `espalier render` writes for a Workspace: its axolotl.yaml and the script
// of its Job. The model has random weights and is small, and there is no GPU: what had
// to differ for that is listed in Differences, and nothing else is changed.
//
// It is `make e2e-train`, which installs Axolotl with Python, and is skipped without.
package train

// Difference is one thing that is not as on a GPU node.
type Difference struct {
	// Key of axolotl.yaml, or "" for something else, and What that is.
	Key, What string
	// Rendered and Here are what it is in the pod and in this test.
	Rendered, Here any
	// Why it differs.
	Why string
}

// Differences are all there are. A key that is rendered otherwise than it says here
// fails the test, so that the list stays true.
var Differences = []Difference{
	{
		What: "the model", Rendered: "8 billion parameters", Here: "107,456 parameters, two layers of random weights",
		Why: "it is to train in seconds; name, place and architecture are the same, the tokenizer knows single bytes",
	},
	{What: "the device", Rendered: "one A100", Here: "none: `CUDA_VISIBLE_DEVICES` is empty", Why: "there is none"},
	{
		What: "packages", Rendered: "those of the image", Here: "Axolotl and PyTorch of the same versions; what Axolotl does not pin, the newest that it takes",
		Why: "the image is 20 GB for a container engine",
	},
	{
		What: "the hub", Rendered: "asked, with `HF_TOKEN`", Here: "`HF_HUB_OFFLINE=1`",
		Why: "the model is in the cache below `HF_HOME`, where an earlier attempt of the pod has left it",
	},
	{
		What: "`/work`, `/data`, `/config`, the termination log", Rendered: "volumes of the pod", Here: "folders of the test",
		Why: "it needs no root; the paths are replaced in the script and in axolotl.yaml",
	},
	{
		What: "the registry and the controller", Rendered: "of the cluster", Here: "of the test, on loopback",
		Why: "the controller's part is what its own tests are about; its decoder of progress and `espalier adapter push` are the real ones",
	},
	{Key: "bf16", Rendered: true, Here: false, Why: "transformers wants `use_cpu` beside it on a CPU, which Axolotl does not hand on: float32"},
	{Key: "lora_mlp_kernel", Here: false, Why: "Axolotl turns on its kernels for CUDA where none of the four is said"},
	{Key: "lora_qkv_kernel", Here: false, Why: "the same"},
	{Key: "lora_o_kernel", Here: false, Why: "the same"},
	{Key: "lora_embedding_kernel", Here: false, Why: "the same"},
}
