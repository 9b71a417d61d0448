"""Probabilities of labels from the most probable next tokens alone, where a server tells no more.

The labels are a tree of texts. At its root the server is asked which tokens may come first; each that begins a label is
a branch, and the server is asked again what may come behind it, until a label is whole. A label's probability is the
product along its branch, summed over the branches that spell it ("Yes", "Y" + "es").

White space before a label is no part of it, but is asked behind as it stands: a model that writes " " first and then
"1" is followed there.

What a server does not tell is bounded: a token that is not among the k told is no more probable than the last of them,
nor than what they leave of 1. These bounds add up over all beginnings of a label that were asked behind. A label of
which more may be unseen than was seen gets both as its probability, and its item is marked.

Where the answer cannot be followed behind a beginning that several labels share, they get equal parts of it, and the
item is marked. It is not answered where that is more than what is known of its labels, or where no label is seen at
all.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

#: Next tokens, as UTF-8 of which one may hold a part of a character alone, with their probabilities.
Tops = Sequence[tuple[bytes, float]]
#: Beginnings that spell a label otherwise are followed where they have at least this share of its best one; white space
#: alone, where it begins at least this share of all answers.
FOLLOWED = 0.01
#: Tokens of white space alone that are followed one behind the other; a server may cut them off, which looks like more.
BLANKS = 3


@dataclass(frozen=True)
class Weighed:
    """probabilities: of each label, as a whole answer. seen: whether told tokens led to labels, and to more than what
    several of them share unfollowed. bounded: whether the probability of one rests on a bound, or on its beginning
    alone."""

    probabilities: list[float]
    seen: bool
    bounded: bool


def weighed(labels: Sequence[str], ask: Callable[[bytes], Tops | None]) -> Weighed:
    """The labels' probabilities. ask: the next tokens behind a beginning of the answer (b'' at first), none of them
    where the answer ends there; None where the server cannot go on from one.

    Of a label that begins another ("cancer", "cancer free") it is the probability that the longer one does not follow.
    """
    walk = _Walk([label.encode() for label in labels], ask)
    walk.walk()
    return walk.outcome()


class _Walk:
    """found: of each label, what told tokens lead to. bounds: what may be unseen of it. shared: what several labels
    begin with and could not be followed; their parts of it stand in `found`. waiting: beginnings that are yet to be
    looked at, without the white space before them. written: the same with it, as it is most probable. blanks: how many
    tokens beginnings of white space alone have."""

    def __init__(self, labels: Sequence[bytes], ask: Callable[[bytes], Tops | None]) -> None:
        self.labels, self.ask = labels, ask
        self.found, self.bounds = dict.fromkeys(labels, 0.0), dict.fromkeys(labels, 0.0)
        self.shared, self.begun = 0.0, False
        self.waiting: dict[bytes, float] = {b"": 1.0}
        self.written: dict[bytes, tuple[float, bytes]] = {b"": (1.0, b"")}
        self.blanks: dict[bytes, int] = {b"": 0}

    def outcome(self) -> Weighed:
        total = sum(self.found.values())
        left = max(0.0, 1 - total)
        unsure = {label for label in self.labels if self.bounds[label] >= self.found[label]}
        values = [self.found[one] + (min(left, self.bounds[one]) if one in unsure else 0.0) for one in self.labels]
        return Weighed(values, total > 0 and self.shared <= total - self.shared, self.begun or bool(unsure))

    def walk(self) -> None:
        """Take in every beginning, the shortest first: by then all ways to it are known, and it is asked about once."""
        while self.waiting:
            text = min(self.waiting, key=len)
            self._take(text, self.waiting.pop(text))

    def _take(self, text: bytes, mass: float) -> None:
        """Take in what may stand behind a text that the answer begins with at this probability."""
        labels, spelt = self._led(text), text.lstrip()
        longer = [label for label in labels if label != spelt]
        if not longer or (len(labels) == 1 and self._is_small(text, mass)):
            self.found[labels[0]] += mass
            return
        if self._is_small(text, mass) or (not spelt and mass < FOLLOWED):
            return
        _, written = self.written[text]
        tops = self.ask(written) if self.blanks.get(text, 0) <= BLANKS else None
        if tops is None:
            self._take_begun(labels, mass)
            return
        # Where no token is told the answer ends, so that anything else is less probable than that.
        unseen = min(max(0.0, 1 - sum(share for _, share in tops)), min((share for _, share in tops), default=0.5))
        for label in longer:
            self.bounds[label] += mass * unseen
        own = mass - sum(self._follow(text, written + token, mass * share) for token, share in tops if token)
        if spelt in self.labels:
            self.found[spelt] += max(0.0, own)

    def _follow(self, text: bytes, read: bytes, mass: float) -> float:
        """Take in what the answer reads with a token behind a text; how much of it goes on to a label."""
        ended = read.strip()
        if ended == text and not self._led(read):
            return 0.0
        if self._led(read):
            key = read.lstrip() or read
            self.waiting[key] = self.waiting.get(key, 0.0) + mass
            self.written[key] = max(self.written.get(key, (0.0, b"")), (mass, read))
            if not ended:
                self.blanks[read] = max(self.blanks.get(read, 0), self.blanks[text] + 1)
        elif ended in self.labels:
            self.found[ended] += mass
        else:
            return 0.0
        return mass

    def _is_small(self, text: bytes, mass: float) -> bool:
        """Whether a beginning adds next to nothing to what is known of its labels."""
        return all(
            mass < FOLLOWED * max([self.found[label], *(m for t, m in self.waiting.items() if label in self._led(t))])
            for label in self._led(text)
        )

    def _led(self, text: bytes) -> list[bytes]:
        """The labels that begin with a text, white space before it aside."""
        return [label for label in self.labels if label.startswith(text.lstrip())]

    def _take_begun(self, labels: Sequence[bytes], mass: float) -> None:
        """A beginning that cannot be followed is taken for its label where it begins one alone, and else divided."""
        self.begun = True
        self.shared += mass if len(labels) > 1 else 0.0
        for label in labels:
            self.found[label] += mass / len(labels)
