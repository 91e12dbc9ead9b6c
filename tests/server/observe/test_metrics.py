"""Pictures are counted under the formats that the server reads."""

from __future__ import annotations

import pytest
from prometheus_client import REGISTRY

from server.observe import metrics


@pytest.mark.parametrize(("format", "label"), [("AVIF", "avif"), ("MPO", "jpeg"), (None, "other")])
def test_a_picture_is_counted_under_its_format(format: str | None, label: str) -> None:
    def count() -> float:
        return REGISTRY.get_sample_value("sdrpn_pictures_total", {"format": label}) or 0.0

    before = count()
    metrics.count_picture(format, (4, 3))
    assert count() == before + 1
