# SPDX-License-Identifier: Apache-2.0
#
# Reads [{"name", "args"}] and gives each list to vLLM's own argument parser, and
# what that returns to vLLM's own check of it. No model is loaded.
import argparse
import json
import sys
from importlib.metadata import version

# The parser asks for the device, and there is none here: it is told of the one
# that the arguments are for. Before anything else is imported, which may ask too.
import vllm.platforms
from vllm.platforms.interface import UnspecifiedPlatform


class Cuda(UnspecifiedPlatform):
    device_type = "cuda"


vllm.platforms._current_platform = Cuda()

from vllm.entrypoints.cli.serve import cmd_init
from vllm.utils.argparse_utils import FlexibleArgumentParser

parser = FlexibleArgumentParser(prog="vllm")
commands = parser.add_subparsers(dest="subparser")
serve = cmd_init()[0]
serve.subparser_init(commands)

failed = 0
cases = json.load(sys.stdin)
for case in cases:
    try:
        serve.validate(parser.parse_args(["serve"] + case["args"]))
        print("  accepted", case["name"])
    except (SystemExit, argparse.ArgumentError, TypeError, ValueError) as e:
        failed += 1
        print("  REFUSED ", case["name"], "-", e)
print(f"vllm {version('vllm')}: {len(cases) - failed} of {len(cases)} accepted")
sys.exit(1 if failed else 0)
