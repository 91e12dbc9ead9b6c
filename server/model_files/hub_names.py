"""Names on the Hugging Face Hub as they are written on the command line."""

from __future__ import annotations

import re

_NAME = re.compile(r"(?:hf://)?(\w[\w.-]*/\w[\w.-]*)")


def hub_name(text: str) -> str | None:
    """The name that `text` may be: `owner/name` or `hf://owner/name`; None for anything else."""
    match = _NAME.fullmatch(text)
    return match[1] if match else None
