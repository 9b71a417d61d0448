"""The part of metrics.json that is about stages: what each gained, and what it cost the tasks before it."""

from typing import Literal

from typing_extensions import TypedDict

from clinfit.evaluation.system_results import MetricDict

ChangeKind = Literal["gain", "retention", "transfer", "joint", "naive"]


class StageValue(TypedDict):
    """One model after one stage on the test items of the task; over several seeds, their mean.

    words: what the stage did. taught: whether it trained the task; known: whether it or a stage before did. metric: the
    task's primary metric; with several seeds its interval is that of their mean on resampled items, and says nothing of
    other seeds. by_seed: seed -> value. sd: standard deviation between seeds. predicted: share of the items given each
    label, `unparsed` for none. recall: of each label. log_loss, ece: of the probabilities. validation: the
    primary metric there, larger is better, by which remedies are chosen. perplexity: of general text
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
    validation: float | None
    perplexity: float | None
    seconds: float | None


class StageChange(TypedDict):
    """The primary metric after stage `new` minus after stage `reference`, on the same items and seeds.

    kind: gain (when the task was learned, against the base or the stage before); retention (at the end, against when it
    was learned: backward transfer, negative where it was forgotten); transfer (before it was learned, against the base:
    forward transfer); joint, naive (at the end, against a model that learned all tasks at once, or one that retained
    nothing, named in `of`). direction: what the interval shows. margin, within, needed: non-inferiority by the margin
    of the task: whether it is shown, and else how many items would show it at 80 % power if nothing had changed.
    """

    kind: ChangeKind
    of: str | None
    reference: int
    new: int
    difference: float | None
    low: float | None
    high: float | None
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

    way: what its stages do, in words. learned: the stage that taught the task last. forgotten: largest value of the
    primary metric after a stage that knew the task, minus that at the end (Chaudhry et al., 2018); a maximum over
    noise, so never below 0. seconds: training time of all stages, a seed's.
    """

    model: str
    seeds: list[int]
    way: str
    learned: int | None
    rows: list[StageValue]
    changes: list[StageChange]
    forgotten: float | None
    seconds: float | None


class StageAverage(TypedDict):
    """A change of one model as its mean over several tasks, whose primary metrics have one unit, and more is better.

    kind: retention (backward transfer) or transfer (forward transfer), as in StageChange. The interval is normal, from
    those of the tasks: squared standard errors add up, and where tasks come from one file, which may hold the same
    patients, the standard errors themselves, which holds whatever the correlation.
    """

    model: str
    kind: Literal["retention", "transfer"]
    tasks: list[str]
    difference: float
    low: float
    high: float
    sentence: str


class StagesResult(TypedDict):
    """Stages over all tasks. chosen: the model that did best over all tasks on validation (mean rank), None where fewer
    than two went through stages. verdict: what may be said in a few sentences. averages: over several tasks."""

    chosen: str | None
    verdict: list[str]
    averages: list[StageAverage]
