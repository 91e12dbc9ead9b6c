"""vLLM's loggers do not propagate; these helpers let tests read what ours write."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from rpn_plugin.engine.failures import logger


@contextmanager
def captured(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """`caplog` receives what rpn_plugin's engine half logs within the block."""
    with caplog.at_level(logging.INFO, logger.name):
        logger.addHandler(caplog.handler)
        try:
            yield
        finally:
            logger.removeHandler(caplog.handler)
