"""The stages of a study: what each teaches, what it begins with, and what keeps earlier tasks from being forgotten."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from clinfit.study.section import Fraction, Name, Section

Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(gt=0, le=1)]
StageNumber = Annotated[int, Field(ge=1)]


class Retain(Section):
    """What keeps a stage from undoing the stages before it (training/retention/). Several may be combined."""

    rehearsal: Fraction = Field(
        default=0.0,
        description="share of the training records of each earlier task that is learned again beside those of the "
        "stage, one record at least, drawn with the seed, by label where there are labels",
    )
    l2: float = Field(
        default=0.0, ge=0, description="strength of the squared distance to the model that the stage began with"
    )
    l2_on: Literal["product", "factors"] = Field(
        default="product",
        description="product: distance between what the adapters add to the weights, scaling x B A; factors: between A "
        "and B themselves",
    )
    kl: float = Field(
        default=0.0,
        ge=0,
        description="strength of the Kullback-Leibler divergence from the answers of a teacher to those of the model, "
        "on the records of the stage",
    )
    kl_to: Literal["previous", "base"] = Field(
        default="previous", description="the teacher: the model that the stage began with, or the base without adapter"
    )

    @model_validator(mode="after")
    def _strengths(self) -> "Retain":
        fields = type(self).model_fields
        for name, strength in (("l2_on", "l2"), ("kl_to", "kl")):
            if getattr(self, name) != fields[name].default and not getattr(self, strength):
                raise ValueError(f"`{name}` says nothing without a strength; add `{strength}`, such as {strength}: 0.1")
        return self

    @property
    def loss(self) -> bool:
        """Whether it adds to the loss."""
        return self.l2 > 0 or self.kl > 0


class Merge(Section):
    """Adapters of earlier stages put together without training (training/retention/merging.py)."""

    stages: list[StageNumber] = Field(min_length=2, description="numbers of the stages, the first is 1")
    method: Literal["linear", "ties", "dare"] = Field(
        default="linear",
        description="linear: weighted sum of what the adapters add to the weights, exactly, with the sum of their "
        "ranks; ties: trimmed, with one sign for each weight (Yadav et al., 2023); dare: dropped at random and "
        "rescaled (Yu et al., 2024); both at the largest of the ranks, by singular values",
    )
    weights: list[Positive] | None = Field(
        default=None, description="weight of each adapter; default: 1 for ties, else 1 / number of adapters"
    )
    density: Share = Field(default=0.5, description="ties, dare: share of the weights that is kept")

    @model_validator(mode="after")
    def _as_many(self) -> "Merge":
        if self.weights is not None and len(self.weights) != len(self.stages):
            raise ValueError(f"{len(self.weights)} weights for {len(self.stages)} stages")
        if len(set(self.stages)) != len(self.stages):
            raise ValueError("a stage stands there twice")
        if self.method == "linear" and self.density != type(self).model_fields["density"].default:
            raise ValueError("`density` is for the methods ties and dare; linear keeps every weight")
        return self

    @property
    def shares(self) -> list[float]:
        """The weight of each adapter."""
        if self.weights is not None:
            return self.weights
        return [1.0 if self.method == "ties" else 1 / len(self.stages)] * len(self.stages)


class StageSettings(Section):
    """Settings of `train` that hold in one stage only; what is not named is the model's."""

    epochs: Positive | None = Field(default=None, description="passes over the records of the stage")
    max_steps: Annotated[int, Field(ge=1)] | None = Field(default=None, description="most optimizer steps")
    learning_rate: Positive | None = Field(default=None, description="highest learning rate of the schedule")
    evaluate_every: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="optimizer steps between validations"
    )
    early_stopping: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="stop after this many validations without improvement"
    )


class Mix(Section):
    """How many records of each task an epoch shows, where it is not all of them once."""

    temperature: Positive | None = Field(
        default=None,
        description="an epoch is as long as before, and a task of n records gets a share proportional to "
        "n^(1/temperature): 1 is in proportion, large values are equal shares",
    )
    records: dict[Name, Annotated[int, Field(ge=1)]] | None = Field(
        default=None,
        min_length=1,
        description="task -> records of it in an epoch; tasks that are not named show each record once",
    )

    @model_validator(mode="after")
    def _one(self) -> "Mix":
        if (self.temperature is None) == (self.records is None):
            raise ValueError("give `temperature` or `records`, one of them")
        return self


class Stage(Section):
    """One round of training: how much each task weighs in it, which model it begins with, and what is retained."""

    train: dict[str, Annotated[float, Field(ge=0)]] = Field(
        default_factory=dict,
        description="task -> weight of its records in the loss; tasks that are not named are not trained",
    )
    start: Literal["previous", "base"] | StageNumber = Field(
        default="previous",
        description="begin with the model of the stage before, with the base again, or with the model of the stage "
        "with this number; before the first stage there is only the base",
    )
    adapter: Literal["continue", "stack", "new"] = Field(
        default="continue",
        description="continue: train the adapter further; stack: freeze it and train another one on top, of the same "
        "rank; new: a new adapter on the base for the tasks of this stage, while each earlier task keeps its own",
    )
    retain: Retain | None = Field(default=None, description="what keeps earlier tasks from being forgotten")
    merge: Merge | None = Field(default=None, description="put adapters together instead of training")
    mix: Mix | None = Field(default=None, description="records of each task in an epoch; default: each of them once")
    settings: StageSettings = Field(
        default_factory=StageSettings, description="settings of `train` that hold in this stage only"
    )

    @model_validator(mode="after")
    def _consistent(self) -> "Stage":
        if self.merge is not None:
            fields: Mapping[str, Any] = type(self).model_fields
            for name in fields.keys() - {"merge"}:
                if getattr(self, name) != fields[name].get_default(call_default_factory=True):
                    raise ValueError(f"a stage that merges does not train, so `{name}` means nothing in it")
            return self
        if not self.train:
            raise ValueError("a stage needs `train` or `merge`")
        if not any(self.train.values()):
            raise ValueError("every weight in `train` is 0, so there is nothing to learn")
        if self.start == "base" and self.adapter == "stack":
            raise ValueError("`adapter: stack` needs an earlier stage to stand on, and `start: base` has none")
        if self.start == "base" and self.adapter == "new":
            raise ValueError(
                "`adapter: new` leaves earlier tasks to their own adapters, and `start: base` begins without them; "
                "leave one of the two out"
            )
        if self.start == "base" and self.retain is not None:
            raise ValueError("`retain` needs an earlier stage, and `start: base` has none")
        if self.retain is not None and self.retain.loss and self.adapter != "continue":
            raise ValueError(f"`retain: l2` and `kl` are for `adapter: continue`; `{self.adapter}` leaves the old one")
        if self.retain is not None and self.retain.rehearsal and self.adapter == "new":
            raise ValueError("`adapter: new` leaves earlier tasks to their own adapters: nothing is to be rehearsed")
        if self.retain is not None and not self.retain.model_fields_set & {"rehearsal", "l2", "kl"}:
            raise ValueError("`retain` names nothing that retains; give it `rehearsal`, `l2` or `kl`, or leave it out")
        rehearses = self.retain is not None and self.retain.rehearsal > 0
        if self.mix is not None and self.mix.temperature is not None and len(self.taught) == 1 and not rehearses:
            raise ValueError("`mix: temperature` divides an epoch among tasks, and the stage has one; leave it out")
        return self

    @property
    def taught(self) -> set[str]:
        """The tasks that it trains."""
        return {name for name, weight in self.train.items() if weight > 0}

    @property
    def trains(self) -> str:
        """What it does, in a few words: tasks with their weights, and what is retained."""
        if self.merge is not None:
            return f"merges stages {' and '.join(map(str, self.merge.stages))} ({self.merge.method})"
        words = [", ".join(f"{task} x {weight:g}" for task, weight in self.train.items() if weight)]
        words += [] if self.adapter == "continue" else [f"{self.adapter} adapter"]
        if self.retain is not None:
            retain = self.retain
            words += [f"rehearsal {100 * retain.rehearsal:g} %"] if retain.rehearsal else []
            words += [f"L2 {retain.l2:g} on the {retain.l2_on}"] if retain.l2 else []
            words += [f"KL {retain.kl:g} to the {retain.kl_to}"] if retain.kl else []
        return "; ".join(words)
