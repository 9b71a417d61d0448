"""docs/serving.md is true: its commands run, with the pack, the ports and the Redis of the test in their places."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
import redis

from .conftest import Served
from .services import HTTP, SOURCE, RedisServer, free_port, needs_redis, soon

PAGE = Path(__file__).parents[2] / "docs" / "serving.md"

pytestmark = pytest.mark.slow


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


class Desk:
    """A reader's folder: commands are run in it, and services that they start are stopped at the end."""

    def __init__(self, folder: Path, small: Served, redis: str) -> None:
        self.folder, self.small, self.redis, self.port = folder, small, redis, free_port()
        bin = folder / ".commands"
        bin.mkdir()
        (bin / "clinfit").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m clinfit "$@"\n')
        (bin / "clinfit").chmod(0o755)
        path = f"{bin}{os.pathsep}{os.environ['PATH']}"
        state = {"XDG_STATE_HOME": str(folder / "state")}
        self.environment = os.environ | {"PATH": path, "PYTHONPATH": str(SOURCE)} | state
        (folder / "serve.yaml").write_text(blocks("yaml")[0])
        (folder / "new.csv").write_text("id,text,age\na,A tumour was seen.,61\nb,Slept well.,50\n")
        self.started: list[subprocess.Popen[bytes]] = []

    def put(self, text: str) -> str:
        """The page's text with the test's own places."""
        text = re.sub(r"runs/falls/\S+/pack|\bPACK\b", str(self.small.pack), text)
        text = text.replace("redis://queue:6379/0", self.redis).replace("127.0.0.1:8000", f"127.0.0.1:{self.port}")
        text = text.replace("tiny-seed42/fall", "tfidf-seed42/cancer")
        text = re.sub(r"--expires \S+", "--expires 2999-12-31", text)  # the page's own date will be past one day
        return text.replace('{"note": "Slept well."}', '{"text": "Slept well.", "age": None}')

    def run(self, text: str) -> str:
        words = ["bash", "-euc", self.put(text)]
        done = subprocess.run(words, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def start(self, text: str) -> None:
        """A service or a worker, once it says that it is there."""
        words = "exec " + self.put(text) + (f" --port {self.port}" if text.startswith("clinfit serve") else "")
        log = self.folder / f"log-{len(self.started)}"
        with log.open("wb") as file:
            process = subprocess.Popen(
                ["bash", "-euc", words], cwd=self.folder, env=self.environment, stdout=file, stderr=file
            )
        self.started.append(process)
        for _ in range(3000):
            if "stop it with Ctrl-C" in log.read_text():
                return
            try:
                process.wait(0.1)
            except subprocess.TimeoutExpired:
                continue
            break
        raise AssertionError(f"{text} does not begin: {log.read_text()}")

    def stop(self) -> None:
        """All of them end well when they are told to."""
        for process in self.started:
            process.terminate()
        assert [process.wait(60) for process in self.started] == [0] * len(self.started)
        self.started = []


@pytest.fixture
def desk(tmp_path: Path, small: Served, redis_server: RedisServer) -> Iterator[Desk]:
    redis.Redis.from_url(redis_server.url).flushall()  # the names of the page are those of other tests, too
    made = Desk(tmp_path, small, redis_server.url)
    yield made
    for process in made.started:
        process.kill()


@needs_redis
def test_the_page_works_from_top_to_bottom(desk: Desk) -> None:
    lines = [line for block in blocks("sh") for line in block.splitlines() if not line.startswith("pip ")]
    (first, curl, redis_serve, redis_worker, write, stream_worker, read, engine, *keys, hospital, filed) = lines
    desk.start(first)
    assert '"decision"' in httpx2.Response(200, text=desk.run(curl + " -s")).text
    python, _ = blocks("python")  # the other one is run by test_completions.py
    done = subprocess.run(
        [sys.executable, "-c", desk.put(python)], cwd=desk.folder, env=desk.environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert (desk.folder / "answers.csv").read_text().startswith("id,p_no,p_yes,predicted")
    desk.stop()
    for line in keys:
        assert desk.run(line).startswith("clinfit_")
    desk.start(redis_serve)
    desk.start(redis_worker)
    desk.stop()
    desk.run(write)
    desk.start(stream_worker)
    assert soon(lambda: "answer_id" in desk.run(read), 60) and '"decision"' in desk.run(read)
    desk.stop()
    desk.start(engine)
    desk.stop()
    url, audit = f"http://127.0.0.1:{desk.port}", desk.folder / "audit.jsonl"
    for line in (hospital, filed):
        desk.start(line)
        assert HTTP.get(f"{url}/v1/models").status_code == 401
        assert HTTP.get(f"{url}/ready", headers={"Host": "models.hospital.example"}).status_code == 200
        assert HTTP.get(f"{url}/ready", headers={"Host": "elsewhere.example"}).status_code == 400
        desk.stop()
        audit.unlink()
