"""Findings about the numbers: what must not be reported (error) and what must be read beside it (warn, info)."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from clinfit.errors import nearest
from clinfit.evaluation.answers import UNPARSED, Answers, confusion
from clinfit.evaluation.claims import Unbeaten
from clinfit.evaluation.definitions import LOWER_IS_BETTER, METRICS, primary_name
from clinfit.evaluation.metric import Metric
from clinfit.evaluation.results import Canary, Facts
from clinfit.evaluation.systems import System
from clinfit.evaluation.thresholds import ThresholdChoice
from clinfit.evaluation.wording import number
from clinfit.findings import Finding
from clinfit.study import Baseline, Study

#: Fewest items of each class for a test set that is not called small (Riley et al., 2024).
SMALL_CLASS = 100
#: Fewest groups for which resampling whole groups gives an interval that can be trusted (Cameron & Miller, 2015).
FEW_GROUPS = 30
UNPARSED_LIMIT = 0.01
#: Bias alert: predicted share further than this from the prevalence, and not by chance (exact test of the two errors).
SHARE_LIMIT = 0.10
LOW_MASS = 0.5


def check_items(systems: Sequence[System], labels: Sequence[str]) -> list[Finding]:
    """Errors that make every number wrong: labels outside the schema, items that do not match, one class only."""
    return [*_outside_labels(systems, labels), *_misaligned(systems), *_one_class(systems, labels)]


def _outside_labels(systems: Sequence[System], labels: Sequence[str]) -> list[Finding]:
    found = []
    for system in systems:
        gold, predicted = int((system.test.gold == UNPARSED).sum()), system.test.undeclared
        if gold or predicted:
            evidence = f"{gold} gold labels and {predicted} predictions of {len(system.test)} items"
            found.append(
                Finding(
                    "error",
                    "labels-outside-schema",
                    f"{system.name}: some labels are not among the declared labels",
                    f"{evidence}; declared: {', '.join(labels)}",
                    "map every value of the label column to a declared label; the types must match too",
                    system.name,
                )
            )
    return found


def _misaligned(systems: Sequence[System]) -> list[Finding]:
    found = []
    first = systems[0].test
    for system in systems:
        rows = system.test
        repeated = len(rows) - int(rows.ids.nunique())
        same = rows.ids.equals(first.ids)
        differing = 0 if same else len(rows.ids.symmetric_difference(first.ids))
        golds = int((rows.gold != first.gold).sum()) if same else 0
        if repeated or not same or golds:
            found.append(
                Finding(
                    "error",
                    "misaligned-items",
                    f"{system.name} was not tested on the same items as {systems[0].name}, each once",
                    f"{differing} ids in one of the two only, {repeated} repeated ids, {golds} different gold labels",
                    "predict the same test split with every model",
                    system.name,
                )
            )
    return found


def _one_class(systems: Sequence[System], labels: Sequence[str]) -> list[Finding]:
    codes = np.unique(systems[0].test.gold)
    if len(codes) != 1 or codes[0] == UNPARSED:
        return []
    only, n = labels[codes[0]], len(systems[0].test)
    return [
        Finding(
            "error",
            "one-class-test",
            f"Every item of the test set is {only!r}",
            f"{n} items; always answering {only!r} would score an accuracy of 100 %, whatever it has learned",
            "check the label map (true is not 'true'), and split so that the test set holds "
            + " and ".join(repr(label) for label in labels),
        )
    ]


def check_test_size(answers: Answers) -> list[Finding]:
    """Whether every class has enough items for a useful interval."""
    support = np.bincount(answers.gold, minlength=len(answers.labels))
    counts = ", ".join(f"{label}: {count}" for label, count in zip(answers.labels, support, strict=True))
    absent = [label for label, count in zip(answers.labels, support, strict=True) if count == 0]
    found = []
    if absent:
        found.append(
            Finding(
                "warn",
                "absent-label",
                f"The test set has no items labelled {', '.join(absent)}",
                counts,
                "nothing is known of these labels; split so that each occurs in the test set",
            )
        )
    if support.min() < SMALL_CLASS:
        found.append(
            Finding(
                "warn",
                "small-test-set",
                f"Small test set: {int(support.min())} items in the smallest class, {len(answers)} in all",
                counts,
                f"read the intervals, not the values; a sound check needs {SMALL_CLASS} items of each class",
            )
        )
    return found


def check_groups(groups: NDArray[np.int64]) -> list[Finding]:
    """Whether there are enough groups to resample; groups: (n,) code of each test item's group."""
    n = len(np.unique(groups))
    if n == len(groups) or n >= FEW_GROUPS:
        return []
    return [
        Finding(
            "warn",
            "few-groups",
            f"The {len(groups)} test items come from {n} groups only",
            f"intervals and tests resample whole groups; with fewer than {FEW_GROUPS} the intervals are too narrow",
            "test on more groups (patients, documents), not on more items of the same ones",
        )
    ]


def check_comparator(study: Study, systems: Sequence[System]) -> list[Finding]:
    """Whether a study with a language model has a simple model that finished, to show what the large one adds."""
    keyword = {spec.name for spec in study.models if isinstance(spec, Baseline) and spec.kind == "keyword"}
    simple = any(system.family == "classical" or system.model in keyword for system in systems)
    if simple or not any(system.language_model for system in systems):
        return []
    return [
        Finding(
            "warn",
            "no-simple-comparator",
            "No simple model was tested beside the language models",
            "neither a classical model nor a keyword rule has finished",
            "add one, such as {name: lasso, family: classical, kind: lasso}: what it reaches needs no language model",
        )
    ]


def check_system(
    system: System,
    answers: Answers,
    metrics: dict[str, Metric],
    choice: ThresholdChoice,
    floors: dict[str, float],
    obstacle: Unbeaten | None,
) -> list[Finding]:
    """What a reader must know of one system. obstacle: a trivial answer that it is not shown to beat."""
    name = system.name
    found = _answers(name, answers)
    if system.trained:
        found += _floors(name, metrics, floors, len(answers.labels))
    if system.family != "baseline":
        found += _predictions(name, answers)
        if choice.note is not None:
            code, advice = "threshold-fallback", "set evaluation.threshold to a rule that validation can satisfy"
            if choice.value is not None:
                code, advice = "threshold-note", "read the threshold with this in mind"
            found.append(Finding("warn", code, f"{name}: {choice.note}", "", advice, name))
    if system.trained and obstacle is not None:
        found.append(
            Finding(
                "warn",
                "not-better-than-majority",
                f"{name} is not shown to be better than {obstacle.name}",
                f"{METRICS[obstacle.metric].title} of {obstacle.name}: {number(obstacle.metric, obstacle.value)}",
                "do not use it; look at the data, the learning rate and the training curves",
                name,
            )
        )
    mass = metrics.get("label_mass")
    if mass is not None and mass.value is not None and mass.value < LOW_MASS:
        found.append(
            Finding(
                "warn" if system.trained else "info",
                "low-label-mass",
                f"{name} puts little probability on the labels",
                f"mean label mass {mass.value:.3f}; its probabilities are shares of an answer it would rarely give",
                "fine-tune, or change the prompt so that it asks for the labels by name",
                name,
            )
        )
    return found


def _answers(name: str, answers: Answers) -> list[Finding]:
    lost = answers.predicted == UNPARSED
    if lost.mean() <= UNPARSED_LIMIT:
        return []
    by_label = ", ".join(
        f"{label}: {int(lost[answers.gold == k].sum())} of {int((answers.gold == k).sum())}"
        for k, label in enumerate(answers.labels)
    )
    title = f"{name}: {100 * lost.mean():.1f} % of the answers hold no label and count as wrong"
    advice = "look at the raw answers; score by label likelihood, or train longer"
    return [Finding("warn", "unparsed", title, by_label, advice, name)]


def _predictions(name: str, answers: Answers) -> list[Finding]:
    counts = confusion(answers)
    given, support, n = counts[:, :-1].sum(0), counts.sum(1), len(answers)
    found = []
    if (given > 0).sum() == 1 and counts[:, -1].sum() == 0:
        label = answers.labels[int(given.argmax())]
        return [
            Finding(
                "warn",
                "constant-predictor",
                f"{name} answers {label!r} for every item",
                f"{n} items, {int(support[given.argmax()])} of them {label!r}",
                "it has learned nothing or has collapsed: check labels, learning rate and class weights",
                name,
            )
        ]
    for k, label in enumerate(answers.labels):
        if support[k] and not given[k]:
            title = f"{name} never answers {label!r}"
            advice = "weight this class, sample it more often, or lower the threshold"
            found.append(Finding("warn", "never-predicted", title, f"{int(support[k])} items have it", advice, name))
        found += _bias(name, label, int(given[k]), int(support[k]), int(counts[k, k]), n)
    return found[:1] + found[2:] if len(answers.labels) == 2 and len(found) == 2 else found


def _bias(name: str, label: str, given: int, support: int, right: int, n: int) -> list[Finding]:
    """Alert when a label is given far more or less often than it occurs, more than chance would."""
    wrongly_given, missed = given - right, support - right
    if abs(given - support) <= SHARE_LIMIT * n:
        return []
    if binomtest(wrongly_given, wrongly_given + missed, 0.5).pvalue >= 0.05:
        return []
    more = "more" if given > support else "less"
    return [
        Finding(
            "warn",
            "biased-predictions",
            f"{name} answers {label!r} {more} often than it occurs",
            f"{100 * given / n:.1f} % of the answers, {100 * support / n:.1f} % of the items",
            "choose the threshold on validation, or weight the classes",
            name,
        )
    ]


def _floors(name: str, metrics: dict[str, Metric], floors: dict[str, float], labels: int) -> list[Finding]:
    found = []
    for asked, floor in floors.items():
        metric = primary_name(asked, labels)
        result = metrics.get(metric)
        if result is None or result.value is None:
            continue
        lower = metric in LOWER_IS_BETTER
        if result.value > floor if lower else result.value < floor:
            found.append(
                Finding(
                    "warn",
                    "below-floor",
                    f"{name}: {METRICS[metric].title} {number(metric, result.value)} misses the study's "
                    f"{'ceiling' if lower else 'floor'} of {number(metric, floor)}",
                    f"{result.events} of {result.n}" if result.events is not None else f"{result.n} items",
                    "see the threshold rules and class weights",
                    name,
                )
            )
    return found


def check_floors(floors: dict[str, float]) -> list[Finding]:
    """Floors on metrics that do not exist."""
    return [
        Finding(
            "warn",
            "unknown-floor",
            f"evaluation.floors names {metric!r}, which is no metric",
            f"nearest: {nearest(metric, METRICS)}",
            "use a name of the glossary",
        )
        for metric in floors
        if metric not in METRICS
    ]


def check_canaries(canaries: Sequence[Canary]) -> list[Finding]:
    """A canary without its closed-form value: the harness itself is broken, so no number may be believed."""
    return [
        Finding(
            "error",
            "canary-failed",
            f"The evaluation does not measure the predictor {canary['name']!r} as it must",
            "; ".join(
                f"{name}: expected {value}, found {canary['found'][name]}"
                for name, value in canary["expected"].items()
                if value != canary["found"][name]
            ),
            "this is a fault of clinfit or of the predictions file; please report it",
        )
        for canary in canaries
        if not canary["passed"]
    ]


def check_primary(asked: str, used: str) -> list[Finding]:
    """A primary metric of binary tasks on a task with more labels."""
    if asked == used:
        return []
    title = f"The primary metric {asked} is reported as {used}, its form for more than two labels"
    return [
        Finding(
            "info", "primary-form", title, METRICS[used].formula, "name another primary metric if this is not meant"
        )
    ]


def check_runs(facts: Facts) -> list[Finding]:
    """Models that failed or did not finish, and alarms that training raised."""
    found = []
    for run, model in facts.get("models", {}).items():
        if model.get("status") == "failed":
            reason = model.get("reason", "")
            advice = "see the run's log; the other models are not affected"
            found.append(Finding("warn", "model-failed", f"{run} failed and is not in the tables", reason, advice, run))
        elif model.get("status") == "running":
            title, advice = (
                f"{run} did not finish and is not in the tables",
                "start the same run again to go on with it",
            )
            found.append(Finding("warn", "model-unfinished", title, "", advice, run))
        found += [
            Finding("warn", "training-alarm", f"{run}: {alarm}", "", "see the training curves", run)
            for alarm in model.get("alarms", [])
        ]
    return found
