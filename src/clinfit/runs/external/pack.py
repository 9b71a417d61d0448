"""External validation: a pack on new records with known answers, to metrics and report.

    clinfit evaluate PACK --data new-site.csv

Nothing is chosen on the records: probabilities are recalibrated, and answers decided, as the pack does it. What may be
chosen on them next, by a command of its own, is in recalibrate.py.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import TypeAdapter

from clinfit.data.records import Record, Value, holds_nothing
from clinfit.data.seen import Seen, SeenCategories, SeenNumbers, as_seen
from clinfit.data.values import SMALL_CELL
from clinfit.errors import ClinfitError
from clinfit.evaluation.decisions.thresholds import ThresholdChoice
from clinfit.evaluation.evaluate import evaluate
from clinfit.evaluation.external_results import CaseMixRow
from clinfit.evaluation.facts import ExternalFacts, Facts
from clinfit.evaluation.results import Results
from clinfit.files import hash_file
from clinfit.models.base import LabelOutputs, TextOutputs, Writer
from clinfit.packs.answer import Answer
from clinfit.packs.decide import Served
from clinfit.packs.read import Pack, load_pack
from clinfit.predictions import Source, answer_text, predictions_table
from clinfit.report.inputs import ReportInputs
from clinfit.runs.external.offer import offered, recalibrate_command
from clinfit.runs.finish import write_outcome
from clinfit.runs.folder import RunFolder
from clinfit.runs.steps.environment import describe_environment
from clinfit.runs.steps.item_scores import score_table, with_scores
from clinfit.study.data import InputColumn
from clinfit.study.evaluation import SETTINGS, Evaluation, Threshold, primaries
from clinfit.study.models import ModelSpec
from clinfit.study.schema import Study
from clinfit.study.tasks import Writing


def evaluate_pack(
    folder: Path, source: Path, out: Path, *, task: str | None = None, command: str = "", files: bool = False
) -> Results:
    """Ask a pack about the records of a file that have an answer, and write the whole report of them to `out`.

    task: may be left out where the pack answers one. command: how to repeat it. files: figures and tables as files too.
    Raises ClinfitError for a pack, a file or a task that is none, and where no record has an answer.
    """
    if RunFolder(out).study.is_file():
        raise ClinfitError(f"{out} is a run folder, and its own report would be lost", fix="give another --out")
    pack = load_pack(folder)
    name = pack.named(task)
    served = pack.served(name)
    found = labelled_records(pack, name, source)
    labelled, answers = found.records, pack.answer(name, found.records)
    study = _study(pack, name, served, source.name)
    external = _external(pack, name, served, found, answers)
    if (method := offered(served, pack.model.spec.family, labelled)) is not None:
        external["recalibrate"] = recalibrate_command(folder, source, name if len(pack.tasks) > 1 else None, method)
    facts = Facts(external={name: external})
    results = evaluate(study, predictions_of(pack, name, labelled, answers), facts)
    described = {"source": str(source), "fingerprint": hash_file(source)}
    environment = describe_environment(neural=pack.model.spec.neural)
    inputs = ReportInputs(
        results=results, study=study, data={name: described}, environment=environment, command=command
    )
    write_outcome(out, inputs, files=files)
    return results


class Labelled(NamedTuple):
    """The records of a file that have an answer and hold a value, to which the pack gives its own; how many have no
    answer, and how many one and no value at all."""

    records: list[Record]
    unlabelled: int
    empty: int


def labelled_records(pack: Pack, name: str, source: Path) -> Labelled:
    """Raises ClinfitError where no record has an answer and a value."""
    records = pack.records(name, source)
    known = [record for record in records if record.target is not None]
    found = [record for record in known if not holds_nothing(record)]
    if not found:
        beside = " and a value beside it" if known else ""
        raise ClinfitError(
            f"none of the {len(records)} records of {source} has an answer of task {name}{beside}",
            expected=f"answers in {', '.join(pack.tasks[name].task.data.label_columns)}, written as in training",
            fix="add the answers; without any, `clinfit predict` gives the pack's own",
        )
    return Labelled(found, len(records) - len(known), len(known) - len(found))


def _as_answered(served: Served, records: Sequence[Record]) -> list[Record]:
    """The records as the pack reads them: a category in another case is the one that training has seen."""
    return [as_seen(record, served.seen, served.task.data.columns)[0] for record in records]


def _study(pack: Pack, name: str, served: Served, source: str) -> Study:
    """A study that says no more than the pack does: one task, one model, and the pack's own decision."""
    content = pack.content
    spec: Any = TypeAdapter(ModelSpec).validate_python(content.model.spec)
    model = spec.model_copy(update={"tasks": [name], "stages": None, "seeds": [content.model.seed], "refit": False})
    task = served.task
    made = served.thresholds.get("", ThresholdChoice())
    fixed = Threshold(rule="fixed", value=made.value, weights=made.weights) if made.moved else Threshold()
    primary: Any = getattr(task.evaluation, "primary", None) or primaries(task.kind)[0]
    new = {"path": source, "synthetic": False}  # these records are others than those of the study
    asked = task.model_copy(update={"evaluation": None, "data": task.data.model_copy(update=new)})
    return Study(
        name=f"{content.study.name}-external",
        description=f"External validation of {content.run} of the study {content.study.name} on {source}",
        tasks={name: asked},
        models=[model],
        evaluation=Evaluation(threshold=fixed, primary=primary),
    )


def predictions_of(pack: Pack, name: str, records: Sequence[Record], answers: Sequence[Answer]) -> pd.DataFrame:
    """The pack's answers as predictions: recalibrated probabilities and what it decided, or texts with their scores."""
    content, task = pack.content, pack.tasks[name].task
    records = _as_answered(pack.tasks[name], records)
    source = Source(content.run, content.model.spec["name"], content.model.seed, content.model.stage)
    dropped = _counts([answer.dropped_tokens for answer in answers])
    if isinstance(task, Writing):
        texts = predictions_table(source, name, task, "test", records, _texts(pack, name, records, answers, dropped))
        unknown = pd.array([None] * len(texts), dtype="Int64")
        return with_scores(
            texts.assign(seconds=np.nan, output_tokens=unknown),
            score_table(task, SETTINGS[task.kind](), records, texts),
        )
    outputs = LabelOutputs(
        probabilities=np.array([list(answer.probabilities.values()) for answer in answers], dtype=np.float64),
        seconds=np.zeros(len(answers)),
        dropped_tokens=dropped,
    )
    table = predictions_table(source, name, task, "test", records, outputs)
    return table.assign(predicted=[answer_text(answer.decision) for answer in answers], seconds=np.nan)


def _texts(
    pack: Pack, name: str, records: Sequence[Record], answers: Sequence[Answer], dropped: NDArray[np.int64] | None
) -> TextOutputs:
    """What the pack wrote, and how likely its model finds the references where it is a language model."""
    tokens = np.zeros(len(answers), dtype=np.int64)
    return TextOutputs(
        texts=[str(answer.decision) for answer in answers],
        finish_reasons=[answer.finish_reason or "stop" for answer in answers],
        tokens=tokens,
        seconds=np.zeros(len(answers)),
        dropped_tokens=dropped,
        pieces=_counts([answer.pieces for answer in answers]),
        rounds=_counts([answer.rounds for answer in answers]),
        losses=cast(Writer, pack.model).likelihood(name, records) if pack.model.spec.neural else None,
    )


def _counts(each: Sequence[int | None]) -> NDArray[np.int64] | None:
    """A count of each answer; None where it is not known of all."""
    known = [count for count in each if count is not None]
    return np.array(known, dtype=np.int64) if len(known) == len(each) else None


def _external(
    pack: Pack,
    name: str,
    served: Served,
    labelled: Labelled,
    answers: Sequence[Answer],
) -> ExternalFacts:
    content = pack.content
    entry = content.answered[name]
    return ExternalFacts(
        pack=content.sha256,
        study=content.study.name,
        run=content.run,
        system=f"{content.model.spec['name']}-seed{content.model.seed}",
        records=len(labelled.records),
        unlabelled=labelled.unlabelled,
        empty=labelled.empty,
        unseen=sum(bool(as_seen(record, served.seen, served.task.data.columns)[1]) for record in labelled.records),
        referred=sum(answer.status == "refer" for answer in answers),
        before=entry.n,
        cross_validation=entry.cross_validation,
        recalibrated=entry.recalibrated,
        recalibrate=None,
        metrics=entry.metrics,
        thresholds={label: choice.as_dict() for label, choice in served.thresholds.items() if label},
        case_mix=case_mix(served.seen, served.task.data.columns, labelled.records),
    )


# ---------------------------------------------------------------- case mix


def case_mix(seen: Seen, columns: Mapping[str, InputColumn], records: Sequence[Record]) -> list[CaseMixRow]:
    """What training has seen of each input beside what these records hold; no value that fewer than SMALL_CELL of them
    have is named."""
    rows = []
    for name, known in seen.items():
        read = [as_seen(record, {name: known}, {name: columns[name]}) for record in records]
        values = [value for record, _ in read if (value := record.inputs[name]) is not None]
        here = _numbers(values) if isinstance(known, SeenNumbers) else _categories(values)
        missing = len(records) - len(values)
        here += f"; missing in {missing}" if missing else ""
        outside = sum(
            _is_other(record.inputs[name], seen_as.inputs[name], known)
            for record, (seen_as, _) in zip(records, read, strict=True)
        )
        rows.append(CaseMixRow(name=name, train=_known(known), here=here, outside=outside, n=len(records)))
    return rows


def _is_other(value: Value, read: Value, known: SeenNumbers | SeenCategories) -> bool:
    """Whether training has surely not seen such a value; not of a category in another case, nor of an impossible
    number, which is missing. Where training holds categories too rare for a pack to name, any other may be one."""
    if isinstance(known, SeenNumbers):
        return isinstance(read, float) and not known.low <= read <= known.high
    return not known.rare and value is not None and read not in known.values


def _known(known: SeenNumbers | SeenCategories) -> str:
    if isinstance(known, SeenNumbers):
        return f"median {known.typical:g}, within {known.low:g} to {known.high:g}"
    return f"mostly {known.typical}; {', '.join(known.values)}" + (" and rarer ones" if known.rare else "")


def _numbers(values: Sequence[Any]) -> str:
    if len(values) < SMALL_CELL:
        return "too few values"
    low, middle, high = np.quantile(np.array(values, dtype=np.float64), [0.25, 0.5, 0.75])
    return f"median {middle:.4g}, quartiles {low:.4g} to {high:.4g}"


def _categories(values: Sequence[Any]) -> str:
    counts = pd.Series([str(value) for value in values], dtype=object).value_counts()
    common = [f"{name} {share / len(values):.0%}" for name, share in counts.items() if share >= SMALL_CELL]
    return ", ".join(common) or "no category of enough records"
