"""The server held against its own description: whatever is sent, no failure of ours, and answers as promised."""

from __future__ import annotations

import atexit
import contextlib
import itertools
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import checks

from indexer import index_folder
from retrieval import Catalog
from retrieval.server import create_app
from tests.conftest import draw

EXAMPLES = int(os.environ.get("SEARCH_SCHEMA_EXAMPLES", "12"))
"""Requests that are made up for each route; more find more."""
CHECKS = [
    checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
    checks.response_headers_conformance,
    checks.unsupported_method,
]
APART = ("start_job", "job_events")
"""Tested by themselves: they start processes, and go on as long as those do."""


@pytest.fixture(scope="module")
def described() -> Any:
    folder = Path(tempfile.mkdtemp(prefix="search-schema-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for name in ("red", "green", "blue"):
        draw(folder / "photos" / f"{name}.png", name)
    index_folder(folder / "catalog", folder / "photos", model="toy", workers=1)
    opened = Catalog(folder / "catalog")
    atexit.register(opened.close)
    return schemathesis.openapi.from_asgi("/api/v1/openapi.json", create_app(opened))


# Not by the plugin of schemathesis, which is tied to some versions of pytest.
def test_the_server_does_as_its_description_says(described: Any) -> None:
    operations = [found.ok() for found in described.exclude(operation_id=list(APART)).get_all_operations()]
    assert len(operations) > 30
    for operation, mode in itertools.product(
        operations, (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE)
    ):

        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def asked(case: Any) -> None:
            case.call_and_validate(checks=CHECKS)

        # A route that takes nothing cannot be asked in a wrong way.
        nothing = mode is schemathesis.GenerationMode.NEGATIVE
        with contextlib.suppress(*([Unsatisfiable] if nothing else [])):
            asked()
