"""What each overlay starts: read by `sdrpn serve`, and by the parser of vLLM's own server."""

from __future__ import annotations

import argparse
import shlex

import pytest
from vllm.entrypoints.launchers.cli_args import make_arg_parser
from vllm.utils.argparse_utils import FlexibleArgumentParser

from server.cli.main import main
from server.shipped_model import SHIPPED_MODEL
from tests.deploy.dockerfile import entry_point
from tests.deploy.manifests import OVERLAYS, Manifest, one, pods

SERVE = ["sdrpn", "serve"]


def server(overlay: str) -> Manifest:
    """The container that serves."""
    found = pods(overlay)
    container: Manifest = (found.get("sdrpn") or found["sdrpn-group-leader"])["spec"]["containers"][
        0
    ]
    return container


def command(overlay: str) -> list[str]:
    """What its process becomes: the entry point with arguments, or what a script ends in."""
    container = server(overlay)
    if "command" not in container:
        return [*entry_point("gpu"), *container.get("args", [])]
    script = container["args"][0].replace("\\\n", " ")
    return shlex.split(script.rpartition("exec ")[2])


def parsed(command: list[str], capsys: pytest.CaptureFixture[str]) -> argparse.Namespace:
    """What vLLM understands; its model and RPN are the shipped ones, for want of the large."""
    assert command[:2] == SERVE
    here = [
        f"--rpn={SHIPPED_MODEL / 'rpn'}"
        if argument == "--rpn=/cache/rpn"
        else str(SHIPPED_MODEL)
        if argument.startswith("Qwen/")
        else argument
        for argument in command[2:]
    ]
    assert main(["serve", *here, "--print"]) == 0
    words = shlex.split(capsys.readouterr().out)
    parser = make_arg_parser(FlexibleArgumentParser())
    options: argparse.Namespace = parser.parse_args(words[words.index("-m") + 2 :])
    return options


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_vllm_takes_every_argument(overlay: str, capsys: pytest.CaptureFixture[str]) -> None:
    container = server(overlay)
    options = parsed(command(overlay), capsys)
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert (options.host, options.port) == ("0.0.0.0", ports["http"])
    assert options.model_tag is None, "an argument that nobody asked for"
    # Only without a model of its own is the shipped one's name the model's.
    assert (options.served_model_name is None) == (overlay != "cpu")


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_gpu_is_used(overlay: str, capsys: pytest.CaptureFixture[str]) -> None:
    options = parsed(command(overlay), capsys)
    gpus = int(server(overlay)["resources"]["limits"].get("nvidia.com/gpu", 1))
    several = overlay == "multi-node"
    machines = (
        one(overlay, "LeaderWorkerSet", "sdrpn-group")["spec"]["leaderWorkerTemplate"]["size"]
        if several
        else 1
    )
    assert options.tensor_parallel_size == gpus * machines
    assert options.distributed_executor_backend == ("ray" if several else None)


def test_a_flag_that_vllm_does_not_have_is_found(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parsed([*command("gpu"), "--tensor-parallelism=2"], capsys)
