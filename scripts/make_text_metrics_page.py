"""Writes docs/text-metrics.md: the metrics of generated text, and what faults do to them.

    python scripts/make_text_metrics_page.py
    CLINFIT_DATA=<data mirror> python scripts/make_text_metrics_page.py --measure

The first keeps the tables that were measured on public sets; the second measures them again, which takes minutes.
tests/test_docs.py fails while the page differs from what the first would write.
"""

import argparse
import inspect
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from clinfit.evaluation.analyses import abstention, contrast
from clinfit.evaluation.metrics.text import (
    dates,
    declining,
    entities,
    faults,
    flips,
    form,
    normalise,
    numbers,
    overlap,
    support,
)
from clinfit.evaluation.metrics.text.definitions import JUDGED, METRICS, Described
from clinfit.models.texts import judges

if TYPE_CHECKING:
    from text_faults import Moved, Sample

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "text-metrics.md"
BEGIN, END = "<!-- measured: by scripts/make_text_metrics_page.py --measure -->\n", "<!-- end of measured -->\n"

HEAD = """\
# Metrics of generated text

Made by `python scripts/make_text_metrics_page.py`; edit the code, not this page.

Each metric is a number for one item, made of strings alone: the output, the references, the source, and why generation
ended. Nothing is downloaded and no model is asked. What needs a model stands apart: [metrics with weights of their
own](#metrics-with-weights-of-their-own), which a study must name, and [what the model itself is
asked](#asked-of-the-model-itself). A metric that an item cannot give is undefined, never 0: without a
source, without a reference, or with nothing to count.

A **proxy** stands for something that it cannot see. ROUGE does not see whether a text is true, and a number that stands
in the source may be said of the wrong drug. Proxies show where to look; they do not show that a text is safe.

"""
VALIDITY = """\
## Do they measure what they name?

Good texts, with one fault put into 0, 10, 30 and 100 % of them: the reference itself is the output, and each fault goes
into the items that it fits. A metric stays only if it moves with the fault that it names. `tests/text_faults.py` holds
the faults, `tests/evaluation/text/test_validity.py` the limits. **Seen** is the share of the items with the fault of
which the metric goes the way that it must: an item of which it has no value, or the same as before, is not seen.

What to read from it:

- With 0 % of faults a metric against the source shows its **floor**: what it finds wrong in texts that people wrote. On
  dialogues a fifth of the numbers and entities of a good note are not found (`a day` for `1 day`, other words for one
  thing), and about one note in ten has a flip that is none. Compare systems with each other and with the reference, not
  with zero.
- **Flips** move on notes and dialogues, where problems are denied. Answers to consumers and abstracts of trials deny
  few: there they hardly move, and say little. A side or a relative is seldom named there at all.
- In a long source almost any number occurs somewhere, so that **numbers** and **sentences without support** move less
  on articles than on notes.
- A number gets another digit at random, with no look at the source. What **numbers** do not see is a wrong number that
  stands in the source for something else: on notes one in 12, on dialogues 3 in 10, on articles more than half.
- Faults of drugs, problems and denials are made by the lexicon that their metrics use: it finds the place, and the
  names that are put in are of the lexicon. Eight of the ten preambles are in the metric's list. The shares seen are
  those of faults that lexicon and list know; what these miss, the table does not show. Of 1,201 training notes of
  MTS-Dialog 60 % name an entity that the lexicon has.
- The words in another order leave ROUGE-1 and token F1 where they are, and one wrong number, drug or negation hardly
  moves any metric of overlap: read them with those of facts.

"""
SETS = {
    "notes": "the project's own notes and summaries",
    "MTS-Dialog": "dialogues and the section of the note (CC BY 4.0)",
    "MEDIQA 2021": "answers of health sites and the summary of them (CC BY 4.0)",
    "Evidence Inference": "articles of trials and their abstract (CC BY)",
}

#: A mean that changes by less is as it was, at the digits that are shown.
STILL = 0.005


def page(measured: str | None = None) -> str:
    """The text of docs/text-metrics.md; measured: the tables of public sets, those that are there by default."""
    if measured is None:
        measured = PAGE.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0]
    return "\n".join([HEAD + _definitions(), _rules(), _of_models(), VALIDITY + BEGIN + measured + END])


def _definitions() -> str:
    return "\n".join(["## Definitions", "", *_table(METRICS), ""])


def _of_models() -> str:
    """What is no metric of strings alone."""
    parts = ["## Metrics with weights of their own", "", str(inspect.getdoc(judges)), "", *_table(JUDGED), ""]
    parts += ["## Asked of the model itself", "", "These look at the model under test, not at strings alone.", ""]
    titles = {
        "Contrastive likelihood": contrast,
        "The faults": faults,
        "Abstention": abstention,
        "Declining": declining,
    }
    for title, module in titles.items():
        parts += [f"### {title}", "", str(inspect.getdoc(module)), ""]
    return "\n".join(parts)


def _table(metrics: Mapping[str, Described]) -> list[str]:
    rows = [
        f"| {metric.title} | `{name}` | {metric.formula} | {metric.better or 'neither'} | {metric.needs or ''} "
        f"| {'proxy' if metric.proxy else ''} |"
        for name, metric in metrics.items()
    ]
    return ["| metric | name | computed as | better | needs | |", "|---|---|---|---|---|---|", *rows]


def _rules() -> str:
    modules = {
        "Tokens": normalise, "Overlap with the reference": overlap, "Numbers, doses, units": numbers,
        "Dates": dates, "Entities": entities, "Flips": flips, "Support in the source": support, "Form": form,
    }  # fmt: skip
    parts = [f"## {title}\n\n{inspect.getdoc(module)}\n" for title, module in modules.items()]
    stated = "\n".join(f"- `{signature}`" for signature in overlap.signatures().values())
    parts[1] += f"\nAs they are run here:\n\n{stated}\n"
    return "\n".join(parts)


def tables(found: Mapping[str, Mapping[str, "Moved"]], named: Mapping[str, Sequence[str]]) -> str:
    """found: set -> fault -> what it did. named: fault -> the metrics that name it."""
    parts: list[str] = []
    for name, by_fault in found.items():
        rows = [
            f"| {fault.replace('_', ' ')} | {did.n} | `{metric}` | "
            + " | ".join("" if value is None else f"{value:.2f}" for value in did.means[metric])
            + f" | {_seen(did, metric)} |"
            for fault, did in by_fault.items()
            if did.n
            for metric in named[fault]
        ]
        head = [
            "| fault | items | metric that names it | 0 % | 10 % | 30 % | 100 % | seen |",
            "|---|---|---|---|---|---|---|---|",
        ]
        parts += [f"### {name}: {SETS[name]}", "", *head, *rows, ""]
    name, by_fault = "MTS-Dialog", found["MTS-Dialog"]
    faults = list(by_fault)
    parts += [
        f"### {name}: what every metric does with every fault",
        "",
        "Change from no item with the fault to every item with it; bold where the metric names the fault, "
        "none under 0.005.",
        "",
        "| metric | " + " | ".join(fault.replace("_", " ") for fault in faults) + " |",
        "|---|" + "---|" * len(faults),
        *(
            f"| `{metric}` | "
            + " | ".join(_change(by_fault[fault].change(metric), metric in named[fault]) for fault in faults)
            + " |"
            for metric in METRICS
        ),
        "",
    ]
    return "\n".join(parts)


def _seen(did: "Moved", metric: str) -> str:
    """The share of the faults that a metric sees, and where it does not move at all."""
    change = did.change(metric)
    if change is None:
        return "no value here"
    return f"{did.seen[metric] / did.n:.2f}" + (": it does not move here" if abs(change) < STILL else "")


def _change(change: float | None, own: bool) -> str:
    if change is None or abs(change) < STILL:
        return ""
    return f"**{change:+.2f}**" if own else f"{change:+.2f}"


def measure(data: Path) -> str:
    from text_faults import FAULTS, answers, articles, dialogues, moved, notes

    samples = {
        "notes": notes(),
        "MTS-Dialog": dialogues(data, 60),
        "MEDIQA 2021": answers(data, 30),
        "Evidence Inference": articles(data, 12),
    }
    found = {name: {fault.__name__: moved(fault, texts) for fault in FAULTS} for name, texts in samples.items()}
    known = {fault.__name__: list(metrics) for fault, metrics in FAULTS.items()}
    return tables(found, known) + of_models(samples["notes"], samples["MTS-Dialog"][:30])


def of_models(own: Sequence["Sample"], dialogues: Sequence["Sample"]) -> str:
    """What needs a model, on the same texts: BERTScore with faults in, and contrastive likelihood of two bases."""
    from text_faults import bertscores, likelier

    texts = [*own, *dialogues]
    rows = [
        f"| {fault} | {n} | {before:.3f} | {after:.3f} |"
        for fault, n, before, after in bertscores("clinfit/minilm", texts)
    ]
    parts = [
        "### BERTScore, with clinfit/minilm",
        "",
        "Notes and MTS-Dialog; the references themselves against the references with the fault in every text. It moves",
        "with other texts, and hardly with another number or a denial dropped.",
        "",
        "| fault | items | 0 % | 100 % |",
        "|---|---|---|---|",
        *rows,
        "",
        "### Contrastive likelihood",
        "",
        "Notes and MTS-Dialog; references that are likelier a token than with the fault (share): of `clinfit/tiny`",
        "and of the same architecture with random weights, which knows nothing. It is not of strings alone.",
        "What knows nothing is near a half where a number or name is another. A denial makes a text longer or shorter,",
        "which moves a mean a token by itself: read these two against the model before training.",
        "",
        "| fault | items | random weights | clinfit/tiny |",
        "|---|---|---|---|",
        *(f"| {fault} | {n} | {blind:.2f} | {tiny:.2f} |" for fault, n, blind, tiny in likelier(texts)),
        "",
    ]
    return "\n".join(parts)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Writes docs/text-metrics.md.")
    parser.add_argument("--measure", action="store_true", help="measure the tables of public sets again")
    sys.path.insert(0, str(ROOT / "tests"))
    PAGE.write_text(
        page(measure(Path(os.environ["CLINFIT_DATA"])) if parser.parse_args().measure else None), encoding="utf-8"
    )
    print(f"wrote {PAGE.relative_to(ROOT)}")
