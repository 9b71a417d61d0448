"""Requests that nobody thought of, made from the API's own description: no address fails, none answers otherwise than
it says."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

import clinfit
from clinfit.serve.app import create_app
from clinfit.serve.models import Models
from clinfit.serve.security import SCOPES, Key, Keys, new_key, read_keys
from clinfit.serve.service import Service
from clinfit.serve.settings import Settings
from clinfit.serve.stores.sqlite import SqliteStore

from .conftest import Served

pytestmark = pytest.mark.slow

#: What a task asks of a record is not in the description: it is the pack's. And a number as text can be read as well.
UNDESCRIBED = [negative_data_rejection, positive_data_acceptance]


@contextmanager
def described(pack: Path, folder: Path, keys: Sequence[Key] = ()) -> Iterator[Any]:
    """The API of a service, as it describes itself."""
    models = Models([clinfit.load_pack(pack)])
    service = Service(models, SqliteStore(folder / "jobs.sqlite"), Keys(keys), Settings(), hosts=("*",))
    yield schemathesis.openapi.from_asgi("/openapi.json", create_app(service))
    service.close()


def hold(api: Any, examples: int, headers: dict[str, str], of: str = "") -> list[int]:
    """Every operation whose address has this in it answers as it says; the statuses."""
    statuses: list[int] = []
    operations = [found.ok() for found in api.get_all_operations()]
    for operation in [operation for operation in operations if of in operation.path]:

        @settings(
            max_examples=examples,
            deadline=None,
            suppress_health_check=list(HealthCheck),  # type: ignore[arg-type]
            database=None,
            derandomize=True,
        )
        @given(case=operation.as_strategy())
        def one(case: Any) -> None:
            statuses.append(case.call_and_validate(headers=headers, excluded_checks=UNDESCRIBED).status_code)

        one()
    return statuses


def test_every_answer_is_one_that_is_described(small: Served, tmp_path: Path) -> None:
    with described(small.pack, tmp_path) as api:
        assert len(list(api.get_all_operations())) > 12
        assert 401 not in hold(api, 12, {})


def test_a_service_with_keys_answers_as_it_describes(small: Served, tmp_path: Path) -> None:
    """With a key of every scope, with one that may only read the metrics, and with none that is known."""
    file = tmp_path / "keys.json"
    every, few = new_key(file, "every", SCOPES), new_key(file, "few", ["metrics"])
    with described(small.pack, tmp_path, read_keys(file)) as api:
        assert {200, 202} <= {*hold(api, 4, {"Authorization": f"Bearer {every}"})}
        assert {200, 403} <= {*hold(api, 2, {"Authorization": f"Bearer {few}"})}
        assert {200, 401} == {*hold(api, 2, {"Authorization": "Bearer clinfit_0_0"})} - {400, 404, 405, 422}


@pytest.mark.parametrize("of", ["/v1/write", "/v1/qa", "/completions", "/v1/jobs"])
def test_a_pack_that_writes_answers_as_it_is_described(writes: Path, tmp_path: Path, of: str) -> None:
    with described(writes, tmp_path) as api:
        statuses = hold(api, 6, {}, of)
        assert statuses and max(statuses) < 500
