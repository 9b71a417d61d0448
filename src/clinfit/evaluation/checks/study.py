"""What a reader must know of the study: models that did not finish, a metric by another name, a missing comparator, a
winner that was picked among many."""

from statistics import fmean

from clinfit.data.catalog.findings import contamination
from clinfit.evaluation.context import Context, Measured, MeasuredContext, Outcome
from clinfit.evaluation.metrics.definitions import METRICS
from clinfit.evaluation.systems import name_of
from clinfit.findings import Finding
from clinfit.study.models import WRITING_RULES, Baseline

#: Rules that look at a record.
INFORMED = ("keyword", "lexicon", *WRITING_RULES)
#: A simple model to compare with, by kind of task.
COMPARATOR = {
    "classification": "{name: lasso, family: classical, kind: lasso}",
    "multilabel": "{name: lasso, family: classical, kind: lasso}",
    "generation": "{name: lead, family: baseline, kind: lead}",
    "extraction": "{name: nearest, family: baseline, kind: nearest}",
}

#: From this number of models on the best on test may be the luckiest.
MANY_MODELS = 8


def check_runs(context: Context) -> Outcome:
    """Models that failed or did not finish, and alarms that training raised."""
    found = []
    for run, model in context.facts.models.items():
        if model.get("status") == "failed":
            reason = model.get("reason", "")
            advice = "see the run's log; the other models are not affected"
            found.append(Finding("warn", "model-failed", f"{run} failed and is not in the tables", reason, advice, run))
        elif model.get("status") == "running":
            title = f"{run} did not finish and is not in the tables"
            advice = "start the same run again to go on with it"
            found.append(Finding("warn", "model-unfinished", title, "", advice, run))
        found += [
            Finding("warn", "training-alarm", f"{run}: {alarm}", "", "see the training curves", run)
            for alarm in model.get("alarms", [])
        ]
    return None, found


def check_primary(context: Context) -> Outcome:
    """A primary metric of binary tasks on a task with more labels."""
    asked, used = context.settings.primary, context.primary
    if asked == used:
        return None, []
    title = f"The primary metric {asked} is reported as {used}, its form for more than two labels"
    advice = "name another primary metric if this is not meant"
    return None, [Finding("info", "primary-form", title, METRICS[used].formula, advice)]


def check_contamination(context: Context) -> Outcome:
    """What is known of the bases of the tested models having seen the public sets of the task."""
    specs = {spec.name: spec for system in context.systems if (spec := system.spec) is not None}
    return None, list(contamination(context.task, specs.values()))


def check_comparator(context: Context) -> Outcome:
    """Whether a study with a language model has a simple model that finished, to show what the large one adds."""
    specs = [system.spec for system in context.systems]
    simple = any(
        spec is not None and (spec.family == "classical" or (isinstance(spec, Baseline) and spec.kind in INFORMED))
        for spec in specs
    )
    elsewhere = context.facts.external is not None  # the study that made the pack had its comparators
    if simple or elsewhere or not any(system.language_model for system in context.systems):
        return None, []
    return None, [
        Finding(
            "warn",
            "no-simple-comparator",
            "No simple model was tested beside the language models",
            "neither a classical model nor a rule that looks at the record has finished",
            f"add one, such as {COMPARATOR[context.task.kind]}: what it reaches needs no language model",
        )
    ]


def check_choice(context: MeasuredContext) -> Outcome:
    """Whether the best of many trained models on test is the one that validation would have chosen; as where the model
    of the task is chosen, one in several stages counts once for each, and over seeds the mean does."""
    models: dict[tuple[str, int], list[Measured]] = {}
    for item in context.trained:
        models.setdefault((item.system.model, item.system.stage), []).append(item)
    if len(models) < MANY_MODELS:
        return None, []
    chosen = {
        model: fmean(values)
        for model, items in models.items()
        if (values := [item.validation_primary for item in items if item.validation_primary is not None])
    }
    best, top = max(chosen, key=chosen.__getitem__, default=None), next(iter(models))
    if best == top:
        return None, []
    names = {
        (model, stage): name_of(model, 0, stage, [at for name, at in models if name == model], False)[0]
        for model, stage in models
    }
    counted = ", each stage counted," if len({model for model, _ in models}) < len(models) else ""
    made = context.facts.freeze
    scored = f"; the test split was scored {made['scored']} times" if made is not None and made["scored"] > 1 else ""
    return None, [
        Finding(
            "warn",
            "best-of-many",
            f"{names[top]} is the best of {len(models)} models{counted} on test, and not the one that validation would "
            "have chosen",
            f"the best on validation is {names[best] if best else 'not known'}{scored}",
            "the best of many on one split is partly the luckiest: report the one that was best on validation, or test "
            "the winner on records that chose nothing",
        )
    ]
