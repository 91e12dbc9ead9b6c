"""What a run shows: a bar with rate and time left, and a line for the record."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")
Result = TypeVar("Result")


class Log:
    """Lines on standard error and in DIR/distill.log; silent unless `speaks`."""

    def __init__(self, path: Path, speaks: bool) -> None:
        self._path, self._speaks = path, speaks

    def say(self, text: str) -> None:
        """One line, with the time of day in the file."""
        if self._speaks:
            tqdm.write(text, file=sys.stderr)
            with self._path.open("a", encoding="utf-8") as log:
                log.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n")

    def bar(self, what: str, total: int, done: int = 0) -> tqdm[None]:
        """A progress bar in questions; where nobody watches, a line every half minute."""
        watched = sys.stderr.isatty()
        return tqdm(
            total=total,
            initial=done,
            desc=what,
            unit=" questions",
            file=sys.stderr,
            disable=not self._speaks,
            mininterval=0.2 if watched else 30.0,
            dynamic_ncols=watched,
        )


def ahead(work: Callable[[Item], Result], items: Iterable[Item], threads: int) -> Iterator[Result]:
    """`work` of each item, in order, computed by `threads` threads a few items ahead."""
    waiting: list[Future[Result]] = []
    source = iter(items)
    with ThreadPoolExecutor(threads) as pool:
        try:
            waiting += [pool.submit(work, item) for item in islice(source, threads + 1)]
            while waiting:
                result = waiting.pop(0).result()
                waiting += [pool.submit(work, item) for item in islice(source, 1)]
                yield result
        finally:
            for future in waiting:
                future.cancel()
