"""A fault that tests put into the workers of a run."""

from pathlib import Path

#: A module that Python imports when it starts, wherever its folder is on the path: it spoils one model of one process.
SPOIL = """
import os, signal, time
from clinfit.models.baselines import BaselineModel
fit = BaselineModel.fit
def spoiled(self, *words, **more):
    if self.spec.name == "keyword":
        {spoil}
    return fit(self, *words, **more)
BaselineModel.fit = spoiled
"""


def spoil_workers(folder: Path, code: str) -> None:
    """Let processes that have the folder on their path do something when they fit the model `keyword`; "" lets them
    alone again."""
    site = folder / "sitecustomize.py"
    site.unlink(missing_ok=True)
    if code:
        site.write_text(SPOIL.format(spoil=code))


#: The same for a process that answers records: it is spoiled where it is asked about one of them.
SPOIL_ANSWERS = """
import os, signal, time
from pathlib import Path
from clinfit.packs.read import Pack
answer = Pack.answer
def spoiled(self, task, records, **more):
    {always}
    if any(record.id == {id!r} for record in records):
        {spoil}
    return answer(self, task, records, **more)
Pack.answer = spoiled
"""


def spoil_answers(folder: Path, id: str, code: str, always: str = "pass") -> None:
    """Let processes that have the folder on their path do something when they are asked about a record; "" lets them
    alone again. always: what they do whatever they are asked."""
    site = folder / "sitecustomize.py"
    site.unlink(missing_ok=True)
    if code:
        site.write_text(SPOIL_ANSWERS.format(id=id, spoil=code, always=always))
