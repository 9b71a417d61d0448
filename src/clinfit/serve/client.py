"""A client of a service, in two forms with the same methods: `Client` waits, `AsyncClient` is awaited.

    with clinfit.Client("http://127.0.0.1:8000") as client:
        answers = client.classify(["We report 40 patients ..."])
        job = client.submit_table("abstracts.csv")
        client.wait(job["id"])
        client.save_results(job["id"], "answers.csv")

What the service refuses is a ServiceError, with the code of its problem. Requests that were refused for a while are
sent again. Where the line broke and nobody knows whether a request came, what only reads or erases is sent again, so
that a client outlives a restart of the service; so is a job, with an idempotency key, under which sending it again
makes no second one. With a key of your own, `idempotency_key`, that holds for a program that was killed and begun again
as well.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from ipaddress import ip_address
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self
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
#: What a service that is stopped or restarted looks like; an address that cannot be asked at all is not among it.
BROKEN = (httpx.NetworkError, httpx.TimeoutException, httpx.RemoteProtocolError, httpx.ProxyError)
#: Idempotent methods (RFC 9110): they may be sent again whether they came or not.
IDEMPOTENT = ("GET", "DELETE")
IDEMPOTENCY = "Idempotency-Key"
#: Results and jobs that are fetched at a time.
PAGE, MOST_JOBS = 1000, 100
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


def _around_proxies(url: str) -> dict[str, None]:
    """What is sent to a service on this machine goes through no proxy of the environment."""
    host = httpx.URL(url).host
    try:
        is_here = host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        is_here = False
    at = f"[{host}]" if ":" in host else host
    return {f"all://{at}": None} if is_here else {}


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


def _question(items: Item | Sequence[Item], model: str | None, explain: bool, by: str = "occlusion") -> dict[str, Any]:
    return {"model": model, "input": items, "explain": explain, "explain_by": by}


def _writing(items: Item | Sequence[Item], model: str | None) -> dict[str, Any]:
    return {"model": model, "input": items}


def _broken(method: str, headers: Mapping[str, str], times: int, error: Exception, *, heard: bool) -> float | None:
    """Seconds until a request whose line broke is sent again; None where it is not, since it may have come, or since
    nobody was ever heard at this address: then it is more likely a wrong one than that of a service that restarts."""
    if not heard and IDEMPOTENCY not in headers and isinstance(error, httpx.ConnectError):
        return None
    again = method in IDEMPOTENT or IDEMPOTENCY in headers
    return 2.0**times if again and times < TIMES else None


def _job(items: Item | Sequence[Item], model: str | None, key: str | None) -> tuple[dict[str, Any], dict[str, str]]:
    given = [items] if isinstance(items, str | Mapping) else list(items)
    return {"model": model, "input": given}, {IDEMPOTENCY: key or uuid4().hex}


def _listed(limit: int | None, so_far: int, before: str | None = None) -> dict[str, Any] | None:
    """Parameters of the next page of jobs; None where as many are there as were asked for."""
    left = MOST_JOBS if limit is None else min(MOST_JOBS, limit - so_far)
    return None if left < 1 else {"limit": left} | ({} if before is None else {"before": before})


def _table(path: Path, model: str | None, key: str | None) -> tuple[bytes, dict[str, str], dict[str, str]]:
    """Content, headers and parameters of a job that is a file."""
    if path.suffix.lower() not in TYPES:
        raise ClinfitError(f"{path} is no table that can be sent", expected=f"a name ending in {', '.join(TYPES)}")
    headers = {"Content-Type": TYPES[path.suffix.lower()], IDEMPOTENCY: key or uuid4().hex}
    return path.read_bytes(), headers, {} if model is None else {"model": model}


class _Followed:
    """What was seen of a job's events, over lines that break. times: how often in a row nothing was heard."""

    def __init__(self) -> None:
        self.times = 0
        self._last: str | None = None
        self._ended = False
        self._block: list[str] = []

    def headers(self) -> dict[str, str]:
        """Of the next request: the service goes on behind what was seen."""
        self._block = []
        return {} if self._last is None else {"Last-Event-ID": self._last}

    def event(self, line: str) -> dict[str, Any] | None:
        """The job in the server-sent event that this line ends, with the event's name as `event`."""
        self.times = 0
        if line:
            self._block.append(line)
            return None
        fields = dict(part.split(": ", 1) for part in self._block if ": " in part and not part.startswith(":"))
        self._block = []
        if "data" not in fields:
            return None
        self._last = fields.get("id", self._last)
        self._ended = fields.get("event") == "end"
        return {"event": fields.get("event"), **json.loads(fields["data"])}

    def check(self) -> None:
        """Raises RemoteProtocolError where a stream was closed before the job had ended, as who is stopped does."""
        if not self._ended:
            raise httpx.RemoteProtocolError("the service closed the events of a job that has not ended")


class Client:
    """See the module. key: an API key. timeout: seconds that an answer may take."""

    def __init__(self, url: str = "http://127.0.0.1:8000", key: str | None = None, timeout: float = 120.0) -> None:
        self._http = httpx.Client(base_url=url, headers=_headers(key), timeout=timeout, mounts=_around_proxies(url))
        self._heard = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def _ask(self, method: str, path: str, **content: Any) -> httpx.Response:
        times, broke = 0, False
        while True:
            try:
                response = self._http.request(method, path, **content)
                self._heard = True
                if broke and method == "DELETE" and response.status_code == 404:
                    return response  # the one whose answer was lost has done it
                pause = _pause(response, times)
                if pause is None:
                    return _checked(response)
            except BROKEN as error:
                broke = broke or not isinstance(error, httpx.ConnectError)  # else nothing was sent
                pause = _broken(method, content.get("headers", {}), times, error, heard=self._heard)
                if pause is None:
                    raise
            time.sleep(pause)
            times += 1

    def models(self) -> list[dict[str, Any]]:
        """What can be asked."""
        return self._ask("GET", "/v1/models").json()["data"]

    def classify(
        self,
        items: Item | Sequence[Item],
        model: str | None = None,
        *,
        explain: bool = False,
        explain_by: Literal["occlusion", "gradient"] = "occlusion",
    ) -> list[dict[str, Any]]:
        """An answer for each record, in order; one that could not be answered has an `error`."""
        return self._ask("POST", "/v1/classify", json=_question(items, model, explain, explain_by)).json()["data"]

    def cancer_types(self, items: Item | Sequence[Item], model: str | None = None) -> list[dict[str, Any]]:
        """As `classify`, of the model whose labels a lexicon names: `types` and `extracted_diseases` of each record."""
        return self._ask("POST", "/v1/cancer-types", json=_question(items, model, False)).json()["data"]

    def write(self, items: Item | Sequence[Item], model: str | None = None) -> list[dict[str, Any]]:
        """A text for each record, in order; one that could not be answered has an `error`."""
        return self._ask("POST", "/v1/write", json=_writing(items, model)).json()["data"]

    def submit(
        self, items: Item | Sequence[Item], model: str | None = None, *, idempotency_key: str | None = None
    ) -> dict[str, Any]:
        """Send a job of records. Sent again under the same key it is the same job; another one under it is refused."""
        body, headers = _job(items, model, idempotency_key)
        return self._ask("POST", "/v1/jobs", json=body, headers=headers).json()

    def submit_table(
        self, path: Path | str, model: str | None = None, *, idempotency_key: str | None = None
    ) -> dict[str, Any]:
        """Send a table as a job."""
        content, headers, params = _table(Path(path), model, idempotency_key)
        return self._ask("POST", "/v1/jobs", content=content, headers=headers, params=params).json()

    def job(self, job: str) -> dict[str, Any]:
        """How far it is."""
        return self._ask("GET", f"/v1/jobs/{job}").json()

    def jobs(self, limit: int | None = 20) -> list[dict[str, Any]]:
        """The newest ones. limit: how many at most; None for all that are kept."""
        found: list[dict[str, Any]] = []
        asked = _listed(limit, 0)
        while asked is not None:
            page = self._ask("GET", "/v1/jobs", params=asked).json()
            found += page["data"]
            asked = page["next"] and _listed(limit, len(found), page["next"])
        return found

    def events(self, job: str) -> Iterator[dict[str, Any]]:
        """The job after each change, until it has ended; over restarts of the service."""
        followed = _Followed()
        while True:
            try:
                with self._http.stream("GET", f"/v1/jobs/{job}/events", headers=followed.headers()) as response:
                    self._heard = True
                    if not response.is_success:
                        response.read()
                    pause = _pause(response, followed.times)
                    if pause is None:
                        for line in _checked(response).iter_lines():
                            if (event := followed.event(line)) is not None:
                                yield event
                        followed.check()
                        return
            except BROKEN as error:
                pause = _broken("GET", {}, followed.times, error, heard=self._heard)
                if pause is None:
                    raise
            time.sleep(pause)
            followed.times += 1

    def wait(self, job: str, every: float = 0.5) -> dict[str, Any]:
        """The job once it has ended."""
        while (found := self.job(job))["state"] not in ENDED:
            time.sleep(every)
        return found

    def results(self, job: str) -> Iterator[dict[str, Any]]:
        """Results in order, as far as they are there."""
        return self._pages(f"/v1/jobs/{job}/results")

    def failures(self, job: str) -> Iterator[dict[str, Any]]:
        """Records without an answer, in order, with `code` and `detail`."""
        return self._pages(f"/v1/jobs/{job}/failures")

    def _pages(self, path: str) -> Iterator[dict[str, Any]]:
        after: int | None = 0
        while after is not None:
            page = self._ask("GET", path, params={"after": after, "limit": PAGE}).json()
            yield from page["data"]
            after = page["next"]

    def save_results(self, job: str, path: Path | str) -> None:
        """The table that `clinfit predict` would write, as CSV, of a job that has ended."""
        write_bytes(Path(path), self._ask("GET", f"/v1/jobs/{job}/results", params={"format": "csv"}).content)

    def cancel(self, job: str) -> dict[str, Any]:
        return self._ask("POST", f"/v1/jobs/{job}/cancel").json()

    def erase(self, job: str) -> None:
        self._ask("DELETE", f"/v1/jobs/{job}")


class AsyncClient:
    """As `Client`, for `async with` and `await`."""

    def __init__(self, url: str = "http://127.0.0.1:8000", key: str | None = None, timeout: float = 120.0) -> None:
        self._http = httpx.AsyncClient(
            base_url=url, headers=_headers(key), timeout=timeout, mounts=_around_proxies(url)
        )
        self._heard = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        await self._http.aclose()

    async def _ask(self, method: str, path: str, **content: Any) -> httpx.Response:
        times, broke = 0, False
        while True:
            try:
                response = await self._http.request(method, path, **content)
                self._heard = True
                if broke and method == "DELETE" and response.status_code == 404:
                    return response  # the one whose answer was lost has done it
                pause = _pause(response, times)
                if pause is None:
                    return _checked(response)
            except BROKEN as error:
                broke = broke or not isinstance(error, httpx.ConnectError)  # else nothing was sent
                pause = _broken(method, content.get("headers", {}), times, error, heard=self._heard)
                if pause is None:
                    raise
            await asyncio.sleep(pause)
            times += 1

    async def models(self) -> list[dict[str, Any]]:
        return (await self._ask("GET", "/v1/models")).json()["data"]

    async def classify(
        self,
        items: Item | Sequence[Item],
        model: str | None = None,
        *,
        explain: bool = False,
        explain_by: Literal["occlusion", "gradient"] = "occlusion",
    ) -> list[dict[str, Any]]:
        asked = _question(items, model, explain, explain_by)
        return (await self._ask("POST", "/v1/classify", json=asked)).json()["data"]

    async def cancer_types(self, items: Item | Sequence[Item], model: str | None = None) -> list[dict[str, Any]]:
        return (await self._ask("POST", "/v1/cancer-types", json=_question(items, model, False))).json()["data"]

    async def write(self, items: Item | Sequence[Item], model: str | None = None) -> list[dict[str, Any]]:
        return (await self._ask("POST", "/v1/write", json=_writing(items, model))).json()["data"]

    async def submit(
        self, items: Item | Sequence[Item], model: str | None = None, *, idempotency_key: str | None = None
    ) -> dict[str, Any]:
        body, headers = _job(items, model, idempotency_key)
        return (await self._ask("POST", "/v1/jobs", json=body, headers=headers)).json()

    async def submit_table(
        self, path: Path | str, model: str | None = None, *, idempotency_key: str | None = None
    ) -> dict[str, Any]:
        content, headers, params = _table(Path(path), model, idempotency_key)
        return (await self._ask("POST", "/v1/jobs", content=content, headers=headers, params=params)).json()

    async def job(self, job: str) -> dict[str, Any]:
        return (await self._ask("GET", f"/v1/jobs/{job}")).json()

    async def jobs(self, limit: int | None = 20) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        asked = _listed(limit, 0)
        while asked is not None:
            page = (await self._ask("GET", "/v1/jobs", params=asked)).json()
            found += page["data"]
            asked = page["next"] and _listed(limit, len(found), page["next"])
        return found

    async def events(self, job: str) -> AsyncIterator[dict[str, Any]]:
        followed = _Followed()
        while True:
            try:
                async with self._http.stream("GET", f"/v1/jobs/{job}/events", headers=followed.headers()) as response:
                    self._heard = True
                    if not response.is_success:
                        await response.aread()
                    pause = _pause(response, followed.times)
                    if pause is None:
                        async for line in _checked(response).aiter_lines():
                            if (event := followed.event(line)) is not None:
                                yield event
                        followed.check()
                        return
            except BROKEN as error:
                pause = _broken("GET", {}, followed.times, error, heard=self._heard)
                if pause is None:
                    raise
            await asyncio.sleep(pause)
            followed.times += 1

    async def wait(self, job: str, every: float = 0.5) -> dict[str, Any]:
        while (found := await self.job(job))["state"] not in ENDED:
            await asyncio.sleep(every)
        return found

    def results(self, job: str) -> AsyncIterator[dict[str, Any]]:
        return self._pages(f"/v1/jobs/{job}/results")

    def failures(self, job: str) -> AsyncIterator[dict[str, Any]]:
        return self._pages(f"/v1/jobs/{job}/failures")

    async def _pages(self, path: str) -> AsyncIterator[dict[str, Any]]:
        after: int | None = 0
        while after is not None:
            page = (await self._ask("GET", path, params={"after": after, "limit": PAGE})).json()
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
