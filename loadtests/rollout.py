"""`python -m loadtests.rollout`: two replicas behind nginx, restarted in turn under load.

This is what a cluster does when an image changes: SIGTERM, the replica drains and ends, another
starts. nginx has deploy's configuration. The exit status is 1 if a request fails, or if a replica's
exit status is not 0. --out gets rollout.png and the logs of the servers and nginx.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from demo.endpoint import Server, free_port
from loadtests.nginx import running_nginx
from loadtests.steady_clients import SentRequest, Traffic, steady_clients

NAMES = ("one", "two")
_BIND = "VLLM_CPU_OMP_THREADS_BIND"
_UNDISTURBED = 10.0
"""Seconds of load before the first restart, between two, and after the last."""


@dataclass(frozen=True)
class Restart:
    """One replica's absence, in seconds since the start of the load."""

    replica: str
    terminated: float
    stopped: float
    ready: float
    exit_status: int


def main(argv: Sequence[str] | None = None) -> int:
    """Run the rollout; 0 if no request and no replica failed."""
    options = _parser().parse_args(argv)
    options.out.mkdir(parents=True, exist_ok=True)
    replicas = {
        name: Server(options.out / f"{name}.log", *options.serve, **_cores_of(number))
        for number, name in enumerate(NAMES)
    }
    try:
        for replica in replicas.values():  # one by one: loading uses every core
            replica.start()
            replica.wait_until_ready()
        model = httpx.get(f"{replica.url}/v1/models").json()["data"][0]["id"]
        with (
            running_nginx(
                [replica.address for replica in replicas.values()], free_port(), options.out
            ) as nginx,
            steady_clients(nginx.url, model, options.clients, size=(640, 480)) as traffic,
        ):
            restarts = [_restart(name, replica, traffic) for name, replica in replicas.items()]
            time.sleep(_UNDISTURBED)
    finally:
        for replica in replicas.values():
            replica.stop()
    draw(traffic.requests, restarts, options.out / "rollout.png")
    return report(traffic.requests, restarts)


def _cores_of(replica: int) -> dict[str, str]:
    """Cores of its own for each replica, as in a cluster: vLLM on a CPU would pin all replicas to
    the same cores, where a busy one slows the start of another.
    """
    cores = sorted(os.sched_getaffinity(0))
    share = cores[replica :: len(NAMES)] or cores
    return {_BIND: os.environ.get(_BIND) or ",".join(map(str, share))}


def _restart(name: str, replica: Server, traffic: Traffic) -> Restart:
    time.sleep(_UNDISTURBED)
    terminated = traffic.now
    status = replica.stop()
    stopped = traffic.now
    replica.start()
    replica.wait_until_ready()
    return Restart(name, terminated, stopped, traffic.now, status)


def report(requests: Sequence[SentRequest], restarts: Sequence[Restart]) -> int:
    """Prints the result; 1 if a request failed or a replica ended with another status than 0."""
    for restart in restarts:
        drained, away = restart.stopped - restart.terminated, restart.ready - restart.stopped
        print(
            f"replica {restart.replica}: stopped {drained:.1f} s after SIGTERM with status "
            f"{restart.exit_status}, ready again {away:.1f} s later"
        )
    failures = [one for one in requests if one.error]
    meanwhile = sum(any(r.terminated <= one.at <= r.ready for r in restarts) for one in requests)
    longest = max((one.latency for one in requests), default=0.0)
    print(
        f"{len(requests)} requests, {meanwhile} of them sent during a restart, "
        f"{len(failures)} failed, the longest latency was {longest:.1f} s"
    )
    for one in failures[:10]:
        print(f"FAILED  at {one.at:.1f} s: {one.error}")
    clean = requests and not failures and all(r.exit_status == 0 for r in restarts)
    return 0 if clean else 1


def draw(requests: Sequence[SentRequest], restarts: Sequence[Restart], target: Path) -> None:
    """Writes a PNG: the latency of every request over time, and the restarts."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), layout="constrained")
    axes = figure.subplots()
    for restart in restarts:
        axes.axvspan(restart.terminated, restart.stopped, color="tab:orange", alpha=0.3)
        axes.axvspan(restart.stopped, restart.ready, color="tab:red", alpha=0.12)
        axes.text(
            restart.stopped,
            1.0,
            f" {restart.replica} away",
            transform=axes.get_xaxis_transform(),
            va="top",
        )
    for failed, colour in ((False, "tab:blue"), (True, "tab:red")):
        points = [one for one in requests if bool(one.error) == failed]
        axes.scatter(
            [one.at for one in points],
            [one.latency for one in points],
            s=10,
            color=colour,
            label=f"{len(points)} {'failed' if failed else 'answered'}",
        )
    axes.set(xlabel="sent at (s)", ylabel="end-to-end latency (s)", ylim=(0, None))
    axes.legend(loc="upper right", frameon=False)
    figure.savefig(target, dpi=110)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m loadtests.rollout", description=__doc__)
    parser.add_argument("--clients", type=int, default=3, help="concurrency (default: 3)")
    parser.add_argument("--out", type=Path, default=Path("runs/rollout"), metavar="FOLDER")
    parser.add_argument(
        "serve", nargs="*", help="flags of `sdrpn serve`, after --, such as a model"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
