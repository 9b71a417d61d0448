"""Written texts: how they are made up in counts, every metric by what it is about, and the ids of texts to read."""

from collections.abc import Sequence
from dataclasses import dataclass

from clinfit.evaluation.system_results import SystemResult, WrittenDict
from clinfit.evaluation.text_results import DoubtfulTexts, TextMetrics
from clinfit.report.format import NOTHING, Cell, count, decimal, per_cent
from clinfit.report.glossary import definition
from clinfit.report.section import section
from clinfit.report.sections.subject import Subject
from clinfit.report.tables import Grid, Plain, by_rank, cell_of

SPLITS = ("validation", "test")


@dataclass(frozen=True)
class Group:
    """note: what its metrics can and cannot say."""

    note: str
    table: Grid


@dataclass(frozen=True)
class TextsView:
    """written: each system's texts in counts. groups: the metrics. likelihood: of the references of both splits.
    settings: of ROUGE and chrF. missing: metrics that could not be computed, and why."""

    written: Plain | None
    groups: list[Group]
    likelihood: Plain | None
    settings: list[tuple[str, str]]
    missing: list[str]


def texts_view(subject: Subject) -> TextsView | None:
    """None for tasks with labels."""
    task = subject.task
    found: TextMetrics | None = section(task, "text_metrics")
    wrote = [(system, section(system, "written")) for system in by_rank(task) if section(system, "written")]
    if found is None and not wrote:
        return None
    groups = [] if found is None else found["groups"]
    reasons: dict[str, list[str]] = {}
    for metric, reason in ({} if found is None else found["unavailable"]).items():
        reasons.setdefault(reason, []).append(definition(metric).title)
    return TextsView(
        written=written_table(wrote) if wrote else None,
        groups=[
            Group(
                group["note"],
                Grid(
                    group["title"],
                    ["System", *(definition(name).title for name in group["metrics"])],
                    [
                        (system["name"], [_briefly(cell_of(system, name)) for name in group["metrics"]])
                        for system in by_rank(task)
                    ],
                ),
            )
            for group in groups
        ],
        likelihood=likelihood_table(wrote),
        settings=[] if found is None else list(found["settings"].items()),
        missing=[f"{', '.join(titles)}: {reason}" for reason, titles in reasons.items()],
    )


def _briefly(cell: Cell) -> Cell:
    """Why a number is missing stands in the note of the cell: the tables are wide."""
    return Cell(NOTHING.text, note=f"{cell.text} {cell.interval}".strip()) if cell.empty else cell


def written_table(wrote: Sequence[tuple[SystemResult, WrittenDict]]) -> Plain:
    """A row a system: what its texts are like, whatever they say."""
    rows = [
        [
            system["name"],
            count(written["n"]),
            *(of_all(written[name], written["n"]) for name in ("empty", "cut_off", "preamble")),
            spread(written["tokens"], 0),
            spread(written["length_ratio"], 2),
        ]
        for system, written in wrote
    ]
    hint = (
        "Median (lower to upper quartile; lowest to highest). Cut off: ended at the limit of tokens. Preamble: begins "
        "with talk about the answer. Length: against the reference, 1 is as long."
    )
    columns = ["System", "Texts", "Empty", "Cut off", "Preamble", "Tokens written", "Length"]
    return Plain("The texts in counts", hint, columns, rows)


def likelihood_table(wrote: Sequence[tuple[SystemResult, WrittenDict]]) -> Plain | None:
    """Validation beside test, as the rest of the page tells test alone; None where no system has a likelihood."""
    rows = [
        [
            system["name"],
            *(decimal(known[split]["perplexity"], 1) if split in known else NOTHING.text for split in SPLITS),
            *(decimal(known[split]["bits_per_byte"], 2) if split in known else NOTHING.text for split in SPLITS),
            *(count(known[split]["tokens"]) if split in known else NOTHING.text for split in SPLITS),
        ]
        for system, written in wrote
        if (known := written["likelihood"])
    ]
    names = ("Perplexity", "Bits per byte", "Tokens of the references")
    columns = ["System", *(f"{name}, {split}" for name in names for split in SPLITS)]
    hint = "Of the references, over all their tokens, ends of turn among them; lower is better."
    return Plain("References on validation and test", hint, columns, rows) if rows else None


def of_all(events: int, n: int) -> str:
    """12 (20.0 %)."""
    return f"{count(events)} ({per_cent(events / n)})" if n else NOTHING.text


def spread(values: Sequence[float] | None, digits: int) -> str:
    """values: minimum, quartiles and maximum."""
    if values is None:
        return NOTHING.text
    low, q1, median, q3, high = (decimal(value, digits) for value in values)
    return f"{median} ({q1} to {q3}; {low} to {high})"


@dataclass(frozen=True)
class DoubtfulView:
    sentence: str
    table: Plain | None


def doubtful_view(subject: Subject) -> DoubtfulView | None:
    """The texts that a person should read first, by id; None where no system that learns has written."""
    found: DoubtfulTexts | None = section(subject.task, "doubtful_texts")
    if found is None:
        return None
    known = definition(subject.task["primary"])

    def shown(value: float | None) -> str:
        return NOTHING.text if value is None else per_cent(value) if known.percent else decimal(value)

    rows = [
        [
            text["id"],
            "; ".join(definition(reason).title.removesuffix(" (proxy)") for reason in text["reasons"]),
            shown(text["primary"]),
        ]
        for text in found["listed"]
    ]
    sentence = (
        f"In {count(found['doubtful'])} of {count(found['n'])} texts of {found['system']} rules found something to "
        "fear: a number that the source does not hold, a denial turned round, a changed side, no end, or nothing at "
        "all. The rules are proxies; they miss some faults and call some that are none. Read these first: the texts "
        "stand in the predictions of the run, under these ids."
    )
    return DoubtfulView(
        sentence,
        Plain("Texts to read first", "Most reasons first.", ["Record", "Why", known.title], rows) if rows else None,
    )
