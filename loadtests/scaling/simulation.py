"""A discrete-event simulation: random arrivals, replicas that remember pictures, two passes.

A replica takes its work in order of arrival, one piece at a time: coarser than an engine's batches,
but with the same throughput where work is bound by computing, which prefill is. Pass 2 joins the
end of the queue of the replica that ran pass 1.
"""

from __future__ import annotations

import heapq
import random
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from typing import Literal

from loadtests.scaling.costs import Ask, Prices, first_pass, second_pass

Routing = Literal["by picture", "at random", "least busy"]


@dataclass(frozen=True)
class Plan:
    """`load` requests per second on `replicas`; `questions` about each picture, which follow each
    other `gap` seconds apart on average. A replica remembers the `pictures` it saw last.
    """

    ask: Ask
    prices: Prices
    load: float
    replicas: int
    questions: int = 1
    routing: Routing = "by picture"
    pictures: int = 10**9
    gap: float = 10.0


@dataclass(frozen=True)
class Outcome:
    """Of the requests counted: seconds waited before pass 1, seconds to the end, the share whose
    picture was known, and how busy the replicas were.
    """

    waits: list[float]
    seconds: list[float]
    known: float
    busy: float

    def percentile(self, share: float) -> float:
        """Of the seconds to the end."""
        return sorted(self.seconds)[min(len(self.seconds) - 1, int(share * len(self.seconds)))]


@dataclass
class _Request:
    arrived: float
    picture: int
    pass_2: float = 0.0
    """Seconds of work in pass 2; 0: there is none, or it is the one that is queued."""
    known: bool = False
    begun: float | None = None


@dataclass
class _Replica:
    remembers: int
    queue: deque[tuple[_Request, float]] = field(default_factory=deque)
    seen: OrderedDict[int, None] = field(default_factory=OrderedDict)
    working: bool = False
    worked: float = 0.0

    def knows(self, picture: int) -> bool:
        """Whether it has seen the picture; it has now."""
        known = picture in self.seen
        self.seen[picture] = None
        self.seen.move_to_end(picture)
        if len(self.seen) > self.remembers:
            self.seen.popitem(last=False)
        return known


def simulate(plan: Plan, requests: int, seed: int = 0, warm_up: float = 0.1) -> Outcome:
    """So many requests; the first and the last share `warm_up` do not count."""
    dice = random.Random(seed)
    replicas = [_Replica(plan.pictures) for _ in range(plan.replicas)]
    arrivals = _arrivals(plan, requests, dice)
    done: list[tuple[_Request, float]] = []
    ends: list[tuple[float, int, int, _Request]] = []
    order = 0

    def start(number: int, now: float) -> None:
        nonlocal order
        replica = replicas[number]
        if replica.working or not replica.queue:
            return
        request, work = replica.queue.popleft()
        if request.begun is None:
            request.begun = now
        replica.working, replica.worked = True, replica.worked + work
        order += 1
        heapq.heappush(ends, (now + work, order, number, request))

    next_arrival = 0
    now = 0.0
    while next_arrival < len(arrivals) or ends:
        if ends and (next_arrival == len(arrivals) or ends[0][0] <= arrivals[next_arrival][0]):
            now, _, number, request = heapq.heappop(ends)
            replicas[number].working = False
            if request.pass_2:
                replicas[number].queue.append((request, request.pass_2))
                request.pass_2 = 0.0
            else:
                done.append((request, now))
        else:
            now, picture = arrivals[next_arrival]
            next_arrival += 1
            number = _route(plan.routing, picture, replicas, dice)
            request = _Request(now, picture, known=replicas[number].knows(picture))
            work, request.pass_2 = _work(plan, request.known, dice)
            replicas[number].queue.append((request, work))
        start(number, now)
    edge = int(warm_up * len(done))
    counted = done[edge : len(done) - edge]
    return Outcome(
        waits=[(r.begun or 0.0) - r.arrived for r, _ in counted],
        seconds=[end - r.arrived for r, end in counted],
        known=sum(r.known for r, _ in counted) / len(counted),
        busy=sum(r.worked for r in replicas) / (now * len(replicas)),
    )


def _arrivals(plan: Plan, requests: int, dice: random.Random) -> list[tuple[float, int]]:
    """Times and pictures. A picture's first question comes at random, the others after it."""
    pictures = requests // plan.questions
    found: list[tuple[float, int]] = []
    now = 0.0
    for picture in range(pictures):
        now += dice.expovariate(plan.load / plan.questions)
        at = now
        for _ in range(plan.questions):
            found.append((at, picture))
            at += dice.expovariate(1 / plan.gap)
    return sorted(found)


def _route(routing: Routing, picture: int, replicas: list[_Replica], dice: random.Random) -> int:
    if routing == "by picture":
        return random.Random(picture).randrange(len(replicas))
    if routing == "at random":
        return dice.randrange(len(replicas))
    return min(
        range(len(replicas)), key=lambda n: (len(replicas[n].queue) + replicas[n].working, n)
    )


def _work(plan: Plan, known: bool, dice: random.Random) -> tuple[float, float]:
    """Seconds of pass 1 (or of the only one) and of pass 2."""
    first = plan.prices.seconds(first_pass(plan.ask, known), 1)
    if not plan.ask.crop:
        return first, 0.0
    zoomed = dice.random() < plan.ask.zooms
    return first, plan.prices.seconds(second_pass(plan.ask, zoomed), 1)
