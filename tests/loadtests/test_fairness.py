"""The fairness measurement against the real endpoint, small."""

from __future__ import annotations

import pytest

from loadtests.fairness import main
from tests.conftest import Endpoint


@pytest.mark.slow
def test_it_prints_small_pictures_alone_and_beside_large_ones(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("loadtests.fairness.LARGE", (3000, 3000))
    main(["--url", endpoint.url, "--small", "2", "--large", "3"])
    head, *lines = capsys.readouterr().out.splitlines()
    assert "E2E latency ms" in head
    assert [line.split(",")[0].split()[0] for line in lines] == ["small", "small", "large"]
