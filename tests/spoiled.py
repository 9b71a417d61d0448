"""A fault that tests put into the workers of a run."""

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
