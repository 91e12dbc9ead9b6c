"""Finds the folder of the small model that ships with sdrpn.

A wheel has it as data files, which installers put beside the environment (`share/sdrpn/model`).
"""

from __future__ import annotations

import sysconfig
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[1]
_INSTALLED = Path("share", "sdrpn", "model")


def _shipped_model() -> Path:
    """The first of the possible folders that exists; the environment's if none does."""
    in_environment = Path(sysconfig.get_path("data")) / _INSTALLED
    user_scheme = sysconfig.get_preferred_scheme("user")
    folders = (
        _ROOT / "demo" / "model",  # a checkout
        _ROOT / _INSTALLED,  # pip install --target
        in_environment,
        Path(sysconfig.get_path("data", user_scheme)) / _INSTALLED,  # pip install --user
    )
    return next((folder for folder in folders if folder.is_dir()), in_environment)


SHIPPED_MODEL = _shipped_model()
"""The model's folder, in a checkout or in an installation."""
