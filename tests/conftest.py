"""What the tests of the engine share; the bases themselves are in two_layer.py."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"
# Side by side, a process has its share of the cores: two threads on one core are many times slower than one. A worker
# inherits what was set here for the process that started it, so the value is set again and not kept.
os.environ["OMP_NUM_THREADS"] = str(
    max(1, min(2, (os.cpu_count() or 1) // int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))))
)

import pytest
import torch
from hypothesis import settings

from clinfit.data.records import Record
from clinfit.study.data import Data
from clinfit.study.tasks import Classification, Task
from small_study import CANARY, write_study
from two_layer import SENTENCES, llama_base, train_tokenizer

# How long an example takes is the business of whoever else uses the machine.
settings.register_profile("clinfit", deadline=None)
settings.load_profile("clinfit")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Side by side, files with slow tests come first: begun last, one would keep a process while the others wait."""
    if hasattr(config, "workerinput"):
        slow = {item.path for item in items if item.get_closest_marker("slow") is not None}
        items.sort(key=lambda item: item.path not in slow)


class FailuresAtOnce:
    """A failure is told when it happens, not at the end of all: a suite that is stopped has said what failed."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        terminal = self.config.pluginmanager.get_plugin("terminalreporter")
        if report.failed and terminal is not None:
            terminal.write_line(f"\n{report.nodeid} ({report.when}, {report.duration:.0f} s)\n{report.longreprtext}")


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(FailuresAtOnce(config))


@pytest.fixture(scope="session", autouse=True)
def _hears_ctrl_c() -> None:
    """Tests press Ctrl-C. A suite in the background was started deaf to it, and what it starts would be deaf too."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def _threads() -> None:
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))


@pytest.fixture(scope="session")
def tokenizer() -> Any:
    return train_tokenizer()


@pytest.fixture(scope="session")
def tiny_base() -> Path:
    return llama_base()


@pytest.fixture(scope="session")
def text_task() -> Task:
    return Classification(
        labels=["Non-Cancer", "Cancer"],
        data=Data(path="unused.csv", inputs={"title": "title", "abstract": "abstract"}),
        prompt="Is this abstract about cancer? Answer with {{ labels }}.\n\n"
        "Title: {{ title }}\nAbstract: {{ abstract }}",
    )


@pytest.fixture(scope="session")
def text_records(text_task: Task) -> list[Record]:
    """24 labelled records of different lengths; the first sentence means Cancer."""
    return [
        Record(
            id=f"r{i}",
            group=f"r{i}",
            inputs={
                "title": None if i % 5 == 0 else f"Study {i}",
                "abstract": " ".join([SENTENCES[i % 2]] * (1 + i % 4)),
            },
            target=text_task.labels[1 - i % 2],
        )
        for i in range(24)
    ]


@pytest.fixture
def make_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Writes the small study; runs go to `runs` below the temporary folder."""
    monkeypatch.chdir(tmp_path)
    return lambda **changes: write_study(tmp_path / "study", **changes)


@pytest.fixture
def canary() -> str:
    """A word that every text of the small study holds."""
    return CANARY


@pytest.fixture(scope="session")
def write_small_study() -> Callable[..., Path]:
    """Writes the small study to a given folder, for runs that several tests share."""
    return write_study
