"""`clinfit check STUDY`: what a run would do, before it does it.

Printed in order: models and stages as resolved; of each task the records and inputs, how each neural model reads them,
and the first training record as the first language model reads it; an estimate of memory and time; all findings.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from clinfit.data.audit import audit
from clinfit.data.catalog.findings import contamination
from clinfit.data.declared import declared_categories, range_words
from clinfit.data.load import TaskData, load_task
from clinfit.data.origins import leaks_between_tasks
from clinfit.data.records import SPLITS, Record, in_split, label_counts, labels_in
from clinfit.errors import ClinfitError
from clinfit.evaluation.claims.wording import in_words
from clinfit.findings import Finding
from clinfit.runs.checking.remote import remote_findings, remote_models, sent
from clinfit.runs.steps.item_scores import missing_judges
from clinfit.study.data import InputColumn
from clinfit.study.models import Baseline, Causal, ModelSpec, Neural
from clinfit.study.remote import Remote
from clinfit.study.schema import Study, study_hash
from clinfit.study.stages import Stage
from clinfit.study.tasks import Task

if TYPE_CHECKING:
    from clinfit.runs.checking.models import Prepared, Reading

LEVEL_STYLES = {"error": "bold red", "warn": "yellow", "info": "cyan"}

#: Seconds of a run above which a smaller one is advised.
LONG = 600.0
#: Above this number, inputs without missing values are only counted.
MANY_INPUTS = 12
#: What is said of memory that was never compared with that of runs.
UNVERIFIED = "estimated, not verified"
#: Settings that stand elsewhere on the page, or would fill it.
NOT_SHOWN = {
    "name", "tasks", "family", "kind", "patterns", "c_grid", "search", "url", "model", "requests", "price",
}  # fmt: skip
#: Above this number, labels stand below each other.
MANY_LABELS = 6


def check_study(study: Study, console: Console | None = None, *, show_record: bool = True) -> list[Finding]:
    """Print what a run of the study would do; the findings that were printed, errors first.

    show_record: print the first training record of each task as the first causal model reads it. That is the text of a
    patient: it goes to the console and nowhere else. Raises ClinfitError when the data cannot be read; a model that
    cannot be prepared is a finding of level error.
    """
    console = console or Console()
    console.print(Text(f"{study.name}: the study file is valid (identity {study_hash(study)[:8]})", style="bold"))
    console.print(_models_table(study))
    if study.staged:
        for stages, names in _stage_lists(study):
            console.print(_stages_table(stages, names))
    data = {
        name: load_task(name, task, study.folder, study.settings(name).subgroup_columns)
        for name, task in study.tasks.items()
    }
    folds = study.folds
    first = {name: found.of(folds[0]) if folds else found for name, found in data.items()}
    prepared, findings = _prepared(study, first)
    leaks = leaks_between_tasks(study, data)
    findings += [*_metrics_that_cannot_be_computed(study), *_processes_without_devices(study)]
    for name, task in study.tasks.items():
        source = f"{task.kind}, {len(data[name].records)} records from {data[name].source}"
        console.print(Text(f"\nTask {name}: {source}", style="bold"))
        if folds:
            rule = task.data.split
            console.print(f"{in_words(rule.folds or 0, rule.repeats)}; the first of {len(folds)} folds:")
        console.print(_splits_table(task, first[name]))
        console.print(_inputs_table(task, first[name]))
        readers = [(model, reading) for model in prepared for reading in model.readings if reading.task == name]
        for model, reading in readers:
            console.print(_facts(model, reading))
        if show_record:
            _print_first_record(console, readers)
        found = [*audit(task, data[name]), *leaks.get(name, [])]
        found += contamination(task, [m for m in study.models if name in study.tasks_of(m)])
        several = len(study.tasks) > 1
        findings += [replace(one, title=f"{name}: {one.title}") for one in found] if several else found
    for spec in remote_models(study):
        console.print(sent(study, spec, first))
    findings += remote_findings(study)
    if prepared:
        console.print(_estimates_table(prepared))
        fits = [
            ((max(len(folds), 1) + one.spec.refit) * (len(study.seeds_of(one.spec)) + _trials(one.spec)), one.estimate)
            for one in prepared
        ]
        console.print(_in_all(sum(number * estimate.seconds for number, estimate in fits)))
    findings.sort(key=lambda finding: list(LEVEL_STYLES).index(finding.level))
    _print_findings(console, findings)
    return findings


def _prepared(study: Study, data: Mapping[str, TaskData]) -> tuple[list["Prepared"], list[Finding]]:
    """The neural models as they would read their tasks; torch is imported only where there are any."""
    if not any(spec.neural for spec in study.models):
        return [], []
    from clinfit.runs.checking.models import prepare

    return prepare(study, data)


def _metrics_that_cannot_be_computed(study: Study) -> list[Finding]:
    """Those that need weights of their own, which are not there or are of another kind; a run refuses them."""
    return [
        Finding(
            "error",
            "metric-cannot-run",
            error.found,
            advice="; ".join(part for part in (error.expected, error.fix) if part),
        )
        for error in missing_judges(study)
    ]


# ---------------------------------------------------------------- study and data


def _models_table(study: Study) -> Table:
    several = ["tasks"] if len(study.tasks) > 1 else []
    table = Table("model", "family", "what", *several, "settings", title="Models", title_justify="left")
    for model in study.models:
        what = _what(model)
        tasks = [", ".join(study.tasks_of(model))] if several else []
        table.add_row(model.name, model.family, what, *tasks, _settings(model))
    return table


def _what(model: ModelSpec) -> str:
    """What a model is: its base, the model that a server has, or its kind."""
    if isinstance(model, Remote):
        return f"{model.model} at {model.url}"
    return model.base if isinstance(model, Neural) else model.kind


def _settings(model: ModelSpec) -> str:
    """What a reader wants to know first; `docs/reference.md` lists the rest."""
    if not isinstance(model, Neural):
        given = model.model_dump(exclude=NOT_SHOWN, exclude_defaults=True)
        return ", ".join([*(f"{key} {value}" for key, value in given.items()), *_searched(model)])
    from clinfit.training.precision import default_device, precision_of

    train = model.train
    precision = precision_of(model, default_device())
    if isinstance(model, Causal) and model.prompting:
        examples = f"{model.shots} example{'s' if model.shots > 1 else ''}" if model.shots else "no examples"
        return f"nothing is trained; asked with {examples}, at most {train.max_length} tokens, {precision}"
    if model.trains_all:
        adapter = "all weights"
    else:
        kind = "DoRA" if model.lora.dora else "rsLoRA" if model.lora.rslora else "LoRA"
        adapter = f"{kind} rank {model.lora.rank}, alpha {model.lora.alpha:g}"
    return (
        f"{adapter}; {train.duration}, learning rate {train.learning_rate:g}, "
        f"batch {train.batch_size}, at most {train.max_length} tokens, {precision}"
        + "".join(f"; {words}" for words in _searched(model))
    )


def _searched(model: ModelSpec) -> list[str]:
    """That settings are searched, and which; nothing where none are."""
    search = model.searched
    return [] if search is None else [f"search of {search.trials} trials over {', '.join(search.over)}"]


def _stage_lists(study: Study) -> Iterator[tuple[list[Stage], list[str]]]:
    """Every list of stages, with the models that go through it."""
    lists: dict[str, tuple[list[Stage], list[str]]] = {}
    for model in study.models:
        if not isinstance(model, Baseline):
            stages = study.stages_of(model)
            lists.setdefault(repr(stages), (stages, []))[1].append(model.name)
    yield from lists.values()


def _stages_table(stages: Sequence[Stage], models: Sequence[str]) -> Table:
    table = Table("stage", "trains", "begins with", title=f"Stages of {', '.join(models)}", title_justify="left")
    for number, stage in enumerate(stages, start=1):
        start = f"stage {number - 1}" if stage.start == "previous" else f"stage {stage.start}"
        begins = "base" if number == 1 or stage.start == "base" else start
        table.add_row(str(number), stage.trains, "" if stage.merge is not None else begins)
    return table


def _splits_table(task: Task, data: TaskData) -> Table:
    """Records of each split and of each label in it; many labels below each other."""
    parts = {split: in_split(data.records, split) for split in SPLITS}
    columns = {split: dict(_counts(task, part)) for split, part in parts.items()}
    if len(task.labels) > MANY_LABELS:
        table = Table("", *SPLITS, title="Records", title_justify="left")
        for row in columns["train"]:
            table.add_row(row, *(columns[split][row] for split in SPLITS))
    else:
        table = Table("split", *columns["train"], title="Records", title_justify="left")
        for split in SPLITS:
            table.add_row(split, *columns[split].values())
    changes = {**{f"dropped, {k}": v for k, v in data.notes.dropped.items()}, **data.notes.changed}
    if changes:
        table.caption = "; ".join(f"{what}: {count} records" for what, count in changes.items())
        table.caption_justify = "left"
    return table


def _counts(task: Task, records: Sequence[Record]) -> Iterator[tuple[str, str]]:
    """How many records, and how many have each label, or none where that may be."""
    yield "records", str(len(records))
    counts = label_counts(task.labels, records)
    if task.kind == "multilabel":
        counts |= {"(no label)": sum(not labels_in(record.target) for record in records)}
    for label, count in counts.items():
        yield label, f"{count} ({count / len(records):.0%})" if records else "0"


def _inputs_table(task: Task, data: TaskData) -> Table:
    """Type and missing values of each input; of many inputs only those that have missing values."""
    table = Table("input", "type", *(f"missing in {split}" for split in SPLITS), title="Inputs", title_justify="left")
    parts = [in_split(data.records, split) for split in SPLITS]
    complete = 0
    for name, column in task.data.columns.items():
        missing = [sum(record.inputs[name] is None for record in part) for part in parts]
        if len(task.data.columns) > MANY_INPUTS and not any(missing):
            complete += 1
        else:
            table.add_row(name, _type_words(column), *map(str, missing))
    if complete:
        table.caption, table.caption_justify = f"{complete} inputs have no missing values", "left"
    return table


def _type_words(column: InputColumn) -> str:
    """The type of an input, with all that is declared of it."""
    order = " < ".join(declared_categories(column))
    return ", ".join(part for part in (column.type, column.unit, range_words(column), order) if part)


def _print_findings(console: Console, findings: Sequence[Finding]) -> None:
    """What is the same of several models is said once."""
    console.print(Text(f"\nFindings: {len(findings) or 'none'}", style="bold"))
    systems: dict[Finding, list[str]] = {}
    for finding in findings:
        title = finding.title.removeprefix(f"{finding.system}: ")  # the name stands in front of all of them
        systems.setdefault(replace(finding, title=title, system=None), []).extend(
            [finding.system] if finding.system else []
        )
    for finding, names in systems.items():
        about = f"{', '.join(names)}: " if names else ""
        line = Text(f"{finding.level:5} ", style=LEVEL_STYLES[finding.level]).append(about + finding.title, style="")
        for part in (finding.evidence, finding.advice):
            if part:
                line.append(f"\n      {part}", style="dim")
        console.print(line)


# ---------------------------------------------------------------- neural models


def _facts(model: "Prepared", reading: "Reading") -> Text:
    text = Text(f"\n{model.spec.name}: ", style="bold")
    limit = model.spec.train.max_length
    text.append(f"{reading.shortened} of {reading.records} records are shortened to {limit} tokens ", style="")
    text.append(f"(the longest has {reading.whole})", style="")
    if reading.in_pieces:
        text.append("; in training and likelihood: answers read them in pieces", style="")
    if reading.examples:
        text.append(f"\n  {reading.examples}", style="")
    for answer, ids in reading.answers.items():
        pieces = " ".join(f"[{model.tokenizer.decode([token])}]" for token in ids)
        text.append(f"\n  label {answer}: {len(ids)} token{'s' if len(ids) > 1 else ''} {pieces}", style="")
    return text


def _print_first_record(console: Console, readers: Sequence[tuple["Prepared", "Reading"]]) -> None:
    """The first training record as the first causal model reads it, the answer told apart from the prompt."""
    for model, reading in readers:
        if reading.first is not None:
            console.print(Text(f"\nFirst training record, as {model.spec.name} reads it", style="bold"))
            console.print(Text("on this terminal only; --no-record leaves it out", style="dim"))
            trained = [label >= 0 for label in reading.first.labels]
            colour = console.color_system is not None
            console.print(masked(reading.first.ids, trained, model.tokenizer, colour=colour))
            return


def masked(ids: Sequence[int], trained: Sequence[bool], tokenizer: Any, *, colour: bool) -> Text:
    """Token ids as text, with a legend: what is read only dim, trained answers bold green, or between ⟦ ⟧."""
    opening, closing = ("", "") if colour else ("⟦", "⟧")
    text = Text()
    text.append("prompt, read only", style="dim").append("  ")
    text.append(f"{opening}answer, trained{closing}", style="bold green").append("\n")
    for answer, part in groupby(zip(ids, trained, strict=True), key=lambda pair: pair[1]):
        shown = _printable(tokenizer.decode([token for token, _ in part]))
        text.append(f"{opening}{shown}{closing}" if answer else shown, style="bold green" if answer else "dim")
    return text


def _printable(text: str) -> str:
    """Text without control characters, which could drive the terminal."""
    return "".join(char if char.isprintable() or char in "\n\t" else "·" for char in text)


def _processes_without_devices(study: Study) -> Iterator[Finding]:
    """Fits in several processes for which this machine has not enough GPUs."""
    for spec in study.models:
        if spec.processes == 1:
            continue
        from clinfit.runs.steps.together import check_devices  # torch, which most studies here do not need

        try:
            check_devices(spec.processes)
        except ClinfitError as error:
            yield Finding("error", "model-cannot-run", f"{spec.name}: {error.found}", "", error.fix, spec.name)


def _estimates_table(prepared: Sequence["Prepared"]) -> Table:
    from clinfit.models.estimates.room import room
    from clinfit.training.precision import default_device

    table = Table("model", "parameters", "trained", "memory", "time", title="Estimates", title_justify="left")
    for model in prepared:
        size = model.estimate.size
        table.add_row(
            model.spec.name,
            f"{size.parameters / 1e6:,.1f} M",
            f"{size.trained / 1e6:,.2f} M",
            f"{model.estimate.memory / 1e9:.1f} GB"
            + (f" x {count}" if (count := model.spec.processes) > 1 else "")
            + ("" if model.verified else f" ({UNVERIFIED})"),
            duration(model.estimate.seconds) + (f" x {1 + trials}" if (trials := _trials(model.spec)) else ""),
        )
    there, where = room(default_device())
    table.caption = f"{where} has {there / 1e9:.1f} GB; time for one seed, with this machine to itself, roughly" + (
        "; x N: with the trials of its search, less where trials are stopped early"
        if any(_trials(model.spec) for model in prepared)
        else ""
    )
    if any(model.spec.processes > 1 for model in prepared):
        table.caption += "; memory x N: in each of N processes, and the time is that of one"
    table.caption_justify = "left"
    return table


def _trials(model: ModelSpec) -> int:
    """Fits of the search of a model, as if none of them were stopped early."""
    return 0 if model.searched is None else model.searched.trials


def _in_all(seconds: float) -> str:
    """How long a run takes, and what to do where that is long."""
    told = f"In all about {duration(seconds)} for the neural models with every seed."
    if seconds < LONG:
        return told
    return (
        f"{told} `clinfit run STUDY --quick` shows in a minute or two what the run gives; fewer epochs, a smaller "
        "max_length or data.limit make the run itself shorter."
    )


def duration(seconds: float) -> str:
    """Roughly, in the unit that a reader would take."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
