"""What each installation starts: read by `sdrpn serve`, and by the parser of vLLM's own server."""

from __future__ import annotations

import argparse
import shlex

import pytest
from vllm.entrypoints.launchers.cli_args import make_arg_parser
from vllm.utils.argparse_utils import FlexibleArgumentParser

from server.cli.main import main
from server.shipped_model import SHIPPED_MODEL
from tests.deploy.chart import VARIANTS, render, server
from tests.deploy.dockerfile import entry_point

SERVE = ["sdrpn", "serve"]


def command(variant: str) -> list[str]:
    """The image's entry point with the container's arguments."""
    return [*entry_point("gpu"), *server(render(VARIANTS[variant])).get("args", [])]


def parsed(command: list[str], capsys: pytest.CaptureFixture[str]) -> argparse.Namespace:
    """What vLLM understands; its model and RPN are the shipped ones, for want of the large."""
    assert command[:2] == SERVE
    given = [argument for argument in command[2:] if not argument.startswith("--rpn=")]
    rpn = f"--rpn={SHIPPED_MODEL / 'rpn'}"
    here = [
        str(SHIPPED_MODEL) if argument.startswith("/models/") else argument for argument in given
    ]
    assert main(["serve", *here, rpn, "--print"]) == 0
    words = shlex.split(capsys.readouterr().out)
    parser = make_arg_parser(FlexibleArgumentParser())
    options: argparse.Namespace = parser.parse_args(words[words.index("-m") + 2 :])
    return options


@pytest.mark.parametrize("variant", VARIANTS)
def test_vllm_takes_every_argument(variant: str, capsys: pytest.CaptureFixture[str]) -> None:
    container = server(render(VARIANTS[variant]))
    options = parsed(command(variant), capsys)
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert (options.host, options.port) == ("0.0.0.0", ports["http"])
    assert options.model_tag is None, "an argument that is no flag's"
    # Only without a model of its own is the shipped one's name the model's.
    assert (options.served_model_name is None) == (variant != "cpu")
    gpus = int(container["resources"]["limits"].get("nvidia.com/gpu", 1))
    assert options.tensor_parallel_size == gpus


def test_a_flag_that_vllm_does_not_have_is_found(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parsed([*command("gpu"), "--tensor-parallelism=2"], capsys)
