# SPDX-License-Identifier: Apache-2.0
#
# Models of the real widths and of no weights: a folder as a hub would have put it, whose
# safetensors file is a header and a hole. It takes no room on the disk and reads as zeros,
# so that trainers load it by their own way, in the time that the copy to the GPU takes.
import json
import struct
from pathlib import Path

CONFIGS = {
    "llama-3.1-8b": dict(
        model_type="llama",
        hidden_size=4096,
        intermediate_size=14336,
        num_hidden_layers=32,
        num_attention_heads=32,
        num_key_value_heads=8,
        vocab_size=128256,
        max_position_embeddings=131072,
    ),
    "llama-3.2-3b": dict(
        model_type="llama",
        hidden_size=3072,
        intermediate_size=8192,
        num_hidden_layers=28,
        num_attention_heads=24,
        num_key_value_heads=8,
        head_dim=128,
        vocab_size=128256,
        max_position_embeddings=131072,
        tie_word_embeddings=True,
    ),
    "llama-3-70b": dict(
        model_type="llama",
        hidden_size=8192,
        intermediate_size=28672,
        num_hidden_layers=80,
        num_attention_heads=64,
        num_key_value_heads=8,
        vocab_size=128256,
        max_position_embeddings=131072,
    ),
    "mistral-7b": dict(
        model_type="mistral",
        hidden_size=4096,
        intermediate_size=14336,
        num_hidden_layers=32,
        num_attention_heads=32,
        num_key_value_heads=8,
        vocab_size=32768,
        max_position_embeddings=32768,
        sliding_window=None,
    ),
    "qwen2.5-7b": dict(
        model_type="qwen2",
        hidden_size=3584,
        intermediate_size=18944,
        num_hidden_layers=28,
        num_attention_heads=28,
        num_key_value_heads=4,
        vocab_size=152064,
        max_position_embeddings=32768,
    ),
    "qwen2.5-32b": dict(
        model_type="qwen2",
        hidden_size=5120,
        intermediate_size=27648,
        num_hidden_layers=64,
        num_attention_heads=40,
        num_key_value_heads=8,
        vocab_size=152064,
        max_position_embeddings=32768,
    ),
    "phi-4": dict(
        model_type="phi3",
        hidden_size=5120,
        intermediate_size=17920,
        num_hidden_layers=40,
        num_attention_heads=40,
        num_key_value_heads=10,
        vocab_size=100352,
        max_position_embeddings=16384,
        original_max_position_embeddings=16384,
    ),
    "phi-3-mini-4k": dict(
        model_type="phi3",
        hidden_size=3072,
        intermediate_size=8192,
        num_hidden_layers=32,
        num_attention_heads=32,
        num_key_value_heads=32,
        vocab_size=32064,
        max_position_embeddings=4096,
        original_max_position_embeddings=4096,
        sliding_window=2047,
    ),
    "phi-4-mini": dict(
        model_type="phi3",
        hidden_size=3072,
        intermediate_size=8192,
        num_hidden_layers=32,
        num_attention_heads=24,
        num_key_value_heads=8,
        vocab_size=200064,
        max_position_embeddings=131072,
        original_max_position_embeddings=4096,
        sliding_window=262144,
        tie_word_embeddings=True,
    ),
    "gemma-3-4b": dict(
        model_type="gemma3_text",
        hidden_size=2560,
        intermediate_size=10240,
        num_hidden_layers=34,
        num_attention_heads=8,
        num_key_value_heads=4,
        head_dim=256,
        vocab_size=262208,
        max_position_embeddings=131072,
        sliding_window=1024,
        tie_word_embeddings=True,
    ),
    "granite-4.1-8b": dict(
        model_type="granite",
        hidden_size=4096,
        intermediate_size=12800,
        num_hidden_layers=40,
        num_attention_heads=32,
        num_key_value_heads=8,
        vocab_size=100352,
        max_position_embeddings=131072,
    ),
    "gpt-oss-20b": dict(
        model_type="gpt_oss",
        hidden_size=2880,
        intermediate_size=2880,
        num_hidden_layers=24,
        num_attention_heads=64,
        num_key_value_heads=8,
        head_dim=64,
        vocab_size=201088,
        num_local_experts=32,
        num_experts_per_tok=4,
        sliding_window=128,
        max_position_embeddings=131072,
        quantization_config=dict(
            quant_method="mxfp4",
            modules_to_not_convert=[
                "model.layers.*.self_attn",
                "model.layers.*.mlp.router",
                "model.embed_tokens",
                "lm_head",
            ],
        ),
    ),
    "qwen3-30b-a3b": dict(
        model_type="qwen3_moe",
        hidden_size=2048,
        intermediate_size=6144,
        moe_intermediate_size=768,
        num_hidden_layers=48,
        num_attention_heads=32,
        num_key_value_heads=4,
        head_dim=128,
        vocab_size=151936,
        num_experts=128,
        num_experts_per_tok=8,
        max_position_embeddings=40960,
    ),
}

MARKS = ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m['role'] }}<|end_header_id|>\n\n"
    "{{ m['content'] | trim }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)


def config(name):
    from transformers import AutoConfig

    own = dict(CONFIGS[name])
    return AutoConfig.for_model(
        own.pop("model_type"), bos_token_id=256, eos_token_id=260, pad_token_id=257, dtype="bfloat16", **own
    )


def folder(root, name):
    """The folder of a model, made where it is not there."""
    import torch
    from transformers import AutoModelForCausalLM

    at = Path(root) / name
    if (at / "config.json").exists():
        return at
    at.mkdir(parents=True)
    tokenizer().save_pretrained(at)
    shape = config(name)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(shape)
    header, end = {}, 0
    tied = set(getattr(model, "_tied_weights_keys", None) or ()) if shape.tie_word_embeddings else set()
    for key, value in model.state_dict().items():
        if key in tied:
            continue
        size = value.numel() * 2
        header[key] = {"dtype": "BF16", "shape": list(value.shape), "data_offsets": [end, end + size]}
        end += size
    header["__metadata__"] = {"format": "pt"}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(at / "model.safetensors", "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + end)
    shape.architectures = [type(model).__name__]
    shape.save_pretrained(at)
    return at


def shape(root, name, own):
    """A folder with the configuration alone, and what is its own, for an engine that makes weights up."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as CLASSES

    written = config(name).to_dict()
    written.update(own, architectures=[CLASSES[written["model_type"]]])
    at = Path(root) / name
    at.mkdir(parents=True, exist_ok=True)
    (at / "config.json").write_text(json.dumps(written))
    return at


def tokenizer():
    """One token a byte, as in test/train."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alone = {c: i for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    own = Tokenizer(models.BPE(vocab=alone, merges=[]))
    own.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    own.decoder = decoders.ByteLevel()
    own.add_special_tokens(MARKS)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=own, bos_token=MARKS[0], eos_token=MARKS[-1], pad_token=MARKS[1], model_max_length=1 << 20
    )
    fast.chat_template = TEMPLATE
    return fast


def chats(file, tokens, length=256):
    """Chats of so many tokens each, which fill packed sequences to the last one."""
    fast = tokenizer()
    said = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    text = fast.apply_chat_template(said, tokenize=False)
    said[0]["content"] = "a" * (1 + length - len(fast(text, add_special_tokens=False)["input_ids"]) - 60)
    with open(file, "w") as out:
        for n in range(tokens // length + 1):
            said[1]["content"] = f"{n:06d}" + "b" * 55
            out.write(json.dumps({"messages": said}) + "\n")
