"""Requests made up from the OpenAPI document: nothing breaks, and answers are as it says."""

from __future__ import annotations

import os
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send

pytest.importorskip("schemathesis", reason="needs schemathesis: pip install 'blemish[dev]'")
import schemathesis
from schemathesis.checks import CHECKS

HOST = {"Host": "localhost"}
EXAMPLES = int(os.environ.get("BLEMISH_TEST_EXAMPLES", "2"))
"""Requests for each operation; a soak sends more."""


@pytest.fixture
def document(client: TestClient) -> Any:
    """The document of a station that has a line and inspections."""

    async def started(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http", "the client has started it already"
        await client.app(scope, receive, send)

    return schemathesis.openapi.from_asgi("/openapi.json", started, headers=HOST)


def test_every_operation(document: Any, inspected: list[str], subtests: pytest.Subtests) -> None:
    for found in document.get_all_operations():
        operation = found.ok()

        @given(case=operation.as_strategy())
        @settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
        def sound(case: Any) -> None:
            # A line may be refused for what no schema says, such as a detector's needs.
            case.call_and_validate(
                headers=HOST, excluded_checks=CHECKS.get_by_names(["positive_data_acceptance"])
            )

        with subtests.test(operation.label):
            sound()
