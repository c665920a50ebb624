# SPDX-License-Identifier: Apache-2.0
#
# Loads a published adapter with PEFT onto the model it was trained from: NAME ADAPTER,
# and the text of a row on stdin. Says how far the logits are from the base model's,
# and how well each knows the row.
import json
import sys

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

name, adapter = sys.argv[1:]
tokenizer = AutoTokenizer.from_pretrained(name)
text = tokenizer.apply_chat_template(json.load(sys.stdin)["messages"], tokenize=False)
row = tokenizer(text, return_tensors="pt", add_special_tokens=False)
row["labels"] = row["input_ids"]
model = AutoModelForCausalLM.from_pretrained(name, dtype=torch.float32)
with torch.no_grad():
    base = model(**row)
    tuned = PeftModel.from_pretrained(model, adapter).eval()(**row)
print(
    json.dumps(
        {
            "difference": (tuned.logits - base.logits).abs().max().item(),
            "baseLoss": base.loss.item(),
            "adapterLoss": tuned.loss.item(),
        }
    )
)
