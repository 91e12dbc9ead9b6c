"""Help and argument errors answer without the packages that take seconds to import."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from server.cli.main import COMMANDS

HEAVY = ("torch", "vllm", "transformers")
_SCRIPT = """
import json, sys
from server.cli.main import main
try:
    status = main(json.loads(sys.argv[1]))
except SystemExit as exit:
    status = exit.code
print(json.dumps([status, sorted(set(json.loads(sys.argv[2])) & set(sys.modules))]))
"""


def run(*arguments: str) -> tuple[int, list[str], str]:
    """Exit status of `sdrpn` with `arguments`, heavy packages that it imported, and its stderr."""
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT, json.dumps(arguments), json.dumps(HEAVY)],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    status, heavy = json.loads(done.stdout.splitlines()[-1])
    return status, heavy, done.stderr


@pytest.mark.parametrize(
    "arguments", [["--help"], *([name, "--help"] for name in COMMANDS)], ids=" ".join
)
def test_help(arguments: list[str]) -> None:
    assert run(*arguments)[:2] == (0, [])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "required: COMMAND"),
        (["sing"], "invalid choice: 'sing'"),
        (["ask", "page.png"], "required: question"),
        (["convert"], "required: checkpoint, folder"),
        (["doctor", "a", "b"], "unrecognized arguments: b"),
        (["eval", "rows.jsonl"], "required: --out"),
        (["eval", "rows.jsonl", "--out", "o", "--limit", "0"], "0 is not 1 or more"),
        (["distill", "model", "--data", "d"], "required: --out"),
        (["serve", "--max-inflight", "0"], "SDRPN_MAX_INFLIGHT"),
        (["serve", "--roi-default", "sometimes"], "invalid choice: 'sometimes'"),
        (["serve", "--kv-transfer-config", "{}"], "--kv-transfer-config is taken"),
        (["serve", "--hf-overrides", "{"], "--hf-overrides is not JSON"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_argument_errors(arguments: list[str], message: str) -> None:
    status, heavy, complaint = run(*arguments)
    assert (status, heavy) == (2, [])
    assert message in complaint


def test_no_endpoint_is_an_error_without_them(tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text("")
    nobody = ("--url", "http://127.0.0.1:1")
    status, heavy, complaint = run("eval", str(rows), "--out", str(tmp_path / "out"), *nobody)
    assert (status, heavy) == (1, [])
    assert "no endpoint answers" in complaint


def test_the_entry_point_is_the_module() -> None:
    module = [sys.executable, "-m", "server.cli"]
    shown = subprocess.run([*module, "--help"], capture_output=True, text=True, check=True).stdout
    assert all(f"    {name} " in shown for name in COMMANDS)
