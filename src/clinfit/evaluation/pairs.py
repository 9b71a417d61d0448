"""Which systems are compared because the study declared it, beside the pairs that every study has."""

from collections.abc import Sequence

from clinfit.evaluation.claims import Pair
from clinfit.evaluation.systems import System
from clinfit.findings import Finding
from clinfit.study import Study


def with_declared(study: Study, systems: Sequence[System], automatic: Sequence[Pair]) -> list[Pair]:
    """The automatic pairs and then those of `evaluation.compare`, without what is there already.

    A model means its last stage. Seeds stay apart: each seed of one model is compared with the same seed of the other,
    and a model with a single seed with every seed of the other. The same two systems the other way round are kept,
    because a margin asks in one direction only; the correction for several tests counts them once (claims.py).
    """
    known = {(pair.reference, pair.new) for pair in automatic}
    pairs = list(automatic)
    for new, reference in study.evaluation.compare:
        for first, second in _by_seed(_last_stages(systems, new), _last_stages(systems, reference)):
            if (second.name, first.name) not in known:
                known.add((second.name, first.name))
                pairs.append(Pair("declared", second.name, first.name))
    return pairs


def check_declared(study: Study, systems: Sequence[System]) -> list[Finding]:
    """A warning for each declared pair of which a model has no test predictions."""
    models = {system.model for system in systems}
    return [
        Finding(
            "warn",
            "declared-pair-missing",
            f"The declared comparison of {new} with {reference} was not made",
            "no test predictions of " + " and ".join(name for name in (new, reference) if name not in models),
            "run the models that are missing; a declared comparison that is left out must be reported",
        )
        for new, reference in study.evaluation.compare
        if not {new, reference} <= models
    ]


def _last_stages(systems: Sequence[System], model: str) -> dict[int, System]:
    """The last stage of a model, by seed."""
    found: dict[int, System] = {}
    for system in systems:
        if system.model == model and (system.seed not in found or system.stage > found[system.seed].stage):
            found[system.seed] = system
    return found


def _by_seed(new: dict[int, System], reference: dict[int, System]) -> list[tuple[System, System]]:
    """(new, reference) of the same seed; a model with one seed stands for all."""
    if len(new) == 1:
        return [(only, other) for only in new.values() for other in reference.values()]
    if len(reference) == 1:
        return [(other, only) for other in new.values() for only in reference.values()]
    return [(new[seed], reference[seed]) for seed in new if seed in reference]
