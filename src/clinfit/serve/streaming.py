"""Records that others write to a Redis Stream, answered as they come (`clinfit worker --input-stream`).

An entry has the field `text`, or `inputs` with a JSON object, and may have `id`. Its answer is an entry of the output:
`answer_id`, the same whenever this entry is answered by this pack; `entry` and `id`; `model` and `pack`; `result`, what
/v1/classify or /v1/write says of the record, as JSON. What cannot be answered goes to the stream of dead letters with
`entry`, `code` and `reason`, without anything of the record. An entry whose worker fell silent is tried again, alone,
and given up when it has been begun `tries` times.
"""

import json
import logging
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import CancelledError, Future
from functools import partial

from clinfit.data.records import Record
from clinfit.errors import ClinfitError
from clinfit.packs.answer import Answer
from clinfit.runs.steps.failures import failure_of
from clinfit.serve.batcher import Batcher, Busy
from clinfit.serve.kinds import kind_of
from clinfit.serve.models import ServedModel
from clinfit.serve.problems import Problem
from clinfit.serve.records import LONGEST_ID, Item, inputs_of, record_of
from clinfit.serve.settings import Settings
from clinfit.serve.stores.streams import Entry, RedisStream
from clinfit.serve.worker import SILENT, Stopped, Working, renewed

log = logging.getLogger("clinfit.serve")

FIELDS = "an entry has the field text, or inputs with a JSON object, and may have id"


class StreamWorker(Working):
    """Answers the entries of one stream by one model."""

    def __init__(self, stream: RedisStream, model: ServedModel, batcher: Batcher, settings: Settings) -> None:
        """Raises StoreDown where Redis cannot be reached."""
        super().__init__("clinfit-stream")
        self._stream, self._model, self._batcher, self._settings = stream, model, batcher, settings
        stream.begin()
        self._thread.start()

    def _once(self) -> bool:
        entries = self._stream.take(self._settings.chunk, self._settings.lease)
        if entries:
            with renewed(partial(self._stream.renew, entries), self._settings.lease) as lost:
                self._work(entries, lost)
        return True  # an empty stream has been waited at

    def _work(self, entries: Sequence[Entry], lost: threading.Event) -> None:
        asked: list[tuple[Entry, Record]] = []
        for entry in entries:
            if entry.tries > self._settings.tries:
                self._bury(entry, Problem("unanswered", SILENT))
                continue
            try:
                asked.append((entry, record_in(entry, self._model, self._settings)))
            except Problem as problem:
                self._bury(entry, problem)
        try:
            futures = self._batcher.submit(self._model, [record for _, record in asked], "job")
            self._wait_for(futures, lost)
            for (entry, _), future in zip(asked, futures, strict=True):
                self._tell(entry, future)
        except (Stopped, Busy, CancelledError):
            self._stream.release([entry for entry, _ in asked])  # those that were answered are not ours any more

    def _tell(self, entry: Entry, future: "Future[Answer]") -> None:
        """Write one answer, or why there is none. What failed for no fault of the record keeps its lease, and is tried
        again when that has run out."""
        try:
            fields = answer_fields(entry, self._model, future.result())
        except CancelledError:
            raise
        except ClinfitError:
            self._bury(entry, Problem("invalid-record", "the record is not what the task asks for"))
        except Exception as error:
            reason = failure_of(error).reason
            log.error("entry %s, try %d: %s", entry.id, entry.tries, reason)
            if entry.tries >= self._settings.tries:
                self._bury(entry, Problem("unanswered", reason))
        else:
            self._surely(partial(self._stream.answer, entry, fields))

    def _bury(self, entry: Entry, problem: Problem) -> None:
        log.error("entry %s is given up: %s", entry.id, problem.code)
        fields = {
            "entry": entry.id,
            "code": problem.code,
            "reason": problem.detail,
            "model": self._model.name,
            "pack": self._model.sha256,
        }
        self._surely(partial(self._stream.bury, entry, fields))


def record_in(entry: Entry, model: ServedModel, settings: Settings) -> Record:
    """The record of an entry; raises Problem."""
    fields = entry.fields
    if fields is None:
        raise Problem("invalid-record", "the entry is no text in UTF-8")
    name = given if (given := fields.get("id", "")).strip() else entry.id
    if len(name) > LONGEST_ID:
        raise Problem("invalid-record", f"the id has more than {LONGEST_ID} characters")
    return record_of(model.task_name, model.task, _item(fields), name, settings)


def _item(fields: Mapping[str, str]) -> Item:
    names = fields.keys() - {"id"}
    if names == {"text"}:
        return fields["text"]
    if names == {"inputs"} and (inputs := inputs_of(fields["inputs"])) is not None:
        return {"inputs": inputs}
    raise Problem("invalid-record", FIELDS)


def answer_fields(entry: Entry, model: ServedModel, answer: Answer) -> dict[str, str]:
    """An answer as an entry of the output."""
    result = {"id": answer.id, **kind_of(model).view(model, answer)}
    return {
        "answer_id": f"{entry.id}/{model.queue}",
        "entry": entry.id,
        "id": answer.id,
        "model": model.name,
        "pack": model.sha256,
        "result": json.dumps(result, ensure_ascii=False),
    }
