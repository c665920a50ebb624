# SPDX-License-Identifier: Apache-2.0
#
# Measures what training and serving take of a GPU: peaks.py [--cases FILE] [--together N] [--out FOLDER]
# docs/models.md says what for. Each case has a process of its own, and one line of JSON says what it took.
import argparse
import json
import os
import subprocess
import sys
import threading
import time
import traceback
from pathlib import Path

import models

GIB = 1 << 30
HERE = Path(__file__).resolve().parent
RENDERED = HERE.parent.parent / "render" / "testdata" / "models" / "axolotl.yaml"
STEPS, ACCUMULATION = 2, 2


class Watch:
    """What PyTorch's allocator counts, by part of a step."""

    def __init__(self):
        self.said = {}

    def loaded(self):
        import torch

        torch.cuda.synchronize()
        self.said["loading"] = torch.cuda.max_memory_allocated()
        self.said["loadingReserved"] = torch.cuda.max_memory_reserved()
        self.said["loaded"] = torch.cuda.memory_allocated()
        self.clear()

    def clear(self):
        """Begins counting anew; what is reserved is the most of the whole process."""
        import torch

        self.said["reserved"] = max(self.said.get("reserved", 0), torch.cuda.max_memory_reserved())
        torch.cuda.reset_peak_memory_stats()

    def most(self, *names):
        import torch

        torch.cuda.synchronize()
        for name in names:
            self.said[name] = max(self.said.get(name, 0), torch.cuda.max_memory_allocated())

    def trainer(self, trainer):
        """Hooks of one trainer, set when its training begins."""
        import torch

        loss, step, clear = trainer.compute_loss, trainer.training_step, self.clear

        def compute_loss(model, inputs, *args, **kwargs):
            self.said["shape"] = list(inputs["input_ids"].shape)
            clear()
            out = loss(model, inputs, *args, **kwargs)
            self.most("forward", "peak")
            self.said["afterForward"] = max(self.said.get("afterForward", 0), torch.cuda.memory_allocated())
            clear()
            return out

        def training_step(*args, **kwargs):
            self.most("optimizing", "peak")
            out = step(*args, **kwargs)
            self.most("backward", "peak")
            self.said["stays"] = torch.cuda.memory_allocated()
            self.said["steps"] = self.said.get("steps", 0) + 1
            clear()
            return out

        trainer.compute_loss, trainer.training_step = compute_loss, training_step
        kinds = {}
        for name, p in trainer.model.named_parameters():
            kind = (
                (
                    "adapter"
                    if "lora_" in name
                    else "norm"
                    if "norm" in name
                    else "words"
                    if "embed" in name or "lm_head" in name
                    else "matrices"
                )
                + " "
                + str(p.dtype).split(".")[-1]
            )
            kinds[kind] = kinds.get(kind, 0) + p.numel() * p.element_size()
        self.said["parameters"] = kinds

    def patch(self):
        import transformers

        train = transformers.Trainer.train

        def watched(trainer, *args, **kwargs):
            self.loaded()
            self.trainer(trainer)
            return train(trainer, *args, **kwargs)

        transformers.Trainer.train = watched


def axolotl(case, watch, at):
    """Axolotl, with the file that is rendered for the model and what the case changes."""
    import yaml

    rendered = yaml.safe_load(RENDERED.read_text())
    config = yaml.safe_load(
        rendered[case.get("rendered", "meta-llama/Llama-3.1-8B-Instruct")]["config"]["axolotl.yaml"]
    )
    config.pop("model_revision", None)
    tokens = case["sequence"] * case["batch"] * ACCUMULATION * (STEPS + 2)
    models.chats(at / "chats.jsonl", tokens * case.get("times", 1), case.get("length", 256))
    config.update(
        base_model=str(models.folder(at.parent / "models", case["model"])),
        dataset_prepared_path=str(at / "prepared"),
        output_dir=str(at / "out"),
        datasets=[dict(config["datasets"][0], path=str(at / "chats.jsonl"), ds_type="json")],
        dataset_num_proc=2,
        max_steps=STEPS,
        gradient_accumulation_steps=ACCUMULATION,
        num_epochs=1,
        logging_steps=1,
        auto_resume_from_checkpoints=False,
        bf16=True,
        fp16=False,
        sequence_len=case["sequence"],
        micro_batch_size=case["batch"],
        lora_r=case["rank"],
        lora_alpha=2 * case["rank"],
        adapter=case["method"],
        peft_use_dora=case.get("dora", False),
        load_in_4bit=case["method"] == "qlora",
        optimizer=case["optimizer"],
        gradient_checkpointing=case["checkpointing"],
    )
    config.update(case.get("axolotl", {}))
    (at / "axolotl.yaml").write_text(yaml.safe_dump(config))
    watch.patch()
    from axolotl.cli.train import do_cli

    sys.argv = [sys.argv[0]]
    do_cli(str(at / "axolotl.yaml"))


def plain(case, watch, at):
    """transformers' own trainer on a model that PEFT prepared: gpu.md's plain path, and KAITO's trainer."""
    import torch
    from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig, Trainer, TrainingArguments

    quantised = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=case.get("double", True),
        bnb_4bit_compute_dtype=torch.bfloat16,
    )
    model = AutoModelForCausalLM.from_pretrained(
        models.folder(at.parent / "models", case["model"]),
        dtype=torch.bfloat16,
        device_map={"": 0},
        attn_implementation="sdpa",
        quantization_config=quantised if case["method"] == "qlora" else None,
    )
    model.config.use_cache = False
    if case["method"] == "qlora":
        model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=case["checkpointing"])
    model = get_peft_model(
        model,
        LoraConfig(
            r=case["rank"],
            lora_alpha=16,
            lora_dropout=case.get("dropout", 0),
            use_dora=case.get("dora", False),
            target_modules="all-linear",
            task_type="CAUSAL_LM",
        ),
    )
    rows = [
        {
            "input_ids": [65] * case["sequence"],
            "labels": [65] * case["sequence"],
            "attention_mask": [1] * case["sequence"],
        }
    ] * (case["batch"] * ACCUMULATION * STEPS)
    watch.patch()
    Trainer(
        model=model,
        train_dataset=rows,
        args=TrainingArguments(
            str(at / "out"),
            per_device_train_batch_size=case["batch"],
            gradient_accumulation_steps=ACCUMULATION,
            max_steps=STEPS,
            bf16=True,
            optim=case["optimizer"],
            gradient_checkpointing=case["checkpointing"],
            save_strategy="no",
            report_to="none",
            logging_steps=1,
        ),
    ).train()


def generate(case, watch, at):
    """transformers with one request, as KAITO's engine of that name has it."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(
        models.folder(at.parent / "models", case["model"]),
        dtype=torch.bfloat16,
        device_map={"": 0},
        attn_implementation="sdpa",
    )
    watch.loaded()
    new = 8
    prompt = torch.randint(0, 255, (case["batch"], case["sequence"] - new), device="cuda")
    with torch.inference_mode():
        out = model.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            max_new_tokens=new,
            min_new_tokens=new,
            do_sample=False,
            return_dict_in_generate=True,
        )
    watch.most("peak")
    layers = out.past_key_values.layers
    watch.said["cache"] = sum(t.numel() * t.element_size() for layer in layers for t in (layer.keys, layer.values))
    watch.said["shape"] = list(out.sequences.shape)


def child(case, at):
    """Runs one case, and says on the last line what it took."""
    os.environ.update(
        HF_HUB_OFFLINE="1",
        AXOLOTL_DO_NOT_TRACK="1",
        WANDB_DISABLED="true",
        TOKENIZERS_PARALLELISM="false",
        HF_HOME=str(at / "home"),
    )
    import torch

    watch, began = Watch(), time.time()
    said = {}
    try:
        if case.get("cap"):
            torch.cuda.set_per_process_memory_fraction(
                case["cap"] * GIB / torch.cuda.get_device_properties(0).total_memory
            )
        {"axolotl": axolotl, "plain": plain, "generate": generate}[case["path"]](case, watch, at)
        said["ended"] = "well"
    except torch.cuda.OutOfMemoryError as err:
        said.update(ended="out of memory", message=str(err)[:300])
    except BaseException as err:
        traceback.print_exc()
        said.update(ended="failed", message=f"{type(err).__name__}: {err}"[:600])
    if torch.cuda.is_initialized():
        watch.most("peak")
        stats = torch.cuda.memory_stats()
        watch.clear()
        watch.said["retries"] = stats.get("num_alloc_retries", 0)
    watch.said = {k: round(v / GIB, 3) if isinstance(v, int) and v > 1 << 16 else v for k, v in watch.said.items()}
    if "parameters" in watch.said:
        watch.said["parameters"] = {k: round(v / GIB, 3) for k, v in watch.said["parameters"].items()}
    said.update(watch.said, seconds=round(time.time() - began))
    (at / "said.json").write_text(json.dumps(said))
    os._exit(0)


class Card:
    """What the driver says that each process has of the card."""

    def __init__(self):
        import pynvml

        pynvml.nvmlInit()
        self.nvml, self.card = pynvml, pynvml.nvmlDeviceGetHandleByIndex(0)
        self.name = pynvml.nvmlDeviceGetName(self.card)
        self.driver = pynvml.nvmlSystemGetDriverVersion()
        self.total = pynvml.nvmlDeviceGetMemoryInfo(self.card).total
        self.idle = pynvml.nvmlDeviceGetMemoryInfo(self.card).used
        self.most, self.device, self.lock = {}, 0, threading.Lock()
        threading.Thread(target=self.look, daemon=True).start()

    def look(self):
        while True:
            with self.lock:
                self.device = max(self.device, self.nvml.nvmlDeviceGetMemoryInfo(self.card).used)
                for p in self.nvml.nvmlDeviceGetComputeRunningProcesses(self.card):
                    if p.usedGpuMemory:
                        self.most[p.pid] = max(self.most.get(p.pid, 0), p.usedGpuMemory)
            time.sleep(0.02)


def parent(cases, seconds, out, work, together):
    began, card = time.time(), Card()
    out.mkdir(parents=True, exist_ok=True)
    results = open(out / "results.jsonl", "a")
    about = {
        "card": str(card.name),
        "driver": str(card.driver),
        "total": round(card.total / GIB, 2),
        "idle": round(card.idle / GIB, 3),
    }
    print(json.dumps(about), flush=True)
    results.write(json.dumps(about) + "\n")
    room, waiting, running = card.total / GIB - 3, list(cases), []
    for n, case in enumerate(waiting):
        case["n"] = n
    for name in {c["model"] for c in cases}:
        models.folder(work / "models", name)
    print(f"models are there after {time.time() - began:.0f} s", flush=True)
    while waiting or running:
        left = seconds - (time.time() - began)
        free = room - sum(c["expect"] for c, *_ in running)
        fits = next((c for c in waiting if c["expect"] <= free or not running), None)
        # A process each: what one leaves of the CUDA context would count for the next.
        if fits and len(running) < together and left > 60:
            waiting.remove(fits)
            at = work / f"case-{fits['n']}"
            at.mkdir(parents=True, exist_ok=True)
            log = open(at / "log", "wb")
            process = subprocess.Popen(
                [sys.executable, __file__, "--child", json.dumps(fits), "--work", str(at)],
                stdout=log,
                stderr=log,
                cwd=HERE,
            )
            running.append((fits, process, at, time.time()))
            continue
        if not running or left < 3:
            break
        time.sleep(0.1)
        for entry in list(running):
            case, process, at, since = entry
            if process.poll() is None:
                continue
            running.remove(entry)
            said = (
                json.loads((at / "said.json").read_text())
                if (at / "said.json").exists()
                else {"ended": f"exit {process.returncode}"}
            )
            with card.lock:
                said["card"] = round(card.most.get(process.pid, 0) / GIB, 3)
            line = json.dumps(
                {
                    **{k: v for k, v in case.items() if k not in ("n", "expect")},
                    **said,
                    "wall": round(time.time() - since),
                }
            )
            print(line, flush=True)
            results.write(line + "\n")
            results.flush()
            if said["ended"] == "failed" or said["ended"].startswith("exit"):
                text = (at / "log").read_bytes()[-8000:] if (at / "log").exists() else b""
                (out / f"failed-{case['n'] % 5}.log").write_bytes(text)
                print(text[-700:].decode(errors="replace"), flush=True)
    for case, process, at, since in running:
        process.kill()
        print(json.dumps({"cut": case}), flush=True)
    print(
        f"{len(waiting)} not begun, {time.time() - began:.0f} s, most of the card {card.device / GIB:.2f} GiB",
        flush=True,
    )


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--child")
    p.add_argument("--cases", default=str(HERE / "cases.jsonl"))
    p.add_argument("--seconds", type=float, default=3600)
    p.add_argument("--together", type=int, default=1)
    p.add_argument("--out", default="peaks")
    p.add_argument("--work", default="/tmp/peaks")
    args = p.parse_args()
    if args.child:
        child(json.loads(args.child), Path(args.work))
    defaults = {
        "path": "axolotl",
        "method": "qlora",
        "sequence": 2048,
        "batch": 1,
        "rank": 16,
        "optimizer": "adamw_bnb_8bit",
        "checkpointing": True,
        "expect": 20,
    }
    cases = [
        {**defaults, **json.loads(line)}
        for line in Path(args.cases).read_text().splitlines()
        if line.strip() and not line.startswith("#")
    ]
    parent(cases, args.seconds, Path(args.out), Path(args.work), args.together)


if __name__ == "__main__":
    main()
