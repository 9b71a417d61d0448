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
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import pandas as pd

from clinfit.data.fields import Extracted
from clinfit.data.load import canonical_records, inputs_from_rows, read_inputs
from clinfit.data.mentions import mentions_in
from clinfit.data.records import Record
from clinfit.data.seen import as_seen
from clinfit.data.values import shown_ids
from clinfit.errors import ClinfitError, nearest
from clinfit.files import followed
from clinfit.models.base import Model, TextOutputs
from clinfit.models.families import load_model
from clinfit.packs.answer import Answer, Status, answers_table, fields_table, texts_table
from clinfit.packs.content import MODEL, PROBES, Content, read_content
from clinfit.packs.decide import Served, ask, decide, label_sets, said
from clinfit.packs.explain import Explanation, Unit, explain
from clinfit.packs.probes import Probes, SelfTest, TaskParity, probe_texts, read_probes, surroundings
from clinfit.packs.texts import notes_on_pieces, notes_on_text, object_of
from clinfit.study.tasks import Extraction, Writing, lexicon_of

if TYPE_CHECKING:
    from clinfit.models.bases.pretrained import Bases
    from clinfit.models.causal import CausalModel
    from clinfit.models.encoder import EncoderModel

#: What may be asked: records, a table with the task's columns, or a data file.
Items = Sequence[Record] | pd.DataFrame | Path | str


@dataclass(frozen=True)
class Pack:
    """A trained model with its tasks and what becomes of its probabilities, ready to answer.

    tasks: those that it answers, by name, in the order of the study. probes: for the self-test.
    """

    content: Content
    model: Model
    tasks: Mapping[str, Served]
    probes: Probes

    @property
    def engine(self) -> str:
        """What computes the answers, as every answer names it."""
        return engine_of(self.model)

    def answer(self, task: str, records: Sequence[Record], *, strict: bool = False) -> list[Answer]:
        """An answer for each record, in order, as it would be given to the record alone.

        strict: refuse records with values that training has not seen, instead of noting them. Raises ClinfitError for
        these, for a task that the pack does not answer, and for records that are not what the task declares.
        """
        served, given = self._served(task), records
        labels, lexicon = served.task.labels, lexicon_of(served.task)
        read = [as_seen(record, served.seen) for record in canonical_records(served.task, records)]
        if strict:
            _refuse_unseen([(record, notes) for record, notes in read if notes], len(read))
        records = [record for record, _ in read]
        outputs = ask(self.model, task, records)
        decisions = said(served, outputs, len(records))
        sets = None if decisions.sets is None else label_sets(labels, decisions.sets)
        rounds = (outputs.pieces, outputs.rounds) if isinstance(outputs, TextOutputs) else (None, None)
        counts = [outputs.dropped_tokens, *rounds]
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
        under the threshold of the evaluation, that threshold, status: `ok`, or `refer` when the item is for a person to
        decide, notes: which of its values training has not seen. Several labels of one item are joined by
        `|`. Where referral is by sets of labels, `prediction_set` holds the labels of the set. Of generation: id, text,
        finish_reason, status, notes, dropped_tokens; of extraction also the fields (`fields_table`). say: told of how
        many records the model did not see all text. strict: refuse records with notes.
        """
        name = self._only_task() if task is None else task
        served = self._served(name)
        answers = self.answer(name, self.records(name, items), strict=strict)
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

    def explain(
        self,
        items: Record | Items,
        id: str | None = None,
        task: str | None = None,
        *,
        label: str | None = None,
        unit: Unit | None = None,
    ) -> Explanation:
        """Why one record got its answer: what its probability becomes when a value or a span is taken away.

        items: the record, or whatever holds it. id: which of them; may be left out where there is one. label, unit: see
        packs/explain.py. An explanation of the model, not of the disease.
        """
        name = self._only_task() if task is None else task
        served = self._served(name)
        if isinstance(served.task, Writing):
            raise ClinfitError(
                f"task {name} is answered with a text, which has no probability that could be explained",
                expected="a task with labels",
            )
        given = [items] if isinstance(items, Record) else self.records(name, items)
        (record,) = canonical_records(served.task, [_one_of(given, id)])
        return explain(partial(self.answer, name), served, record, label, unit)

    def records(self, task: str, items: Items) -> Sequence[Record]:
        """The records of a task in whatever holds them: a table with the task's columns, a data file, or records."""
        if isinstance(items, pd.DataFrame):
            return inputs_from_rows(task, self._served(task).task, items)
        if not isinstance(items, str | Path):
            return items
        if not Path(items).exists():
            raise ClinfitError(f"there is no file {items} to predict")
        return read_inputs(task, self._served(task).task, Path(items))

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
            written = probe_texts(self.model, name, records)
            return TaskParity(len(records), None, sum(one != other for one, other in zip(written, texts, strict=True)))
        reference, answers = decide(served, texts), self.answer(name, records)
        probabilities = np.array([list(answer.probabilities.values()) for answer in answers])
        flipped = sum(
            answer.decision != decided or (answer.status == "refer") != referred
            for answer, decided, referred in zip(answers, reference.decided, reference.referred, strict=True)
        )
        change = float(np.abs(probabilities - reference.probabilities).max())
        return TaskParity(len(records), change, int(flipped))

    def _served(self, task: str) -> Served:
        if task in self.tasks:
            return self.tasks[task]
        if task in self.content.withheld:
            raise ClinfitError(
                f"the pack does not answer task {task!r}, as its numbers are withheld: {self.content.withheld[task]}",
                expected=f"one of {', '.join(self.tasks)}",
                fix="see the task's findings in the report of the study, and put the cause right",
            )
        near = nearest(task, self.tasks)
        raise ClinfitError(
            f"the pack has no task {task!r}",
            expected=f"one of {', '.join(self.tasks)}",
            fix=f"did you mean {near}?" if near else "",
        )

    def _only_task(self) -> str:
        if len(self.tasks) == 1:
            return next(iter(self.tasks))
        raise ClinfitError(
            f"the pack answers {len(self.tasks)} tasks, and none is named",
            expected=f"one of {', '.join(self.tasks)}",
            fix=f"name it: --task {next(iter(self.tasks))}",
        )


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


def _refuse_unseen(noted: Sequence[tuple[Record, list[str]]], total: int) -> None:
    """Raise ClinfitError that counts the records and names the inputs, but no values."""
    if noted:
        inputs = Counter(note.partition(":")[0] for _, notes in noted for note in notes)
        counts = ", ".join(f"{name} ({count} x)" for name, count in inputs.most_common())
        raise ClinfitError(
            f"{len(noted)} of {total} records hold values that training has not seen, in {counts}: "
            + shown_ids([record.id for record, _ in noted]),
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
    content = read_content(folder)
    return Pack(
        content,
        load_model(content.model.family, folder / MODEL, bases),
        {name: Served.from_entry(entry) for name, entry in content.answered.items()},
        read_probes(folder / PROBES),
    )


def engine_of(model: Model) -> str:
    """What computes a model's answers on this machine."""
    if not model.spec.neural:
        return {"baseline": "rules", "classical": "scikit-learn"}[model.spec.family]
    return cast("CausalModel | EncoderModel", model).engine
