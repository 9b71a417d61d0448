"""What a check noticed: about the data, the training or the numbers."""

from dataclasses import asdict, dataclass
from typing import Literal, cast

from typing_extensions import TypedDict

Level = Literal["error", "warn", "info"]


class FindingDict(TypedDict):
    """A finding as JSON; see Finding."""

    level: Level
    code: str
    title: str
    evidence: str
    advice: str
    system: str | None


@dataclass(frozen=True)
class Finding:
    """One observation. `error` withholds headline numbers, `warn` stands on the report's first page.

    code: short and stable, for tests and filters (`one-class-test`). title: one sentence. evidence: counts and ids,
    never patient text. advice: what to do. system: the model it is about, None when it is about the data.
    """

    level: Level
    code: str
    title: str
    evidence: str = ""
    advice: str = ""
    system: str | None = None

    def as_dict(self) -> FindingDict:
        return cast(FindingDict, asdict(self))
