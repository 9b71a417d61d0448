"""`clinfit check STUDY`: what a run would do, before it does it.

Printed in order: the models as resolved, the data with its findings, and for each neural model its label tokens, how
many records are shortened, the first training record as the model reads it, and an estimate of memory and time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from clinfit.data.audit import audit
from clinfit.data.load import TaskData, load_task
from clinfit.data.records import SPLITS, Record, in_split
from clinfit.errors import ClinfitError
from clinfit.estimate import Estimate, Work, estimate, gemm_rate, model_size
from clinfit.findings import Finding
from clinfit.models.bases import default_device, find_base, load_config, load_tokenizer, resolve_precision
from clinfit.prompts.encode import Encoded, Renderer
from clinfit.prompts.template import document
from clinfit.study import Causal, Encoder, ModelSpec, Study, Task, study_hash

LEVEL_STYLES = {"error": "bold red", "warn": "yellow", "info": "cyan"}

#: Above this number, inputs without missing values are only counted.
MANY_INPUTS = 12


def check_study(study: Study, console: Console | None = None, *, show_record: bool = True) -> list[Finding]:
    """Print what a run of the study would do; the findings that were printed, errors first.

    show_record: print the first training record as the first causal model reads it. That is the text of a patient: it
    goes to the console and nowhere else. Raises ClinfitError when the data cannot be read; a model that cannot be
    prepared is a finding of level error.
    """
    console = console or Console()
    console.print(Text(f"{study.name}: the study file is valid (identity {study_hash(study)[:8]})", style="bold"))
    console.print(_models_table(study.models))
    findings: list[Finding] = []
    for name, task in study.tasks.items():
        data = load_task(task, study.folder, study.evaluation.subgroup_columns)
        console.print(_splits_table(name, task, data))
        console.print(_inputs_table(task, data))
        findings += audit(task, data)
        plans, problems = _plans(study.models, task, data)
        findings += problems
        for plan in plans:
            console.print(_facts(plan))
        if show_record:
            _print_first_record(console, task, data, plans)
        if plans:
            console.print(_estimates_table(plans))
    findings.sort(key=lambda finding: list(LEVEL_STYLES).index(finding.level))
    _print_findings(console, findings)
    return findings


# ---------------------------------------------------------------- study and data


def _models_table(models: Sequence[ModelSpec]) -> Table:
    table = Table("model", "family", "what", "settings", title="Models", title_justify="left")
    for model in models:
        what = model.base if isinstance(model, Causal | Encoder) else model.kind
        table.add_row(model.name, model.family, what, _settings(model))
    return table


def _settings(model: ModelSpec) -> str:
    """What a reader wants to know first; `docs/reference.md` lists the rest."""
    if not isinstance(model, Causal | Encoder):
        given = model.model_dump(exclude={"name", "family", "kind", "patterns", "c_grid"}, exclude_defaults=True)
        return ", ".join(f"{key} {value}" for key, value in given.items())
    train = model.train
    precision = resolve_precision(train.precision, default_device())
    if isinstance(model, Encoder) and model.method == "full":
        adapter = "all weights"
    else:
        kind = "DoRA" if model.lora.dora else "rsLoRA" if model.lora.rslora else "LoRA"
        adapter = f"{kind} rank {model.lora.rank}, alpha {model.lora.alpha:g}"
    return (
        f"{adapter}; {train.epochs:g} epochs, learning rate {train.learning_rate:g}, batch {train.batch_size}, "
        f"at most {train.max_length} tokens, {precision}"
    )


def _splits_table(name: str, task: Task, data: TaskData) -> Table:
    title = f"Task {name}: {len(data.records)} records from {data.source}"
    table = Table("split", "records", *task.labels, title=title, title_justify="left")
    for split in SPLITS:
        records = in_split(data.records, split)
        counts = [sum(record.target == label for record in records) for label in task.labels]
        shares = [f"{count} ({count / len(records):.0%})" if records else "0" for count in counts]
        table.add_row(split, str(len(records)), *shares)
    changes = {**{f"dropped, {k}": v for k, v in data.notes.dropped.items()}, **data.notes.changed}
    if changes:
        table.caption = "; ".join(f"{what}: {count} records" for what, count in changes.items())
        table.caption_justify = "left"
    return table


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
            table.add_row(name, column.type + (f", {column.unit}" if column.unit else ""), *map(str, missing))
    if complete:
        table.caption, table.caption_justify = f"{complete} inputs have no missing values", "left"
    return table


def _print_findings(console: Console, findings: Sequence[Finding]) -> None:
    console.print(Text(f"\nFindings: {len(findings) or 'none'}", style="bold"))
    for finding in findings:
        about = f"{finding.system}: " if finding.system else ""
        line = Text(f"{finding.level:5} ", style=LEVEL_STYLES[finding.level]).append(about + finding.title, style="")
        for part in (finding.evidence, finding.advice):
            if part:
                line.append(f"\n      {part}", style="dim")
        console.print(line)


# ---------------------------------------------------------------- neural models


@dataclass(frozen=True)
class Plan:
    """How a neural model would read the data. `renderer` and `first` only for causal models."""

    spec: Causal | Encoder
    estimate: Estimate
    records: int
    shortened: int
    longest: int
    renderer: Renderer | None = None
    first: Encoded | None = None


def _plans(models: Sequence[ModelSpec], task: Task, data: TaskData) -> tuple[list[Plan], list[Finding]]:
    """A plan for each neural model, and a finding for each that cannot be prepared."""
    plans, problems = [], []
    for spec in models:
        if not isinstance(spec, Causal | Encoder):
            continue
        try:
            plans.append(
                _causal_plan(spec, task, data) if isinstance(spec, Causal) else _encoder_plan(spec, task, data)
            )
        except ClinfitError as error:
            advice = " ".join(part for part in (error.expected, error.fix) if part)
            problems.append(Finding("error", "model-cannot-run", error.found, advice=advice, system=spec.name))
    return plans, problems


def _causal_plan(spec: Causal, task: Task, data: TaskData) -> Plan:
    tokenizer = load_tokenizer(spec.base, spec.revision)
    renderer = Renderer(task, tokenizer, max_length=spec.train.max_length, shorten=spec.train.shorten)
    encoded = renderer.encode_all(data.records)
    train = [item for item, record in zip(encoded, data.records, strict=True) if record.split == "train"]
    work = _work(spec, data.records, [len(item.ids) for item in encoded], max(len(item.answer_ids) for item in encoded))
    return Plan(
        spec=spec,
        estimate=_estimate(spec, task, work),
        records=len(encoded),
        shortened=sum(item.dropped > 0 for item in encoded),
        longest=max(len(item.ids) + item.dropped for item in encoded),
        renderer=renderer,
        first=train[0],
    )


def _encoder_plan(spec: Encoder, task: Task, data: TaskData) -> Plan:
    tokenizer = load_tokenizer(spec.base, spec.revision)
    texts = [document(task, record.inputs) for record in data.records]
    whole = [len(ids) for ids in tokenizer(texts, truncation=False, verbose=False)["input_ids"]]
    lengths = [min(length, spec.train.max_length) for length in whole]
    return Plan(
        spec=spec,
        estimate=_estimate(spec, task, _work(spec, data.records, lengths, answer_tokens=1)),
        records=len(whole),
        shortened=sum(length > spec.train.max_length for length in whole),
        longest=max(whole),
    )


def _work(spec: Causal | Encoder, records: Sequence[Record], lengths: list[int], answer_tokens: int) -> Work:
    """What training and scoring read: validation each epoch, then validation and test, by the base model as well."""
    tokens = {
        split: sum(n for n, record in zip(lengths, records, strict=True) if record.split == split) for split in SPLITS
    }
    final = tokens["validation"] + tokens["test"]
    before = final if isinstance(spec, Causal) and spec.compare_base else 0
    return Work(
        train_lengths=[n for n, record in zip(lengths, records, strict=True) if record.split == "train"],
        scored_tokens=round(spec.train.epochs * tokens["validation"]) + final + before,
        answer_tokens=answer_tokens,
    )


def _estimate(spec: Causal | Encoder, task: Task, work: Work) -> Estimate:
    device = default_device()
    precision = resolve_precision(spec.train.precision, device)
    size = model_size(spec, load_config(find_base(spec.base, spec.revision)), len(task.labels))
    return estimate(spec, size, work, precision, gemm_rate(spec.train.batch_tokens, size.hidden, precision, device))


def _facts(plan: Plan) -> Text:
    text = Text(f"\n{plan.spec.name}: ", style="bold")
    limit = plan.spec.train.max_length
    text.append(f"{plan.shortened} of {plan.records} records are shortened to {limit} tokens ", style="")
    text.append(f"(the longest has {plan.longest})", style="")
    if plan.renderer is not None:
        tokenizer = plan.renderer.tokenizer
        for label, ids in zip(plan.renderer.task.labels, plan.renderer.label_ids, strict=True):
            pieces = " ".join(f"[{tokenizer.decode([token])}]" for token in ids)
            text.append(f"\n  label {label}: {len(ids)} token{'s' if len(ids) > 1 else ''} {pieces}", style="")
    return text


def _print_first_record(console: Console, task: Task, data: TaskData, plans: Sequence[Plan]) -> None:
    """The first training record as the first causal model reads it, the answer told apart from the prompt."""
    plan = next((plan for plan in plans if plan.renderer is not None), None)
    if plan is None or plan.renderer is None or plan.first is None:
        return
    console.print(Text(f"\nFirst training record, as {plan.spec.name} reads it", style="bold"))
    console.print(Text("on this terminal only; --no-record leaves it out", style="dim"))
    console.print(masked(plan.first, plan.renderer.tokenizer, colour=console.color_system is not None))


def masked(item: Encoded, tokenizer: Any, *, colour: bool) -> Text:
    """A record's ids as text, with a legend: the prompt dim, the trained answer bold green, or between ⟦ ⟧."""
    opening, closing = ("", "") if colour else ("⟦", "⟧")
    text = Text()
    text.append("prompt, read only", style="dim").append("  ")
    text.append(f"{opening}answer, trained{closing}", style="bold green").append("\n")
    text.append(_printable(tokenizer.decode(item.prompt_ids)), style="dim")
    text.append(f"{opening}{_printable(tokenizer.decode(item.answer_ids))}{closing}", style="bold green")
    return text


def _printable(text: str) -> str:
    """Text without control characters, which could drive the terminal."""
    return "".join(char if char.isprintable() or char in "\n\t" else "·" for char in text)


def _estimates_table(plans: Sequence[Plan]) -> Table:
    table = Table("model", "parameters", "trained", "memory", "time", title="Estimates", title_justify="left")
    for plan in plans:
        size = plan.estimate.size
        table.add_row(
            plan.spec.name,
            f"{size.parameters / 1e6:,.1f} M",
            f"{size.trained / 1e6:,.2f} M",
            f"{plan.estimate.memory / 1e9:.1f} GB",
            _duration(plan.estimate.seconds),
        )
    table.caption = "for one seed on this machine as it is now; a rough figure (src/clinfit/estimate.py)"
    table.caption_justify = "left"
    return table


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
