"""Records that lose text to `max_length`: said before training of all records, and of the items that are scored."""

from collections.abc import Mapping, Sequence

import numpy as np

from clinfit.data.split_checks import differ
from clinfit.evaluation.analyses.language import rows_on_test
from clinfit.evaluation.answers import Bools, Floats, numbers
from clinfit.evaluation.context import Context, Outcome
from clinfit.evaluation.systems import System
from clinfit.findings import Finding

#: Share of records that lose text from which it is worth a note; mean loss, of what there was to read, for a warning.
NOTED, MUCH_LOST = 0.05, 0.5
#: With more labels than this only the two that differ most are named.
NAMED = 4


def check_shortened(context: Context) -> Outcome:
    """Of each model once: all its stages and seeds read the same."""
    systems: dict[str, System] = {system.model: system for system in context.systems}
    found = []
    for system in systems.values():
        rows = rows_on_test(context.table, system).sort_values("id", kind="stable")
        if "dropped_tokens" not in rows or len(rows) != len(system.test):
            continue
        answers = system.test.answers
        held = {label: answers.has_label(k) for k, label in enumerate(answers.labels)}
        dropped, read = numbers(rows, "dropped_tokens"), numbers(rows, "prompt_tokens")
        found += shortened_findings(system.name, "test items", dropped, read, held)
    return None, found


def shortened_findings(name: str, what: str, dropped: Floats, read: Floats, held: Mapping[str, Bools]) -> list[Finding]:
    """dropped, read: (n,) tokens that a model did not see, and those that it did; nan where not known. held: label ->
    (n,) records that have it. what: the records are called."""
    dropped = np.nan_to_num(dropped)
    cut = dropped > 0
    if cut.mean() < NOTED:
        return []
    lost = dropped / np.maximum(dropped + np.nan_to_num(read), 1)
    counts = {label: (int(cut[has].sum()), int(has.sum())) for label, has in held.items() if has.any()}
    uneven = _uneven(list(counts.values()))
    ordered = sorted(counts, key=lambda label: counts[label][0] / counts[label][1])
    named = ordered if len(ordered) <= NAMED else [ordered[0], ordered[-1]]
    shares = (", " if len(ordered) <= NAMED else " to ").join(
        f"{label} {some} of {n} ({some / n:.0%})" for label in named for some, n in [counts[label]]
    )
    advice = "raise train.max_length, or let `shorten` keep the part that tells the answer"
    if uneven:
        advice += "; labels lose text unequally, so that a model may learn what is missing: compare with a length alone"
    return [
        Finding(
            "warn" if uneven or lost.mean() >= MUCH_LOST else "info",
            "shortened-records",
            f"{int(cut.sum())} of {len(cut)} {what} lose text to max_length",
            f"{lost[cut].mean():.0%} of what there was to read in these, on average"
            + (f"; by label: {shares}" if shares else ""),
            advice,
            name,
        )
    ]


def _uneven(counts: Sequence[tuple[int, int]]) -> bool:
    """Whether records of one label are cut more often than those of all others together."""
    cut, n = sum(some for some, _ in counts), sum(of for _, of in counts)
    return any(differ(some, of, cut - some, n - of) for some, of in counts)
