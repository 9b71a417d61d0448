"""The one exception that means: the user can fix this."""

from collections.abc import Iterable
from difflib import get_close_matches


class ClinfitError(Exception):
    """A problem with the input, told in three parts; the command line prints it and exits with code 2.

    found: what was found. expected: what was expected. fix: what to type or change.
    Never put patient text into a message: name the record id, the column or the file instead.
    """

    def __init__(self, found: str, *, expected: str = "", fix: str = "") -> None:
        self.found, self.expected, self.fix = found, expected, fix
        super().__init__("\n".join(self.lines()))

    def lines(self) -> list[str]:
        """The message, one line a part, empty parts left out."""
        parts = [("", self.found), ("expected: ", self.expected), ("to fix: ", self.fix)]
        return [label + text for label, text in parts if text]


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that is spelt most like `word`, or None when nothing comes close."""
    known = list(known)
    folded = {name.casefold(): name for name in known}
    matches = get_close_matches(word.casefold(), folded, n=1, cutoff=0.6)
    return folded[matches[0]] if matches else None
