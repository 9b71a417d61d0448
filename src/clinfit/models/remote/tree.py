"""Probabilities of labels from the most probable next tokens alone, where a server tells no more.

The labels are a tree of texts. At its root the server is asked which tokens may come first; each that begins a label is
a branch, and the server is asked again what may come behind it, until a label is whole. A label's probability is the
product along its branch, summed over the branches that spell it ("Yes", "Y" + "es").

What a server does not tell is bounded: a token that is not among the k told is no more probable than the last of them,
nor than what they leave of 1. A label that no told token leads to gets that bound as its probability, and its item is
marked. An item of which no label is seen at all is not answered.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

#: Next tokens, as UTF-8 of which one may hold a part of a character alone, with their probabilities.
Tops = Sequence[tuple[bytes, float]]
#: Beginnings that spell a label otherwise are followed where they have at least this share of its best one.
FOLLOWED = 0.01


@dataclass(frozen=True)
class Weighed:
    """probabilities: of each label, as a whole answer. seen: whether a told token led to any of them. bounded: whether
    the probability of one rests on a bound, or on its beginning alone."""

    probabilities: list[float]
    seen: bool
    bounded: bool


def weighed(labels: Sequence[str], ask: Callable[[bytes], Tops | None]) -> Weighed:
    """The labels' probabilities. ask: the next tokens behind a beginning of the answer (b'' at first); None where the
    server cannot go on from one.

    Of a label that begins another ("cancer", "cancer free") it is the probability that the longer one does not follow.
    """
    walk = _Walk([label.encode() for label in labels], ask)
    walk.walk()
    return walk.outcome()


class _Walk:
    def __init__(self, labels: Sequence[bytes], ask: Callable[[bytes], Tops | None]) -> None:
        self.labels, self.ask = labels, ask
        self.found, self.bounds = dict.fromkeys(labels, 0.0), dict.fromkeys(labels, 0.0)
        self.begun: set[bytes] = set()
        self.waiting: dict[bytes, float] = {b"": 1.0}

    def outcome(self) -> Weighed:
        seen = any(self.found.values())
        values = [self.found[label] or self.bounds[label] for label in self.labels]
        return Weighed(values, seen, bool(self.begun) or any(self.found[label] <= 0 for label in self.labels))

    def walk(self) -> None:
        """Take in every beginning, the shortest first: by then all spellings of it are known, and it is asked about
        once."""
        while self.waiting:
            text = min(self.waiting, key=len)
            self._take(text, self.waiting.pop(text))

    def _take(self, text: bytes, mass: float) -> None:
        """Take in what may stand behind a text that the answer begins with at this probability."""
        labels = self._led(text)
        longer = [label for label in labels if label != text]
        if not longer or (len(labels) == 1 and self._is_small(text, mass)):
            self.found[labels[0]] += mass
            return
        if self._is_small(text, mass):
            return
        tops = self.ask(text)
        if tops is None:
            self._take_begun(labels, mass)
            return
        led = {read: mass * share for read, share in self._joined(text, tops).items() if self._led(read)}
        unseen = mass * min(max(0.0, 1 - sum(share for _, share in tops)), min(share for _, share in tops))
        for label in longer:
            if not any(label.startswith(read) for read in led):
                self.bounds[label] = max(self.bounds[label], unseen)
        for read, own in led.items():
            self.waiting[read] = self.waiting.get(read, 0.0) + own
        if text in self.labels:
            self.found[text] += max(0.0, mass - sum(led.values()))

    def _is_small(self, text: bytes, mass: float) -> bool:
        """Whether a beginning adds next to nothing to what is known of its labels."""
        return all(
            mass < FOLLOWED * max([self.found[label], *(m for t, m in self.waiting.items() if label.startswith(t))])
            for label in self._led(text)
        )

    def _led(self, text: bytes) -> list[bytes]:
        """The labels that begin with a text."""
        return [label for label in self.labels if label.startswith(text)]

    def _take_begun(self, labels: Sequence[bytes], mass: float) -> None:
        """A beginning that cannot be followed is taken for its label where it begins one alone, and else for none."""
        for label in labels:
            if len(labels) == 1:
                self.found[label] += mass
                self.begun.add(label)
            else:
                self.bounds[label] = max(self.bounds[label], mass)

    def _joined(self, text: bytes, tops: Tops) -> dict[bytes, float]:
        """What the answer would read with each token, white space around it aside; tokens that read the same
        together."""
        found: dict[bytes, float] = {}
        for token, share in tops:
            read = text + token if text else token.lstrip()
            read = read if self._led(read) else read.rstrip()
            if read != text:
                found[read] = found.get(read, 0.0) + share
        return found
