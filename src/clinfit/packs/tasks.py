"""The tasks of a pack and how their records are read, without the model that answers them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from clinfit.data.load import inputs_from_rows, read_inputs
from clinfit.data.records import Record
from clinfit.errors import ClinfitError, nearest
from clinfit.packs.content import Content, read_content
from clinfit.packs.decide import Served

#: What may be asked: records, a table with the task's columns, or a data file.
Items = Sequence[Record] | pd.DataFrame | Path | str


@dataclass(frozen=True)
class Tasks:
    """tasks: those that the pack answers, by name, in the order of the study."""

    content: Content
    tasks: Mapping[str, Served]

    def records(self, task: str, items: Items) -> Sequence[Record]:
        """The records of a task in whatever holds them: a table with the task's columns, a data file, or records."""
        if isinstance(items, pd.DataFrame):
            return inputs_from_rows(task, self.served(task).task, items)
        if not isinstance(items, str | Path):
            return items
        if not Path(items).exists():
            raise ClinfitError(f"there is no file {items} to predict")
        return read_inputs(task, self.served(task).task, Path(items))

    def served(self, task: str) -> Served:
        """A task that the pack answers; raises ClinfitError for every other."""
        if task in self.tasks:
            return self.tasks[task]
        if task in self.content.withheld:
            raise ClinfitError(
                f"the pack does not answer task {task!r}, as its numbers are withheld: {self.content.withheld[task]}",
                expected=f"one of {', '.join(self.tasks)}",
                fix="see the task's findings in the report of the study, and put the cause right",
            )
        near = nearest(task, self.tasks)
        raise ClinfitError(
            f"the pack has no task {task!r}",
            expected=f"one of {', '.join(self.tasks)}",
            fix=f"did you mean {near}?" if near else "",
        )

    def named(self, task: str | None) -> str:
        """The task that is meant: it may be left out where the pack answers one."""
        if task is not None:
            return task
        if len(self.tasks) == 1:
            return next(iter(self.tasks))
        raise ClinfitError(
            f"the pack answers {len(self.tasks)} tasks, and none is named",
            expected=f"one of {', '.join(self.tasks)}",
            fix=f"name it: --task {next(iter(self.tasks))}",
        )


def read_tasks(folder: Path) -> Tasks:
    """The tasks of the pack in a folder; raises ClinfitError when it is no pack or not as it was written."""
    content = read_content(folder)
    return Tasks(content, {name: Served.from_entry(entry) for name, entry in content.answered.items()})
