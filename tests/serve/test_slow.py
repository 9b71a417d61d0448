"""Who sends slowly is not waited for: real sockets, a real server."""

import json
import socket
import time
from collections.abc import Iterator

import pytest

from .conftest import Served
from .services import answering

SECONDS = 1.0
ASKED = json.dumps({"model": "tfidf-seed42/cancer", "input": "A tumour was seen."}).encode()
HEAD = b"POST /v1/classify HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
LENGTH = b"Content-Length: %d\r\n\r\n" % len(ASKED)
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.fixture(scope="module")
def port(small: Served, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with answering(tmp_path_factory.mktemp("slow"), small.pack, body_seconds=SECONDS) as url:
        yield int(url.rpartition(":")[2])


def whole(one: socket.socket, answer: bytes = b"") -> bytes:
    """An answer to its end, which may come in several pieces; empty where the server hung up before its first byte."""
    one.settimeout(20)
    while (head := answer.partition(b"\r\n\r\n"))[1] == b"" or len(head[2]) < body_length(head[0]):
        if not (part := one.recv(65536)):
            assert not answer, answer
            return b""
        answer += part
    return answer


def body_length(head: bytes) -> int:
    (length,) = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    return int(length.partition(b":")[2])


def said(port: int, at_once: bytes, slowly: bytes) -> tuple[bytes, float]:
    """What comes back until the server hangs up, of a request whose end comes a byte each 0.2 seconds; and after how
    many seconds it hung up."""
    began = time.monotonic()
    answer = b""
    with socket.create_connection(("127.0.0.1", port), timeout=0.2) as one:
        one.sendall(at_once)
        for byte in [*slowly] * 40:
            if time.monotonic() - began > 20:
                break
            try:
                one.sendall(bytes([byte]))
                if not (part := one.recv(65536)):
                    break
                answer += whole(one, part)
                one.settimeout(0.2)
                time.sleep(0.2)
            except TimeoutError:
                continue
            except ConnectionError:
                break
    return answer, time.monotonic() - began


def problem(answer: bytes) -> dict[str, object]:
    return json.loads(answer.partition(b"\r\n\r\n")[2])


@pytest.mark.parametrize("framing", [LENGTH.replace(b"Length: ", b"Length: 9"), CHUNKED], ids=["length", "chunked"])
def test_a_body_that_trickles_is_refused_with_408(port: int, framing: bytes) -> None:
    at_once = HEAD + framing
    slowly = ASKED if framing is not CHUNKED else b"1\r\n \r\n"
    answer, seconds = said(port, at_once, slowly)
    assert answer.startswith(b"HTTP/1.1 408 ") and b"application/problem+json" in answer
    assert b"connection: close" in answer.lower()
    assert problem(answer)["code"] == "slow" and SECONDS <= seconds < SECONDS + 2


def test_a_job_that_trickles_is_refused_with_408(port: int) -> None:
    head = HEAD.replace(b"/v1/classify", b"/v1/jobs").replace(b"application/json", b"text/csv")
    answer, _ = said(port, head + b"Content-Length: 500\r\n\r\n", b"text,age\n")
    assert answer.startswith(b"HTTP/1.1 408 ") and problem(answer)["code"] == "slow"


@pytest.mark.parametrize(
    ("at_once", "status"),
    [
        (b"POST /v1/classify HTTP/1.1\r\nHost: 127.0.0.1\r\n", b""),
        (b"", b""),
        (HEAD.replace(b"127.0.0.1", b"elsewhere.example") + b"Content-Length: 5000\r\n\r\n", b"HTTP/1.1 400 "),
        (b"GET /live HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5000\r\n\r\n", b"HTTP/1.1 200 "),
    ],
    ids=["head", "nothing", "refused", "unread"],
)
def test_no_connection_is_held_by_a_request_that_does_not_end(port: int, at_once: bytes, status: bytes) -> None:
    answer, seconds = said(port, at_once, b"X-Slow: a\r\n"[:-2])
    assert answer.startswith(status) and bool(answer) == bool(status)
    assert seconds < SECONDS + 6


def test_who_is_in_time_is_answered_and_may_ask_again(port: int) -> None:
    """The time of a request begins with its own first byte, not with that of the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as one:
        for _ in range(3):
            one.sendall(HEAD + LENGTH + ASKED[:20])
            time.sleep(SECONDS / 2)
            one.sendall(ASKED[20:])
            answer = whole(one)
            assert answer.startswith(b"HTTP/1.1 200 "), answer
            time.sleep(SECONDS)
    with socket.create_connection(("127.0.0.1", port), timeout=20) as one:
        time.sleep(SECONDS + 0.5)  # opened ahead of its first request, as browsers do
        one.sendall(HEAD + LENGTH + ASKED)
        assert whole(one).startswith(b"HTTP/1.1 200 ")
