"""What is told of steps that are done elsewhere: on the terminal, and in the status.json of their runs, which is
written here since no worker sees it."""

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from clinfit.runs.control.status import Advance, Listener, telling
from clinfit.runs.steps.place import Place
from clinfit.runs.steps.plan import Step


class Told:
    """Steps that workers tell of."""

    def __init__(self, place: Place, listener: Listener) -> None:
        self._place, self._listener = place, listener
        self._open: dict[str, tuple[ExitStack, Advance]] = {}

    def hear(self, step: Step | None, how: str, what: Sequence[Any]) -> None:
        """A word of a worker, as `Listener` has them. step: the one that it holds."""
        match how, what:
            case "say", [text]:
                self._listener.say(text)
            case "begin", [_, title] if step is not None:
                stack, path = ExitStack(), self._place.folder.run(step.run).status
                words = title.removeprefix(f"{step.run}: ")  # which `telling` puts in front
                self._open[step.id] = (stack, stack.enter_context(telling(self._listener, path, step, words)))
            case "advance", [id, done, total, text] if id in self._open:
                self._open[id][1](done, total, text)
            case "end", [id]:
                self._close(id)

    def end(self, step: Step) -> None:
        """A step is no longer worked on."""
        self._close(step.id)

    def end_all(self) -> None:
        for id in list(self._open):
            self._close(id)

    def _close(self, id: str) -> None:
        if id in self._open:
            self._open.pop(id)[0].close()
