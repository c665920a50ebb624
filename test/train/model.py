# SPDX-License-Identifier: Apache-2.0
#
# Puts a Llama of random weights where the client of the Hugging Face Hub would have
# put the model that axolotl.yaml names: FOLDER NAME. It is as small as a CPU wants
# it, and its tokenizer knows single bytes and the marks of Llama 3's chat template.
import sys
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

MARKS = ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m['role'] }}<|end_header_id|>\n\n"
    "{{ m['content'] | trim }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)

home, name = Path(sys.argv[1]), sys.argv[2]
revision = "0" * 40
folder = home / "hub" / ("models--" + name.replace("/", "--"))
snapshot = folder / "snapshots" / revision

bytes_alone = {c: i for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
tokenizer = Tokenizer(models.BPE(vocab=bytes_alone, merges=[]))
tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
tokenizer.decoder = decoders.ByteLevel()
tokenizer.add_special_tokens(MARKS)
fast = PreTrainedTokenizerFast(
    tokenizer_object=tokenizer, bos_token=MARKS[0], eos_token=MARKS[-1], pad_token=MARKS[1], model_max_length=2048
)
fast.chat_template = TEMPLATE
fast.save_pretrained(snapshot)

torch.manual_seed(0)
model = LlamaForCausalLM(
    LlamaConfig(
        vocab_size=len(fast), hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=4096, bos_token_id=fast.bos_token_id,
        eos_token_id=fast.eos_token_id, pad_token_id=fast.pad_token_id,
    )
).to(torch.bfloat16)
model.save_pretrained(snapshot)
(folder / "refs").mkdir()
(folder / "refs" / "main").write_text(revision)
print(f"{name}: a Llama of {model.num_parameters():,} parameters and {len(fast)} tokens")
