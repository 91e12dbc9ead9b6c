"""Schemathesis on the server's own OpenAPI document: no route returns a 500."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error

from server.guard.paths import is_open
from tests.conftest import Endpoint


@pytest.mark.timeout(3600)
def test_no_route_answers_with_a_500(endpoint: Endpoint) -> None:
    schema = schemathesis.openapi.from_url(f"{endpoint.url}/openapi.json", timeout=120)
    operations: list[Any] = [result.ok() for result in schema.get_all_operations()]  # type: ignore[union-attr]
    tried = [operation for operation in operations if is_open(operation.path)]
    assert "/v1/chat/completions" in {operation.path for operation in tried}
    for operation in tried:
        _send_cases(operation)
        endpoint.check_alive()


def _send_cases(operation: Any) -> None:
    @settings(
        max_examples=8,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    @given(case=operation.as_strategy())
    def send(case: Any) -> None:
        case.call_and_validate(checks=[not_a_server_error], timeout=60)

    send()
