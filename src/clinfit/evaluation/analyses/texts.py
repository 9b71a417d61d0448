"""Written texts: their form in counts, what is to be feared of them, and whether a rule that costs nothing does as
well.

Item scores are all that is read here, but for whether texts are alike; ids stand for texts.
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from clinfit.evaluation.analyses.language import quartiles, rows_on_test
from clinfit.evaluation.answers import Bools, has_folds, numbers, repeats_of
from clinfit.evaluation.claims.paired import paired_difference
from clinfit.evaluation.claims.ranking import chosen_among
from clinfit.evaluation.claims.wording import count_of, title
from clinfit.evaluation.claims.wording import evidence as told
from clinfit.evaluation.context import Context, Measured, MeasuredContext, Outcome
from clinfit.evaluation.metrics.generation import FAITHFULNESS, FEARED, FORM, GENERATION, LIKELIHOOD, OVERLAP, SHOWS
from clinfit.evaluation.metrics.text.definitions import KNOWN as TEXT
from clinfit.evaluation.metrics.text.definitions import unavailable
from clinfit.evaluation.metrics.text.overlap import signatures
from clinfit.evaluation.system_results import LikelihoodDict, WrittenDict
from clinfit.evaluation.text_answers import TextAnswers
from clinfit.evaluation.text_results import DoubtfulText, DoubtfulTexts, TextMetricGroup, TextMetrics
from clinfit.findings import Finding
from clinfit.prompts.reasoning import reasons, without_reasoning
from clinfit.study.evaluation import GenerationEvaluation
from clinfit.study.tasks import Writing

#: What a reader asks of a text: title, metrics, and what they can and cannot say.
GROUPS = (
    (
        "Agreement with the reference",
        OVERLAP,
        "Proxies: shared wording with one reference. Another good answer in other words counts as wrong, and one wrong "
        "number hardly shows.",
    ),
    (
        "Faithfulness to the source",
        FAITHFULNESS,
        "Proxies: whether numbers, names and denials of the text are in the source, by rules and a lexicon. A text "
        "that turns the meaning round with the same words can pass.",
    ),
    ("Form", FORM, "What is counted, and no proxy: it says nothing of whether a text is true."),
    (
        "Likelihood of the references",
        LIKELIHOOD,
        "How unlikely the model finds the reference texts. Perplexity is comparable between models with one tokenizer "
        "only, bits per byte between all; neither looks at what a model writes.",
    ),
)
#: Findings: share of the items from which each is told, code, metric, and what to do.
LIMITS = (
    (0.01, "empty-texts", "empty", "look at the prompt, and train longer"),
    (0.05, "cut-off-texts", "cut_off", "raise max_new_tokens, or train longer, so that the model learns to end"),
    (0.05, "preambles", "preamble", "say in the prompt that nothing but the answer is wanted, or train longer"),
    (0.05, "unsupported-numbers", "unsupported_numbers", ""),
    (0.05, "negation-flips", "negation_flips", ""),
    (0.02, "laterality-flips", "laterality_flips", ""),
    (0.02, "subject-flips", "subject_flips", ""),
)
READ = "a proxy by rules: read these texts before anything is concluded (the report lists their ids)"
#: A text is a copy of its source from this share of copied tokens on; share of such texts that is told.
COPIED, COPIES = 0.98, 0.5
#: Mean share of repeated runs of four tokens from which a system is said to repeat itself.
REPETITION = 0.2
#: Share of the records from which on one text for them all is told.
ALIKE = 0.5
#: Texts that are listed to be read.
LISTED = 20


def text_metrics(context: MeasuredContext) -> Outcome:
    """The groups of metrics, their settings, and those that could not be computed."""
    known = {name for item in context.measured for name in item.metrics}
    groups = [
        TextMetricGroup(title=named, note=note, metrics=shown)
        for named, metrics, note in GROUPS
        if (shown := [name for name in metrics if name in known])
    ]
    missing = unavailable()
    proxies = [name for name, metric in TEXT.items() if metric.proxy and name in known]
    section = TextMetrics(groups=groups, proxies=proxies, settings=signatures() | _judges(context), unavailable=missing)
    found = list(_sampled(context))
    if missing:
        titles = ", ".join(TEXT[name].title for name in missing)
        why = "; ".join(sorted({*missing.values()}))
        found.append(Finding("info", "metrics-not-computed", f"Not computed: {titles}", why))
    return section, found


def _sampled(context: MeasuredContext) -> Iterator[Finding]:
    """That texts were drawn at random, and what their figures then are of."""
    task = context.task
    asked = any(not item.system.rule for item in context.measured)
    if isinstance(task, Writing) and task.sampling is not None and asked:
        yield Finding(
            "info",
            "sampled-once",
            "Texts were drawn at random, one draw for each record",
            f"temperature {task.sampling.temperature:g}, top_p {task.sampling.top_p:g}; the intervals are of the "
            "records, and hold nothing of what other draws would give",
            "run several seeds to see how much figures change with the draw, or leave sampling out",
        )


def _judges(context: MeasuredContext) -> dict[str, str]:
    """What the metrics with weights of their own are computed with."""
    settings = context.settings
    assert isinstance(settings, GenerationEvaluation)
    found: dict[str, str] = {}
    if settings.bertscore is not None:
        layer = "its last layer" if settings.bertscore.layer is None else f"layer {settings.bertscore.layer}"
        found["bertscore"] = f"{settings.bertscore.encoder}, {layer}, F1, not rescaled"
    if settings.nli is not None:
        found["nli"] = f"{settings.nli.classifier}, sentence by sentence, entailment - contradiction"
    if settings.alignscore is not None:
        found["alignscore"] = f"{settings.alignscore.classifier}, sentences with pieces of the source, P(aligned)"
    return found


def written(context: MeasuredContext, item: Measured) -> Outcome:
    """The texts of a system in counts; findings on their form and faithfulness, of systems that are no rules."""
    answers: TextAnswers = item.answers
    rows = rows_on_test(context.table, item.system)
    splits = {"validation": item.system.validation, "test": item.system.test}
    section = WrittenDict(
        n=len(answers),
        empty=_count(answers, "empty"),
        cut_off=_count(answers, "cut_off"),
        preamble=_count(answers, "preamble"),
        tokens=quartiles(numbers(rows, "output_tokens")) if item.system.language_model else None,
        length_ratio=quartiles(answers.score("length_ratio")),
        likelihood={split: likely for split, part in splits.items() if (likely := _likelihood(part.answers))},
    )
    if item.system.rule:
        return section, []
    return section, [*_alike(item, rows), *_of_texts(item, answers), *_reasoning(item, rows), *_in_pieces(item, rows)]


def _likelihood(answers: TextAnswers) -> LikelihoodDict | None:
    """None where any text has none."""
    if not len(answers) or not answers.has_likelihood.all():
        return None
    estimates, repeats = GENERATION.estimates(answers), repeats_of(answers)
    return LikelihoodDict(
        perplexity=float(estimates["perplexity"]),
        bits_per_byte=float(estimates["bits_per_byte"]),
        tokens=int(answers.tokens.sum()) // repeats,
        bytes=int(answers.bytes.sum()) // repeats,
    )


def _alike(item: Measured, rows: pd.DataFrame) -> Iterator[Finding]:
    """One text that most records get, although no one reference is that of most; in a cross-validation one of each
    fold's model."""
    folded, most = has_folds(rows), ALIKE * len(rows)
    wrote = rows.loc[rows["status"] == "ok"]
    parts = [part for _, part in wrote.groupby(["repeat", "fold"])] if folded else [wrote]
    texts, references = (sum(_commonest(part[column]) for part in parts) for column in ("predicted", "gold"))
    if texts <= most or references > most:
        return
    different = [wrote[column].astype(str).str.strip().nunique() for column in ("predicted", "gold")]
    of = "records" if repeats_of(item.answers) == 1 else "answers"
    yield Finding(
        "warn" if item.system.trained else "info",
        "few-different-texts",
        f"{item.name} writes one and the same text to {count_of(texts, len(rows))} {of}"
        + (", in each fold its own" if folded else ""),
        f"{different[0]} different texts among {len(rows)} {of}, which have {different[1]} different references",
        "such a text says nothing of its record: look at the prompt, train longer or with a lower learning rate",
        item.name,
    )


def _reasoning(item: Measured, rows: pd.DataFrame) -> Iterator[Finding]:
    """That texts begin with a reasoning, which is no part of the answer, and how many are nothing else."""
    wrote = rows.loc[rows["raw"].notna(), "raw"].astype(str)
    reasoned = wrote[wrote.map(reasons)]
    if not len(reasoned):
        return
    endless = int(reasoned.map(lambda text: without_reasoning(text) is None).sum())
    answers = "answer" if endless == 1 else "answers"
    yield Finding(
        "warn" if endless else "info",
        "reasoning-in-texts",
        f"{item.name} reasons before {count_of(len(reasoned), len(rows))} of its answers, which is left out of them",
        f"{endless} {answers} empty, since the reasoning has no end" if endless else "each reasoning has an end",
        "raise max_new_tokens, or choose a base that answers without reasoning" if endless else "",
        item.name,
    )


def _in_pieces(item: Measured, rows: pd.DataFrame) -> Iterator[Finding]:
    """That what is likely is asked behind another prompt than what was written."""
    if "pieces" not in rows:
        return
    pieces, nats = numbers(rows, "pieces"), numbers(rows, "nats")
    several = int(((np.nan_to_num(pieces) > 0) & np.isfinite(nats)).sum())
    if several:
        yield Finding(
            "info",
            "likelihood-of-shortened",
            f"{item.name} read {count_of(several, len(rows))} of the records in pieces",
            "how likely it finds their references, and faults in them, is asked behind the record shortened to what it "
            "reads at once: perplexity, bits per byte and the contrasts hold that",
            "",
            item.name,
        )


def _commonest(texts: pd.Series) -> int:
    """How often the commonest text stands there; 0 where that says nothing."""
    counts = texts.astype(str).str.strip().value_counts()
    return int(counts.iloc[0]) if len(counts) and counts.index[0] else 0


def _of_texts(item: Measured, answers: TextAnswers) -> list[Finding]:
    level = "warn" if item.system.trained else "info"
    found = []
    for least, code, metric, advice in LIMITS:
        scores = answers.score(metric)
        n, events = int(np.isfinite(scores).sum()), _count(answers, metric)
        if n and events / n > least:
            named = f"{item.name}: {count_of(events, n)} of its texts {SHOWS[metric]}"
            evidence = "" if advice else TEXT[metric].formula
            found.append(Finding(level, code, named, evidence, advice or READ, item.name))
    repeated = item.metrics.get("repeated_ngrams")
    if repeated is not None and (repeated.value or 0.0) > REPETITION:
        share = f"{100 * (repeated.value or 0):.0f} % of its runs of four words were there before"
        named = f"{item.name} repeats itself: {share}"
        found.append(Finding(level, "repetition", named, "", "train longer, or lower max_new_tokens", item.name))
    copied = answers.score("coverage")
    known = np.isfinite(copied)
    if known.any() and (copied[known] >= COPIED).mean() >= COPIES:
        copies = count_of(int((copied[known] >= COPIED).sum()), int(known.sum()))
        named = f"{item.name}: {copies} of its texts are copied from the source"
        advice = "copying is faithful and may be no summary: compare with the baselines copy and lead"
        found.append(Finding("info", "copies-source", named, TEXT["coverage"].formula, advice, item.name))
    return found


def _count(answers: TextAnswers, metric: str) -> int:
    return int((np.nan_to_num(answers.score(metric)) > 0).sum())


def free_baselines(context: MeasuredContext) -> Outcome:
    """Rules that cost nothing and that the chosen one of the trained systems is not shown to beat."""
    best = chosen_among(context, context.trained)
    if best is None:
        return None, []
    unbeaten = []
    for rule in (item for item in context.measured if item.system.rule):
        found = paired_difference(context.primary, rule.scored, best.scored)
        if found.difference is not None and found.gain <= 0:
            unbeaten.append(f"{rule.name}: {told(found, None, context.confidence)}")
    if not unbeaten:
        return None, []
    names = ", ".join(line.partition(":")[0] for line in unbeaten)
    return None, [
        Finding(
            "warn",
            "free-baseline-as-good",
            f"{best.name} is not shown to be better than rules that cost nothing: {names}",
            f"{title(context.primary)}, {best.name} less the rule: {'; '.join(unbeaten)}",
            "what the rule gives needs no model: train longer, on more records, or with a larger base",
            best.name,
        )
    ]


def doubtful_texts(context: MeasuredContext) -> Outcome:
    """Texts of the model that a person should read first: those with most to be feared, then the least like their
    references. None of a rule, which writes what it was told to."""
    item = context.model
    if item.system.rule:
        item = chosen_among(context, context.trained) or item
    if item.system.rule:
        return None, []
    answers: TextAnswers = item.answers
    reasons: list[list[str]] = [[] for _ in range(len(answers))]
    for metric in FEARED:
        hit: Bools = np.nan_to_num(answers.score(metric)) > 0
        for at in np.flatnonzero(hit):
            reasons[at].append(metric)
    primary = answers.score(context.primary)
    order = sorted(
        (at for at in range(len(answers)) if reasons[at]),
        key=lambda at: (-len(reasons[at]), np.nan_to_num(primary[at], nan=-1.0), at),
    )
    worst: dict[str, int] = {}  # of a cross-validation a record may have several texts
    for at in order:
        worst.setdefault(str(item.system.test.ids[at]), at)
    listed = [
        DoubtfulText(id=name, reasons=reasons[at], primary=float(primary[at]) if np.isfinite(primary[at]) else None)
        for name, at in list(worst.items())[:LISTED]
    ]
    return DoubtfulTexts(system=item.name, n=len(answers), doubtful=len(order), listed=listed), []


def withheld_texts(context: Context, system: object, reason: str) -> dict[str, object]:
    """Nothing can be counted without scores."""
    return {}
