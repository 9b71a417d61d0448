"""The scores of readers on a terminal: no text, only names, ids and numbers."""

from collections.abc import Iterator

from clinfit.evaluation.readings import CRITERIA, Agreement, Disagreement, RatedSystem, Reading

#: Disagreements that are listed; the file holds all.
LISTED = 20


def reading_lines(reading: Reading) -> Iterator[str]:
    for rater, scored in reading["raters"].items():
        yield f"{rater}: {scored} of {reading['texts']} texts scored by every question"
    for criterion in CRITERIA:
        rated = [found for found in reading["systems"] if found["criterion"] == criterion.name]
        if rated:
            yield f"\n{criterion.name} (1 {criterion.scale[0]} to {len(criterion.scale)} {criterion.scale[-1]})"
            yield from (f"  {_mean(found)}" for found in sorted(rated, key=lambda found: -found["mean"]))
        yield from (f"  {_agreed(found)}" for found in reading["agreement"] if found["criterion"] == criterion.name)
    if far := sorted(reading["disagreements"], key=_urgency):
        yield f"\n{len(far)} scores are far apart; read these texts together"
        for found in far[:LISTED]:
            given = ", ".join(f"{rater} {score}" for rater, score in zip(found["raters"], found["scores"], strict=True))
            yield f"  record {found['id']}, {found['system']}, {found['criterion']}: {given}"
        if len(far) > LISTED:
            yield f"  and {len(far) - LISTED} more in the run's folder reading/"


def _urgency(found: Disagreement) -> tuple[bool, int]:
    """Sorts disagreements on harm to the front, and then those that are further apart."""
    first, second = found["scores"]
    return found["criterion"] != "harm", -abs(first - second)


def _mean(found: RatedSystem) -> str:
    between = "no interval" if found["low"] is None else f"{found['low']:.2f} to {found['high']:.2f}"
    return f"{found['system']}: {found['mean']:.2f} ({between}; {found['n']} records)"


def _agreed(found: Agreement) -> str:
    pair = " and ".join(found["raters"])
    same = f"the same score for {100 * found['equal']:.0f} % of {found['n']} texts"
    if found["kappa"] is None:
        return f"{pair}: {same}; kappa not defined ({found['reason']})"
    between = "no interval" if found["low"] is None else f"{found['low']:.2f} to {found['high']:.2f}"
    return f"{pair}: weighted kappa {found['kappa']:.2f} ({between}), {same}"
