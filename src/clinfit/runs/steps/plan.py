"""What a study asks to be done: its steps, in order, before any of them is done.

A step is the smallest unit that is done, kept and resumed: one model with one seed (a run) is fitted in one stage, or
answers one split of one task after it. What a step is made from is known beforehand and hashed, and the hashes are
chained: that of a second stage holds that of the first. A step whose hash is unchanged is never done again.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any, Literal

import clinfit
from clinfit.data.load import TaskData
from clinfit.data.records import Split
from clinfit.files import hash_json
from clinfit.runs.folder import SEARCH
from clinfit.runs.steps import abstention, contrast
from clinfit.runs.steps.item_scores import deciding
from clinfit.study.data import Fold
from clinfit.study.evaluation import GenerationEvaluation, TaskEvaluation
from clinfit.study.models import Baseline, LanguageModel, Mlx, ModelSpec, Neural
from clinfit.study.remote import Remote
from clinfit.study.schema import Study
from clinfit.study.tasks import Generation, Task, TextTask, Writing
from clinfit.study.taught import Taught, stages_of

#: The splits that models answer: thresholds are chosen on the first, metrics come from the second.
ANSWERED: tuple[Split, ...] = ("validation", "test")

#: Fields of a model that say what is asked of it and not what it is.
ASKED_OF_IT = {
    "tasks", "compare_base", "generate", "importance", "words", "refit", "requests", "price", "api_key_env",
}  # fmt: skip
#: Fields that do not change what one stage makes of the stage before: models that differ only here share stages.
OF_OTHER_STAGES = {"name", "seeds", "stages"}
#: Settings of a stage that stand in the inputs of its fit by themselves.
CHAINED = {"train", "start"}

#: Fields of a causal model that change nothing before training: models that differ only here share stage 0.
TRAINING_ONLY = {
    "name", "seeds", "stages", "method", "shots", "lora", "class_weights", "focal_gamma", "sampling", "train", "search",
}  # fmt: skip
READ_BEFORE_TRAINING = {"max_length", "shorten", "precision"}

#: Kinds of task whose inputs may be shuffled; an option is an answer, not a part of the question.
SHUFFLED = {"classification", "multilabel"}

#: Kinds of task that a free answer may be asked of beside the probabilities.
ANSWERED_FREELY = {"classification", "multiple-choice"}

#: Part of the inputs of every search: other numbers for the same trials need another one.
SEARCH_VERSION = 1

#: The worker of models without a pretrained base.
CLASSICAL = "classical"

#: Name and revision of a base -> what identifies its weights.
Identity = Callable[[str, str | None], Mapping[str, Any]]


@dataclass(frozen=True)
class Step:
    """One thing to do; `fit` writes the model of a stage, `answer` one predictions table, `score-items` the scores of
    its texts, `search` the hyperparameters that the fits of its run take, `importance` what a model answers while its
    inputs are shuffled, `abstention` whether it declines when the context is not there, `contrast` how unlikely it
    finds references with a fault.

    inputs: SHA-256 over all that decides the outcome. needs: ids of the steps that must be done before. worker: steps
    with one key share a process and a base. task and split are None for a fit.
    """

    id: str
    action: Literal["search", "fit", "answer", "score-items", "importance", "abstention", "contrast"]
    run: str
    stage: int
    task: str | None
    split: Split | None
    inputs: str
    needs: tuple[str, ...]
    worker: str

    @property
    def writes(self) -> str:
        """What it writes, relative to the folder of its run."""
        return str(PurePosixPath(self.id).relative_to(self.run))

    @property
    def starts(self) -> tuple[str, ...]:
        """Of a fit: the fits that it goes on from, without the search that chose its settings."""
        return tuple(need for need in self.needs if not need.endswith(f"/{SEARCH}"))

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> "Step":
        """The step whose `asdict` went through JSON."""
        return cls(**{**content, "needs": tuple(content["needs"])})


@dataclass(frozen=True)
class Run:
    """One model with one seed, through all stages; in a cross-validation with one fold, or with all records (`refit`):
    then it is asked nothing, since no record is left that could test it."""

    spec: ModelSpec
    seed: int
    fold: Fold | None = None
    refit: bool = False

    @property
    def name(self) -> str:
        return f"{self.spec.name}-seed{self.seed}" + (f"-{self.fold}" if self.fold else "-refit" if self.refit else "")

    def data(self, task: TaskData) -> TaskData:
        """The records of a task as the run learns from them and is asked of them."""
        return task.refitted(self.spec.chooses) if self.refit else task.of(self.fold)


@dataclass(frozen=True)
class Question:
    """One split of one task, and all that decides which records are asked what."""

    task: str
    split: Split
    content: dict[str, Any]


def plan(
    study: Study, data: Mapping[str, TaskData], identity: Identity, models: Sequence[ModelSpec] | None = None
) -> list[Step]:
    """Every step of the study (of `models` alone where they are given), each behind the steps that it needs.

    Nothing is read or written: `identity` gives what identifies the weights of a base.
    """
    divided: dict[Fold | None, dict[str, TaskData]] = {}  # models share folds, and fingerprints take a while
    steps: list[Step] = []
    for run in runs_of(study, models):
        own = {} if run.refit else divided.setdefault(run.fold, {})
        if not own:
            own |= {name: run.data(task) for name, task in data.items()}
        steps += _steps_of(study, own, run, identity)
    return steps


def runs_of(study: Study, models: Sequence[ModelSpec] | None = None) -> list[Run]:
    """Every model with every seed and every fold, behind them the model refitted on all records where that is asked
    for; what draws nothing at random has one seed, which says all of them."""
    return [
        run
        for spec in (study.models if models is None else models)
        for seed in study.seeds_of(spec)
        for run in [
            *(Run(spec, seed, fold) for fold in study.folds or [None]),
            *([Run(spec, seed, refit=True)] if spec.refit else []),
        ]
    ]


def answers_before_training(spec: ModelSpec) -> bool:
    """Whether the model is asked before its first stage, too."""
    return isinstance(spec, LanguageModel) and spec.compare_base and not spec.prompting


def free_tokens(spec: ModelSpec, task: Task) -> int:
    """Most tokens of the free answer that is asked for beside the label probabilities; 0: none.

    A multilabel task asks a question for each label, and no single text answers it; of generation the text is the
    answer.
    """
    return spec.generate if isinstance(spec, LanguageModel) and task.kind in ANSWERED_FREELY else 0


def worker_key(spec: ModelSpec) -> str:
    """Base and precision, which the models of one process share; of remote models their server."""
    if isinstance(spec, Remote):
        return spec.url
    if not isinstance(spec, Neural):
        return CLASSICAL
    base = spec.base + (f"@{spec.revision}" if spec.revision else "")
    return f"{base} {spec.train.precision}" + (" 4bit" if spec.four_bit else " mlx" if isinstance(spec, Mlx) else "")


# ---------------------------------------------------------------- the steps of one run


def _steps_of(study: Study, data: Mapping[str, TaskData], run: Run, identity: Identity) -> Iterator[Step]:
    base, questions = _base(run.spec, identity), [] if run.refit else _questions(study, run.spec, data)
    if answers_before_training(run.spec):
        before = _before_training(run.spec, base)
        for question in questions:
            yield from _answered(study, run, 0, question, {"model": before}, None, identity)
    fits: dict[int, Step] = {}
    through = stages_of(study, run.spec)
    search = _search(study, data, run, through[0], base) if run.spec.searched is not None and through else None
    if search is not None:
        yield search
    for taught in through:
        starts = [fits[start] for start in taught.starts]
        fit = fits[taught.number] = _fit(study, data, run, taught, starts, base, search)
        yield fit
        for question in questions:
            # A classifier has no answer to what it never learned.
            if run.spec.untaught or question.task in taught.learned:
                yield from _answered(study, run, taught.number, question, {"fit": fit.inputs}, fit, identity)
    if through and run.spec.asked_importance and run.fold is None:  # each fold's model would need other inputs
        last, learned = fits[through[-1].number], through[-1].learned
        yield from (_importance(run, question, last) for question in questions if _shuffles(study, question, learned))


def _search(study: Study, data: Mapping[str, TaskData], run: Run, taught: Taught, base: Any) -> Step:
    """The search of a model, by its first seed: what it finds holds for all of them, so that in every other run the
    step is the same and is copied."""
    inputs = hash_json(
        _trained_on(study, data, run.spec, taught, base)
        | {
            "search": SEARCH_VERSION,
            "seed": study.seeds_of(run.spec)[0],
            "primary": {name: study.settings(name).primary for name in taught.all_weights},
        }
    )
    worker = worker_key(run.spec)
    return Step(f"{run.name}/{SEARCH}", "search", run.name, taught.number, None, None, inputs, (), worker)


def _trained_on(
    study: Study, data: Mapping[str, TaskData], spec: ModelSpec, taught: Taught, base: Any
) -> dict[str, Any]:
    """What decides a training but for its seed, and what it starts from; trials of a search are trainings, too."""
    stage = taught.stage
    return {
        "clinfit": _version(),
        "spec": spec.model_dump(mode="json", exclude=ASKED_OF_IT | OF_OTHER_STAGES),
        "base": base,
        "tasks": [_asked(name, task) for name, task in study.tasks_of(spec).items()],
        # A list, since the order of the records counts.
        "records": [[name, weight, data[name].fingerprint] for name, weight in taught.all_weights.items()],
        "stage": stage.model_dump(mode="json", exclude=CHAINED | {"merge"})
        | {"merge": stage.merge and stage.merge.model_dump(mode="json", exclude={"stages"})},
    }


def _fit(
    study: Study,
    data: Mapping[str, TaskData],
    run: Run,
    taught: Taught,
    starts: Sequence[Step],
    base: Any,
    search: Step | None,
) -> Step:
    spec, weights = run.spec, taught.all_weights
    primary = isinstance(spec, Neural) and spec.train.select_by == "primary"
    inputs = hash_json(
        _trained_on(study, data, spec, taught, base)
        | {
            "seed": run.seed,
            "rehearsed": sorted(taught.rehearsed),
            "start": [step.inputs for step in starts],
            "search": search and search.inputs,
            "primary": {name: study.settings(name).primary for name in weights} if primary else None,
        }
    )
    needs = tuple(step.id for step in [*starts, *([search] if search is not None else [])])
    name = f"{run.name}/stages/{taught.number}/model"
    return Step(name, "fit", run.name, taught.number, None, None, inputs, needs, worker_key(spec))


def _answered(
    study: Study,
    run: Run,
    stage: int,
    question: Question,
    asked_of: dict[str, Any],
    fit: Step | None,
    identity: Identity,
) -> Iterator[Step]:
    """The answers to a question; of those that are texts the scores, and on test what else is asked."""
    answer = _answer(run, stage, question, asked_of, fit)
    yield answer
    task, settings = study.tasks[question.task], study.settings(question.task)
    if isinstance(task, Writing):
        yield _score_items(answer, task, settings, identity)
    rule = isinstance(run.spec, Baseline)  # which neither declines nor doubts
    if (
        isinstance(task, Generation)
        and isinstance(settings, GenerationEvaluation)
        and question.split == "test"
        and not rule
    ):
        yield from _asked_more(settings, task, answer, fit)


def _asked_more(settings: GenerationEvaluation, task: Generation, answer: Step, fit: Step | None) -> Iterator[Step]:
    """What else the study asks of models that write. Abstention rests on the answers, too, whose texts it reads."""
    if settings.abstention is not None:
        content = settings.abstention.model_dump(mode="json") | {"version": abstention.VERSION}
        inputs = hash_json({"answer": answer.inputs, "abstention": content})
        yield replace(answer, id=_beside(answer, "abstention"), action="abstention", inputs=inputs, needs=(answer.id,))
    if settings.contrast:
        content = {"items": settings.contrast, "sources": task.sources, "version": contrast.VERSION}
        inputs = hash_json({"answer": answer.inputs, "contrast": content})
        needs = () if fit is None else (fit.id,)
        yield replace(answer, id=_beside(answer, "contrast"), action="contrast", inputs=inputs, needs=needs)


def _beside(answer: Step, what: str) -> str:
    return f"{answer.run}/{what}/{answer.task}-stage{answer.stage}.parquet"


def _score_items(answer: Step, task: TextTask, settings: TaskEvaluation, identity: Identity) -> Step:
    """The worker is that of the answers, which has the records; scoring loads no model under test."""
    inputs = hash_json({"answer": answer.inputs, "scores": deciding(task, settings, identity)})
    name = answer.id.replace("/predictions/", "/scores/")
    return replace(answer, id=name, action="score-items", inputs=inputs, needs=(answer.id,))


def _answer(run: Run, stage: int, question: Question, asked_of: dict[str, Any], fit: Step | None) -> Step:
    """asked_of: what decides the model that is asked, and how it is asked."""
    name = f"{run.name}/predictions/{question.task}-{question.split}-stage{stage}.parquet"
    inputs = hash_json(asked_of | question.content)
    needs = () if fit is None else (fit.id,)
    return Step(name, "answer", run.name, stage, question.task, question.split, inputs, needs, worker_key(run.spec))


def _importance(run: Run, question: Question, fit: Step) -> Step:
    """What the model needs of the records, asked after the last stage."""
    name = f"{run.name}/importance/{question.task}-stage{fit.stage}"
    inputs = hash_json({"fit": fit.inputs, "importance": True, "words": run.spec.named_words} | question.content)
    needs, worker = (fit.id,), worker_key(run.spec)
    return Step(name, "importance", run.name, fit.stage, question.task, question.split, inputs, needs, worker)


def _shuffles(study: Study, question: Question, learned: Collection[str]) -> bool:
    """Whether the inputs of the question are shuffled: on validation, of a task that was learned, of these kinds."""
    return question.split == "validation" and question.task in learned and study.tasks[question.task].kind in SHUFFLED


def _questions(study: Study, spec: ModelSpec, data: Mapping[str, TaskData]) -> list[Question]:
    """Every table that a stage writes; splits without records have none."""
    return [
        Question(
            name,
            split,
            {"task": _asked(name, task), "split": split, "records": data[name].fingerprint}
            | {"generate": free_tokens(spec, task)},
        )
        for name, task in study.tasks_of(spec).items()
        for split in ANSWERED
        if any(record.split == split for record in data[name].records)
    ]


def _asked(name: str, task: Task) -> dict[str, Any]:
    """What is asked of the records; where they lie does not matter."""
    return {
        "name": name,
        "task": task.model_dump(mode="json", exclude={"data", "evaluation", "source"}),  # source: of item scores alone
        # A list, since their order counts: prompts show the inputs in it.
        "inputs": [[key, column.model_dump(mode="json")] for key, column in task.data.columns.items()],
    }


def _before_training(spec: ModelSpec, base: Mapping[str, Any] | None) -> dict[str, Any]:
    """What decides the answers before training; the model's name and seed do not."""
    assert isinstance(spec, LanguageModel)
    return {
        "clinfit": _version(),
        "spec": spec.model_dump(mode="json", exclude=TRAINING_ONLY | ASKED_OF_IT),
        "base": base,
        "train": spec.train.model_dump(mode="json", include=READ_BEFORE_TRAINING),
    }


def _base(spec: ModelSpec, identity: Identity) -> Mapping[str, Any] | None:
    return identity(spec.base, spec.revision) if isinstance(spec, Neural) else None


def _version() -> str:
    """Versions that differ in their last number alone give the same models."""
    return clinfit.__version__.rsplit(".", 1)[0]
