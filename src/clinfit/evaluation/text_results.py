"""The part of metrics.json that is about written texts: tables of their metrics, and those to read first."""

from typing_extensions import TypedDict


class TextMetrics(TypedDict):
    """The metrics of written texts by what is asked of a text, in the order of their tables (`metrics` of each system).

    note: what they can and cannot say. proxies: those of them that stand for something that they cannot see. settings:
    of ROUGE and chrF. unavailable: metric -> why it could not be computed here.
    """

    groups: list["TextMetricGroup"]
    proxies: list[str]
    settings: dict[str, str]
    unavailable: dict[str, str]


class TextMetricGroup(TypedDict):
    title: str
    note: str
    metrics: list[str]


class DoubtfulText(TypedDict):
    """A text that a person should read: its id, never the text; why; its value of the primary metric."""

    id: str
    reasons: list[str]
    primary: float | None


class DoubtfulTexts(TypedDict):
    """The texts of the model of a generation task of which something is to be feared, most reasons first.

    doubtful: how many there are; listed: the first of them.
    """

    system: str
    n: int
    doubtful: int
    listed: list[DoubtfulText]
