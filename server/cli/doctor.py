"""`sdrpn doctor`: checks that Python, torch, vLLM, the plugins, the model and its RPN fit together.

Each check does what the server will do: import, read, compare. A check that fails, in whatever way,
is a line of the table with what to do about it.
"""

from __future__ import annotations

import argparse
import importlib
import platform
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata

from rpn_plugin import compat, torchvision_ops
from server.cli import launch
from server.shipped_model import SHIPPED_MODEL

_REINSTALL = "reinstall: `make clean install`"


@dataclass(frozen=True)
class Finding:
    """One line of the table: `remedy` is None where the part is as it should be."""

    part: str
    value: str
    remedy: str | None = None


def main(arguments: Sequence[str]) -> int:
    """Print the table; 0 if everything fits, 1 if not."""
    parser = argparse.ArgumentParser(prog="sdrpn doctor", description=__doc__)
    parser.add_argument("model", nargs="?", default=str(SHIPPED_MODEL), help="default: shipped")
    parser.add_argument("--rpn", metavar="PATH", help="RPN folder (default: MODEL/rpn)")
    options = parser.parse_args(arguments)
    findings = examine(options.model, options.rpn)
    width = max(len(finding.part) for finding in findings)
    for finding in findings:
        mark = "ok  " if finding.remedy is None else "FAIL"
        print(f"{mark}  {finding.part:<{width}}  {finding.value}")
        if finding.remedy:
            print(f"      {'':<{width}}  -> {finding.remedy}")
    return int(any(finding.remedy for finding in findings))


def examine(model: str, rpn: str | None = None) -> list[Finding]:
    """All findings for serving `model` with the RPN folder `rpn`."""
    torchvision = (
        f"`{sys.executable} -m rpn_plugin.torchvision_ops` (beside a CPU torch, PyPI's build "
        f"needs {torchvision_ops.pth_path().name})"
    )
    return [
        _check("Python", _python_version, "use Python 3.11 to 3.13"),
        _check("torch", lambda: _version("torch"), "install the CPU build: `make install`"),
        _check("torchvision", lambda: _version("torchvision"), torchvision),
        _check("vLLM", _vllm_version, "torchaudio and torchcodec must be absent or match torch"),
        _plugin("vllm.general_plugins", launch.PLUGINS[0]),
        _plugin("vllm.endpoint_plugins", launch.PLUGINS[1]),
        _check("model", lambda: _model(model), "serve a model of a supported architecture"),
        _check(
            "RPN",
            lambda: _rpn(model, rpn),
            "train one for this model, or name another with --rpn",
        ),
    ]


def _check(part: str, check: Callable[[], str], remedy: str) -> Finding:
    """What `check` returns; or its error, with `remedy`."""
    try:
        return Finding(part, check())
    except Exception as error:  # a broken package may raise anything when it is imported
        first_line = (str(error).splitlines() or [""])[0]
        return Finding(part, f"{type(error).__name__}: {first_line}", remedy)


def _python_version() -> str:
    if not (3, 11) <= sys.version_info < (3, 14):
        raise compat.CompatibilityError(f"Python {platform.python_version()} is not supported")
    return platform.python_version()


def _version(module: str) -> str:
    return str(importlib.import_module(module).__version__)


def _vllm_version() -> str:
    compat.check_vllm_version(launch.installed_vllm())
    return _version("vllm")


def _plugin(group: str, name: str) -> Finding:
    def load() -> str:
        for entry in metadata.entry_points(group=group, name=name):
            entry.load()
            return entry.value
        raise compat.CompatibilityError(f"no entry point in {group}")

    return _check(f"plugin {name}", load, _REINSTALL)


def _model(model: str) -> str:
    compat.check_model_config(launch.model_config(model))
    return model


def _rpn(model: str, rpn: str | None) -> str:
    from rpn_plugin.network.checkpoint import load_gate, load_rpn
    from server.model_files.rpn_folder import rpn_folder

    folder = rpn_folder(model, rpn)
    compat.check_rpn_fits(load_rpn(folder).config, launch.model_config(model))
    load_gate(folder)
    return folder
