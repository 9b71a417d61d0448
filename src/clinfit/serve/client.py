"""A client of a service, in two forms with the same methods: `Client` waits, `AsyncClient` is awaited.

    with clinfit.Client("http://127.0.0.1:8000") as client:
        answers = client.classify(["We report 40 patients ..."])
        job = client.submit_table("abstracts.csv")
        client.wait(job["id"])
        client.save_results(job["id"], "answers.csv")

What the service refuses is a ServiceError, with the code of its problem. Requests that were refused for a while are
sent again; a job is sent with an idempotency key, so that sending it again makes no second one.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

import httpx2 as httpx

from clinfit.errors import ClinfitError
from clinfit.files import write_bytes

#: A text, or {"id": ..., "inputs": {...}}.
Item = str | Mapping[str, Any]
TYPES = {
    ".csv": "text/csv",
    ".tsv": "text/tab-separated-values",
    ".jsonl": "application/x-ndjson",
    ".ndjson": "application/x-ndjson",
}
#: Statuses after which the same request may be answered, and how often it is sent.
AGAIN, TIMES = (429, 503), 5
ENDED = ("succeeded", "failed", "cancelled", "expired")


class ServiceError(Exception):
    """The service refused. code: of its problem; problem: the whole of it."""

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        self.status, self.problem = status, problem
        self.code = str(problem.get("code", ""))
        words = [problem.get("title", "no problem document"), problem.get("detail")]
        super().__init__(f"{status}: " + ": ".join(str(word) for word in words if word))


def _headers(key: str | None) -> dict[str, str]:
    return {} if key is None else {"Authorization": f"Bearer {key}"}


def _checked(response: httpx.Response) -> httpx.Response:
    if response.is_success:
        return response
    try:
        problem = response.json()
    except ValueError:
        problem = {}
    raise ServiceError(response.status_code, problem if isinstance(problem, dict) else {})


def _pause(response: httpx.Response, times: int) -> float | None:
    """Seconds until a refused request is sent again; None where it is not."""
    if response.status_code not in AGAIN or times >= TIMES:
        return None
    told = response.headers.get("retry-after", "")
    return min(30.0, float(told) if told.isdecimal() else 2.0**times)


def _question(items: Item | Sequence[Item], model: str | None, explain: bool) -> dict[str, Any]:
    return {"model": model, "input": items, "explain": explain}


def _writing(items: Item | Sequence[Item], model: str | None) -> dict[str, Any]:
    return {"model": model, "input": items}


def _job(items: Sequence[Item], model: str | None) -> tuple[dict[str, Any], dict[str, str]]:
    return {"model": model, "input": list(items)}, {"Idempotency-Key": uuid4().hex}


def _table(path: Path, model: str | None) -> tuple[bytes, dict[str, str], dict[str, str]]:
    """Content, headers and parameters of a job that is a file."""
    if path.suffix.lower() not in TYPES:
        raise ClinfitError(f"{path} is no table that can be sent", expected=f"a name ending in {', '.join(TYPES)}")
    headers = {"Content-Type": TYPES[path.suffix.lower()], "Idempotency-Key": uuid4().hex}
    return path.read_bytes(), headers, {} if model is None else {"model": model}


def _event(block: str) -> dict[str, Any] | None:
    """The job in one server-sent event, with the event's name as `event`."""
    fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line and not line.startswith(":"))
    return {"event": fields.get("event"), **json.loads(fields["data"])} if "data" in fields else None


class Client:
    """See the module. key: an API key. timeout: seconds that an answer may take."""

    def __init__(self, url: str = "http://127.0.0.1:8000", key: str | None = None, timeout: float = 120.0) -> None:
        self._http = httpx.Client(base_url=url, headers=_headers(key), timeout=timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def _ask(self, method: str, path: str, **content: Any) -> httpx.Response:
        times = 0
        while (pause := _pause(response := self._http.request(method, path, **content), times)) is not None:
            time.sleep(pause)
            times += 1
        return _checked(response)

    def models(self) -> list[dict[str, Any]]:
        """What can be asked."""
        return self._ask("GET", "/v1/models").json()["data"]

    def classify(
        self, items: Item | Sequence[Item], model: str | None = None, *, explain: bool = False
    ) -> list[dict[str, Any]]:
        """An answer for each record, in order; one that could not be answered has an `error`."""
        return self._ask("POST", "/v1/classify", json=_question(items, model, explain)).json()["data"]

    def cancer_types(self, items: Item | Sequence[Item], model: str | None = None) -> list[dict[str, Any]]:
        """As `classify`, of the model whose labels a lexicon names: `types` and `extracted_diseases` of each record."""
        return self._ask("POST", "/v1/cancer-types", json=_question(items, model, False)).json()["data"]

    def write(self, items: Item | Sequence[Item], model: str | None = None) -> list[dict[str, Any]]:
        """A text for each record, in order; one that could not be answered has an `error`."""
        return self._ask("POST", "/v1/write", json=_writing(items, model)).json()["data"]

    def submit(self, items: Sequence[Item], model: str | None = None) -> dict[str, Any]:
        """Send a job of records."""
        body, headers = _job(items, model)
        return self._ask("POST", "/v1/jobs", json=body, headers=headers).json()

    def submit_table(self, path: Path | str, model: str | None = None) -> dict[str, Any]:
        """Send a table as a job."""
        content, headers, params = _table(Path(path), model)
        return self._ask("POST", "/v1/jobs", content=content, headers=headers, params=params).json()

    def job(self, job: str) -> dict[str, Any]:
        """How far it is."""
        return self._ask("GET", f"/v1/jobs/{job}").json()

    def jobs(self, limit: int = 20) -> list[dict[str, Any]]:
        """The newest ones."""
        return self._ask("GET", "/v1/jobs", params={"limit": limit}).json()["data"]

    def events(self, job: str) -> Iterator[dict[str, Any]]:
        """The job after each change, until it has ended."""
        with self._http.stream("GET", f"/v1/jobs/{job}/events") as response:
            if not response.is_success:
                response.read()
            block = ""
            for line in _checked(response).iter_lines():
                if line:
                    block += line + "\n"
                elif (event := _event(block)) is not None:
                    yield event
                    block = ""
                else:
                    block = ""

    def wait(self, job: str, every: float = 0.5) -> dict[str, Any]:
        """The job once it has ended."""
        while (found := self.job(job))["state"] not in ENDED:
            time.sleep(every)
        return found

    def results(self, job: str) -> Iterator[dict[str, Any]]:
        """Results in order, as far as they are there."""
        after: int | None = 0
        while after is not None:
            page = self._ask("GET", f"/v1/jobs/{job}/results", params={"after": after, "limit": 1000}).json()
            yield from page["data"]
            after = page["next"]

    def save_results(self, job: str, path: Path | str) -> None:
        """The table that `clinfit predict` would write, as CSV."""
        write_bytes(Path(path), self._ask("GET", f"/v1/jobs/{job}/results", params={"format": "csv"}).content)

    def cancel(self, job: str) -> dict[str, Any]:
        return self._ask("POST", f"/v1/jobs/{job}/cancel").json()

    def erase(self, job: str) -> None:
        self._ask("DELETE", f"/v1/jobs/{job}")


class AsyncClient:
    """As `Client`, for `async with` and `await`."""

    def __init__(self, url: str = "http://127.0.0.1:8000", key: str | None = None, timeout: float = 120.0) -> None:
        self._http = httpx.AsyncClient(base_url=url, headers=_headers(key), timeout=timeout)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        await self._http.aclose()

    async def _ask(self, method: str, path: str, **content: Any) -> httpx.Response:
        times = 0
        while (pause := _pause(response := await self._http.request(method, path, **content), times)) is not None:
            await asyncio.sleep(pause)
            times += 1
        return _checked(response)

    async def models(self) -> list[dict[str, Any]]:
        return (await self._ask("GET", "/v1/models")).json()["data"]

    async def classify(
        self, items: Item | Sequence[Item], model: str | None = None, *, explain: bool = False
    ) -> list[dict[str, Any]]:
        return (await self._ask("POST", "/v1/classify", json=_question(items, model, explain))).json()["data"]

    async def cancer_types(self, items: Item | Sequence[Item], model: str | None = None) -> list[dict[str, Any]]:
        return (await self._ask("POST", "/v1/cancer-types", json=_question(items, model, False))).json()["data"]

    async def write(self, items: Item | Sequence[Item], model: str | None = None) -> list[dict[str, Any]]:
        return (await self._ask("POST", "/v1/write", json=_writing(items, model))).json()["data"]

    async def submit(self, items: Sequence[Item], model: str | None = None) -> dict[str, Any]:
        body, headers = _job(items, model)
        return (await self._ask("POST", "/v1/jobs", json=body, headers=headers)).json()

    async def submit_table(self, path: Path | str, model: str | None = None) -> dict[str, Any]:
        content, headers, params = _table(Path(path), model)
        return (await self._ask("POST", "/v1/jobs", content=content, headers=headers, params=params)).json()

    async def job(self, job: str) -> dict[str, Any]:
        return (await self._ask("GET", f"/v1/jobs/{job}")).json()

    async def jobs(self, limit: int = 20) -> list[dict[str, Any]]:
        return (await self._ask("GET", "/v1/jobs", params={"limit": limit})).json()["data"]

    async def events(self, job: str) -> AsyncIterator[dict[str, Any]]:
        async with self._http.stream("GET", f"/v1/jobs/{job}/events") as response:
            if not response.is_success:
                await response.aread()
            block = ""
            async for line in _checked(response).aiter_lines():
                if line:
                    block += line + "\n"
                elif (event := _event(block)) is not None:
                    yield event
                    block = ""
                else:
                    block = ""

    async def wait(self, job: str, every: float = 0.5) -> dict[str, Any]:
        while (found := await self.job(job))["state"] not in ENDED:
            await asyncio.sleep(every)
        return found

    async def results(self, job: str) -> AsyncIterator[dict[str, Any]]:
        after: int | None = 0
        while after is not None:
            params = {"after": after, "limit": 1000}
            page = (await self._ask("GET", f"/v1/jobs/{job}/results", params=params)).json()
            for result in page["data"]:
                yield result
            after = page["next"]

    async def save_results(self, job: str, path: Path | str) -> None:
        response = await self._ask("GET", f"/v1/jobs/{job}/results", params={"format": "csv"})
        write_bytes(Path(path), response.content)

    async def cancel(self, job: str) -> dict[str, Any]:
        return (await self._ask("POST", f"/v1/jobs/{job}/cancel")).json()

    async def erase(self, job: str) -> None:
        await self._ask("DELETE", f"/v1/jobs/{job}")
