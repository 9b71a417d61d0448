"""Whether a system is informative: shown to be better than the constant answers, which always say the same."""

from collections.abc import Mapping
from dataclasses import dataclass

from clinfit.evaluation.claims.paired import paired_difference
from clinfit.evaluation.metrics.engine import Engine, Scored


@dataclass(frozen=True)
class ConstantAnswer:
    """A constant answer that a system is not shown to beat: its value in the metric, and its accuracy, if any."""

    name: str
    value: float
    metric: str
    accuracy: float | None


class ConstantAnswers:
    """The constant answers on the same items, and which of them a system is not shown to beat."""

    def __init__(self, engine: Engine, answers: Mapping[str, Scored], primary: str) -> None:
        self._engine, self._answers = engine, answers
        self._primary = primary if primary in engine.fair else engine.stand_in
        self._known: dict[tuple[str, str], ConstantAnswer | None] = {}

    def not_beaten(self, name: str, system: Scored, metric: str | None = None) -> ConstantAnswer | None:
        """The first constant answer that the named system is not shown to beat, None when it beats them all.

        It must beat them in the primary metric (the engine's stand-in where that is not fair) and in `metric` if fair.
        """
        found = self._in_metric(name, system, self._primary)
        if found is None and metric is not None and metric.partition(":")[0] in self._engine.fair:
            return self._in_metric(name, system, metric)
        return found

    def _in_metric(self, name: str, system: Scored, metric: str) -> ConstantAnswer | None:
        if (name, metric) not in self._known:
            ahead = ((answer, scored, self._ahead(scored, system, metric)) for answer, scored in self._answers.items())
            self._known[name, metric] = next(
                (
                    ConstantAnswer(answer, value, metric, scored.estimates.get("accuracy"))
                    for answer, scored, value in ahead
                    if value is not None
                ),
                None,
            )
        return self._known[name, metric]

    def _ahead(self, constant: Scored, system: Scored, metric: str) -> float | None:
        """The constant answer's value where the system is not shown to beat it, else None."""
        found = paired_difference(metric, constant, system)
        if found.reference is None:
            return None
        if found.alike:
            # All resamples or folds agree, as they do for perfect answers: the labels themselves then decide.
            found = paired_difference(self._engine.exact, constant, system)
        return None if found.shown(system.confidence) > 0 else constant.estimates[metric]
