"""A pack, read and asked.

    pack = load_pack(folder)
    pack.predict("new.csv")             # a table with one row a record
    pack.answer("cancer", records)      # the same answers as plain data
    pack.explain("new.csv", "17")       # why did record 17 get its answer?
    pack.self_test()                    # does it answer here as where it was written?

Every way of asking goes through `Pack.answer`.
"""

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clinfit.data.fields import Extracted
from clinfit.data.load import canonical_records
from clinfit.data.mentions import mentions_in
from clinfit.data.records import NOTHING, Record, holds_nothing
from clinfit.data.seen import as_seen
from clinfit.data.values import SMALL_CELL, shown_ids
from clinfit.errors import ClinfitError
from clinfit.files import followed
from clinfit.models.base import Answerer, Heard, Outputs, TextOutputs
from clinfit.models.families import load_model
from clinfit.packs.answer import Answer, Status, answers_table, fields_table, texts_table, with_errors
from clinfit.packs.content import MODEL, PROBES
from clinfit.packs.decide import Served, ask, decide, label_sets, said
from clinfit.packs.probes import Probes, SelfTest, TaskParity, read_probes, surroundings, text_hashes
from clinfit.packs.tasks import Items, Tasks, read_tasks
from clinfit.packs.texts import notes_on_pieces, notes_on_text, object_of
from clinfit.study.tasks import Extraction, Writing, lexicon_of

if TYPE_CHECKING:
    from clinfit.models.bases.pretrained import Bases
    from clinfit.models.causal import CausalModel
    from clinfit.models.encoder import EncoderModel
    from clinfit.packs.explanation import Explanation, Method, Unit


@dataclass(frozen=True)
class Pack(Tasks):
    """A trained model with its tasks and what becomes of its probabilities, ready to answer.

    probes: for the self-test.
    """

    model: Answerer
    probes: Probes

    @property
    def engine(self) -> str:
        """What computes the answers, as every answer names it."""
        return engine_of(self.model)

    def answer(
        self, task: str, records: Sequence[Record], *, strict: bool = False, heard: Heard | None = None
    ) -> list[Answer]:
        """An answer for each record, in order, as it would be given to the record alone; to one without any value too,
        as explanations ask, where `predict` and the service give none.

        strict: refuse records with values that training has not seen, instead of noting them. heard: of tasks that ask
        for texts, called with the number of a record and a beginning of its text while that is written; where it says
        False, the text ends there. Raises ClinfitError for values that are refused, for a task that the pack does not
        answer, and for records that are not what the task declares.
        """
        served, given = self.served(task), records
        labels, lexicon = served.task.labels, lexicon_of(served.task)
        read = [
            as_seen(record, served.seen, served.task.data.columns) for record in canonical_records(served.task, records)
        ]
        if strict:
            refuse_unseen(read)
        records = [record for record, _ in read]
        outputs = ask(self.model, task, records, heard=heard)
        decisions = said(served, outputs, len(records))
        sets = None if decisions.sets is None else label_sets(labels, decisions.sets)
        counts = [outputs.dropped_tokens, *_counts_of_texts(outputs)]
        counted = [[None if of is None else int(of[i]) for of in counts] for i in range(len(records))]
        engine = self.engine
        objects = [object_of(served.task, text) for text in decisions.decided]
        return [
            Answer(
                task=task,
                id=record.id,
                kind=served.task.kind,
                predicted=decisions.predicted[i],
                decision=decisions.decided[i],
                threshold=served.used_thresholds,
                probabilities=dict(zip(labels, decisions.probabilities[i].tolist(), strict=True)),
                status=_status(bool(decisions.referred[i]), objects[i]),
                notes=(
                    *read[i][1],
                    *notes_on_pieces(outputs, i),
                    *notes_on_text(served.task, record, decisions.decided[i], objects[i]),
                ),
                prediction_set=None if sets is None else sets[i],
                dropped_tokens=counted[i][0],
                pack=self.content.sha256,
                engine=engine,
                finish_reason=None if decisions.finish_reasons is None else decisions.finish_reasons[i],
                extracted=None if (found := objects[i]) is None else found.values,
                mentions=None
                if lexicon is None
                else mentions_in(lexicon, {name: given[i].inputs[name] for name in served.task.text_inputs}),
                pieces=counted[i][1],
                rounds=counted[i][2],
                prompt_tokens=counted[i][3],
                output_tokens=counted[i][4],
            )
            for i, record in enumerate(records)
        ]

    def predict(
        self,
        items: Items,
        task: str | None = None,
        say: Callable[[str], None] = lambda line: None,
        *,
        strict: bool = False,
    ) -> pd.DataFrame:
        """Answers for records, for a table with the task's columns, or for a data file.

        task: may be left out where the pack answers one. Returns one row an item, in order: id, p_<label> for each
        label (recalibrated, where the study recalibrates), predicted: the most probable label, decision: the label
        under the threshold of the evaluation, that threshold, status: `ok`, `refer` when the item is for a person to
        decide, or `error` when it has no value at all, and then no answer, notes: which of its values training has not
        seen, or why there is no answer. Several labels of one item are joined by `|`. Where referral is by sets of
        labels, `prediction_set` holds the labels of the set. Of generation: id, text, finish_reason, status, notes,
        dropped_tokens; of extraction also the fields (`fields_table`). say: told of how many records the model did not
        see all text, or have no value. strict: refuse records with notes or no value.
        """
        name = self.named(task)
        served = self.served(name)
        records = self.records(name, items)
        empty = without_value(canonical_records(served.task, records), strict=strict)
        asked = [record for at, record in enumerate(records) if at not in empty]
        answers = self.answer(name, asked, strict=strict) if asked else []
        return answered_table(served, answers, say, empty)

    def explain(
        self,
        items: Record | Items,
        id: str | None = None,
        task: str | None = None,
        *,
        label: str | None = None,
        unit: "Unit | None" = None,
        method: "Method" = "occlusion",
        rationale: int = 0,
    ) -> "Explanation":
        """Why one record got its answer: what its probability becomes when a value or a span is taken away, or by
        `method="gradient"` what the model looked at in the texts.

        items: the record, or whatever holds it. id: which of them; may be left out where there is one. label, unit: see
        packs/explain.py; gradient: packs/gradient.py. rationale: tokens in which a causal model may also write why
        (packs/rationale.py), unverified. An explanation of the model, not of the disease.
        """
        from clinfit.packs.explain import explain  # most who read a pack want its answers alone
        from clinfit.packs.rationale import rationale_of

        name = self.named(task)
        served = self.served(name)
        if isinstance(served.task, Writing):
            raise ClinfitError(
                f"task {name} is answered with a text, which has no probability that could be explained",
                expected="a task with labels",
            )
        given = [items] if isinstance(items, Record) else self.records(name, items)
        (record,) = canonical_records(served.task, [_one_of(given, id)])
        if holds_nothing(record):
            raise ClinfitError(f"record {record.id}: {NOTHING}", expected="a value of at least one input")
        ask = partial(self.answer, name)
        (answer,) = ask([record])
        written = rationale_of(self.model, answer, served, record, rationale) if rationale else None
        if method == "gradient":
            from clinfit.packs.gradient import explain_by_gradient

            explained = explain_by_gradient(self.model, ask, answer, served, record, label, unit)
        else:
            explained = explain(ask, answer, served, record, label, unit)
        return replace(explained, rationale=written)

    def self_test(self) -> SelfTest:
        """Ask the probes again and compare with the answers that the pack carries.

        Where everything is as it was when the pack was written, not one bit may change; elsewhere a probability may
        change by what the pack declares.
        """
        same = surroundings(self.model.spec.neural) == self.probes.made_on
        tasks = {name: self.parity(name) for name in self.tasks}
        return SelfTest(tasks, same, 0.0 if same else self.content.tolerance)

    def parity(self, name: str) -> TaskParity:
        """How the task's probes are answered here, beside the answers that the pack carries."""
        records, served = self.probes.records[name], self.tasks[name]
        if isinstance(texts := self.probes.references[name], list):
            here = text_hashes(self.model, name, records)
            return TaskParity(len(records), None, sum(one != other for one, other in zip(here, texts, strict=True)))
        reference, answers = decide(served, texts), self.answer(name, records)
        probabilities = np.array([list(answer.probabilities.values()) for answer in answers])
        flipped = sum(
            answer.decision != decided or (answer.status == "refer") != referred
            for answer, decided, referred in zip(answers, reference.decided, reference.referred, strict=True)
        )
        change = np.abs(probabilities - reference.probabilities).max(initial=0.0)
        return TaskParity(len(records), float(change), int(flipped))


def without_value(records: Sequence[Record], *, strict: bool) -> dict[int, str]:
    """Place -> id of the records that hold nothing, which have no answer. records: as they are read. strict: raise
    ClinfitError where there are any."""
    empty = {at: record.id for at, record in enumerate(records) if holds_nothing(record)}
    if empty and strict:
        raise ClinfitError(
            f"{_no_value(empty, len(records))}: {shown_ids([*empty.values()])}",
            expected="a value of at least one input in every record",
            fix="fill these records in or take them out, or answer without --strict: their status is then `error`",
        )
    return empty


def _no_value(empty: Mapping[int, str], n: int) -> str:
    return f"{len(empty)} of {n} records {'has' if len(empty) == 1 else 'have'} no value at all"


def answered_table(
    served: Served, answers: Sequence[Answer], say: Callable[[str], None], empty: Mapping[int, str]
) -> pd.DataFrame:
    """Answers to a task as `Pack.predict` gives them. empty: of `without_value`."""
    if empty:
        n = len(answers) + len(empty)
        say(f"{_no_value(empty, n)}, and no answer (status error): {shown_ids([*empty.values()])}")
    return with_errors(_table_of(served, answers, say), {at: (name, NOTHING) for at, name in empty.items()})


def _table_of(served: Served, answers: Sequence[Answer], say: Callable[[str], None]) -> pd.DataFrame:
    if cut := sum(bool(answer.dropped_tokens) for answer in answers):
        say(f"{cut} of {len(answers)} records were longer than the model reads and were shortened")
    if isinstance(served.task, Writing):
        if open_ended := sum(answer.finish_reason == "length" for answer in answers):
            say(f"{open_ended} of {len(answers)} texts ended at the limit of {served.task.max_new_tokens} tokens")
        if isinstance(served.task, Extraction):
            if invalid := sum(answer.status == "invalid" for answer in answers):
                say(f"{invalid} of {len(answers)} answers are no object of the declared fields (status invalid)")
            return fields_table(answers, list(served.task.fields))
        return texts_table(answers)
    return answers_table(answers, served.task.labels, sets=served.has_sets)


def _counts_of_texts(outputs: Outputs) -> list[NDArray[np.int64] | None]:
    """Pieces, rounds, tokens of the prompts and of the texts; a rule, which has no prompt, has no tokens either."""
    if not isinstance(outputs, TextOutputs):
        return [None] * 4
    tokens = None if outputs.prompt_tokens is None else outputs.tokens
    return [outputs.pieces, outputs.rounds, outputs.prompt_tokens, tokens]


def _status(referred: bool, found: Extracted | None) -> Status:
    if found is not None and found.values is None:
        return "invalid"
    return "refer" if referred else "ok"


def _one_of(records: Sequence[Record], id: str | None) -> Record:
    """The record of this id, or the only one; raises ClinfitError where there is none."""
    found = [record for record in records if id in (None, record.id)]
    if len(found) == 1:
        return found[0]
    if id is None:
        raise ClinfitError(f"one record is explained, and there are {len(records)}", fix="name one by its id")
    raise ClinfitError(
        f"{len(found) or 'none'} of the {len(records)} records has the id {id!r}",
        expected="an id of the file; row numbers from 1, where it has no id column",
    )


def refuse_unseen(read: Sequence[tuple[Record, list[str]]]) -> None:
    """Raise ClinfitError where records have notes (`as_seen`); it counts them and names the inputs, but no values."""
    if noted := [(record, notes) for record, notes in read if notes]:
        inputs = Counter(note.partition(":")[0] for _, notes in noted for note in notes)
        counts = ", ".join(f"{name} ({count} x)" for name, count in inputs.most_common())
        raise ClinfitError(
            f"{len(noted)} of {len(read)} records hold values that no training record has, or fewer than {SMALL_CELL}, "
            f"in {counts}: " + shown_ids([record.id for record, _ in noted]),
            expected="categories and numbers like those that the model learned from",
            fix="correct these records, or answer without --strict and read the column `notes`",
        )


def load_pack(folder: Path | str, bases: "Bases | None" = None) -> Pack:
    """The pack in a folder; raises ClinfitError when it is no pack or not as it was written.

    bases: pretrained bases in memory; packs that are given the same hold one copy of a base that they have in common.
    None: the pack loads its own.

    Nothing is fetched from the hub unless HF_HUB_OFFLINE=0 is set before transformers is imported.
    """
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    folder = followed(Path(folder))
    tasks = read_tasks(folder)
    return pack_of(folder, tasks, load_model(tasks.content.model.family, folder / MODEL, bases))


def pack_of(folder: Path, tasks: Tasks, model: Answerer) -> Pack:
    """The pack in a folder, with what computes its answers."""
    return Pack(tasks.content, tasks.tasks, model, read_probes(folder / PROBES))


def engine_of(model: Answerer) -> str:
    """What computes a model's answers on this machine."""
    if not model.spec.neural:
        return {"baseline": "rules", "classical": "scikit-learn"}[model.spec.family]
    return cast("CausalModel | EncoderModel", model).engine
