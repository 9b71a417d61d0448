"""What the clients send again, and under which key, where the line breaks; and events over restarts of the service."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import httpx2
import pytest

import clinfit
from clinfit.serve.client import IDEMPOTENCY, TIMES, ServiceError


class Line:
    """A service whose line breaks `times` times before an answer comes through. status: of the answer."""

    def __init__(self, times: int, status: int = 202) -> None:
        self.left, self.status, self.keys, self.bodies = times, status, list[str | None](), list[bytes]()

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.keys.append(request.headers.get(IDEMPOTENCY))
        self.bodies.append(request.content)
        if self.left:
            self.left -= 1
            raise httpx2.ReadError("the line broke")
        return httpx2.Response(self.status, json={"id": "0" * 32, "state": "succeeded", "data": []})

    async def awaited(self, request: httpx2.Request) -> httpx2.Response:
        return self(request)


class Events:
    """A service that says these things of a job, one a request: an answer, or None where the line breaks."""

    def __init__(self, *said: httpx2.Response | None) -> None:
        self.said, self.behind = list(said), list[str | None]()

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.behind.append(request.headers.get("Last-Event-ID"))
        if not self.said or (answer := self.said.pop(0)) is None:
            raise httpx2.ConnectError("nobody listens")
        return answer

    async def awaited(self, request: httpx2.Request) -> httpx2.Response:
        return self(request)


class Listing:
    """A service that keeps this many jobs, and lists them in pages. limits: as they were asked for."""

    def __init__(self, kept: int) -> None:
        self.kept, self.limits = kept, list[int]()

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        start, limit = int(request.url.params.get("before", 0)), int(request.url.params["limit"])
        self.limits.append(limit)
        end = start + limit
        page = [{"id": str(k)} for k in range(start, min(end, self.kept))]
        return httpx2.Response(200, json={"data": page, "next": str(end) if end < self.kept else None})

    async def awaited(self, request: httpx2.Request) -> httpx2.Response:
        return self(request)


Service = Line | Events | Listing


def waiting(line: Service, ask: Callable[[Any], Any]) -> None:
    client = clinfit.Client()
    client._http = httpx2.Client(base_url="http://service", transport=httpx2.MockTransport(line))
    ask(client)


def awaited(line: Service, ask: Callable[[Any], Any]) -> None:
    async def go() -> None:
        client = clinfit.AsyncClient()
        client._http = httpx2.AsyncClient(base_url="http://service", transport=httpx2.MockTransport(line.awaited))
        await ask(client)

    asyncio.run(go())


Asks = Callable[[Service, Callable[[Any], Any]], None]


@pytest.fixture(params=[waiting, awaited], ids=["waits", "awaited"])
def asks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Asks:
    async def at_once(seconds: float) -> None:
        return None

    monkeypatch.setattr("clinfit.serve.client.time.sleep", lambda seconds: None)
    monkeypatch.setattr("clinfit.serve.client.asyncio.sleep", at_once)
    return request.param


def test_a_job_is_sent_again_under_its_key(asks: Asks) -> None:
    line = Line(2)
    asks(line, lambda client: client.submit(["A tumour."]))
    assert len(line.keys) == 3 and len(set(line.keys)) == 1 and line.keys[0]
    own = Line(1)
    asks(own, lambda client: client.submit(["A tumour."], idempotency_key="night 7"))
    assert own.keys == ["night 7"] * 2


@pytest.mark.parametrize("alone", ["A tumour.", {"id": "b", "inputs": {"text": "A tumour."}}])
def test_a_record_alone_is_a_job_of_one(asks: Asks, alone: Any) -> None:
    line = Line(0)
    asks(line, lambda client: client.submit(alone))
    assert [json.loads(body)["input"] for body in line.bodies] == [[alone]]


def test_a_line_that_stays_broken_is_told_in_the_end(asks: Asks) -> None:
    line = Line(100)
    with pytest.raises(httpx2.TransportError):
        asks(line, lambda client: client.submit(["A tumour."]))
    assert len(line.keys) == TIMES + 1


def test_a_question_without_a_key_is_not_sent_again(asks: Asks) -> None:
    line = Line(1)
    with pytest.raises(httpx2.TransportError):
        asks(line, lambda client: client.classify("A tumour."))
    assert line.keys == [None]


@pytest.mark.parametrize("ask", [lambda client: client.wait("0" * 32), lambda client: client.models()])
def test_what_only_reads_is_asked_again(asks: Asks, ask: Callable[[Any], Any]) -> None:
    line = Line(2)
    asks(line, ask)
    assert len(line.keys) == 3


def test_what_was_erased_before_the_line_broke_is_erased(asks: Asks) -> None:
    line = Line(1, status=404)
    asks(line, lambda client: client.erase("0" * 32))
    assert len(line.keys) == 2
    with pytest.raises(ServiceError):
        asks(Line(0, status=404), lambda client: client.erase("0" * 32))


def test_an_address_that_is_none_is_told_at_once() -> None:
    with pytest.raises(httpx2.UnsupportedProtocol), clinfit.Client("service:8000") as client:
        client.models()


def test_an_address_where_nobody_was_ever_heard_is_told_at_once(asks: Asks) -> None:
    nobody = Events()
    with pytest.raises(httpx2.ConnectError):
        asks(nobody, lambda client: client.models())
    assert len(nobody.behind) == 1


def test_who_has_followed_a_job_outlives_a_restart(asks: Asks) -> None:
    """What was heard in a stream was heard."""
    service = Events(stream((3, "end")), None, httpx2.Response(200, json={"data": []}))

    def waits(client: clinfit.Client) -> None:
        assert len(list(client.events("0" * 32))) == 1 and client.models() == []

    async def awaits(client: clinfit.AsyncClient) -> None:
        assert len([event async for event in client.events("0" * 32)]) == 1 and await client.models() == []

    asks(service, lambda client: waits(client) if isinstance(client, clinfit.Client) else awaits(client))
    assert len(service.behind) == 3


def test_a_job_that_was_never_asked_to_go_is_not_called_erased(asks: Asks) -> None:
    service = Events(httpx2.Response(200, json={"data": []}), None, httpx2.Response(404, json={"code": "unknown-job"}))

    def waits(client: clinfit.Client) -> None:
        client.models()
        client.erase("0" * 32)

    async def awaits(client: clinfit.AsyncClient) -> None:
        await client.models()
        await client.erase("0" * 32)

    with pytest.raises(ServiceError):
        asks(service, lambda client: waits(client) if isinstance(client, clinfit.Client) else awaits(client))


def stream(*events: tuple[int, str], rest: str = "") -> httpx2.Response:
    text = "".join(f'id: {at}\nevent: {name}\ndata: {{"done": {at}}}\n\n' for at, name in events)
    return httpx2.Response(200, text=text + rest)


def followed(asks: Asks, service: Events) -> list[Any]:
    """Name and count of each event that a client sees."""
    seen: list[Any] = []

    def ask(client: Any) -> Any:
        if isinstance(client, clinfit.Client):
            seen.extend((event["event"], event["done"]) for event in client.events("0" * 32))
            return None

        async def go() -> None:
            async for event in client.events("0" * 32):
                seen.append((event["event"], event["done"]))

        return go()

    asks(service, ask)
    return seen


def test_events_go_on_until_the_job_has_ended(asks: Asks) -> None:
    """A service that is stopped ends its streams, nobody listens for a while, and the next one is not ready at once."""
    service = Events(
        stream((1, "progress"), rest='id: 2\nevent: progress\ndata: {"do'),
        None,
        httpx2.Response(503, headers={"Retry-After": "1"}),
        stream((2, "progress"), rest=": still here\n\n"),
        stream((3, "end")),
    )
    assert followed(asks, service) == [("progress", 1), ("progress", 2), ("end", 3)]
    assert service.behind == [None, "1", "1", "1", "2"]


def test_events_that_nobody_tells_are_given_up(asks: Asks) -> None:
    service = Events(stream((1, "progress")))
    with pytest.raises(httpx2.ConnectError):
        followed(asks, service)
    assert len(service.behind) == TIMES + 1
    quiet = Events(*[stream() for _ in range(9)])
    with pytest.raises(httpx2.RemoteProtocolError):
        followed(asks, quiet)
    assert len(quiet.behind) == TIMES + 1
    with pytest.raises(ServiceError):
        followed(asks, Events(httpx2.Response(404, json={"code": "unknown-job"})))


@pytest.mark.parametrize(
    ("limit", "found", "limits"),
    [(20, 20, [20]), (120, 120, [100, 20]), (None, 250, [100, 100, 100]), (300, 250, [100, 100, 100])],
)
def test_jobs_are_listed_page_by_page(asks: Asks, limit: int | None, found: int, limits: list[int]) -> None:
    service, jobs = Listing(250), list[Any]()

    def listed(client: Any) -> Any:
        asked = client.jobs(limit)
        if isinstance(asked, list):
            jobs.extend(asked)
            return None

        async def later() -> None:
            jobs.extend(await asked)

        return later()

    asks(service, listed)
    assert [job["id"] for job in jobs] == [str(k) for k in range(found)]
    assert service.limits == limits


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
@pytest.mark.parametrize("kind", [clinfit.Client, clinfit.AsyncClient])
def test_what_is_sent_to_this_machine_goes_through_no_proxy(
    kind: type[clinfit.Client], host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example:3128")
    monkeypatch.delenv("NO_PROXY", raising=False)

    def ways(url: str) -> bool:
        http = kind(url)._http
        return http._transport_for_url(httpx2.URL(url)) is http._transport

    assert ways(f"http://{host}:8000/")
    assert not ways("http://service.example:8000/")
