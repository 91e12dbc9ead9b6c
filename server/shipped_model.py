"""Where the small model that ships with sdrpn lies on this machine."""

from __future__ import annotations

import sysconfig
from pathlib import Path

_IN_CHECKOUT = Path(__file__).resolve().parents[1] / "demo" / "model"
_INSTALLED = Path(sysconfig.get_path("data")) / "share" / "sdrpn" / "model"

SHIPPED_MODEL = _IN_CHECKOUT if _IN_CHECKOUT.is_dir() else _INSTALLED
"""The model's folder: in a checkout `demo/model`, in an installation the wheel's data files."""
