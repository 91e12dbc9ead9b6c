"""`sdrpn distill`: trains an RPN for any model from that model's own attention; and gates."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

STEPS = ("labels", "train")
GATE = "gate"

_USAGE = "sdrpn distill [labels | train] MODEL --data DATA --out DIR [settings ...]"
_GATE_USAGE = "sdrpn distill gate MODEL --rpn RPN --data DATA --out DIR [settings ...]"
_ABOUT = """\
Train a region proposal network for MODEL (a Hugging Face folder or name) on questions about
pictures, without boxes: pseudo-labels from the model's own attention, then the RPN. `labels` and
`train` do one of the two. A run that was ended, however, goes on where it was when the same command
is given again. Several GPUs: torchrun --nproc-per-node N --no-python sdrpn distill ...

`sdrpn distill gate` trains a learned gate for an RPN that is there: every question is answered with
and without zoom, and the gate learns which needed it. --depth is the gate's number of layers."""


def main(arguments: Sequence[str]) -> int:
    """Run `sdrpn distill` with these arguments; the exit status."""
    from rpn_plugin.distill.settings import add_arguments

    steps = tuple(arguments[:1]) if arguments[:1] and arguments[0] in (*STEPS, GATE) else STEPS
    parser = argparse.ArgumentParser(
        prog=f"sdrpn distill {steps[0]}" if len(steps) == 1 else "sdrpn distill",
        usage=_GATE_USAGE if steps == (GATE,) else _USAGE,
        description=_ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("model", metavar="MODEL", help="a Hugging Face folder or name")
    parser.add_argument(
        "--data",
        type=Path,
        required=True,
        help="JSONL of image, question and, if known, answers; LLaVA conversations (.json); or a "
        "folder that `datasets` wrote",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the run and its RPN")
    if steps == (GATE,):
        parser.add_argument("--rpn", type=Path, required=True, help="folder of the RPN to gate")
    add_arguments(parser)
    options = parser.parse_args(arguments[len(steps) % len(STEPS) :])
    return _run(steps, options)


def _run(steps: Sequence[str], options: argparse.Namespace) -> int:
    from rpn_plugin.distill.data.samples import DataError
    from rpn_plugin.distill.data.shards import OtherSettings
    from rpn_plugin.distill.distributed import join
    from rpn_plugin.distill.gate.gate_run import GateRun
    from rpn_plugin.distill.run import Run
    from rpn_plugin.distill.settings import SettingsError, settings_from
    from rpn_plugin.network.checkpoint import CheckpointError

    try:
        settings = settings_from(options)
        processes = join(settings.device)
        where = (options.data, options.out, settings, processes)
        if steps == (GATE,):
            GateRun(options.model, options.rpn, *where).run()
        else:
            run = Run(options.model, *where)
            for step in steps:
                run.labels() if step == "labels" else run.train()
        processes.close()
    except (SettingsError, DataError, OtherSettings, CheckpointError) as error:
        print(f"sdrpn distill: {error}", file=sys.stderr)
        return 1
    return 0
