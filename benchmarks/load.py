"""A load generator on loopback: closed loop with so many clients, or open loop at a rate. Standard library only, since
it runs on the cores that the servers use."""

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

#: A request: path and JSON body.
Request = tuple[str, bytes]


@dataclass(frozen=True)
class Loaded:
    """latencies: seconds, of all requests; in an open loop from the moment they were due. errors: answers that were not
    200. seconds: from first to last."""

    latencies: list[float]
    errors: int
    seconds: float

    @property
    def rate(self) -> float:
        """Requests a second."""
        return len(self.latencies) / self.seconds

    def quantile(self, share: float) -> float:
        """Milliseconds within which that share of the requests was answered."""
        ordered = sorted(self.latencies)
        return 1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))]


class Connection:
    """One kept connection to a server on this machine."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, request: Request) -> tuple[int, Any]:
        """Status and the answer's JSON."""
        path, body = request
        if self._streams is None or self._streams[0].at_eof():  # servers close connections that were idle for a while
            self._streams = await asyncio.open_connection("127.0.0.1", self.port)
        reader, writer = self._streams
        head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nContent-Type: application/json\r\n"
        writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower().split("\r\n")
        length = next(int(line.partition(":")[2]) for line in lines if line.startswith("content-length:"))
        content = await reader.readexactly(length)
        if "connection: close" in lines:
            self.close()
        return int(lines[0].split()[1]), json.loads(content)

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


async def closed(port: int, requests: Sequence[Request], clients: int, seconds: float) -> Loaded:
    """Each client sends its next request when the last one is answered, until the time is over."""
    latencies: list[float] = []
    errors, following, began = 0, 0, time.perf_counter()

    async def client() -> None:
        nonlocal errors, following
        connection = Connection(port)
        while time.perf_counter() - began < seconds:
            request, following = requests[following % len(requests)], following + 1
            sent = time.perf_counter()
            status, _ = await connection.ask(request)
            latencies.append(time.perf_counter() - sent)
            errors += status != 200
        connection.close()

    await asyncio.gather(*(client() for _ in range(clients)))
    return Loaded(latencies, errors, time.perf_counter() - began)


async def opened(port: int, requests: Sequence[Request], rate: float, seconds: float) -> Loaded:
    """Requests are due at even times, whether the last ones are answered or not."""
    latencies: list[float] = []
    errors, idle, began = 0, list[Connection](), time.perf_counter()

    async def one(number: int) -> None:
        nonlocal errors
        connection = idle.pop() if idle else Connection(port)
        try:
            status, _ = await connection.ask(requests[number % len(requests)])
        except (OSError, asyncio.IncompleteReadError):
            status = 0
        latencies.append(time.perf_counter() - began - number / rate)
        errors += status != 200
        if status:
            idle.append(connection)

    running = []
    for number in range(int(rate * seconds)):
        await asyncio.sleep(max(0.0, began + number / rate - time.perf_counter()))
        running.append(asyncio.create_task(one(number)))
    await asyncio.gather(*running)
    for connection in idle:
        connection.close()
    return Loaded(latencies, errors, time.perf_counter() - began)


async def all_answers(port: int, requests: Sequence[Request]) -> list[Any]:
    """The answer to each request, one after the other. Raises RuntimeError for one that was refused."""
    connection, answers = Connection(port), []
    for request in requests:
        status, answer = await connection.ask(request)
        if status != 200:
            raise RuntimeError(f"status {status}: {json.dumps(answer)[:300]}")
        answers.append(answer)
    connection.close()
    return answers
