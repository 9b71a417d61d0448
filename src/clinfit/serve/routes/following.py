"""Texts that are sent on while they are written."""

import asyncio
import math
import threading
from collections.abc import AsyncGenerator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from clinfit.data.records import Record
from clinfit.packs.answer import Answer
from clinfit.serve.batcher import Busy, Follow
from clinfit.serve.models import ServedModel
from clinfit.serve.problems import Problem
from clinfit.serve.routes.asking import problem_of
from clinfit.serve.service import Service


@dataclass(frozen=True)
class Piece:
    """What is new of one text. index: of its record. answer: with the last piece, the whole of it."""

    index: int
    text: str
    answer: Answer | None = None


async def pieces(service: Service, model: ServedModel, records: Sequence[Record]) -> AsyncGenerator[Piece]:
    """The texts for the records, piece by piece; those of one record are together the text of its answer.

    Who stops reading ends the work: nothing more is written of what nobody reads. Raises Problem.
    """
    loop, gone = asyncio.get_running_loop(), threading.Event()
    news: asyncio.Queue[tuple[int, str | Future[Answer]]] = asyncio.Queue()

    def tell(index: int, what: "str | Future[Answer]") -> bool:
        """From the thread that asks models."""
        if gone.is_set():
            return False
        loop.call_soon_threadsafe(news.put_nowait, (index, what))
        return True

    def follow(index: int) -> Follow:
        return lambda text: tell(index, text)

    futures: list[Future[Answer]] = []
    try:
        futures = service.batcher.submit(model, records, follow=[follow(index) for index in range(len(records))])
        for index, future in enumerate(futures):
            future.add_done_callback(lambda done, index=index: tell(index, done))
        sent, left = [""] * len(records), len(records)
        while left:
            index, what = await asyncio.wait_for(news.get(), service.settings.seconds)
            answer = None if isinstance(what, str) else what.result()
            text = what if isinstance(what, str) else str(answer and answer.decision)
            new = _new(sent[index], text, last=answer is not None)
            left -= answer is not None
            if new or answer is not None:
                sent[index] += new
                yield Piece(index, new, answer)
    except Busy as busy:
        service.metrics.count("clinfit_refused_total", reason="queue-full")
        raise Problem("queue-full", "", math.ceil(max(1.0, busy.seconds))) from None
    except TimeoutError:
        raise Problem("late", "ask for fewer texts at once, or send a job") from None
    except Exception as error:
        raise problem_of(error) from None
    finally:
        gone.set()
        for future in futures:
            future.cancel()


def _new(sent: str, text: str, *, last: bool) -> str:
    """What has not been sent of a text. A text that is begun again, since its neighbours failed, catches up first."""
    if text.startswith(sent):
        return text[len(sent) :]
    if last or not sent.startswith(text):
        raise Problem("unanswered", "what was sent is not how the text went on: ask without stream")
    return ""
