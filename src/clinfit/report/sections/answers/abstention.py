"""Whether systems decline where they should, and whether they find true texts likelier than faulty ones."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from clinfit.evaluation.system_results import AbstentionDict, AskedAgain, ContrastRow, SystemResult
from clinfit.report.figures.clinical import Curve
from clinfit.report.figures.risk_coverage import risk_coverage_figure
from clinfit.report.format import count, decimal, metric_cell
from clinfit.report.glossary import definition
from clinfit.report.section import section
from clinfit.report.sections.subject import Subject
from clinfit.report.tables import Grid, by_rank, model_first

#: Curves that one figure holds.
DRAWN = 4


@dataclass(frozen=True)
class AbstentionView:
    """said: system -> what it did, in words. phrases: by which declining is recognised. risk: how good the surest
    answers are; figure: the curves, None without any. confidence, primary: what the risk is of."""

    said: list[tuple[str, str]]
    shares: Grid
    phrases: list[str]
    risk: Grid
    figure: Markup | None
    confidence: str
    primary: str


def abstention_view(subject: Subject) -> AbstentionView | None:
    """None where no system was asked again."""
    asked = _with(model_first(subject.task), "abstention")
    if not asked:
        return None
    heads = ["System", "Declined with its context"]
    for how in ("Context removed", "Context of another record"):
        heads += [f"{how}: declined", "answered all the same", "said nothing"]
    shares = [
        (
            name,
            [
                metric_cell(part["given"], percent=True),
                *(
                    metric_cell(again[what], percent=True)
                    for again in (part["removed"], part["swapped"])
                    for what in ("declined", "answered", "empty")
                ),
            ],
        )
        for name, part in asked
    ]
    risks = [(name, [metric_cell(part["risk"]), metric_cell(part["aurc"])]) for name, part in asked]
    curves = [
        Curve(f"{name}: {decimal(part['aurc']['value'])}", part["risk_coverage"])
        for name, part in asked[:DRAWN]
        if part["aurc"]["value"] is not None
    ]
    return AbstentionView(
        said=[(name, abstention_sentence(part)) for name, part in asked],
        shares=Grid("How often a system declines", heads, shares),
        phrases=asked[0][1]["phrases"],
        risk=Grid("Are the surest texts the best?", ["System", "Risk, all texts", "Area under the curve"], risks),
        figure=risk_coverage_figure(curves, f"{subject.anchor}-abstention", of_texts=True) if curves else None,
        confidence=asked[0][1]["confidence"],
        primary=definition(subject.task["primary"]).title,
    )


def abstention_sentence(part: AbstentionDict) -> str:
    """What a system did, for a reader who knows no metric."""
    context = " and ".join(part["inputs"])
    told = [
        _told(again, how)
        for again, how in (
            (part["removed"], f"asked without their {context}"),
            (part["swapped"], f"asked with the {context} of another"),
        )
        if again["answered"]["n"]
    ]
    given = part["given"]
    told.append(f"Of {count(given['n'])} records with their own {context} it declined {count(given['events'] or 0)}.")
    return " ".join(told)


def _told(again: AskedAgain, how: str) -> str:
    answered, declined, empty = (count(again[what]["events"] or 0) for what in ("answered", "declined", "empty"))
    nothing = f" It said nothing to {empty}." if again["empty"]["events"] else ""
    asked = f"Of {count(again['answered']['n'])} records {how}"
    return f"{asked} it answered {answered} all the same and declined {declined}.{nothing}"


@dataclass(frozen=True)
class ContrastView:
    table: Grid


def contrast_view(subject: Subject) -> ContrastView | None:
    """None where no system was asked."""
    found: list[tuple[SystemResult, list[ContrastRow]]] = [
        (system, rows) for system in by_rank(subject.task) if (rows := section(system, "contrast"))
    ]
    if not found:
        return None
    heads = [f"{row['fault'].capitalize()} ({count(row['likelier']['n'])})" for row in found[0][1]]
    rows = [(system["name"], [metric_cell(row["likelier"], percent=True) for row in rows]) for system, rows in found]
    return ContrastView(
        Grid("References that are likelier than the same text with one fault", ["System", *heads], rows)
    )


def _with(systems: Sequence[SystemResult], name: str) -> list[tuple[str, AbstentionDict]]:
    return [(system["name"], part) for system in systems if (part := section(system, name))]
