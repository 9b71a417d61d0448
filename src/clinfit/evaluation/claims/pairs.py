"""Which systems are compared: pairs that every study has, and those that it declares."""

from collections.abc import Sequence

from clinfit.evaluation.claims.comparisons import Pair
from clinfit.evaluation.context import Context, Outcome
from clinfit.evaluation.systems import System
from clinfit.findings import Finding


def all_pairs(systems: Sequence[System], baseline: System | None, declared: Sequence[Sequence[str]]) -> list[Pair]:
    """The pairs of a task. declared: (new, reference) models of the study's `compare`."""
    return with_declared(declared, systems, automatic_pairs(systems, baseline))


def automatic_pairs(systems: Sequence[System], baseline: System | None) -> list[Pair]:
    """Before and after of each trained model; each trained system against the same base with examples in its prompt,
    against majority, where there is such an answer, and against the baseline."""
    majority = next((system for system in systems if system.majority), None)
    before = {system.run: system.name for system in systems if system.moment == "before"}
    pairs = [
        Pair("before-after", before[system.run], system.name)
        for system in systems
        if system.moment == "after" and system.run in before
    ]
    trained = [system for system in systems if system.trained]
    pairs += [
        Pair("versus-few-shot", _same_seed(systems, shown, system), system.name)
        for system in trained
        for shown in _few_shot(systems, system)
    ]
    if majority is not None:
        pairs += [Pair("versus-majority", _same_seed(systems, majority, system), system.name) for system in trained]
    if baseline is not None and not baseline.majority:
        pairs += [
            Pair("versus-baseline", _same_seed(systems, baseline, system), system.name)
            for system in trained
            if system.model != baseline.model
        ]
    return pairs


def with_declared(
    declared: Sequence[Sequence[str]], systems: Sequence[System], automatic: Sequence[Pair]
) -> list[Pair]:
    """The automatic pairs and then those of `evaluation.compare`, without what is there already.

    A model means its last stage. Seeds stay apart: each seed of one model is compared with the same seed of the other,
    and a model with a single seed with every seed of the other. The same two systems the other way round are kept,
    because a margin asks in one direction only; the correction for several tests counts them once (comparisons.py).
    """
    known = {(pair.reference, pair.new) for pair in automatic}
    pairs = list(automatic)
    for new, reference in declared:
        for first, second in _by_seed(_last_stages(systems, new), _last_stages(systems, reference)):
            if (second.name, first.name) not in known:
                known.add((second.name, first.name))
                pairs.append(Pair("declared", second.name, first.name))
    return pairs


def check_declared(context: Context) -> Outcome:
    """A warning for each declared pair of which a model has no test predictions."""
    models = {system.model for system in context.systems}
    return None, [
        Finding(
            "warn",
            "declared-pair-missing",
            f"The declared comparison of {new} with {reference} was not made",
            "no test predictions of " + " and ".join(name for name in (new, reference) if name not in models),
            "run the models that are missing; a declared comparison that is left out must be reported",
        )
        for new, reference in context.settings.compare
        if not {new, reference} <= models
    ]


def _few_shot(systems: Sequence[System], system: System) -> list[System]:
    """One system of each model that asks the same base with examples in its prompt."""
    base = _base(system)
    if base is None or getattr(system.spec, "shots", 0):
        return []
    shown = [other for other in systems if getattr(other.spec, "shots", 0) and _base(other) == base]
    return [*{other.model: other for other in shown}.values()]


def _base(system: System) -> tuple[object, ...] | None:
    """What a language model stands on: base, revision and number format; None of others."""
    spec = system.spec
    if getattr(spec, "base", None) is None:
        return None
    return tuple(getattr(spec, name, None) for name in ("family", "base", "revision", "quantization"))


def _same_seed(systems: Sequence[System], reference: System, system: System) -> str:
    """The reference's run with the system's seed, where there is one."""
    for other in systems:
        if (other.model, other.stage, other.seed) == (reference.model, reference.stage, system.seed):
            return other.name
    return reference.name


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
