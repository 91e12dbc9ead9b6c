"""Failures of the RPN: logged with their traceback, reported to callers as a short stable reason.

An exception that leaves the connector ends the engine for all requests, so the connector's parts
catch everything and turn it into a `RoiError` here.
"""

from __future__ import annotations

import logging
import traceback

import torch

from rpn_plugin.messages import RoiError

logger = logging.getLogger("vllm.sdrpn")


def failure_reason(error: Exception, part: str) -> RoiError:
    """The reason for callers that `part` ("the RPN") failed with `error`.

    Logs the traceback. A RoiError is its own reason and is not logged.
    """
    if isinstance(error, RoiError):
        return error
    # As text: a log record with the traceback itself would keep the failed batch's memory alive.
    trace = "".join(traceback.format_exception(error))
    logger.error("%s failed; its requests are answered without a RoI map\n%s", part, trace)
    if isinstance(error, torch.OutOfMemoryError):
        return RoiError(f"{part} ran out of memory")
    return RoiError(f"{part} failed")
