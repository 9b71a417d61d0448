"""Writes docs/architectures.md: which architectures of Transformers clinfit fits, found by trying each of them small.

    python scripts/make_architectures.py

tests/models/test_architectures.py (slow) fails while the page differs from what this script would write.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import transformers

if TYPE_CHECKING:
    from architectures import Trial

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "architectures.md"
HEAD = f"""\
# Architectures

Made by `python scripts/make_architectures.py`, which tries each architecture of Transformers with a few thousand random
weights; edit the code, not this page. Tried with Transformers {transformers.__version__}.

`family: causal`: label scores are those of a plain forward, alone, in a batch and with short windows; a free answer is
that of a model without memory; the adapter's logits and gradients are those of PEFT's own layers, and plain PEFT loads
what was saved. `family: encoder`: a fit, a loaded model and plain PEFT answer alike, and padding changes nothing.

What does not work is refused by its configuration, before any weight is fetched or trained. What an architecture is
called stands in its `config.json` as `model_type`; a base that is not in the table is tried when it is loaded, and
refused where its numbers would be wrong.
"""


def page(found: "Sequence[Trial]") -> str:
    """The text of docs/architectures.md."""
    by_kind: dict[str, dict[str, Trial]] = {}
    for trial in found:
        by_kind.setdefault(trial.kind, {})[trial.family] = trial
    rows = [
        f"| `{kind}` | {_cell(tried.get('causal'))} | {_cell(tried.get('encoder'))} |"
        for kind, tried in sorted(by_kind.items())
        if any(trial.outcome in ("works", "refused") for trial in tried.values())
    ]
    table = ["| `model_type` | `family: causal` | `family: encoder` |", "|---|---|---|", *rows]
    untried = sorted(kind for kind, tried in by_kind.items() if all(t.outcome == "untried" for t in tried.values()))
    names = ", ".join(f"`{kind}`" for kind in untried)
    return "\n".join(
        [HEAD, *table, "", f"Not tried, since they are not built small by the settings here: {names}.", ""]
    )


def _cell(trial: "Trial | None") -> str:
    if trial is None:
        return ""
    return {"works": "yes", "refused": f"no: {trial.said}", "untried": "not tried", "wrong": "wrong"}[trial.outcome]


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT / "tests"))
    from architectures import trials

    PAGE.write_text(page(trials()), encoding="utf-8")
    print(f"wrote {PAGE.relative_to(ROOT)}")
