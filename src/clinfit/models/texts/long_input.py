"""Records that are longer than a model reads, in rounds: map to the pieces, reduce to what was written.

A record that fits is asked at once. The longest text of any other is divided at sentence ends (prompts/pieces.py), the
model answers the same prompt with each piece in the place of the text, and the answers, one a line, take that place for
the next round. Where a second text is long, too, it stands beside the pieces shortened, to half of the room, and is
divided itself in a later round, when it is the longest. Nothing of the record is left out, unless MOST_ROUNDS are not
enough, a round did not make the record shorter, or nothing was written to its pieces: what then stands there is
shortened as every prompt is, and counted as dropped.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from clinfit.data.records import Record
from clinfit.models.base import FinishReason, WrittenText
from clinfit.prompts.encode import Encoded, Renderer
from clinfit.prompts.reasoning import answer_in
from clinfit.study.tasks import Generation, Task

#: The most times that a record is divided.
MOST_ROUNDS = 6
#: Long records that are on their way together, so that a kill does not lose the pieces of all.
TOGETHER = 16


@dataclass
class Reading:
    """One record on its way to its text. index: its place among those asked. read: its prompt as it is now. counted:
    whether pieces are told of. cut: pieces whose text reached the limit. length: characters of its texts before the
    last round."""

    index: int
    record: Record
    read: Encoded
    counted: bool
    pieces: int = 0
    rounds: int = 0
    cut: int = 0
    prompt_tokens: int = 0
    seconds: float = 0.0
    length: int | None = None
    _name: str = ""
    _open: dict[int, str | None] = field(default_factory=dict)

    @property
    def in_pieces(self) -> bool:
        """Whether what was asked last are pieces of the record, whose answers are not its text yet."""
        return bool(self._open)

    def prompts(self, renderer: Renderer) -> list[tuple[str, Encoded]]:
        """What is asked next, each with what its draws are seeded by: the record, or its pieces."""
        self._open = {}
        if self.read.dropped and self.counted and self.rounds < MOST_ROUNDS:
            self._name, found = renderer.divided(self.record)
            length = sum(len(str(self.record.inputs.get(name) or "")) for name in renderer.task.text_inputs)
            if found and (self.length is None or length < self.length):
                self.length = length
                self.rounds, self.pieces = self.rounds + 1, self.pieces + len(found)
                self._open = dict.fromkeys(range(len(found)))
                parts = [replace(self.record, inputs=dict(inputs)) for inputs in found]
                keys = [f"{self.record.id} {self.rounds} {k}" for k in range(len(found))]
                return list(zip(keys, renderer.encode_all(parts), strict=True))
        return [(self.record.id, self.read)]

    def take(
        self, k: int, text: str, reason: FinishReason, tokens: int, seconds: float, read: Encoded
    ) -> WrittenText | None:
        """Take in the text to prompt k of the last; the record's own, when that is what it is."""
        self.prompt_tokens += len(read.prompt_ids)
        self.seconds += seconds
        if self._open:
            self._open[k] = answer_in(text)
            self.cut += reason == "length"
            return None
        divided = (self.pieces, self.rounds, self.cut) if self.counted else (None, None, None)
        return WrittenText(text, reason, tokens, self.seconds, self.prompt_tokens, read.dropped, *divided)

    def put_together(self, renderer: Renderer) -> None:
        """The texts to the pieces become the text that is read next; without any the record stays as it is."""
        joined = "\n".join(text.strip() for text in self._open.values() if text and text.strip())
        if not joined:
            return
        self.record = replace(self.record, inputs={**self.record.inputs, self._name: joined})
        self.read = renderer.encode(self.record)


def readings(task: Task, records: Sequence[Record], encoded: Sequence[Encoded]) -> Iterator[list[Reading]]:
    """The records in groups that are asked together: those that fit, then the long ones, some at a time."""
    in_rounds = isinstance(task, Generation) and task.long_input == "map-reduce"
    made = [Reading(i, record, read, in_rounds) for i, (record, read) in enumerate(zip(records, encoded, strict=True))]
    long = [one for one in made if in_rounds and one.read.dropped]
    yield [one for one in made if not (in_rounds and one.read.dropped)]
    for start in range(0, len(long), TOGETHER):
        yield long[start : start + TOGETHER]
