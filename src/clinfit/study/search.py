"""A search for hyperparameters: what a model block may let be tried, and a block with one point of that filled in."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self, TypeVar

from pydantic import BaseModel, Field, model_validator

from clinfit.study.section import Section

SectionT = TypeVar("SectionT", bound=BaseModel)

#: What a model is, what is asked of it, and what changes speed alone: not found by trying.
NOT_SEARCHED = {
    "name", "tasks", "seeds", "stages", "search", "family", "kind", "words", "base", "revision", "method", "shots",
    "quantization", "compare_base", "generate", "importance", "refit", "lora.targets", "train.processes",
    "train.max_length", "train.shorten", "train.precision", "train.batch_tokens", "train.checkpoint_every",
    "train.gradient_checkpointing",
}  # fmt: skip

#: Settings that only some kinds of classical models use.
USED_BY = {
    "c_grid": {"tfidf-logistic", "lasso"},
    "trees": {"random-forest"},
    "max_depth": {"random-forest", "gradient-boosting"},
    "rounds": {"gradient-boosting"},
    "learning_rate": {"gradient-boosting"},
    "words": {"tfidf-logistic", "lasso"},
}


class Range(Section):
    """Every number between two, both included."""

    low: float = Field(description="smallest value")
    high: float = Field(description="largest value")
    log: bool = Field(default=False, description="try as many values between 0.001 and 0.01 as between 0.01 and 0.1")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low >= self.high:
            raise ValueError(f"low must be below high, and {self.low:g} is not below {self.high:g}")
        if self.log and self.low <= 0:
            raise ValueError(f"log: true needs low above 0, and it is {self.low:g}")
        return self


class Search(Section):
    """Settings of a model that are chosen by trying them, on validation alone."""

    trials: int = Field(ge=2, le=1000, description="how many points are tried, the block's own among them")
    over: dict[str, Range | list[Any]] = Field(
        min_length=1,
        description="dotted name of a setting of this block (train.learning_rate) -> the values to try: a list, or a "
        "range {low, high, log}; of c_grid a range means lists of one number",
    )
    by: Literal["primary", "loss"] = Field(
        default="primary",
        description="what is compared on validation: the task's primary metric, or the loss (of "
        "several tasks, and of texts, only this)",
    )


@dataclass(frozen=True)
class Dimension:
    """One setting that is searched. values: the choices; None for a range. whole: a range of whole numbers. listed: its
    numbers stand in a list each."""

    name: str
    values: tuple[Any, ...] | None = None
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    whole: bool = False
    listed: bool = False

    @property
    def size(self) -> int | None:
        """How many values there are; None for a range of numbers that are not whole."""
        if self.values is not None:
            return len(self.values)
        return int(self.high) - int(self.low) + 1 if self.whole else None

    def holds(self, value: Any) -> bool:
        """Whether a value of the setting is one that may be tried."""
        if self.values is not None:
            return value in self.values
        if self.listed:
            value = value[0] if len(value) == 1 else None
        return isinstance(value, int | float) and not isinstance(value, bool) and self.low <= value <= self.high


def space_of(spec: BaseModel, over: Mapping[str, Range | list[Any]]) -> list[Dimension]:
    """What is searched, in the study's order; every range is known to fit (search_checks.py)."""
    return [dimension_of(spec, name, tried) for name, tried in over.items()]


def dimension_of(spec: BaseModel, name: str, tried: Range | list[Any]) -> Dimension:
    """One setting, with values as it takes them (1 of a number with decimals is 1.0). Raises ValidationError where it
    refuses a value of the list, or the lower end of the range."""
    if isinstance(tried, list):
        return Dimension(name, values=tuple(setting(with_point(spec, {name: value}), name) for value in tried))
    listed = isinstance(setting(spec, name), list)
    found = setting(with_point(spec, {name: as_value(tried.low, listed)}), name)
    whole = isinstance(found[0] if listed else found, int)
    return Dimension(name, None, tried.low, tried.high, tried.log, whole, listed)


def as_value(number: float, listed: bool) -> Any:
    """A number as a setting takes it: 4.0 as the whole number that it is, in a list where the setting is one."""
    plain = int(number) if float(number).is_integer() else number
    return [plain] if listed else plain


def size_of(space: list[Dimension]) -> int | None:
    """How many points there are; None for infinitely many."""
    size = 1
    for dimension in space:
        if dimension.size is None:
            return None
        size *= dimension.size
    return size


def searchable(spec: BaseModel) -> list[str]:
    """The dotted names of the settings of a block that may be searched."""
    kind, whole = getattr(spec, "kind", None), getattr(spec, "trains_all", False)
    return [
        name
        for name in _names(spec)
        if name not in NOT_SEARCHED
        and (name not in USED_BY or kind is None or kind in USED_BY[name])
        and not (whole and name.startswith("lora."))
    ]


def _names(section: BaseModel, before: str = "") -> Iterator[str]:
    for name in type(section).model_fields:
        inner = getattr(section, name)
        if isinstance(inner, BaseModel) and not isinstance(inner, Search):
            yield from _names(inner, f"{before}{name}.")
        else:
            yield before + name


def setting(spec: BaseModel, name: str) -> Any:
    """The value of a setting by its dotted name."""
    value: Any = spec
    for part in name.split("."):
        value = getattr(value, part)
    return value


def filled_in(block: Mapping[str, Any], point: Mapping[str, Any]) -> dict[str, Any]:
    """A block as plain data with the settings of a point, by dotted name."""
    filled = dict(block)
    for name, value in point.items():
        first, _, rest = name.partition(".")
        filled[first] = filled_in(filled[first], {rest: value}) if rest else value
    return filled


def with_point(spec: SectionT, point: Mapping[str, Any]) -> SectionT:
    """The block with the settings of a point."""
    return type(spec).model_validate(filled_in(spec.model_dump(), point))
