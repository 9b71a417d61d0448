"""The first table of the records, as `data/characteristics.py` has made it: nothing in it depends on a system."""

from clinfit.evaluation.context import Context, Outcome


def characteristics(context: Context) -> Outcome:
    """The table, where a run has made it."""
    return context.facts.characteristics, []
