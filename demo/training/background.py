"""Runs a generator in another process, so that rendering and training run at the same time."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator
from queue import Empty, Full
from typing import Any, TypeVar

Item = TypeVar("Item")


def in_background(source: Callable[..., Iterator[Item]], *arguments: Any) -> Iterator[Item]:
    """Yields what `source(*arguments)` yields, a few items ahead, in the same order.

    `source` must be a module-level function. The process ends with the consumer.
    """
    context = multiprocessing.get_context("spawn")
    queue = context.Queue(maxsize=6)
    process = context.Process(target=_produce, args=(queue, source, arguments), daemon=True)
    process.start()
    try:
        while True:
            try:
                item = queue.get(timeout=5)
            except Empty:
                if not process.is_alive():
                    raise RuntimeError(f"{source.__name__} died in the background") from None
                continue
            if item is None:
                return
            yield item
    finally:
        process.terminate()


def _produce(queue: Any, source: Callable[..., Iterator[Any]], arguments: tuple[Any, ...]) -> None:
    os.nice(5)
    for item in source(*arguments):
        while True:
            try:
                queue.put(item, timeout=5)
                break
            except Full:
                if not parent_lives():
                    return
    queue.put(None)


def parent_lives() -> bool:
    """Whether the parent process still runs; one that was killed does not end its children."""
    parent = multiprocessing.parent_process()
    return parent is None or parent.is_alive()
