"""`python -m loadtests.rollout`: two replicas behind nginx, restarted in turn under load.

What a cluster does when an image changes: SIGTERM, the replica drains and ends, another comes up.
nginx is deploy's own. No request may fail; the status is 1 if one did, or if a replica's exit
status was not 0. In --out: rollout.png, the servers' and nginx's logs.
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
from loadtests.clients import Asked, Askers, asking
from loadtests.nginx import running_nginx

NAMES = ("one", "two")
_BIND = "VLLM_CPU_OMP_THREADS_BIND"
_UNDISTURBED = 10.0
"""Seconds of load before the first restart, between two, and after the last."""


@dataclass(frozen=True)
class Restart:
    """One replica's absence, in seconds since the start of the load."""

    replica: str
    told_to_go: float
    gone: float
    ready_again: float
    exit_status: int


def main(argv: Sequence[str] | None = None) -> int:
    """Run the rollout; 0 if nobody noticed."""
    options = _parser().parse_args(argv)
    options.out.mkdir(parents=True, exist_ok=True)
    replicas = {
        name: Server(options.out / f"{name}.log", *options.serve, **_cores_of(number))
        for number, name in enumerate(NAMES)
    }
    try:
        for replica in replicas.values():  # one by one: loading takes every core there is
            replica.start()
            replica.wait_until_ready()
        model = httpx.get(f"{replica.url}/v1/models").json()["data"][0]["id"]
        with (
            running_nginx(
                [replica.address for replica in replicas.values()], free_port(), options.out
            ) as nginx,
            asking(nginx.url, model, options.clients, size=(640, 480)) as askers,
        ):
            restarts = [_restart(name, replica, askers) for name, replica in replicas.items()]
            time.sleep(_UNDISTURBED)
    finally:
        for replica in replicas.values():
            replica.stop()
    _draw(askers.asked, restarts, options.out / "rollout.png")
    return _report(askers.asked, restarts)


def _cores_of(replica: int) -> dict[str, str]:
    """Cores that the others have not, as in a cluster: vLLM on a CPU would pin them all to the same
    ones, where a busy replica hardly lets another one start.
    """
    cores = sorted(os.sched_getaffinity(0))
    mine = cores[replica :: len(NAMES)] or cores
    return {_BIND: os.environ.get(_BIND) or ",".join(map(str, mine))}


def _restart(name: str, replica: Server, askers: Askers) -> Restart:
    time.sleep(_UNDISTURBED)
    told_to_go = askers.now
    status = replica.stop()
    gone = askers.now
    replica.start()
    replica.wait_until_ready()
    return Restart(name, told_to_go, gone, askers.now, status)


def _report(asked: Sequence[Asked], restarts: Sequence[Restart]) -> int:
    for restart in restarts:
        drained, away = restart.gone - restart.told_to_go, restart.ready_again - restart.gone
        print(
            f"replica {restart.replica}: gone {drained:.1f} s after SIGTERM with status "
            f"{restart.exit_status}, ready again {away:.1f} s later"
        )
    failures = [one for one in asked if one.error]
    meanwhile = sum(any(r.told_to_go <= one.at <= r.ready_again for r in restarts) for one in asked)
    longest = max((one.seconds for one in asked), default=0.0)
    print(
        f"{len(asked)} requests, {meanwhile} of them sent while a replica was away, "
        f"{len(failures)} failed, the longest took {longest:.1f} s"
    )
    for one in failures[:10]:
        print(f"FAILED  at {one.at:.1f} s: {one.error}")
    untroubled = asked and not failures and all(r.exit_status == 0 for r in restarts)
    return 0 if untroubled else 1


def _draw(asked: Sequence[Asked], restarts: Sequence[Restart], target: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), layout="constrained")
    axes = figure.subplots()
    for restart in restarts:
        axes.axvspan(restart.told_to_go, restart.gone, color="tab:orange", alpha=0.3)
        axes.axvspan(restart.gone, restart.ready_again, color="tab:red", alpha=0.12)
        axes.text(
            restart.gone,
            1.0,
            f" {restart.replica} away",
            transform=axes.get_xaxis_transform(),
            va="top",
        )
    for failed, colour in ((False, "tab:blue"), (True, "tab:red")):
        points = [one for one in asked if bool(one.error) == failed]
        axes.scatter(
            [one.at for one in points],
            [one.seconds for one in points],
            s=10,
            color=colour,
            label=f"{len(points)} {'failed' if failed else 'answered'}",
        )
    axes.set(
        xlabel="sent, seconds since the start", ylabel="seconds until answered", ylim=(0, None)
    )
    axes.legend(loc="upper right", frameon=False)
    figure.savefig(target, dpi=110)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m loadtests.rollout", description=__doc__)
    parser.add_argument("--clients", type=int, default=3, help="asking at once (default: 3)")
    parser.add_argument("--out", type=Path, default=Path("runs/rollout"), metavar="FOLDER")
    parser.add_argument(
        "serve", nargs="*", help="flags of `sdrpn serve`, after --, such as a model"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
