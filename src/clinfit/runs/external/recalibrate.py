"""A pack, recalibrated on records of another place, as a new pack: `clinfit recalibrate PACK --data FILE`.

The model stays what it is. Fitted are a map of its probabilities, behind the maps that the pack has already, and, where
the pack's threshold was chosen, another one by the same rule. The figures of the new pack are cross-fitted: each record
is judged by a map and a threshold from the other records.
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import clinfit
from clinfit.data.records import Record, labels_in
from clinfit.data.splits import assign_folds
from clinfit.errors import ClinfitError
from clinfit.evaluation.answers import LabelAnswers
from clinfit.evaluation.decisions.referral import choose_referral
from clinfit.evaluation.measure import resamples_of
from clinfit.evaluation.metrics.definitions import METRICS as DEFINITIONS
from clinfit.evaluation.metrics.engines import ENGINES
from clinfit.evaluation.metrics.metric import Metric
from clinfit.evaluation.results import FORMAT, Results
from clinfit.evaluation.systems import System, find_systems
from clinfit.files import followed, hash_file, hash_files, hash_folder, new_folder, write_json, write_text
from clinfit.packs.answer import Answer
from clinfit.packs.content import CARD, CONTENT, MODEL, PROBES, Content, TaskEntry, Update, read_content, seal
from clinfit.packs.decide import Served, thresholds_of
from clinfit.packs.read import Pack, load_pack
from clinfit.report.card import model_card
from clinfit.report.kinds import KINDS as SHOWN
from clinfit.runs.external.decided_elsewhere import KINDS, decided_elsewhere
from clinfit.runs.external.offer import METHODS, Name, methods_for, rarer
from clinfit.runs.external.pack import labelled_records, predictions_of
from clinfit.study.data import SplitRule
from clinfit.study.evaluation import Evaluation, Refer, TaskEvaluation

#: Of the cross-fitting.
FOLDS = 5
#: Records of the rarer answer below which map and threshold are told to be uncertain.
FEW = 100
#: Behind the name of the run.
SUFFIX = "-recalibrated"
#: What a referral by sets promises less here.
CAUTION = "the cut was sought on the records that the recalibration was fitted on, cross-fitted"


@dataclass(frozen=True)
class Recalibrated:
    """A new pack. lines: what it is, and the figures before and after, in words."""

    content: Content
    lines: list[str]


def recalibrate_pack(
    folder: Path,
    source: Path,
    out: Path,
    *,
    task: str | None = None,
    method: Name | None = None,
    keep_threshold: bool = False,
) -> Recalibrated:
    """Write the recalibrated pack to `out`, a new folder.

    task: may be left out where the pack answers one; the others stay as they are. method: default intercept and slope,
    of more than two labels a temperature. keep_threshold: leave a threshold that was chosen where it is.

    Raises ClinfitError, and writes nothing, for a pack, a file or a task that is none, for tasks and models without
    probabilities of one label out of several, and where the records with an answer are too few.
    """
    folder = followed(folder)
    _check_place(out, folder)
    pack = load_pack(folder)
    name = pack.named(task)
    served = pack.served(name)
    method = _method(pack, name, method)
    settings = KINDS[served.task.kind].settings(pack.content.answered[name], served, method, keep_threshold)
    labelled, _, empty = labelled_records(pack, name, source)
    _check_enough(served, labelled, method)
    answers = pack.answer(name, labelled)
    entry, lines = _entry(pack, name, _Asked(method, settings, hash_file(source)), labelled, answers)
    if empty:
        lines.append(f"{empty} records have no value at all, to which the pack gives no answer, and were left out")
    return Recalibrated(_write(pack, folder, out, name, entry), lines)


# ---------------------------------------------------------------- what is asked


@dataclass(frozen=True)
class _Asked:
    """data: SHA-256 of the file with the records."""

    method: Name
    settings: TaskEvaluation
    data: str


def _check_place(out: Path, folder: Path) -> None:
    if out.exists():
        raise ClinfitError(f"{out} is there already", fix="name another folder with --output, or remove it")
    if out.resolve().is_relative_to(folder.resolve()):
        raise ClinfitError(f"--output {out} lies in the pack itself", fix="name a folder outside of it")


def _method(pack: Pack, name: str, method: Name | None) -> Name:
    """The method, once it is known that the task can be recalibrated by it."""
    task = pack.tasks[name].task
    if task.kind not in KINDS:
        raise ClinfitError(
            f"task {name} is of the kind {task.kind}, and is not recalibrated",
            expected=f"a task with probabilities ({', '.join(KINDS)})",
        )
    if pack.model.spec.family == "baseline":
        raise ClinfitError(
            f"{pack.content.run} is a rule, which has no probabilities that could be wrong here",
            expected="the pack of a model that was trained",
        )
    known = methods_for(task)
    if method is not None and method not in known:
        raise ClinfitError(
            f"--method {method} is none of a {task.kind} task with {len(task.labels)} labels",
            expected=f"--method {' or '.join(known)}",
            fix=f"--method {known[0]}",
        )
    return method or known[0]


def _check_enough(served: Served, labelled: Sequence[Record], method: Name) -> None:
    task = served.task
    there, needed = rarer(task, [record.target for record in labelled]), METHODS[method].events
    if there >= needed:
        return
    smaller = [name for name in methods_for(task) if METHODS[name].events <= there]
    said = "have another one than the most frequent"
    if task.kind == "multilabel":
        said = "have, or have not, the label that is nearest to half of them"
    raise ClinfitError(
        f"{there} of the {len(labelled)} records with an answer {said}: too few for --method {method}, whose map would "
        "follow chance",
        expected=f"{needed} or more",
        fix=f"--method {smaller[0]}" if smaller else "collect more records with an answer",
    )


# ---------------------------------------------------------------- the new entry


def _entry(
    pack: Pack, name: str, asked: _Asked, labelled: Sequence[Record], answers: Sequence[Answer]
) -> tuple[TaskEntry, list[str]]:
    """The task's part of the new pack.json, and what it is in words."""
    entry, served = pack.content.answered[name], pack.tasks[name]
    engine, defaults = ENGINES[served.task.kind], Evaluation()
    before = _system(pack, name, labelled, answers)
    kind = KINDS[served.task.kind]
    decision, crossed = decided_elsewhere(kind, asked.settings, served, before, _folds(served, labelled, before))
    fitted = decision.recalibration
    if fitted is None or fitted.kind == "none":
        raise ClinfitError(f"no map can be fitted: {(fitted.note or '') if fitted else ''}".partition(";")[0])
    resamples = resamples_of(before.test, defaults.bootstrap)
    scores = engine.score([before.test.answers, crossed], resamples, defaults.confidence)
    then, now = ({metric: value.as_dict() for metric, value in engine.metrics(scored).items()} for scored in scores)
    chosen = kind.chooses(asked.settings)
    support = before.test.answers.support.tolist()
    update = Update(
        pack=pack.content.sha256,
        data=asked.data,
        method=asked.method,
        recalibration=fitted.as_dict(),
        threshold="chosen" if chosen else "kept",
        n=len(labelled),
        events=dict(zip(served.task.labels, support, strict=True)),
        folds=FOLDS,
        before=then,
    )
    new = replace(
        entry,
        threshold=kind.threshold(decision) if chosen else entry.threshold,
        referral=_referral(getattr(asked.settings, "refer", None), crossed, before),
        n=len(labelled),
        metrics=now,
        cross_validation=None,
        updates=[*entry.updates, update],
    )
    lines = [*_lines(update, served), *_threshold_lines(served, new, update), *_figures(served, then, now)]
    if served.task.kind == "multilabel":
        lines += _brier_lines([engine.by_label(scored) for scored in scores])
    return new, lines


def _system(pack: Pack, name: str, labelled: Sequence[Record], answers: Sequence[Answer]) -> System:
    """The pack as a system, with its own decisions as answers."""
    task = pack.tasks[name].task
    (system,) = find_systems(ENGINES[task.kind], task, [pack.model.spec], predictions_of(pack, name, labelled, answers))
    return system


def _folds(served: Served, labelled: Sequence[Record], system: System) -> NDArray[np.int64]:
    """(n,) fold of each answer, from 1, in the order of the system's rows; groups stay together.

    By label, unless one is rarer than there are folds.
    """
    by_id = {record.id: record for record in labelled}
    records = [by_id[str(id)] for id in system.test.ids]
    holders = {
        label: {record.group for record in records if record.target is not None and label in labels_in(record.target)}
        for label in served.task.labels
    }
    stratify = all(len(groups) >= FOLDS for groups in holders.values() if groups)
    (codes,) = assign_folds(
        [record.target for record in records if record.target is not None],
        [record.group for record in records],
        served.task.labels,
        SplitRule(folds=FOLDS, stratify=stratify),
    )
    return codes + 1


def _referral(refer: Refer | None, crossed: LabelAnswers, system: System) -> dict[str, Any] | None:
    """The pack's rule of referral, chosen again on the cross-fitted answers."""
    if refer is None:
        return None
    made = choose_referral(refer, crossed, len(np.unique(system.test.groups)))
    if made.note is None and refer.rule == "conformal":
        made = replace(made, caution=f"{made.caution}; {CAUTION}" if made.caution else CAUTION)
    return made.as_dict()


# ---------------------------------------------------------------- words


def _lines(update: Update, served: Served) -> list[str]:
    fitted = update.recalibration
    counts = ", ".join(f"{label}: {count}" for label, count in update.events.items())
    lines = [f"{update.method} fitted on {update.n} records ({counts}): {_numbers(fitted, served.task.labels)}"]
    if fitted["note"] is not None:
        lines.append(f"note: {fitted['note']}")
    if served.task.kind == "multilabel":
        few = sum(min(count, update.n - count) < FEW for count in update.events.values())
        if few:
            lines.append(f"{few} labels have fewer than {FEW} records with them, or without: their maps are uncertain")
    elif (there := update.n - max(update.events.values())) < FEW:
        lines.append(
            f"only {there} records of the rarer answer: map and threshold are uncertain, {FEW} are a sound basis"
        )
    return lines


def _numbers(fitted: Mapping[str, Any], labels: Sequence[str]) -> str:
    """The map in numbers."""
    parameters = fitted["parameters"]
    if fitted["kind"] == "by-label":
        each = zip(labels, parameters["intercepts"], parameters["slopes"], strict=True)
        return "; ".join(f"{label} intercept {a:.4g}, slope {b:.4g}" for label, a, b in each)
    shown = {name: [round(value, 4) for value in values] for name, values in parameters.items() if name != "floor"}
    return "; ".join(f"{name} {', '.join(f'{value:g}' for value in values)}" for name, values in shown.items())


def _threshold_lines(served: Served, new: TaskEntry, update: Update) -> list[str]:
    """Where thresholds are now, and were."""
    lines = []
    for label, choice in thresholds_of(served.task.kind, new.threshold).items():
        if not choice.moved:
            continue
        named, was = f"threshold of {label}" if label else "threshold", served.thresholds[label].value
        where = "" if choice.value is None else f": {'none' if was is None else f'{was:.4g}'} -> {choice.value:.4g}"
        lines.append(f"{named} {update.threshold}{where} ({choice.words})")
        if update.threshold == "chosen" and choice.note is not None:
            lines.append(f"note on the {named}: {choice.note}")
    return lines


def _brier_lines(tables: Sequence[Mapping[str, Mapping[str, Metric]]]) -> list[str]:
    """The Brier score of each label, whose mean says little where labels differ in how often they hold."""
    then, now = ({label: found["brier"].value for label, found in table.items()} for table in tables)
    pairs = [(label, then[label], now[label]) for label in then]
    return [
        f"  Brier score of {label!r}: {was:.3f} -> {after:.3f}"
        for label, was, after in pairs
        if was is not None and after is not None
    ]


def _figures(served: Served, then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """One line a metric of the card: on these records as it was, and cross-fitted."""
    lines = [f"on these records, before -> recalibrated (cross-fitted in {FOLDS} folds):"]
    for name in SHOWN[served.task.kind].card:
        if name in then and name in now and then[name]["value"] is not None and now[name]["value"] is not None:
            lines.append(f"  {DEFINITIONS[name].title}: {_figure(then[name])} -> {_figure(now[name])}")
    return lines


def _figure(metric: Mapping[str, Any]) -> str:
    value, low, high = (metric[name] for name in ("value", "low", "high"))
    return f"{value:.3f}" if low is None or high is None else f"{value:.3f} [{low:.3f}, {high:.3f}]"


# ---------------------------------------------------------------- the new folder


def _write(pack: Pack, folder: Path, out: Path, name: str, entry: TaskEntry) -> Content:
    """The pack with another entry of one task; its model and probes are copied, and compared with their hashes."""
    old = pack.content
    content = asdict(replace(old, clinfit=clinfit.__version__, run=old.run.removesuffix(SUFFIX) + SUFFIX))
    content["tasks"][name] = asdict(entry)
    del content["files"], content["sha256"]
    confidence = Evaluation().confidence
    nothing = Results(
        format=FORMAT,
        clinfit=clinfit.__version__,
        study=old.study.name,
        description="",
        confidence=confidence,
        bootstrap=0,
        tasks={},
    )
    with new_folder(out) as begun:
        shutil.copytree(folder / MODEL, begun / MODEL)
        shutil.copy(folder / PROBES, begun / PROBES)
        write_text(begun / CARD, model_card(nothing, content))
        files = hash_files(begun)
        copied = {path: digest for path, digest in files.items() if path != CARD}
        if hash_folder(begun / MODEL) != old.model.sha256 or any(old.files[path] != copied[path] for path in copied):
            raise ClinfitError(f"the model of {folder} changed while it was copied", fix="run it again")
        content["files"] = files
        write_json(begun / CONTENT, content | {"sha256": seal(content)})
    return read_content(out)
