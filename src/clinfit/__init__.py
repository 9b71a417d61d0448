"""clinfit fits language models to clinical text and patient data, and shows whether they fit.

>>> study = clinfit.load_study("studies/quickstart.yaml")
>>> result = clinfit.run(study)
>>> answers = clinfit.load_pack(result.packs["lasso-seed42"]).predict("new.csv")
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clinfit.packs.read import load_pack
    from clinfit.runs.execute import run
    from clinfit.serve.client import AsyncClient, Client
    from clinfit.study.load import load_study

__version__ = "0.1.0"
__all__ = ["AsyncClient", "Client", "__version__", "load_pack", "load_study", "run"]

# Imported when they are first used, so that `import clinfit` stays fast and loads no torch.
_HOMES = {
    "AsyncClient": "clinfit.serve.client",
    "Client": "clinfit.serve.client",
    "load_pack": "clinfit.packs.read",
    "load_study": "clinfit.study.load",
    "run": "clinfit.runs.execute",
}


# Threads that wait for work sleep; they do not spin. Where another program takes a core, spinning threads take from
# those that they wait for (benchmarks/busy.py). OpenMP reads this when torch or scikit-learn load it, so that it
# stands here; what the user has set stays as it is, and processes that are started from here inherit it.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'clinfit' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """What clinfit offers, whether it has been used yet or not."""
    return sorted({*globals(), *_HOMES})
