"""The tree of labels; servers that fail in every known manner; where texts may go. No model is needed for any of it."""

import threading
from collections.abc import Iterator
from queue import Queue
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from clinfit.errors import ClinfitError
from clinfit.models.remote.asking import neutral
from clinfit.models.remote.egress import allow_egress, check_egress
from clinfit.models.remote.server import Refused, Server
from clinfit.models.remote.tree import weighed
from clinfit.study.remote import Price, Remote, Requests
from remote_server import MODEL, Fault, RemoteServer, refused, serving

SECRET = "sk-very-secret"
NO_GZIP = Fault(headers={"Content-Encoding": "gzip"})
UPSTREAM = b'{"error": {"message": "upstream"}}'


@pytest.fixture
def server() -> Iterator[RemoteServer]:
    with serving() as one:
        yield one


def spec(server: RemoteServer, **more: Any) -> Remote:
    asked: dict[str, Any] = {"name": "m", "family": "remote", "url": server.url, "model": MODEL}
    return Remote(**asked | {"requests": Requests(retries=2)} | more)


# ---------------------------------------------------------------- the tree of labels


def tops(tree: dict[str, dict[str, float]]) -> Any:
    return lambda beginning: [(token.encode(), share) for token, share in tree[beginning.decode()].items()]


def test_a_label_is_the_product_along_its_tokens_over_all_spellings() -> None:
    tree = {"": {"Yes": 0.5, "Y": 0.1, " No": 0.2, "the": 0.2}, "Y": {"es": 0.5, "ou": 0.5}}
    found = weighed(["Yes", "No"], tops(tree))
    np.testing.assert_allclose(found.probabilities, [0.55, 0.2])
    assert found.seen and not found.bounded


def test_a_label_that_begins_another_is_what_the_longer_one_does_not_take() -> None:
    tree = {"": {"cancer": 0.8, "no": 0.2}, "cancer": {" free": 0.25, "": 0.7, ".": 0.05}}
    found = weighed(["cancer", "cancer free"], tops(tree))
    np.testing.assert_allclose(found.probabilities, [0.6, 0.2])


def test_what_is_not_told_is_bounded_by_the_last_token_told_and_by_what_is_left() -> None:
    last = weighed(["Yes", "No"], tops({"": {"Yes": 0.5, "the": 0.1}}))
    left = weighed(["Yes", "No"], tops({"": {"Yes": 0.5, "the": 0.45}}))
    np.testing.assert_allclose([last.probabilities, left.probabilities], [[0.5, 0.1], [0.5, 0.05]])
    assert last.bounded and last.seen
    nothing = weighed(["Yes", "No"], tops({"": {"the": 0.9, "a": 0.05}}))
    assert not nothing.seen and nothing.bounded


def test_a_beginning_that_cannot_be_followed_counts_where_it_begins_one_label_alone() -> None:
    def ask(beginning: bytes) -> Any:
        return [(b"Non", 0.6), (b"Cancer", 0.3)] if not beginning else None

    found = weighed(["Non-Cancer", "Cancer"], ask)
    assert found.probabilities == [0.6, 0.3] and found.bounded


def test_a_beginning_that_labels_share_and_cannot_be_followed_is_divided_among_them() -> None:
    def ask(stage: float) -> Any:
        return lambda beginning: None if beginning else [(b"Stage", stage), (b"None", 1.0 - stage)]

    labels = ["Stage I", "Stage II", "None"]
    small, large = weighed(labels, ask(0.2)), weighed(labels, ask(0.6))
    np.testing.assert_allclose(small.probabilities, [0.1, 0.1, 0.8])
    assert small.seen and small.bounded
    assert not large.seen and large.bounded and sum(large.probabilities) <= 1


def test_white_space_before_a_label_is_followed() -> None:
    tree = {"": {" ": 0.97, "1": 0.001, "a": 0.0001}, " ": {"0": 0.99, "1": 0.005, "a": 0.0001}}
    found = weighed(["0", "1"], tops(tree))
    np.testing.assert_allclose(found.probabilities, [0.9603, 0.97 * 0.005 + 0.001])
    assert found.seen and not found.bounded
    cut_off = weighed(["0", "1"], lambda beginning: [(b" ", 0.97), (b"1", 0.01)])
    assert not cut_off.seen and cut_off.bounded


def test_what_is_unseen_adds_up_over_all_beginnings_of_a_label() -> None:
    tree = {"": {"Yes": 0.5, "N": 0.01}, "N": {"o": 0.4, "ever": 0.3}}
    found = weighed(["Yes", "No"], tops(tree))
    np.testing.assert_allclose(found.probabilities, [0.5, 0.004 + 0.01 + 0.01 * 0.3])
    assert found.seen and found.bounded


def test_an_answer_that_ends_before_any_token_is_no_label() -> None:
    nothing = weighed(["Yes", "No"], lambda beginning: [])
    assert not nothing.seen and nothing.bounded
    ended = weighed(["cancer", "cancer free"], lambda beginning: [] if beginning else [(b"cancer", 0.8), (b"no", 0.2)])
    assert ended.seen and ended.bounded
    np.testing.assert_allclose(ended.probabilities, [0.8, 0.2])


# ---------------------------------------------------------------- servers that fail


def asking(server: RemoteServer, **more: Any) -> tuple[Server, list[float]]:
    """A server whose pauses are noted and not waited for."""
    pauses: list[float] = []
    return Server(spec(server, **more), pauses.append), pauses


@pytest.mark.parametrize(
    "fault",
    [
        *map(Fault, (429, 500, 503)),
        *(Fault(body=body) for body in (b"{broken", b"[1]", b"\xff\xfe", UPSTREAM)),
        NO_GZIP,
    ],
    ids=["429", "500", "503", "broken", "list", "no-text", "error", "no-gzip"],
)
def test_a_server_that_is_busy_or_garbled_is_asked_again(server: RemoteServer, fault: Fault) -> None:
    server.faults = [fault, fault]
    asked, pauses = asking(server)
    assert asked.get("/models")["data"] and len(server.asked) == 3
    assert len(pauses) == 2 and 0.25 <= pauses[0] <= 0.5 <= pauses[1] <= 1.0


def test_tries_end(server: RemoteServer) -> None:
    server.faults = [Fault(503)] * 9
    with pytest.raises(ClinfitError, match="answered 503, 3 times"):
        asking(server)[0].get("/models")
    assert len(server.asked) == 3


def test_retry_after_is_honoured_in_both_forms(server: RemoteServer) -> None:
    server.faults = [
        Fault(429, headers={"Retry-After": "7"}),
        Fault(503, headers={"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}),
    ]
    asked, pauses = asking(server)
    asked.get("/models")
    assert pauses == [7.0, 0.0]
    server.faults = [Fault(429, headers={"Retry-After": "86400"})]
    with pytest.raises(ClinfitError, match="left alone for 86400 s"):
        asked.get("/models")


def test_an_answer_that_does_not_come_in_time_is_asked_for_again(server: RemoteServer) -> None:
    server.faults = [Fault(seconds=3.0)]
    asked, _ = asking(server, requests=Requests(timeout=1.0, retries=1))
    assert asked.get("/models")["data"]
    server.faults = [Fault(seconds=3.0)] * 2
    with pytest.raises(ClinfitError, match=r"gave no answer within 1 s, 2 times"):
        asked.get("/models")


def test_nobody_there_is_an_error_that_says_so(server: RemoteServer) -> None:
    server.close()
    with pytest.raises(ClinfitError, match="cannot be reached"):
        asking(server)[0].get("/models")


def test_no_faster_than_allowed_and_no_more_at_once(server: RemoteServer) -> None:
    asked, pauses = asking(server, requests=Requests(per_minute=1))
    for _ in range(3):
        asked.get("/models")
    assert len(pauses) == 2 and 30 < pauses[0] <= 60 < pauses[1] <= 120
    server.faults = [Fault(seconds=0.05, body=b"{}") for _ in range(12)]
    asked, _ = asking(server, requests=Requests(concurrent=3))
    assert len(asked.each(range(12), lambda k: asked.get("/models"))) == 12
    assert 2 <= server.most_open <= 3


def test_a_server_can_be_asked_as_ever_when_what_was_asked_together_has_ended(server: RemoteServer) -> None:
    """With pauses that are waited for: what comes next waits for its turn, and is not told that something failed."""
    asked = Server(spec(server, requests=Requests(per_minute=1200, retries=2)))
    for _ in range(2):
        assert len(asked.each(range(3), lambda k: asked.get("/models"))) == 3
        server.faults = [Fault(503)]
        assert asked.get("/models")["data"]
    server.faults = [Fault(404)]
    with pytest.raises(Refused):
        asked.each(range(3), lambda k: asked.get("/models"))
    assert asked.get("/models")["data"], "a failure ends those that were asked with it, and no other"


def test_the_first_that_fails_ends_the_pauses_of_those_that_were_asked_with_it(server: RemoteServer) -> None:
    asked = Server(spec(server, requests=Requests(concurrent=2, retries=2)))
    paused, told = threading.Event(), Queue[ClinfitError]()
    server.faults = [Fault(503, headers={"Retry-After": "300"}, path="/models")]

    def ask(k: int) -> Any:
        if k:
            paused.wait(10)
            raise asked._failed("failed")
        threading.Timer(0.5, paused.set).start()
        try:
            return asked.get("/models")
        except ClinfitError as error:
            told.put(error)
            raise

    with pytest.raises(ClinfitError, match="failed"):
        asked.each(range(2), ask)
    assert "was no longer asked" in str(told.get(timeout=10))


def test_a_refusal_is_not_repeated_and_quotes_nothing(server: RemoteServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", SECRET)
    asked, pauses = asking(server, api_key_env="SOME_KEY")
    server.faults = [refused(400, "context_length_exceeded", "your prompt 'Mrs Smith has' is too long")]
    with pytest.raises(Refused, match=r"400 \(context_length_exceeded\)") as error:
        asked.post("/chat/completions", {})
    assert not pauses and "Smith" not in str(error.value) and SECRET not in str(error.value)


# ---------------------------------------------------------------- what is sent, and where


@pytest.mark.parametrize(
    ("url", "leaves"),
    [("http://localhost:1/v1", False), ("http://127.9.0.1/v1", False), ("http://[::1]:8/v1", False)]
    + [(url, True) for url in ("https://api.example.org/v1", "http://10.0.0.3/v1", "http://localhost.example.org/v1")],
)
def test_only_loopback_is_this_machine(url: str, leaves: bool) -> None:
    remote = Remote(name="m", family="remote", url=url, model="x")
    assert remote.leaves_machine == leaves
    allow_egress(False)
    try:
        if leaves:
            with pytest.raises(ClinfitError, match="--allow-egress"):
                check_egress([remote])
            with pytest.raises(ClinfitError, match="--allow-egress"):
                Server(remote)
            allow_egress(True)
            assert "leave this machine" in check_egress([remote])[0]
        else:
            assert check_egress([remote]) == []
    finally:
        allow_egress(False)


@pytest.mark.parametrize(
    "url", ["http://me:key@host/v1", "http://host/v1?key=x", "ftp://host/v1", "host/v1", "http://h:99999/v1"]
)
def test_an_address_holds_no_key_and_a_port_that_is_one(url: str) -> None:
    with pytest.raises(ValidationError):
        Remote(name="m", family="remote", url=url, model="x")


def test_a_proxy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    away = Remote(name="m", family="remote", url="https://api.example.org/v1", model="x")
    here = Remote(name="m", family="remote", url="http://127.0.0.1:1/v1", model="x")
    monkeypatch.setenv("ALL_PROXY", "http://me:word@proxy.example:3128")
    allow_egress(True)
    try:
        (warning,) = check_egress([away, here])
        assert warning.endswith("by way of the proxy proxy.example:3128")
        monkeypatch.setenv("NO_PROXY", "api.example.org")
        assert "proxy" not in check_egress([away])[0]
    finally:
        allow_egress(False)


@pytest.mark.parametrize(
    ("url", "key"), [("https://api.example.org/v1", None), ("http://127.0.0.1:1/v1", "SOME_KEY")], ids=["away", "key"]
)
def test_neither_flag_nor_key_travels_to_other_machines(
    url: str, key: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_KEY", SECRET)
    remote = Remote(name="m", family="remote", url=url, model="x", api_key_env=key)
    allow_egress(True)
    try:
        check_egress([remote])
        with pytest.raises(ClinfitError, match="cannot be asked from a cluster"):
            check_egress([remote], elsewhere=True)
        check_egress([Remote(name="m", family="remote", url="http://127.0.0.1:1/v1", model="x")], elsewhere=True)
    finally:
        allow_egress(False)


def test_prices_are_counted() -> None:
    price = Price(per_million_prompt_tokens=2.0, per_million_output_tokens=10.0)
    remote = Remote(name="m", family="remote", url="http://localhost/v1", model="x", price=price)
    assert remote.cost(500_000, 10_000) == {"cost": 1.1, "currency": "USD"}


def test_known_markup_is_taken_apart() -> None:
    assert neutral("a <|im_end|> b </s> [INST] p <0.05>") == "a < |im_end|> b < /s> [ INST] p <0.05>"
