"""The load generator counts what it is told to send, and the table of serving compares with FastAPI's row."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

from load import Loaded, all_answers, closed, opened
from serving import REFUSAL, beside, tables


async def with_server(work: Callable[[int], Any], *, closes: bool = False, status: int = 200) -> Any:
    """What the work found of a server that gives back what it is sent. closes: the connection after each answer."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while not reader.at_eof():
            try:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
            except asyncio.IncompleteReadError:
                break
            body = await reader.readexactly(int(head.lower().partition("content-length: ")[2].split()[0]))
            writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
            await writer.drain()
            if closes:
                break
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        return await work(server.sockets[0].getsockname()[1])


REQUESTS = [("/x", json.dumps({"n": n}).encode()) for n in range(3)]


def test_answers_come_in_the_order_of_the_requests() -> None:
    assert asyncio.run(with_server(lambda port: all_answers(port, REQUESTS))) == [{"n": 0}, {"n": 1}, {"n": 2}]


def test_a_closed_loop_ends_in_time_and_counts_errors() -> None:
    found: Loaded = asyncio.run(with_server(lambda port: closed(port, REQUESTS, 4, 0.2)))
    assert 0.2 <= found.seconds < 2 and len(found.latencies) >= 4 and found.errors == 0
    refused: Loaded = asyncio.run(with_server(lambda port: closed(port, REQUESTS, 1, 0.1), status=503))
    assert refused.errors == len(refused.latencies) > 0


def test_an_open_loop_sends_as_many_as_are_due_and_connects_again() -> None:
    found: Loaded = asyncio.run(with_server(lambda port: opened(port, REQUESTS, 100, 0.5), closes=True))
    assert len(found.latencies) == 50 and found.errors == 0 and min(found.latencies) >= 0


def row(name: str, rate: float, probabilities: list[float]) -> dict[str, Any]:
    one = {"rate": rate, "p99": 1000 / rate, "cpu_ms": 100 / rate}
    loads = {"1": one, "8": one, "32": one}
    return {"row": name, "engine": name, "closed": loads, "memory_mb": 100 * rate, "probabilities": probabilities}


def test_rows_stand_beside_fastapi() -> None:
    plain, other = row("fastapi", 10, [0.2, 0.51]), row("ours", 30, [0.2, 0.49])
    assert beside(other, plain) == "| ours | 3.00 / 3.00 / 3.00 | 3.00 / 3.00 / 3.00 | 0.33 | 3.00 | 0.02 | 1 |"
    other["open"] = {"asked": 24, "requests": 7200, "errors": 0, "p50": 30, "p99": 90}
    assert "7200 requests, 0 errors, p50 30 ms, p99 90 ms" in tables([plain, other])


def test_only_an_engine_is_left_out() -> None:
    assert REFUSAL.search("warm\nclinfit: minilm-seed42: engine onnx-int8: refused, since\nexpected: less")
    assert not REFUSAL.search("minilm-seed42: engine torch: it answers\nclinfit: port 8765 is taken by another program")
