"""After every test that used the endpoint, it must still be alive."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conftest import Endpoint


@pytest.fixture(autouse=True)
def _endpoint_survives(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if {"endpoint", "client"} & set(request.fixturenames):
        endpoint: Endpoint = request.getfixturevalue("endpoint")
        endpoint.check_alive()
