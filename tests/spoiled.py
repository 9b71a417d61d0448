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
