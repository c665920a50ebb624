# SPDX-License-Identifier: Apache-2.0
#
# Measures what vLLM takes of a GPU: serving.py [--cases FILE] [--seconds N] [--out FOLDER]
# docs/models.md says what for. Each case is an engine in a process of its own, on weights that vLLM makes up. It
# has the card to itself, since vLLM counts what others take as its own; the next one only imports meanwhile.
import argparse
import fcntl
import json
import logging
import os
import random
import re
import subprocess
import sys
import time
import traceback
from pathlib import Path

import models

GIB = 1 << 30
HERE = Path(__file__).resolve().parent
LOGGED = {
    "graphs": r"([\d.]+) GiB for CUDAGraph memory",
    "tokens": r"GPU KV cache size: ([\d,]+) tokens",
    "loaded": r"Model loading took ([\d.]+) GiB",
    "cache": r"Available KV cache memory: (-?[\d.]+) GiB",
}


class Log(logging.Handler):
    """What vLLM says of its memory, and which kernels it chose."""

    def __init__(self):
        super().__init__()
        self.said, self.kernels = {}, []

    def emit(self, record):
        text = record.getMessage()
        for name, pattern in LOGGED.items():
            if found := re.search(pattern, text):
                self.said[name] = float(found[1].replace(",", ""))
        if re.search(r"backend|Using .*kernel|Runner|padding layers", text, re.I):
            self.kernels.append(text[:160])


def used():
    """What the driver says that all have of the card."""
    import pynvml

    pynvml.nvmlInit()
    return pynvml.nvmlDeviceGetMemoryInfo(pynvml.nvmlDeviceGetHandleByIndex(0)).used


def turn(at, idle):
    """Waits until no other engine has the card."""
    lock = open(at.parent / "turn", "w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    while used() > idle + GIB // 4:
        time.sleep(0.05)
    return lock


def requests(llm, case):
    """As many short requests as run at a time, and one that fills a step."""
    from vllm import SamplingParams

    longest = min(llm.llm_engine.model_config.max_model_len - 16, case["batched"])
    lengths = [longest] + [32] * case["sequences"]
    prompts = [{"prompt_token_ids": [random.randrange(30000) for _ in range(n)]} for n in lengths]
    params = SamplingParams(top_p=0.9, top_k=50, max_tokens=8, ignore_eos=True, detokenize=False)
    llm.generate(prompts, params, use_tqdm=False)


def measure(case, at, said):
    from vllm import LLM

    import torch

    folder = models.shape(at / "model", case["model"], case["config"])
    said["lock"] = turn(at, case["idle"])
    began, before = time.time(), used()
    llm = LLM(
        model=str(folder),
        load_format="dummy",
        skip_tokenizer_init=True,
        max_model_len=case["length"],
        max_num_batched_tokens=case["batched"],
        max_num_seqs=case["sequences"],
        gpu_memory_utilization=case["utilization"],
        **case["engine"],
    )
    worker = llm.llm_engine.model_executor.driver_worker.worker
    said.update(
        total=worker.init_snapshot.total_memory,
        free=worker.init_snapshot.free_memory,
        weights=worker.model_runner.model_memory_usage,
        activation=worker.peak_activation_memory,
        nonTorch=worker.non_torch_memory,
        graphsCounted=worker.cudagraph_memory_estimate,
        available=int(worker.available_kv_cache_memory_bytes),
        length=llm.llm_engine.model_config.max_model_len,
        allocated=torch.cuda.memory_allocated(),
        reserved=torch.cuda.memory_reserved(),
        started=used() - before,
        starting=round(time.time() - began),
    )
    requests(llm, case)
    said.update(served=used() - before, peak=torch.cuda.max_memory_allocated())


def child(case, at):
    """Runs one case, and says on the last line what it took."""
    os.environ.update(VLLM_ENABLE_V1_MULTIPROCESSING="0", VLLM_NO_USAGE_STATS="1", HF_HUB_OFFLINE="1")
    import vllm  # noqa: F401  which sets the logger up

    log, said = Log(), {}
    logging.getLogger("vllm").addHandler(log)
    try:
        measure(case, at, said)
        said["ended"] = "well"
    except BaseException as err:
        traceback.print_exc()
        said.update(ended="failed", message=f"{type(err).__name__}: {err}"[:600])
    said.pop("lock", None)
    said = {k: round(v / GIB, 3) if isinstance(v, int) and abs(v) > 1 << 22 else v for k, v in said.items()}
    (at / "said.json").write_text(json.dumps({**log.said, **said, "kernels": log.kernels}))
    os._exit(0)


def collect(case, process, at, out):
    """The line of a case that has ended."""
    file = at / "said.json"
    said = json.loads(file.read_text()) if file.exists() else {"ended": f"exit {process.returncode}"}
    kernels = said.pop("kernels", [])
    line = json.dumps({**{k: v for k, v in case.items() if k not in ("n", "idle")}, **said})
    print(line, flush=True)
    with open(out / "measured.jsonl", "a") as results:
        results.write(line + "\n")
    with open(out / "kernels.txt", "a") as file:
        file.write("\n".join([line[:120], *kernels, ""]))
    if said["ended"] != "well":
        text = (at / "log").read_bytes()[-20000:]
        (out / f"failed-{case['n'] % 4}.log").write_bytes(text)
        print(text[-1500:].decode(errors="replace"), flush=True)


def parent(cases, seconds, out, work):
    began, idle = time.time(), used()
    out.mkdir(parents=True, exist_ok=True)
    waiting, running = list(enumerate(cases)), []
    while waiting or running:
        left = seconds - (time.time() - began)
        if waiting and len(running) < 2 and left > 45:
            n, case = waiting.pop(0)
            case.update(n=n, idle=idle)
            at = work / f"case-{n}"
            at.mkdir(parents=True, exist_ok=True)
            (at / "said.json").unlink(missing_ok=True)
            with open(at / "log", "wb") as log:
                command = [sys.executable, __file__, "--child", json.dumps(case), "--work", str(at)]
                running.append((case, subprocess.Popen(command, stdout=log, stderr=log, cwd=HERE), at))
        if not running or left < 3:
            break
        time.sleep(0.1)
        for entry in [e for e in running if e[1].poll() is not None]:
            running.remove(entry)
            collect(*entry, out)
    for case, process, _ in running:
        process.kill()
        print(json.dumps({"cut": case}), flush=True)
    print(f"{len(waiting)} not begun, {time.time() - began:.0f} s", flush=True)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--child")
    p.add_argument("--cases", default=str(HERE / "serving.jsonl"))
    p.add_argument("--seconds", type=float, default=7200)
    p.add_argument("--out", default="serving")
    p.add_argument("--work", default="/tmp/serving")
    args = p.parse_args()
    if args.child:
        child(json.loads(args.child), Path(args.work))
    defaults = {"batched": 8192, "sequences": 1024, "utilization": 0.9, "length": -1, "engine": {}, "config": {}}
    lines = [line for line in Path(args.cases).read_text().splitlines() if line.strip() and line[0] != "#"]
    parent([{**defaults, **json.loads(line)} for line in lines], args.seconds, Path(args.out), Path(args.work))


if __name__ == "__main__":
    main()
