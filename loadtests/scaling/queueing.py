"""Closed forms that a simulation of the same thing must agree with."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

from loadtests.scaling.costs import Ask, Prices, seconds


def mean_wait(load: float, service: Sequence[float]) -> float:
    """Seconds a request waits before a single server that takes them in order, arrivals being
    random: Pollaczek and Khinchine's formula. `service` are equally likely service times, `load`
    requests per second.
    """
    mean = sum(service) / len(service)
    square = sum(s * s for s in service) / len(service)
    busy = load * mean
    if not busy < 1:
        raise ValueError(f"the server would be busy {busy:.0%} of the time")
    return load * square / (2 * (1 - busy))


def known_share(questions: int, replicas: int, by_picture: bool) -> float:
    """The share of requests whose replica has seen their picture, of `questions` about each.

    Routed by picture, all but the first. Routed at random, all but the first on each replica that
    gets any: of n replicas, n (1 - (1 - 1/n)^k) of them.
    """
    first = 1.0 if by_picture else replicas * (1 - (1 - 1 / replicas) ** questions)
    return 1 - first / questions


def replicas_needed(load: float, seconds: float, busy: float = 0.7) -> int:
    """Replicas that are busy that share of the time at `load` requests per second."""
    return ceil(load * seconds / busy)


def replicas_for(
    load: float, ask: Ask, prices: Prices, questions: int, by_picture: bool, busy: float = 0.7
) -> int:
    """That many for `questions` about each picture: more replicas know less of it each, where
    requests are routed at random.
    """
    count = replicas_needed(load, seconds(ask, prices), busy)
    while True:
        share = known_share(questions, count, by_picture)
        fewer = replicas_needed(load, seconds(ask, prices, share), busy)
        if fewer >= count:
            return count
        count = fewer
