"""What `sdrpn serve` makes of its arguments, and what it refuses before anything starts."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from server.cli.launch import Launch, LaunchError, plan
from server.cli.main import main
from server.shipped_model import SHIPPED_MODEL
from tests import golden


def option(launch: Launch, name: str) -> str:
    return launch.command[launch.command.index(name) + 1]


def test_without_a_model_the_shipped_one_is_served_on_this_machine_only() -> None:
    launch = plan(None, None, [], {})
    assert option(launch, "--model") == str(SHIPPED_MODEL)
    assert option(launch, "--host") == "127.0.0.1"
    overrides = json.loads(option(launch, "--hf-overrides"))
    assert overrides["sdrpn"]["rpn"] == str(SHIPPED_MODEL / "rpn")
    assert {"sdrpn", "sdrpn_endpoint"} <= set(launch.environment["VLLM_PLUGINS"].split(","))


def test_what_the_user_says_wins() -> None:
    arguments = ["--host=0.0.0.0", "--dtype", "bfloat16", "--hf-overrides", '{"a": 1}']
    launch = plan(None, None, arguments, {"VLLM_PLUGINS": "mine", "VLLM_CPU_KVCACHE_SPACE": "7"})
    assert "--host" not in launch.command
    assert launch.command.count("--dtype") == 1
    overrides = json.loads(option(launch, "--hf-overrides"))
    assert overrides["a"] == 1
    assert "sdrpn" in overrides
    assert launch.command.count("--hf-overrides") == 1
    assert launch.environment["VLLM_PLUGINS"] == "mine,sdrpn,sdrpn_endpoint"
    assert launch.environment["VLLM_CPU_KVCACHE_SPACE"] == "7"


@pytest.fixture
def model_copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(SHIPPED_MODEL, tmp_path / "model"))


def edit(path: Path, **changes: object) -> None:
    values = json.loads(path.read_text())
    path.write_text(json.dumps({**values, **changes}))


def test_an_unsupported_architecture_is_refused(model_copy: Path) -> None:
    edit(model_copy / "config.json", architectures=["GPT2LMHeadModel"])
    with pytest.raises(LaunchError, match="GPT2LMHeadModel"):
        plan(str(model_copy), None, [], {})


def test_an_rpn_of_another_width_is_refused(model_copy: Path) -> None:
    edit(model_copy / "rpn" / "rpn_config.json", hidden_size=64)
    with pytest.raises(LaunchError, match="hidden"):
        plan(str(model_copy), None, [], {})


def test_an_rpn_for_another_depth_is_refused(model_copy: Path) -> None:
    edit(model_copy / "rpn" / "rpn_config.json", base_layers=28)
    with pytest.raises(LaunchError, match="layers"):
        plan(str(model_copy), None, [], {})


def test_a_model_without_an_rpn_is_refused(model_copy: Path) -> None:
    shutil.rmtree(model_copy / "rpn")
    with pytest.raises(LaunchError, match="--rpn"):
        plan(str(model_copy), None, [], {})


def test_an_unreadable_rpn_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LaunchError, match="no RPN in"):
        plan(None, str(tmp_path), [], {})


def test_a_model_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LaunchError, match="no model configuration"):
        plan(str(tmp_path / "absent"), str(SHIPPED_MODEL / "rpn"), [], {"HF_HUB_OFFLINE": "1"})


def test_a_connector_of_ones_own_is_refused() -> None:
    with pytest.raises(LaunchError, match="kv-transfer-config"):
        plan(None, None, ["--kv-transfer-config", "{}"], {})


def test_overrides_that_are_not_json_are_refused() -> None:
    with pytest.raises(LaunchError, match="not JSON"):
        plan(None, None, ["--hf-overrides", "{"], {})


def test_a_refusal_is_one_line_and_a_status(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", "--rpn", str(tmp_path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("sdrpn serve: no RPN in")


def test_print_shows_a_command_line_for_plain_vllm(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--print", "--port", "9"]) == 0
    shown = capsys.readouterr().out
    assert re.search("VLLM_PLUGINS=sdrpn,\\S*sdrpn_endpoint ", shown)
    assert shown.rstrip().endswith("--port 9")


@pytest.mark.parametrize("released", [golden.QWEN, golden.LLAVA])
def test_a_released_model_is_its_own_rpn_folder(released: Path) -> None:
    checkpoint = released / "checkpoint"
    launch = plan(str(checkpoint), None, [], {})
    overrides = json.loads(option(launch, "--hf-overrides"))
    assert overrides["sdrpn"]["rpn"] == option(launch, "--model") == str(checkpoint)


def test_a_pruned_model_is_refused_and_its_rpn_is_not(tmp_path: Path) -> None:
    complete, pruned = golden.QWEN / "checkpoint", tmp_path / "pruned"
    shutil.copytree(complete, pruned)
    kept = {
        name: tensor
        for name, tensor in load_file(pruned / "model.safetensors").items()
        if not name.startswith("model.layers.7.")
    }
    save_file(kept, pruned / "model.safetensors")
    edit(pruned / "config.json", num_hidden_layers=7)
    with pytest.raises(LaunchError, match=r"pruned.*sdrpn serve BASE_MODEL --rpn"):
        plan(str(pruned), None, [], {})
    assert str(pruned) in option(plan(str(complete), str(pruned), [], {}), "--hf-overrides")


@pytest.mark.slow
def test_no_server_starts_without_our_part_of_it() -> None:
    """vLLM would log that the endpoint plugin cannot be loaded, and serve without keys."""
    broken = (
        "import runpy, sys\n"
        "sys.modules['server.guard'] = None\n"
        "runpy.run_module('server.process', run_name='__main__')"
    )
    ended = subprocess.run(
        [sys.executable, "-c", broken, *plan(None, None, [], {}).arguments],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ended.returncode == 1
    last_line = ended.stderr.rstrip().splitlines()[-1]
    assert last_line.startswith("ModuleNotFoundError: No module named 'server.guard")


@pytest.mark.slow
def test_a_model_behind_a_flags_value_is_not_passed_over() -> None:
    """Which word is a flag's value, vLLM's parser alone knows."""
    given = ["serve", "--host", "127.0.0.1", "their/model"]
    command = [sys.executable, "-m", "server.cli", *given]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert ended.returncode == 1
    assert "sdrpn serve: is 'their/model' the model? It goes first" in ended.stderr
