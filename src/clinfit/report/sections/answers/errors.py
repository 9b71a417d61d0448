"""What went wrong record by record: counts and ids, never a text. Leaks and shift, which explain some of it, too."""

from dataclasses import dataclass

from clinfit.evaluation.results import ErrorAnalysis, LabelError, TaskResult
from clinfit.evaluation.system_results import MetricDict
from clinfit.report.format import NOTHING, Cell, count, decimal, metric_cell, per_cent, signed
from clinfit.report.glossary import definition
from clinfit.report.section import section
from clinfit.report.sections.first.verdict import tested
from clinfit.report.sections.subject import Subject
from clinfit.report.tables import Grid, Plain, by_rank


@dataclass(frozen=True)
class ErrorsView:
    """sentence: how many of how many are wrong."""

    sentence: str
    pairs: Plain | None
    confident: Plain | None


def errors_view(subject: Subject) -> ErrorsView | None:
    """None where there is nothing to tell: withheld results, or no trained system."""
    errors: ErrorAnalysis | None = section(subject.task, "errors")
    if errors is None:
        return None
    share = per_cent(errors["wrong"] / errors["n"]) if errors["n"] else "none"
    of = f"{count(errors['wrong'])} of {count(errors['n'])} {tested(subject.task)}"
    return ErrorsView(
        f"{errors['system']} is wrong on {of} ({share}).",
        _pairs(errors) if errors["pairs"] else None,
        _confident(errors) if errors["confident"] else None,
    )


def _pairs(errors: ErrorAnalysis) -> Plain:
    rows = [
        [f"{pair['label']} answered {pair['predicted']}", count(pair["n"]), *map(count, pair["confidence"])]
        for pair in errors["pairs"]
    ]
    hint = "How probable the system found the wrong answer that it gave; an unparsed answer has no probability."
    return Plain("Wrong answers by label", hint, ["Truth and answer", "Records", *errors["bands"]], rows)


def _confident(errors: ErrorAnalysis) -> Plain:
    rows = [
        [mistake["id"], mistake["label"], mistake["predicted"], decimal(mistake["p_predicted"])]
        for mistake in errors["confident"]
    ]
    hint = "Look these up in your own data: the report holds no text."
    return Plain("The most confident mistakes", hint, ["Record", "Truth", "Answer", "Probability of the answer"], rows)


def doubtful_labels(subject: Subject) -> Plain | None:
    """The records whose label the trained systems contradict; None where there are none."""
    found: list[LabelError] = section(subject.task, "label_errors") or []
    rows = [
        [
            item["id"],
            item["split"],
            item["label"],
            decimal(item["p_label"]),
            item["suggested"],
            decimal(item["p_suggested"]),
        ]
        for item in found
    ]
    hint = (
        "Records on which the trained systems together contradict the label more than its noise would explain "
        "(confident learning). The systems may be wrong instead: a person decides. None was left out of any figure."
    )
    heads = ["Record", "Split", "Label", "its probability", "Likelier", "its probability"]
    return Plain("Labels that may be wrong", hint, heads, rows) if rows else None


# ---------------------------------------------------------------- leaks and shift


def leakage_table(task: TaskResult) -> Grid | None:
    """The main metrics of every system with all test records and without those that leak."""
    leakage = section(task, "leakage")
    if leakage is None or not leakage["metrics"]:
        return None
    names = list(next(iter(leakage["metrics"].values())))
    rows = []
    for system in by_rank(task):
        by_metric = leakage["metrics"].get(system["name"], {})
        for place, words in enumerate(("", ", without")) if by_metric else ():
            cells = [_of(by_metric[name][place], name) if name in by_metric else NOTHING for name in names]
            rows.append((system["name"] + words, cells))
    items = leakage["items"]
    caption = f"With all test records, and without the {items} that {'leaks' if items == 1 else 'leak'}"
    return Grid(caption, ["System", *(definition(name).title for name in names)], rows)


def _of(metric: MetricDict, name: str) -> Cell:
    return metric_cell(metric, percent=definition(name).percent)


def shift_table(task: TaskResult) -> Plain | None:
    """Training against test, the large differences marked."""
    if not (section(task, "shift") or []):
        return None
    rows = [
        [row["name"], row["train"], row["test"], _difference(row["difference"], row["kind"], row["alert"])]
        for row in (section(task, "shift") or [])
    ]
    hint = (
        "Standardised difference: test minus training, in standard deviations; of a category with several values its "
        "size only. * 0.25 or more, a rule of thumb and not a test: small test splits reach it by chance. Of "
        "counts that are not told the least difference that they can make."
    )
    return Plain("Training against test", hint, ["Property", "Training", "Test", "Standardised difference"], rows)


def _difference(value: float | None, kind: str, alert: bool) -> str:
    if kind == "vocabulary":
        return "—"
    text = "without limit" if value is None else decimal(value, 2) if kind == "category" else signed(value, 2)
    return f"{text} *" if alert else text
