"""What a reader must know of one system: answers that cannot be read, collapse and bias, floors that it misses."""

from scipy.stats import binomtest

from clinfit.evaluation.answers import LabelAnswers, confusion, repeats_of
from clinfit.evaluation.claims.wording import number
from clinfit.evaluation.context import Measured, MeasuredContext, Outcome
from clinfit.evaluation.decisions.thresholds import ThresholdChoice
from clinfit.evaluation.label_sets import LabelSets
from clinfit.evaluation.metrics.definitions import LOWER_IS_BETTER, METRICS
from clinfit.findings import Finding

UNPARSED_LIMIT = 0.01
#: Bias alert: predicted proportion further than this from the prevalence, and not by chance (exact test of the two
#: errors).
BIAS_LIMIT = 0.10
LOW_MASS = 0.5


def check_unparsed(context: MeasuredContext, item: Measured) -> Outcome:
    """Answers that cannot be read."""
    name, answers, lost = item.name, item.answers, ~item.answers.parsed
    if lost.mean() <= UNPARSED_LIMIT:
        return None, []
    by_label = ", ".join(
        f"{label}: {int(lost[answers.has_label(k)].sum())} of {answers.support[k] * repeats_of(answers)}"
        for k, label in enumerate(answers.labels)
    )
    title = f"{name}: {100 * lost.mean():.1f} % of the answers cannot be read and count as wrong"
    advice = "look at the raw answers; score by label likelihood, or train longer"
    return None, [Finding("warn", "unparsed", title, by_label, advice, name)]


def check_floors(context: MeasuredContext, item: Measured) -> Outcome:
    """Metrics that miss the study's floors, of trained systems."""
    if not item.system.trained:
        return None, []
    found = []
    for asked, floor in context.settings.floors.items():
        metric = context.engine.primary(asked, len(context.task.labels))
        result = item.metrics.get(metric)
        if result is None or result.value is None:
            continue
        lower = metric in LOWER_IS_BETTER
        if result.value > floor if lower else result.value < floor:
            found.append(
                Finding(
                    "warn",
                    "below-floor",
                    f"{item.name}: {METRICS[metric].title} {number(metric, result.value)} misses the study's "
                    f"{'ceiling' if lower else 'floor'} of {number(metric, floor)}",
                    f"{result.events} of {result.n}" if result.events is not None else f"{result.n} items",
                    "see the threshold rules and class weights",
                    item.name,
                )
            )
    return None, found


def check_informative(context: MeasuredContext, item: Measured) -> Outcome:
    """A trained system that is not shown to beat a constant answer."""
    unbeaten = context.uninformative.get(item.name)
    if not item.system.trained or unbeaten is None:
        return None, []
    return None, [
        Finding(
            "warn",
            "not-better-than-majority",
            f"{item.name} is not shown to be better than {unbeaten.name}",
            f"{METRICS[unbeaten.metric].title} of {unbeaten.name}: {number(unbeaten.metric, unbeaten.value)}",
            "do not use it; look at the data, the learning rate and the training curves",
            item.name,
        )
    ]


def check_label_mass(context: MeasuredContext, item: Measured) -> Outcome:
    """A language model that would rarely answer with a label."""
    mass = item.metrics.get("label_mass")
    if mass is None or mass.value is None or mass.value >= LOW_MASS:
        return None, []
    return None, [
        Finding(
            "warn" if item.system.trained else "info",
            "low-label-mass",
            f"{item.name} puts little probability on the labels",
            f"mean label mass {mass.value:.3f}; its probabilities are shares of an answer it would rarely give",
            "fine-tune, or change the prompt so that it asks for the labels by name",
            item.name,
        )
    ]


# ---------------------------------------------------------------- one label an item


def check_predictions(context: MeasuredContext, item: Measured) -> Outcome:
    """Collapse to one label, labels that are never given, and labels given far more or less often than they occur."""
    return None, [] if item.system.rule else _predictions(item.name, item.answers, item.decision.choice)


def _predictions(name: str, answers: LabelAnswers, choice: ThresholdChoice) -> list[Finding]:
    counts = confusion(answers)
    given, support, n, repeats = counts[:, :-1].sum(0), counts.sum(1), len(answers), repeats_of(answers)
    found = []
    if (given > 0).sum() == 1 and counts[:, -1].sum() == 0:
        label = answers.labels[int(given.argmax())]
        return [
            Finding(
                "warn",
                "constant-predictor",
                f"{name} answers {label!r} for every item",
                f"{n // repeats} items, {int(support[given.argmax()]) // repeats} of them {label!r}",
                "it has learned nothing or has collapsed: check labels, learning rate and class weights",
                name,
            )
        ]
    for k, label in enumerate(answers.labels):
        if support[k] and not given[k]:
            title = f"{name} never answers {label!r}"
            advice = "weight this class, or sample it more often"
            advice += ", or choose on validation (evaluation.threshold)" if choice.rule == "argmax" else ""
            found.append(
                Finding("warn", "never-predicted", title, f"{int(support[k]) // repeats} items have it", advice, name)
            )
        remedy = _remedy(choice, len(answers.labels))
        found += _bias(name, label, int(given[k]), int(support[k]), int(counts[k, k]), n, remedy, repeats)
    return found[:1] + found[2:] if len(answers.labels) == 2 and len(found) == 2 else found


def _bias(
    name: str, label: str, given: int, support: int, right: int, n: int, remedy: str, repeats: int
) -> list[Finding]:
    """Alert when a label is given far more or less often than it occurs, more than chance would.

    Of n answers, repeats of them to each item, which are not independent: the test counts as many as there are items.
    """
    wrongly_given, missed = given - right, support - right
    if abs(given - support) <= BIAS_LIMIT * n:
        return []
    wrong = round((wrongly_given + missed) / repeats)
    if not wrong or binomtest(min(round(wrongly_given / repeats), wrong), wrong, 0.5).pvalue >= 0.05:
        return []
    more = "more" if given > support else "less"
    return [
        Finding(
            "warn",
            "biased-predictions",
            f"{name} answers {label!r} {more} often than it occurs",
            f"{100 * given / n:.1f} % of the answers, {100 * support / n:.1f} % of the items",
            remedy,
            name,
        )
    ]


def _remedy(choice: ThresholdChoice, labels: int) -> str:
    """What to do about answers that lean to one label; a rule that leans on purpose is no fault."""
    what = "threshold" if labels == 2 else "label weights"
    if not choice.moved and choice.rule != "argmax":
        return "weight the classes, or train on more records of the rare ones"
    if not choice.moved:
        how = "a threshold" if labels == 2 else "label weights"
        return f"choose {how} on validation (evaluation.threshold), or weight the classes"
    if choice.split is None:
        fixed = "" if choice.value is None else f" at {choice.value:.4g}"
        return f"the study fixes the {what}{fixed}: let validation choose if this is not meant"
    return (
        f"the rule {choice.rule} chose the {what} on {choice.split}: if it is not meant to lean this way, take "
        "another rule, or weight the classes"
    )


# ---------------------------------------------------------------- any number of labels an item


def check_label_sets(context: MeasuredContext, item: Measured) -> Outcome:
    """Collapse to one set, labels that are never given, and labels given far more or less often than they occur."""
    chosen = any(choice.split for choice in item.decision.choices.values())
    return None, [] if item.system.rule else _label_sets(item.name, item.answers, chosen)


def _label_sets(name: str, answers: LabelSets, chosen: bool) -> list[Finding]:
    """chosen: whether its thresholds come from validation."""
    n, given, support, repeats = len(answers), answers.predicted.sum(0), answers.support, repeats_of(answers)
    if n > 1 and answers.parsed.all() and (answers.predicted == answers.predicted[0]).all():
        named = ", ".join(label for label, holds in zip(answers.labels, answers.predicted[0], strict=True) if holds)
        return [
            Finding(
                "warn",
                "constant-predictor",
                f"{name} gives every item the same labels: {named or 'none'}",
                f"{n // repeats} items",
                "it has learned nothing or has collapsed: check labels, learning rate and thresholds",
                name,
            )
        ]
    never = [f"{label} ({support[k]} items)" for k, label in enumerate(answers.labels) if support[k] and not given[k]]
    odd = [
        f"{label} {100 * given[k] / n:.1f} % against {100 * repeats * support[k] / n:.1f} %"
        for k, label in enumerate(answers.labels)
        if given[k] and _differs(answers, k)
    ]
    found = []
    if never:
        title = f"{name} never gives {len(never)} of {len(answers.labels)} labels"
        advice = "train longer, or on more records that have them"
        advice = advice if chosen else f"choose their thresholds on validation (threshold: {{rule: f1}}); else {advice}"
        found.append(Finding("warn", "never-predicted", title, ", ".join(never), advice, name))
    if odd:
        title = f"{name} gives {len(odd)} of {len(answers.labels)} labels far more or less often than they occur"
        advice = "their thresholds come from validation: more validation records of these labels make them sounder"
        advice = advice if chosen else "choose thresholds on validation: threshold: {rule: f1}"
        found.append(Finding("warn", "biased-predictions", title, ", ".join(odd), advice, name))
    return found


def _differs(answers: LabelSets, k: int) -> bool:
    """Whether a label is given more or less often than it occurs, by half its items or more, and not by chance.

    Answers of several repeats to an item are not independent: as many are counted as there are items.
    """
    repeats = repeats_of(answers)
    added = round(int((answers.predicted[:, k] & ~answers.gold[:, k]).sum()) / repeats)
    missed = round(int((answers.gold[:, k] & ~answers.predicted[:, k]).sum()) / repeats)
    if 2 * abs(added - missed) < answers.support[k] or added + missed == 0:
        return False
    return float(binomtest(added, added + missed, 0.5).pvalue) < 0.05
