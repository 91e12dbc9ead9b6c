"""A Prometheus on this machine: it scrapes one server every second and evaluates deploy's rules."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import yaml

RULES = Path(__file__).resolve().parents[1] / "deploy" / "chart" / "files" / "rules.yaml"
_UP_WITHIN = 30.0


def rule_groups(release: str = "papers") -> Any:
    """The rules of an installation of that name, as Prometheus reads them from a file."""
    return yaml.safe_load(_named(RULES.read_text(), release))


def _named(rules: str, release: str) -> str:
    return rules.replace("SDRPN_NAME", release).replace("RUNBOOK", "docs/operations.md")


@contextmanager
def running_prometheus(target: str, port: int, folder: Path) -> Iterator[str]:
    """The address of a Prometheus on `port` that scrapes `target` ("host:port").

    `folder` is an empty place for its files. Raises RuntimeError, with its log's end, if it does
    not start.
    """
    (folder / "groups.yaml").write_text(yaml.safe_dump(rule_groups()))
    configuration = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(folder / "groups.yaml")],
        "scrape_configs": [{"job_name": "sdrpn", "static_configs": [{"targets": [target]}]}],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(configuration))
    command = [
        "prometheus",
        f"--config.file={folder}/prometheus.yml",
        f"--storage.tsdb.path={folder}/data",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        _wait(process, port, folder / "log")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + _UP_WITHIN
    while True:
        try:
            if httpx.get(f"http://127.0.0.1:{port}/-/ready", timeout=5.0).is_success:
                return
        except httpx.TransportError:
            pass
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"Prometheus did not start:\n{log.read_text()[-3000:]}")
        time.sleep(0.1)
