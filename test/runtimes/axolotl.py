# SPDX-License-Identifier: Apache-2.0
#
# Reads [{"name", "config", "gpus"}] and asks Axolotl's own validation of each, for
# a GPU that has what the file says: `axolotl train` does the same with the GPU
# that it finds.
import json
import sys

import yaml
from axolotl.utils.config import validate_config
from axolotl.utils.dict import DictDefault
from axolotl.utils.schemas.config import AxolotlInputConfig
from importlib.metadata import version

# What a file calls a field, and Axolotl another name.
names = {f.alias: name for name, f in AxolotlInputConfig.model_fields.items() if f.alias}

failed = 0
cases = json.load(sys.stdin)
for case in cases:
    said = yaml.safe_load(case["config"])
    ampere = bool(said.get("bf16"))
    try:
        got = validate_config(
            DictDefault(yaml.safe_load(case["config"])),
            capabilities={
                "bf16": ampere,
                "fp8": False,
                "tf32": ampere,
                "n_gpu": case["gpus"],
                "compute_capability": "sm_80" if ampere else "sm_75",
            },
            env_capabilities={"torch_version": version("torch").split("+")[0]},
        )
        # A key that Axolotl does not know is dropped without a word.
        lost = sorted(k for k, v in said.items() if v not in (None, False) and got.get(names.get(k, k)) is None)
        if lost:
            raise ValueError("it drops " + ", ".join(lost))
        print("  accepted", case["name"])
    except Exception as e:  # whatever it raises is what a user would see
        failed += 1
        print("  REFUSED ", case["name"], "-", str(e).replace("\n", "\n    "))
print(f"axolotl {version('axolotl')}: {len(cases) - failed} of {len(cases)} accepted")
sys.exit(1 if failed else 0)
