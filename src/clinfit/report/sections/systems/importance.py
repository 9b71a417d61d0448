"""Which inputs matter to the models: permutation importance on validation, and coefficients of linear models."""

from dataclasses import dataclass

from markupsafe import Markup

from clinfit.evaluation.system_results import ImportanceDict, SystemResult, WeightRow, WeightsDict
from clinfit.report.figures.importance import importance_figure
from clinfit.report.format import count, decimal, metric_cell
from clinfit.report.glossary import definition
from clinfit.report.section import section
from clinfit.report.sections.subject import Subject
from clinfit.report.tables import Grid, Plain, model_first

#: Inputs in the figure.
SHOWN = 15


@dataclass(frozen=True)
class WeightsView:
    """The coefficients of one linear model. words: those of texts, where it reads any. note: what is not told."""

    system: str
    penalty: str
    terms: Plain | None
    words: Plain | None
    note: str


@dataclass(frozen=True)
class ImportanceView:
    """figure: of the model, else of the best system that was asked. table: inputs by system. asked: how, in a
    sentence."""

    figure: Markup | None
    system: str
    table: Grid | None
    asked: str
    weights: list[WeightsView]


def importance_view(subject: Subject) -> ImportanceView | None:
    systems = model_first(subject.task)
    asked = [(system, found) for system in systems if (found := section(system, "importance"))]
    weights = [_weights(system, found) for system in systems if (found := section(system, "weights"))]
    if not asked and not weights:
        return None
    figure, first = None, ""
    if asked:
        first, found = asked[0][0]["name"], asked[0][1]
        figure = importance_figure(found["rows"][:SHOWN], first, subject.confidence, f"{subject.anchor}-importance-1")
    return ImportanceView(figure, first, _table(asked) if asked else None, _asked(asked), weights)


def _asked(asked: list[tuple[SystemResult, ImportanceDict]]) -> str:
    if not asked:
        return ""
    found = asked[0][1]
    values = ", ".join(f"{system['name']} {decimal(one['value'])}" for system, one in asked if one["value"] is not None)
    return (
        f"{definition(found['metric']).title} on {count(found['n'])} validation records before anything is shuffled: "
        f"{values}. Each input was shuffled {found['repeats']} times."
    )


def _table(asked: list[tuple[SystemResult, ImportanceDict]]) -> Grid:
    drops = [{row["input"]: row["drop"] for row in found["rows"]} for _, found in asked]
    rows = [(row["input"], [metric_cell(known.get(row["input"])) for known in drops]) for row in asked[0][1]["rows"]]
    metric = definition(asked[0][1]["metric"]).title
    return Grid(f"Drop of {metric} when an input is shuffled", ["Input", *(s["name"] for s, _ in asked)], rows)


# ---------------------------------------------------------------- coefficients


def _weights(system: SystemResult, found: WeightsDict) -> WeightsView:
    several = len({row["label"] for row in found["rows"]}) > 1
    terms = [row for row in found["rows"] if row["odds_ratio"] is not None]
    words = [row for row in found["rows"] if row["odds_ratio"] is None]
    heads = ["Label"] if several else []
    label = found["rows"][0]["label"] if found["rows"] else ""
    of = "" if several else f" for {label}"
    return WeightsView(
        system["name"],
        found["penalty"],
        Plain(
            f"Odds ratios{of}: {system['name']}",
            "",
            ["Input", *heads, "For", "Odds ratio", "Coefficient"],
            [[_term(row), *[row["label"]] * several, _step(row), *_numbers(row)] for row in terms],
        )
        if terms
        else None,
        Plain(
            f"Words with the largest weights{of}: {system['name']}",
            "",
            ["Word", *heads, "Weight"],
            [[row["term"], *[row["label"]] * several, decimal(row["coefficient"], 2)] for row in words],
        )
        if words
        else None,
        _left_out(found),
    )


def _term(row: WeightRow) -> str:
    return f"{row['input']}: {row['term']}" if row["term"] else row["input"]


def _step(row: WeightRow) -> str:
    return "yes against no" if row["step"] is None else f"{row['step']:.3g} more (1 SD)"


def _numbers(row: WeightRow) -> list[str]:
    ratio = row["odds_ratio"]
    assert ratio is not None, "words have a table of their own"
    return [decimal(ratio, 2) if ratio < 1000 else f"{ratio:.3g}", decimal(row["coefficient"], 3)]


def _left_out(found: WeightsDict) -> str:
    parts = [
        (found["zero"], "are 0"),
        (found["more"], "are smaller than these"),
        (found["unnamed"], "belong to values or words of fewer than 10 patients in training and are not named"),
        (found["hidden"], "belong to words of the texts, which `words: true` at the model would name"),
    ]
    told = [f"{count(n)} {words}" for n, words in parts if n]
    return f"Of the other coefficients, {', '.join(told)}." if told else ""
