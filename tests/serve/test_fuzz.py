"""Requests that nobody thought of, made from the API's own description: no address fails, none answers otherwise than
it says."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

import clinfit
from clinfit.serve.app import create_app
from clinfit.serve.models import Models
from clinfit.serve.security import Keys
from clinfit.serve.service import Service
from clinfit.serve.settings import Settings
from clinfit.serve.stores.sqlite import SqliteStore

from .conftest import Served

pytestmark = pytest.mark.slow

#: What a task asks of a record is not in the description: it is the pack's. And a number as text can be read as well.
UNDESCRIBED = [negative_data_rejection, positive_data_acceptance]


@pytest.fixture(scope="module")
def api(small: Served, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder: Path = tmp_path_factory.mktemp("fuzz")
    models = Models([clinfit.load_pack(small.pack)])
    service = Service(models, SqliteStore(folder / "jobs.sqlite"), Keys([]), Settings(), hosts=("*",))
    yield schemathesis.openapi.from_asgi("/openapi.json", create_app(service))
    service.close()


def test_every_answer_is_one_that_is_described(api: Any) -> None:
    operations = [found.ok() for found in api.get_all_operations()]
    assert len(operations) > 12
    for operation in operations:

        @settings(
            max_examples=12, deadline=None, suppress_health_check=list(HealthCheck), database=None, derandomize=True
        )
        @given(case=operation.as_strategy())
        def hold(case: Any) -> None:
            case.call_and_validate(excluded_checks=UNDESCRIBED)

        hold()
