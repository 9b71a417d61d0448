"""Faults put into good texts, to see which metrics move: the table of docs/text-metrics.md and the tests of validity.

The outputs are the references themselves, into which one fault is put at a share of the items that it can be put into.
The items are the project's own notes (text_notes.txt), and small samples of public sets where CLINFIT_DATA names their
folder.
"""

import csv
import random
import re
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from statistics import mean
from typing import Any

import openpyxl

from clinfit.evaluation.metrics.text import faults
from clinfit.evaluation.metrics.text.definitions import METRICS, item_scores
from clinfit.evaluation.metrics.text.entities import Kind
from clinfit.evaluation.metrics.text.normalise import sentences, tokens

SHARES = (0.0, 0.1, 0.3, 1.0)


@dataclass(frozen=True)
class Sample:
    """source: what was to be summarised. reference: a good text of it."""

    source: str
    reference: str


@dataclass(frozen=True)
class Output:
    text: str
    finish_reason: str = "stop"


# ---------------------------------------------------------------- the texts


def notes() -> list[Sample]:
    """Twelve notes with a summary each, written for this project: two lines a note, an empty one between them."""
    text = (Path(__file__).parent / "text_notes.txt").read_text(encoding="utf-8")
    return [Sample(*pair.strip().split("\n")) for pair in text.split("\n\n")]


def dialogues(data: Path, limit: int) -> list[Sample]:
    """Dialogues of MTS-Dialog with the section of the note that was written of them; sections of 15 words and more."""
    file = data / "mts_dialog" / "MTS-Dialog-TestSet-1-MEDIQA-Chat-2023.csv"
    with file.open(encoding="utf-8", newline="") as rows:
        samples = [Sample(row["dialogue"], " ".join(row["section_text"].split())) for row in csv.DictReader(rows)]
    return [sample for sample in samples if len(sample.reference.split()) >= 15][:limit]


def answers(data: Path, limit: int) -> list[Sample]:
    """Answers of health sites to one question and the summary that a person wrote: MEDIQA 2021, task 2, test set."""
    folder = data / "mediqa2021"
    sheet = openpyxl.load_workbook(folder / "MEDIQA2021_Task2_MAS_TestSet_Answers.xlsx", read_only=True).worksheets[0]
    found: dict[str, list[str]] = {}
    for question, _, answer in sheet.iter_rows(min_row=2, max_col=3, values_only=True):
        found.setdefault(str(question), []).append(str(answer))
    lines = (folder / "MEDIQA2021_Task2_TestSet_MultiAbstrativeSummaries.txt").read_text(encoding="utf-8").splitlines()
    summaries = dict(line.split("||", 1) for line in lines if "||" in line)
    return [Sample("\n".join(found[name]), text.strip()) for name, text in summaries.items() if name in found][:limit]


def articles(data: Path, limit: int) -> list[Sample]:
    """Articles of randomised trials and their abstract: Evidence Inference, those whose own licence is CC BY."""
    samples: list[Sample] = []
    with tarfile.open(data / "evidence_inference_ccby" / "txt_files_ccby.tar.gz") as files:
        for member in files:
            content = files.extractfile(member) if member.isfile() else None
            text = content.read().decode("utf-8") if content else ""
            abstract = "\n".join(re.findall(r"^ABSTRACT[^\n]*:\n(.*?)(?=\n[A-Z.]+[^\n]*:\n|\Z)", text, re.M | re.S))
            body = text.partition("\nBODY")[2]
            if abstract and body:
                samples.append(Sample(body, " ".join(abstract.split())))
            if len(samples) == limit:
                break
    return samples


# ---------------------------------------------------------------- the faults


def number_changed(sample: Sample, others: Sequence[Sample], rng: random.Random) -> Output | None:
    """Another digit in one place of one number, whatever the source holds."""
    return _output(faults.number_changed(sample.reference, rng))


def unit_changed(sample: Sample, others: Sequence[Sample], rng: random.Random) -> Output | None:
    """mg for mcg, g for mg, weeks for days, years for months, and back."""
    units = {"mg": "g", "mcg": "mg", "g": "mg", "ml": "l", "mm": "cm", "cm": "mm"}
    units |= {"days": "weeks", "weeks": "days", "months": "years", "years": "months", "hours": "days"}
    text = re.sub(rf"(?<=\d )({'|'.join(units)})\b", lambda unit: units[unit[1]], sample.reference, count=1)
    return _changed(text, sample)


def drug_swapped(sample: Sample, others: Sequence[Sample], rng: random.Random) -> Output | None:
    return _entity_swapped(sample, others, rng, "drug")


def problem_swapped(sample: Sample, others: Sequence[Sample], rng: random.Random) -> Output | None:
    return _entity_swapped(sample, others, rng, "problem")


def negation_dropped(sample: Sample, others: Sequence[Sample], rng: random.Random) -> Output | None:
    """One sentence on a problem or drug without its negations."""
    return _output(faults.negation_dropped(sample.reference, rng))


def side_swapped(sample: Sample, others: Sequence[Sample], rng: random.Random) -> Output | None:
    sides = {"left": "right", "right": "left"}
    text = re.sub(r"\b(left|right)\b", lambda side: sides[side[1].casefold()], sample.reference, flags=re.IGNORECASE)
    return _changed(text, sample)


def relative_made_patient(sample: Sample, others: Sequence[Sample], rng: random.Random) -> Output | None:
    """What a relative has or had is the patient's."""
    relatives = "mother|father|sister|brother|uncle|aunt|grandmother|grandfather"
    text = re.sub(
        rf"\b(?:(?:his|her|the|a|paternal|maternal) )*(?:{relatives})\b", "the patient", sample.reference, flags=re.I
    )
    return _changed(re.sub(r"\bfamily history of\b", "history of", text, flags=re.I), sample)


def foreign_sentence(sample: Sample, others: Sequence[Sample], rng: random.Random) -> Output | None:
    """A sentence of another record's text behind its own."""
    long = [each for each in sentences(rng.choice(others).reference) if len(tokens(each)) >= 6]
    return Output(f"{sample.reference} {rng.choice(long)}") if long else None


def foreign_text(sample: Sample, others: Sequence[Sample], rng: random.Random) -> Output | None:
    """Another record's text in its place."""
    return Output(rng.choice(others).reference)


def repeated(sample: Sample, others: Sequence[Sample], rng: random.Random) -> Output | None:
    """Its longest sentence twice more."""
    longest = max(sentences(sample.reference), key=lambda sentence: len(tokens(sentence)))
    return Output(f"{sample.reference} {longest} {longest}") if len(tokens(longest)) >= 4 else None


def cut_off(sample: Sample, others: Sequence[Sample], rng: random.Random) -> Output | None:
    """The first half of its words, as a limit of new tokens leaves it."""
    words = sample.reference.split()
    return Output(" ".join(words[: len(words) // 2]), "length") if len(words) >= 8 else None


def preamble(sample: Sample, others: Sequence[Sample], rng: random.Random) -> Output | None:
    """One of ten ways to begin with talk about the answer; two of them are not in the metric's list."""
    begin = rng.choice(
        [
            "Sure, here is the summary:", "Certainly! Here's a concise summary of the text:", "Here is the answer:",
            "Of course. Below is the note:", "Based on the provided text,", "I'd be happy to help.",
            "As an AI language model, I can say this.", "Okay, here it is:", "Summary of the conversation:",
            "This is what you asked for:",
        ]
    )  # fmt: skip
    return Output(f"{begin} {sample.reference}")


def order_lost(sample: Sample, others: Sequence[Sample], rng: random.Random) -> Output | None:
    """Its words in any order."""
    words = sample.reference.split()
    rng.shuffle(words)
    return Output(" ".join(words))


def copied(sample: Sample, others: Sequence[Sample], rng: random.Random) -> Output | None:
    """The beginning of the source, as long as the reference."""
    return Output(" ".join(sample.source.split()[: len(sample.reference.split())]))


def nothing(sample: Sample, others: Sequence[Sample], rng: random.Random) -> Output | None:
    return Output("")


def written_otherwise(sample: Sample, others: Sequence[Sample], rng: random.Random) -> Output | None:
    """No fault: lower case, without the full stop at the end, `500mg` for `500 mg`, an article before it."""
    text = re.sub(r"(?<=\d) (?=mg\b|kg\b)", "", sample.reference.rstrip(".")).casefold()
    return Output(f"the {text}") if re.match(r"[a-z]{2}", text) and not text.startswith(("a ", "the ")) else None


def _entity_swapped(sample: Sample, others: Sequence[Sample], rng: random.Random, kind: Kind) -> Output | None:
    """One name in all its places, for another of its kind that neither source nor reference has."""
    names = faults.names_in([other.reference for other in others])
    return _output(faults.entity_swapped(sample.reference, sample.source, names, rng, kind))


def _output(text: str | None) -> Output | None:
    return None if text is None else Output(text)


def _changed(text: str, sample: Sample) -> Output | None:
    return Output(text) if text != sample.reference else None


Fault = Callable[[Sample, Sequence[Sample], random.Random], Output | None]

#: Fault -> the metrics that name it, and which way they must go.
FAULTS: dict[Fault, dict[str, int]] = {
    number_changed: {"number_precision": -1, "unsupported_numbers": 1, "number_recall": -1},
    unit_changed: {"number_precision": -1, "unsupported_numbers": 1, "number_recall": -1},
    drug_swapped: {"entity_precision": -1, "entity_recall": -1},
    problem_swapped: {"entity_precision": -1, "entity_recall": -1},
    negation_dropped: {"negation_flips": 1, "negation_flips_reference": 1},
    side_swapped: {"laterality_flips": 1, "laterality_flips_reference": 1},
    relative_made_patient: {"subject_flips": 1, "subject_flips_reference": 1},
    foreign_sentence: {"unsupported_sentences": 1, "coverage": -1, "novel_bigrams": 1, "length_ratio": 1},
    foreign_text: {
        "token_f1": -1, "rouge1": -1, "rouge2": -1, "rougeL": -1, "rougeLsum": -1, "chrf": -1, "exact_match": -1,
        "unsupported_sentences": 1,
    },
    repeated: {"repeated_ngrams": 1, "length_ratio": 1, "compression": -1},
    cut_off: {"cut_off": 1, "length_ratio": -1, "compression": 1, "number_recall": -1, "entity_recall": -1},
    preamble: {"preamble": 1, "exact_match": -1},
    order_lost: {"rouge2": -1, "rougeL": -1, "rougeLsum": -1, "exact_match": -1},
    copied: {"coverage": 1, "density": 1, "novel_bigrams": -1},
    nothing: {"empty": 1, "token_f1": -1, "rouge1": -1, "chrf": -1},
    written_otherwise: {"exact_match_raw": -1},
}  # fmt: skip


@dataclass(frozen=True)
class Moved:
    """n: items that the fault was put into at most. means: metric -> its mean at each of SHARES, over the items where
    it is defined with and without the fault; None where there are none. seen: metric that names the fault -> in how
    many of the n items it goes the way that it must."""

    n: int
    means: dict[str, list[float | None]]
    seen: dict[str, int]

    def change(self, metric: str) -> float | None:
        """What the metric changes by when every item has the fault."""
        first, last = self.means[metric][0], self.means[metric][-1]
        return None if first is None or last is None else last - first


def moved(fault: Fault, samples: Sequence[Sample], seed: int = 1) -> Moved:
    """What a fault does to every metric, over the samples that it can be put into."""
    pairs: list[tuple[dict[str, float | None], dict[str, float | None]]] = []
    for at, sample in enumerate(samples):
        others = [*samples[:at], *samples[at + 1 :]]
        output = fault(sample, others, random.Random(f"{seed} {fault.__name__} {at}"))
        if output is not None:
            pairs.append((_scores(Output(sample.reference), sample), _scores(output, sample)))
    random.Random(f"{seed} {fault.__name__}").shuffle(pairs)
    seen = {name: sum(_goes(name, way, *pair) for pair in pairs) for name, way in FAULTS[fault].items()}
    return Moved(len(pairs), {name: _means(name, pairs) for name in METRICS}, seen)


def _goes(name: str, way: int, before: dict[str, float | None], after: dict[str, float | None]) -> bool:
    """Whether a metric of one item goes the way that it must; not where it has no value."""
    was, now = before[name], after[name]
    return was is not None and now is not None and way * (now - was) > 0


@lru_cache(maxsize=1000)
def _scores(output: Output, sample: Sample) -> dict[str, float | None]:
    return item_scores(output.text, [sample.reference], sample.source, output.finish_reason)


def _means(name: str, pairs: Sequence[tuple[dict[str, float | None], dict[str, float | None]]]) -> list[float | None]:
    values = [(b, a) for before, after in pairs if (b := before[name]) is not None and (a := after[name]) is not None]
    faulty = [round(share * len(values)) for share in SHARES]
    return [
        mean(after if at < n else before for at, (before, after) in enumerate(values)) if values else None
        for n in faulty
    ]


#: Metrics of facts and form: a fault that does not name them must leave them alone. Those of wording move with any.
FACTS = [
    "number_precision", "unsupported_numbers", "number_recall", "entity_precision", "entity_recall", "negation_flips",
    "laterality_flips", "subject_flips", "negation_flips_reference", "laterality_flips_reference",
    "subject_flips_reference", "empty", "cut_off", "preamble", "repeated_ngrams",
]  # fmt: skip
#: Faults that touch one thing only.
NARROW: list[Fault] = [
    number_changed, unit_changed, drug_swapped, problem_swapped, negation_dropped, side_swapped, relative_made_patient,
    repeated, preamble, written_otherwise,
]  # fmt: skip


# ---------------------------------------------------------------- what needs a model


def bertscores(encoder: str, samples: Sequence[Sample]) -> list[tuple[str, int, float, float]]:
    """Fault, items, and the mean BERTScore of the references and of the same texts with the fault in all of them."""
    from clinfit.models.texts.judges import BertScorer, JudgedText
    from clinfit.study.evaluation import BertScore

    scorer, rows = BertScorer(BertScore(encoder=encoder)), []
    for fault in (number_changed, drug_swapped, problem_swapped, negation_dropped, foreign_sentence, foreign_text):
        pairs = [
            (output.text, sample.reference)
            for at, sample in enumerate(samples)
            if (output := fault(sample, [*samples[:at], *samples[at + 1 :]], random.Random(f"1 {at}"))) is not None
        ]
        before = scorer.scores([JudgedText(reference, reference, [], []) for _, reference in pairs])
        after = scorer.scores([JudgedText(text, reference, [], []) for text, reference in pairs])
        rows.append((fault.__name__.replace("_", " "), len(pairs), float(before.mean()), float(after.mean())))
    return rows


def likelier(samples: Sequence[Sample]) -> list[tuple[str, int, float, float]]:
    """Fault, items, and the share of the references that are likelier than with the fault: of the architecture of
    clinfit/tiny with random weights, and of clinfit/tiny."""
    import shutil
    import tempfile

    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from clinfit.data.records import Record
    from clinfit.models.bases.pretrained import find_base
    from clinfit.models.causal import CausalModel
    from clinfit.runs.steps.contrast import contrast_table
    from clinfit.study.models import Causal
    from clinfit.study.tasks import Generation, task_from

    data = {"path": "unused.csv", "inputs": {"text": "text"}}
    task = task_from({"kind": "generation", "data": data})
    assert isinstance(task, Generation)
    records = [
        Record(f"{at}", f"{at}", {"text": sample.source}, sample.reference, "test", "note")
        for at, sample in enumerate(samples)
    ]
    tiny = Path(find_base("clinfit/tiny").source)
    with tempfile.TemporaryDirectory() as folder:
        blind = Path(folder) / "blind"
        shutil.copytree(tiny, blind, ignore=shutil.ignore_patterns("*.safetensors"))
        torch.manual_seed(0)
        AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(tiny)).save_pretrained(blind)
        tables = []
        for base in (str(blind), "clinfit/tiny"):
            spec = Causal.model_validate(
                {"name": "one", "family": "causal", "base": base, "train": {"max_length": 512}}
            )
            model: Any = CausalModel(spec, {"note": task}, 0)
            found = contrast_table(model, "note", task, records, len(records))
            found["likelier"] = found["nats"] / found["tokens"] < found["faulty_nats"] / found["faulty_tokens"]
            tables.append(found.groupby("fault", sort=False)["likelier"].agg(["size", "mean"]))
    blind_shares, shares = tables
    return [
        (fault, int(shares["size"][fault]), float(blind_shares["mean"][fault]), float(shares["mean"][fault]))
        for fault in faults.FAULTS
        if fault in shares.index
    ]
