"""clinfit fits language models to clinical text and patient data, and shows whether they fit.

>>> study = clinfit.load_study("studies/quickstart.yaml")
>>> result = clinfit.run(study)
>>> answers = clinfit.load_pack(result.packs["lasso-seed42"]).predict("new.csv")
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clinfit.runs.execute import run
    from clinfit.runs.pack import load_pack
    from clinfit.study import load_study

__version__ = "0.1.0"
__all__ = ["__version__", "load_pack", "load_study", "run"]

# Imported when they are first used, so that `import clinfit` stays fast and loads no torch.
_HOMES = {"load_study": "clinfit.study", "run": "clinfit.runs.execute", "load_pack": "clinfit.runs.pack"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'clinfit' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
