"""Schemathesis on the OpenAPI document the server itself publishes: no route answers with a 500."""

from __future__ import annotations

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import not_a_server_error

from server.guard.paths import is_open
from tests.conftest import Endpoint


@pytest.fixture(scope="module")
def document(endpoint: Endpoint) -> schemathesis.BaseSchema:
    return schemathesis.openapi.from_url(f"{endpoint.url}/openapi.json", timeout=120)


schema = schemathesis.pytest.from_fixture("document")


@schema.parametrize()
@pytest.mark.timeout(3600)
@settings(
    max_examples=8,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate],
)
def test_no_route_answers_with_a_500(case: schemathesis.Case, endpoint: Endpoint) -> None:
    if not is_open(case.operation.path):
        return
    case.call_and_validate(checks=[not_a_server_error], timeout=60)
    endpoint.check_alive()
