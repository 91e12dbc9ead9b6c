"""`sdrpn doctor`: do Python, torch, torchvision, vLLM, the plugins, the model and its RPN fit?

Every line is found by doing what the server will do: importing, reading, comparing. What fails
comes with the one thing that mends it.
"""

from __future__ import annotations

import importlib
import json
import platform
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata

from rpn_plugin import compat, torchvision_ops
from rpn_plugin.network.checkpoint import CheckpointError, load_gate, load_rpn
from server.cli import launch
from server.cli.rpn_folder import rpn_folder
from server.shipped_model import SHIPPED_MODEL

_REINSTALL = "reinstall: `make clean install`"


@dataclass(frozen=True)
class Finding:
    """One line of the table: `mend` is None where all is well."""

    part: str
    found: str
    mend: str | None = None


def run(model: str | None = None, rpn: str | None = None) -> int:
    """Print the table; 0 if everything fits, 1 if not."""
    findings = examine(model or str(SHIPPED_MODEL), rpn)
    width = max(len(finding.part) for finding in findings)
    for finding in findings:
        mark = "ok  " if finding.mend is None else "FAIL"
        print(f"{mark}  {finding.part:<{width}}  {finding.found}")
        if finding.mend:
            print(f"      {'':<{width}}  -> {finding.mend}")
    return int(any(finding.mend for finding in findings))


def examine(model: str, rpn: str | None = None) -> list[Finding]:
    """What stands and what does not, for serving `model` with the RPN folder `rpn`."""
    return [
        _python(),
        _imports("torch", "install the CPU build: `make install`"),
        _imports(
            "torchvision",
            f"`{sys.executable} -m rpn_plugin.torchvision_ops` (beside a CPU torch, PyPI's build "
            f"needs {torchvision_ops.pth_path().name})",
        ),
        _vllm(),
        _plugin("vllm.general_plugins", launch.PLUGINS[0]),
        _plugin("vllm.endpoint_plugins", launch.PLUGINS[1]),
        _model(model),
        _rpn(model, rpn),
    ]


def _python() -> Finding:
    fits = (3, 11) <= sys.version_info < (3, 14)
    return Finding("Python", platform.python_version(), None if fits else "use Python 3.11 to 3.13")


def _imports(module: str, mend: str) -> Finding:
    try:
        version = importlib.import_module(module).__version__
    except (ImportError, OSError, RuntimeError) as error:
        return Finding(module, _one_line(error), mend)
    return Finding(module, version)


def _vllm() -> Finding:
    version = launch.installed_vllm()
    try:
        compat.check_vllm_version(version)
    except compat.CompatibilityError as error:
        return Finding("vLLM", version or "not installed", str(error))
    imported = _imports("vllm", "torchaudio and torchcodec must be absent or match torch")
    return Finding("vLLM", imported.found, imported.mend)


def _plugin(group: str, name: str) -> Finding:
    part = f"plugin {name}"
    for entry in metadata.entry_points(group=group, name=name):
        try:
            entry.load()
        except (ImportError, AttributeError) as error:
            return Finding(part, _one_line(error), _REINSTALL)
        return Finding(part, entry.value)
    return Finding(part, f"no entry point in {group}", _REINSTALL)


def _model(model: str) -> Finding:
    return _compatible(
        "model",
        model,
        lambda: compat.check_model_config(launch.model_config(model)),
        "serve a model of a supported architecture",
    )


def _rpn(model: str, rpn: str | None) -> Finding:
    def fits() -> None:
        folder = rpn_folder(model, rpn)
        compat.check_rpn_fits(load_rpn(folder).config, launch.model_config(model))
        load_gate(folder)

    return _compatible(
        "RPN", rpn or model, fits, "train one for this model, or name another with --rpn"
    )


def _compatible(part: str, found: str, check: Callable[[], object], mend: str) -> Finding:
    try:
        check()
    except (
        compat.CompatibilityError,
        CheckpointError,
        launch.LaunchError,
        json.JSONDecodeError,
    ) as error:
        return Finding(part, _one_line(error), mend)
    return Finding(part, found)


def _one_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
