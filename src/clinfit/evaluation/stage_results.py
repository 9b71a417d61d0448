"""The part of metrics.json that is about stages: what each gained, and what it cost the tasks before it."""

from typing import Literal

from typing_extensions import TypedDict

from clinfit.evaluation.system_results import MetricDict

ChangeKind = Literal["gain", "retention", "transfer", "joint", "single", "naive"]


class StageValue(TypedDict):
    """One model after one stage on the test items of the task; over several seeds, their mean.

    words: what the stage did. taught: whether it trained the task; known: whether it or a stage before did. metric: the
    task's primary metric; with several seeds its interval is that of their mean on resampled items, and says nothing of
    other seeds. by_seed: seed -> value. sd: standard deviation between seeds. predicted: share of the items given each
    label, `unparsed` for none. recall: of each label. log_loss, ece: of the probabilities. label_mass: mean probability
    of all labels together, of language models; it falls where a model forgets how to answer. validation: the primary
    metric there, larger is better, by which remedies are chosen. perplexity: of general text
    (scoring/general_text.py), of language models. seconds: training time.
    """

    stage: int
    words: str
    taught: bool
    known: bool
    metric: MetricDict
    by_seed: dict[str, float | None]
    sd: float | None
    predicted: dict[str, float]
    recall: dict[str, float | None]
    log_loss: float | None
    ece: float | None
    label_mass: float | None
    validation: float | None
    perplexity: float | None
    seconds: float | None


class StageChange(TypedDict):
    """The primary metric after stage `new` minus after stage `reference`, on the same items and seeds.

    kind: gain (when the task was first taught, against the base or the stage before); retention (at the end, against
    when it was first taught: backward transfer, negative where it was forgotten); transfer (before it was taught,
    against the base: forward transfer); joint, single, naive (at the end, against a model that learned all tasks at
    once, one that learned this task alone, or one that retained nothing, named in `of`). item_error: standard error of
    the difference as far as other items would change it. direction: what the interval shows. margin, within, needed:
    non-inferiority by the margin of the task: whether it is shown, and else how many items would show it at 80 % power
    if nothing had changed; null where more items are not what is missing. Over several seeds low, high
    and p hold what other items and other seeds would change; they are corrected for no number of changes.
    """

    kind: ChangeKind
    of: str | None
    reference: int
    new: int
    difference: float | None
    low: float | None
    high: float | None
    item_error: float | None
    method: str | None
    p: float | None
    n: int
    by_seed: dict[str, float | None]
    direction: Literal["better", "worse", "no difference shown", "not estimable"]
    margin: float | None
    within: bool | None
    needed: int | None
    sentence: str


class StagedModel(TypedDict):
    """One model through its stages, as one task sees it.

    base: family and checkpoint. way: what its stages do, in words. learned: the stage that taught the task first.
    mastered: whether the model is shown to know it when that stage ends, better than a constant answer with one seed at
    least; null where that cannot be asked. Of a task that it does not know, nothing can be forgotten. forgotten:
    largest value of the primary metric after an earlier stage that knew the task, minus that at the end (Chaudhry et
    al., 2018); a maximum over noise, no test; null of a task that the last stage taught. base_perplexity: of general
    text, before any training.
    seconds, tokens: training time of all stages, and the tokens trained on, a seed's.
    """

    model: str
    base: str
    seeds: list[int]
    way: str
    learned: int | None
    rows: list[StageValue]
    changes: list[StageChange]
    mastered: bool | None
    forgotten: float | None
    base_perplexity: float | None
    seconds: float | None
    tokens: float | None


class StageAverage(TypedDict):
    """A change of one model as its mean over several tasks, whose primary metrics have one unit, and more is better.

    kind: retention (backward transfer) or transfer (forward transfer), as in StageChange. Errors of the tasks' items
    add up in squares, and where tasks come from one file, which may hold the same patients, as they are, which holds
    whatever the correlation; the seeds are the same in every task, so that their error is that of each seed's mean.
    """

    model: str
    kind: Literal["retention", "transfer"]
    tasks: list[str]
    difference: float
    low: float
    high: float
    sentence: str


class StagesOfBase(TypedDict):
    """Models of one base that learned the same tasks, as the ways through the stages that may be held against each
    other. chosen: the one that did best over all tasks on validation (mean rank), null where they were no two, or have
    no value there. conclusion: what was forgotten, what keeps it and what that costs, in one sentence. verdict: what it
    rests on, in a few. averages: over several tasks."""

    base: str
    tasks: list[str]
    models: list[str]
    chosen: str | None
    conclusion: str
    verdict: list[str]
    averages: list[StageAverage]


class StagesResult(TypedDict):
    """Stages over all tasks. ways: of each base and set of tasks, in the order of the study."""

    ways: list[StagesOfBase]
