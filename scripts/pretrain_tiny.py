"""Make `clinfit/tiny`, the small embedded base model, from openly licensed biomedical text.

    CLINFIT_DATA=<data mirror> python scripts/pretrain_tiny.py --work <scratch folder> \
        --out src/clinfit/models/bases/tiny --minutes 38

A killed run continues from its last checkpoint when the same command is given again. `--export-only` writes the
model folder from the last checkpoint and stops.

Text
    * Evidence Inference 2.0: full texts of randomised trials whose own license is CC BY. The official training
      split is trained on, the validation split gives the held-out loss, the test split is not read.
    * PubMedQA: question, contexts and MeSH terms of the 500 official training items (MIT). `final_decision` and
      `LONG_ANSWER` are never read.
    * An article that shares a run of 13 words with a title and abstract of a set that clinfit is evaluated on
      (`EVALUATION_SETS`) is left out, after lower-casing and reducing everything but letters and digits to spaces. A
      run of words that occurs in several articles is a set phrase of trial reports and does not count.

Tokenizer
    Byte-level BPE with 8,192 entries, trained on the training text. Every digit is a token of its own.

Model
    Llama layout: 6 layers, width 256, 4 heads of size 64 over 2 key-value heads (wide heads because attention over
    narrow ones costs twice as much on a CPU), feed-forward 688, tied embeddings: 6.45 million parameters.

Training
    Weights in fp32, arithmetic in bf16 (autocast) where the processor has it, compiled. Muon for the matrices of the
    layers, AdamW for the embedding and the norms, one learning rate for both: warm-up, constant for the first 40 % of
    the budget, then linear to zero. 8 rows of 512 tokens a step, shared by `--processes` processes of one thread
    each: on a busy machine they wait for one another once a step instead of in every operation. The budget is
    training time (`--minutes`) or tokens (`--tokens`).
    * Phase 1, the first 60 % of the budget: running text.
    * Phase 2, the rest: in every step 4 rows of instructions in the chat template beside 4 rows of running text, so
      that the text is not forgotten; every eighth step is running text in rows of 2,048 tokens, for long prompts.
      Instructions are generated from the same articles (see `TASKS`): wording, order and names of the labels are
      shuffled so that the model reads the labels from the instruction and ends its turn after one of them. The loss
      is taken on all tokens, and the answers count once more with a mean of their own: a prompt is mostly biomedical
      text worth learning from, but one answer token among 400 would drown in a plain mean.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import os
import random
import re
import shutil
import signal
import tarfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from clinfit.machine import cpu_has_bf16

VOCABULARY = 8192
ROW = 512
LONG_ROW = 2048
ROWS_A_STEP = 8
INSTRUCTION_ROWS = 4
LONG_EVERY = 8
PHASE_1 = 0.6
CONSTANT = 0.4
WARM_UP_STEPS = 60
ANSWER_SHARE = 0.5
FINAL_TOKENS = 2**17
SPECIAL = ["<|begin|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>", "<|pad|>"]
BEGIN, SYSTEM, USER, ASSISTANT, END, PAD = SPECIAL
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>\\n' + message['content'] | trim + '<|end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}"
)


# ------------------------------------------------------------------------------------------------------------- text


@dataclass
class Document:
    """One article or abstract: `abstract` and `body` are (heading, text) pairs."""

    name: str
    title: str
    abstract: list[tuple[str, str]]
    body: list[tuple[str, str]] = field(default_factory=list)
    terms: list[str] = field(default_factory=list)

    def summary(self) -> str:
        """The abstract without its headings and without scraps of markup."""
        return " ".join(re.sub(r"^[:>\s]+|\bid=\"\w+\">", "", text) for _, text in self.abstract)

    def full(self) -> str:
        parts = [self.title] + [f"{head}\n{text}" if head else text for head, text in self.abstract + self.body]
        return "\n\n".join(parts) + "\n"


HEADING = re.compile(r"^\s*(TITLE|ABSTRACT|BODY)(?:\.([^\n:]*))?:", re.MULTILINE)
UNWANTED = re.compile(
    r"compet|conflict|contribut|pre-publication|supplement|supporting|acknowl|abbrev|registration|status"
    r"|disclos|funding|additional|availability|publisher|consent|approval|author",
    re.IGNORECASE,
)


def clean(text: str) -> str:
    text = re.sub(r"\s?xmlns:\w+=\"[^\"]*\">?", " ", text)
    return re.sub(r"\s+", " ", text).strip()


def parse_article(name: str, text: str) -> Document:
    """Split an Evidence Inference article at its TITLE, ABSTRACT.* and BODY.* headings."""
    document = Document(name, "", [])
    marks = list(HEADING.finditer(text))
    for mark, following in zip(marks, [*marks[1:], None], strict=True):
        content = clean(text[mark.end() : following.start() if following else len(text)])
        part, heading = mark.group(1), clean(mark.group(2) or "").capitalize()
        if part == "TITLE":
            document.title = content
        elif content and not UNWANTED.search(heading):
            (document.abstract if part == "ABSTRACT" else document.body).append((heading, content))
    return document


def read_articles(data: Path, split: str) -> list[Document]:
    folder = data / "evidence_inference_ccby"
    wanted = set((folder / "splits" / f"{split}_article_ids.txt").read_text().split())
    documents = []
    with tarfile.open(folder / "txt_files_ccby.tar.gz") as archive:
        for member in archive:
            handle, name = archive.extractfile(member), Path(member.name).stem
            if handle and name.removeprefix("PMC") in wanted:
                documents.append(parse_article(name, handle.read().decode("utf-8")))
    return sorted(documents, key=lambda document: document.name)


def read_pubmedqa(data: Path) -> list[Document]:
    """The official training items: question, contexts with their section labels, MeSH terms."""
    items = json.loads((data / "pubmedqa" / "ori_pqal.json").read_text())
    tests = json.loads((data / "pubmedqa" / "test_ground_truth.json").read_text())
    return [
        Document(
            name=pmid,
            title=item["QUESTION"],
            abstract=[(h.capitalize(), clean(t)) for h, t in zip(item["LABELS"], item["CONTEXTS"], strict=True)],
            terms=[term.split(",")[0].lower() for term in item["MESHES"]],
        )
        for pmid, item in sorted(items.items())
        if pmid not in tests
    ]


def read_column(path: Path, *columns: str) -> list[str]:
    with path.open(encoding="utf-8", newline="") as handle:
        return [" ".join(row[column] for column in columns) for row in csv.DictReader(handle)]


def read_pubmedqa_test(data: Path) -> list[str]:
    items = json.loads((data / "pubmedqa" / "ori_pqal.json").read_text())
    tests = json.loads((data / "pubmedqa" / "test_ground_truth.json").read_text())
    return [items[pmid]["QUESTION"] + " " + " ".join(items[pmid]["CONTEXTS"]) for pmid in tests]


EVALUATION_SETS: dict[str, Callable[[Path], list[str]]] = {
    "cancer_abstracts": lambda data: read_column(data / "cancer_abstracts" / "abstracts.csv", "title", "abstract"),
    "medical_abstracts_tc": lambda data: read_column(
        data / "medical_abstracts_tc" / "medical_tc_test.csv", "medical_abstract"
    ),
    "mirna_cancer_abstracts": lambda data: [
        text
        for organ in ("Colorectal", "Pancreatic")
        for text in read_column(data / "mirna_cancer_abstracts" / f"{organ}MiRNAs_tbl_df.csv", "Title", "Abstract")
    ],
    "pubmedqa_test": read_pubmedqa_test,
}


def word_runs(text: str, length: int = 13) -> set[int]:
    words = re.sub(r"[^a-z0-9]+", " ", text.lower()).split()
    return {hash(tuple(words[i : i + length])) for i in range(len(words) - length + 1)}


def without_overlap(documents: list[Document], data: Path) -> tuple[list[Document], dict[str, int], set[str]]:
    """Drop documents that share a run of words with an evaluation set; count them by set, and name them."""
    runs = [word_runs(f"{document.title} {document.full()}") for document in documents]
    seen = Counter(run for own in runs for run in own)
    dropped: set[int] = set()
    counts: dict[str, int] = {}
    for name, read in EVALUATION_SETS.items():
        other = set().union(*(word_runs(text) for text in read(data)))
        hits = {i for i, own in enumerate(runs) if any(seen[run] == 1 for run in own & other)}
        counts[name] = len(hits)
        dropped |= hits
    kept = [document for i, document in enumerate(documents) if i not in dropped]
    return kept, counts, {documents[i].name for i in dropped}


# -------------------------------------------------------------------------------------------------------- tokenizer


def train_tokenizer(texts: Iterable[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[AddedToken(token, special=True, normalized=False) for token in SPECIAL],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def render(system: str, user: str) -> str:
    """The chat template by hand; a test of the package compares both."""
    head = f"{SYSTEM}\n{system.strip()}{END}\n" if system else ""
    return f"{BEGIN}{head}{USER}\n{user.strip()}{END}\n{ASSISTANT}\n"


# ----------------------------------------------------------------------------------------------------- instructions


@dataclass
class Example:
    task: str
    instruction: str
    text: str
    answer: str


BINARY = [("Yes", "No")] * 6 + [("yes", "no")] * 2 + [("True", "False"), ("present", "absent"), ("1", "0")]
BINARY += [("positive", "negative"), ("related", "unrelated"), ("relevant", "other"), ("high", "low"), ("A", "B")]
NAMES = ["red", "blue", "north", "south", "alpha", "beta", "group 1", "group 2", "X", "Y", "left", "right", "P", "Q"]
SYSTEMS = [
    "",
    "",
    "",
    "You classify biomedical text.",
    "You read clinical text and answer with a label only.",
    "You are a careful assistant.",
    "Answer with one of the labels and nothing else.",
]
SECTIONS = {
    "Background": r"backgr|introd|objective|aim|purpose",
    "Methods": r"method|design|setting|participants|analys",
    "Results": r"result|finding",
    "Conclusions": r"conclu|discuss|interpret",
}
STOP_WORDS = """
with from that this were have been than which their after between during among these trial study randomized
randomised controlled effect effects versus compared using results protocol clinical patients treatment analysis does
phase efficacy evaluation pilot double blind placebo based comparison associated improve whether into cluster
open label single small potential female male rich production role direct current novel short long term high rate
early late risk part case cases first second three four time outcomes outcome care health factors design report
"""
STOP = set(STOP_WORDS.split())
FEATURES = [("age", "years", 18, 90), ("systolic blood pressure", "mmHg", 85, 200), ("heart rate", "/min", 45, 140),
            ("glucose", "mg/dL", 60, 300), ("cholesterol", "mg/dL", 110, 340), ("BMI", "kg/m2", 16, 45),
            ("hemoglobin", "g/dL", 6, 18), ("creatinine", "mg/dL", 0, 5), ("temperature", "C", 35, 41),
            ("platelets", "10^9/L", 40, 500), ("albumin", "g/dL", 2, 5), ("bilirubin", "mg/dL", 0, 20),
            ("sodium", "mmol/L", 120, 155), ("weight", "kg", 40, 140), ("height", "cm", 140, 205),
            ("respiratory rate", "/min", 8, 40), ("insulin", "mU/L", 2, 300), ("pain score", "", 0, 10),
            ("number of visits", "", 0, 30), ("score A", "", 0, 100), ("score B", "", 0, 100),
            ("marker C", "U/L", 5, 900), ("thickness", "mm", 1, 60), ("duration", "days", 1, 400)]  # fmt: skip
CATEGORIES = [("sex", ["male", "female"]), ("smoker", ["yes", "no"]), ("edema", ["none", "treated", "untreated"]),
              ("group", ["A", "B"]), ("chest pain", ["typical", "atypical", "none"]),
              ("stage", ["1", "2", "3", "4"])]  # fmt: skip


class Maker:
    """Generates instruction examples from documents; every choice comes from the `random.Random` it is given."""

    def __init__(self, documents: list[Document]):
        self.documents = [document for document in documents if len(document.summary()) > 300 and document.title]
        self.summaries = [document.summary().lower() for document in self.documents]
        frequency = Counter(word for text in self.summaries for word in set(re.findall(r"[a-z]{4,}", text)))
        common = 0.12 * len(self.documents)
        self.words = [
            [w for w in set(re.findall(r"[a-z]{4,}", d.title.lower())) if w not in STOP and 2 < frequency[w] < common]
            for d in self.documents
        ]
        for words in self.words:
            words.sort()
        self.sections = self._sections()

    def _sections(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = defaultdict(list)
        for document in self.documents:
            for heading, text in document.abstract + document.body:
                for name, pattern in SECTIONS.items():
                    if re.search(pattern, heading, re.IGNORECASE) and len(text) > 150:
                        found[name].append(text)
                        break
        return found

    def make(self, rng: random.Random) -> Example:
        return rng.choice(TASKS)(self, rng)

    def pick(self, rng: random.Random) -> int:
        return rng.randrange(len(self.documents))


def window(rng: random.Random, text: str, low: int, high: int) -> str:
    words = text.split(" ")
    length = rng.randint(low, high)
    start = rng.randint(0, max(0, len(words) - length))
    return " ".join(words[start : start + length])


def beginning(rng: random.Random, document: Document) -> str:
    words = document.summary().split(" ")
    text = " ".join(words[: rng.choice([60, 120, 180, 240, 260])])
    return f"Title: {document.title}\nAbstract: {text}" if rng.random() < 0.5 else text


def binary(rng: random.Random, statement: str, question: str, truth: bool) -> tuple[str, str]:
    """An instruction for a yes/no matter, and its answer in the wording the instruction asks for."""
    yes, no = rng.sample(NAMES, 2) if rng.random() < 0.3 else rng.choice(BINARY)
    answer = yes if truth else no
    shown = [yes, no] if rng.random() < 0.5 else [no, yes]
    if (yes.lower(), no.lower()) in (("yes", "no"), ("true", "false")):
        ending = rng.choice(["Answer {} or {}.", "Reply with {} or {} only.", "Answer with one word: {} or {}.",
                             "Labels: {}, {}."])  # fmt: skip
        return f"{question} {ending.format(*shown)}", answer
    if rng.random() < 0.5:
        return f"Answer {yes} if {statement}, otherwise answer {no}.", answer
    lines = [f"{yes}: {statement}", f"{no}: not so"]
    return "Choose the label.\n" + "\n".join(lines if shown[0] == yes else lines[::-1]), answer


def about_topic(maker: Maker, rng: random.Random) -> Example:
    """Does the text deal with a MeSH term (PubMedQA) or a word of the title (trials)?"""
    for _ in range(20):
        i, j = maker.pick(rng), maker.pick(rng)
        own, other = maker.documents[i].terms or maker.words[i], maker.documents[j].terms or maker.words[j]
        truth = rng.random() < 0.5
        if not own or not other:
            continue
        term = rng.choice(own if truth else other)
        if not truth and term in f"{maker.documents[i].title.lower()} {maker.summaries[i]}":
            continue
        text = beginning(rng, maker.documents[i])
        question = rng.choice(
            ["Is the text about {}?", "Does this text deal with {}?", "Is {} a topic of this abstract?"]
        )
        instruction, answer = binary(rng, f"the text is about {term}", question.format(term), truth)
        return Example("topic", instruction, text, answer)
    return numbers(maker, rng)


def which_topic(maker: Maker, rng: random.Random) -> Example:
    """Pick the topic of the text among two to four."""
    for _ in range(20):
        i = maker.pick(rng)
        own = maker.documents[i].terms or maker.words[i]
        text = f"{maker.documents[i].title.lower()} {maker.summaries[i]}"
        others = [
            w for w in (rng.choice(maker.words[maker.pick(rng)] or [""]) for _ in range(6)) if w and w not in text
        ]
        if not own or len(others) < 3:
            continue
        answer = rng.choice(own)
        labels = [answer, *others[: rng.randint(1, 3)]]
        rng.shuffle(labels)
        ask = rng.choice(["What is the text about? Answer with one of:", "Which label fits? Labels:", "Classify:"])
        return Example("which_topic", f"{ask} {', '.join(labels)}", beginning(rng, maker.documents[i]), answer)
    return numbers(maker, rng)


def title_match(maker: Maker, rng: random.Random) -> Example:
    """Does a title (or question) belong to a text?"""
    i, j, truth = maker.pick(rng), maker.pick(rng), rng.random() < 0.5
    title = maker.documents[i if truth else j].title
    text = f"Title: {title}\nText: {window(rng, maker.documents[i].summary(), 60, 220)}"
    instruction, answer = binary(rng, "the title belongs to the text", "Does the title fit the text?", truth or i == j)
    return Example("title_match", instruction, text, answer)


def same_article(maker: Maker, rng: random.Random) -> Example:
    """Do two passages come from one article?"""
    i, j, truth = maker.pick(rng), maker.pick(rng), rng.random() < 0.5
    first, source = maker.documents[i], maker.documents[i if truth else j]
    body = " ".join(text for _, text in source.body) or source.summary()
    passages = [window(rng, first.summary(), 30, 110), window(rng, body, 30, 110)]
    rng.shuffle(passages)
    instruction, answer = binary(
        rng, "both passages are from the same article", "Are both passages about the same study?", truth or i == j
    )
    return Example("same_article", instruction, f"Passage 1: {passages[0]}\nPassage 2: {passages[1]}", answer)


def section(maker: Maker, rng: random.Random) -> Example:
    """Name the section of a paper that a passage is from."""
    name = rng.choice(list(SECTIONS))
    text = window(rng, rng.choice(maker.sections[name]), 30, 180)
    if rng.random() < 0.3:
        asked = name if rng.random() < 0.5 else rng.choice([other for other in SECTIONS if other != name])
        instruction, answer = binary(
            rng, f"the passage is from the {asked} section", f"Is this passage from the {asked} section?", asked == name
        )
        return Example("section", instruction, text, answer)
    labels = [name, *rng.sample([other for other in SECTIONS if other != name], rng.randint(1, 3))]
    rng.shuffle(labels)
    return Example(
        "section", f"Which section is this passage from? Answer with one of: {', '.join(labels)}", text, name
    )


def options(rng: random.Random, right: str, wrong: list[str]) -> tuple[str, str]:
    """Lettered options and the letter of the right one."""
    choices = [right, *wrong]
    rng.shuffle(choices)
    lines = "\n".join(f"{letter}. {choice}" for letter, choice in zip("ABCD", choices, strict=False))
    return lines, "ABCD"[choices.index(right)]


def choose_title(maker: Maker, rng: random.Random) -> Example:
    """Multiple choice: the title of a text."""
    i, *others = rng.sample(range(len(maker.documents)), rng.choice([2, 3, 4]))
    lines, answer = options(rng, maker.documents[i].title, [maker.documents[k].title for k in others])
    text = f"{window(rng, maker.documents[i].summary(), 40, 150)}\n\n{lines}"
    return Example("choose_title", "Which title fits the text? Answer with the letter.", text, answer)


def choose_word(maker: Maker, rng: random.Random) -> Example:
    """Multiple choice: the word left out of a text."""
    for _ in range(20):
        i = maker.pick(rng)
        words = [word for word in maker.words[i] if word in maker.summaries[i]]
        others = sorted({w for w in (rng.choice(maker.words[maker.pick(rng)] or [""]) for _ in range(6)) if w})
        others = [word for word in others if word not in maker.summaries[i]]
        if not words or len(others) < 3:
            continue
        right = rng.choice(words)
        text = " ".join(maker.documents[i].summary().split(" ")[: rng.randint(80, 200)])
        lines, answer = options(rng, right, rng.sample(others, 3))
        text = re.sub(rf"\b{right}\b", "____", text, flags=re.IGNORECASE)
        if "____" in text:
            return Example(
                "choose_word", "Which word fills the gap? Answer A, B, C or D.", f"{text}\n\n{lines}", answer
            )
    return numbers(maker, rng)


def write_title(maker: Maker, rng: random.Random) -> Example:
    document = maker.documents[maker.pick(rng)]
    text = " ".join(document.summary().split(" ")[: rng.randint(100, 240)])
    return Example(
        "write_title", rng.choice(["Write a title for this abstract.", "Give the title."]), text, document.title
    )


def patient(rng: random.Random, size: int) -> tuple[list[tuple[str, float | None, str]], str]:
    """Made-up features of a patient as `name: value unit` lines; some are missing."""
    chosen, digits = rng.sample(FEATURES, size), rng.random() < 0.4
    rows: list[tuple[str, float | None, str]] = []
    for name, unit, low, high in chosen:
        value = round(rng.uniform(low, high), 1 if digits or high < 25 else None)
        rows.append((name, None if rng.random() < 0.1 else value, unit))
    missing = rng.choice(["missing", "not recorded", "unknown"])
    lines = [f"{n}: {missing if v is None else f'{v:g} {u}'.strip()}" for n, v, u in rows]
    lines += [f"{name}: {rng.choice(values)}" for name, values in rng.sample(CATEGORIES, rng.randint(0, 3))]
    rng.shuffle(lines)
    return rows, "\n".join(lines)


def numbers(_: Maker, rng: random.Random) -> Example:
    """A patient's features: is a value above a threshold, or what is it?"""
    rows, text = patient(rng, rng.randint(3, 10))
    known = [(name, value, unit) for name, value, unit in rows if value is not None]
    if not known or rng.random() < 0.2:
        name, value, _ = rng.choice(rows)
        return Example("look_up", f"What is the value of {name}? Answer with the number or with none.", text,
                       "none" if value is None else f"{value:g}")  # fmt: skip
    name, value, unit = rng.choice(known)
    low, high = next((low, high) for n, _, low, high in FEATURES if n == name)
    limit = round(rng.uniform(low, high), None if high >= 25 else 1)
    above = rng.random() < 0.5
    truth = value > limit if above else value < limit
    side = "above" if above else "below"
    instruction, answer = binary(
        rng, f"{name} is {side} {limit:g} {unit}".strip(), f"Is {name} {side} {limit:g}?", truth
    )
    return Example("threshold", instruction, text, answer)


def readings(rng: random.Random) -> dict[str, float]:
    """Two to four named values."""
    names = ["A", "B", "C", "D", "first", "second", "left", "right", "day 1", "day 7", "ward 3"]
    chosen = rng.sample(names, rng.randint(2, 4))
    top = rng.choice([10, 100, 1000])
    values = rng.sample(range(top * 10), len(chosen))
    return dict(zip(chosen, (v / 10 if top == 10 else v // 10 + i for i, v in enumerate(values)), strict=True))


def larger(_: Maker, rng: random.Random) -> Example:
    """Which of the values is largest or smallest?"""
    pairs = readings(rng)
    while len(set(pairs.values())) < len(pairs):
        pairs = readings(rng)
    want, pick = rng.choice([("largest", max), ("highest", max), ("smallest", min), ("lowest", min)])
    unit = rng.choice(["", " mg/dL", " kg", " %", " mmHg"])
    text = "\n".join(f"{name}: {value:g}{unit}" for name, value in pairs.items())
    return Example("larger", f"Which value is {want}? Answer with its name.", text, pick(pairs, key=lambda n: pairs[n]))


TASKS: list[Callable[[Maker, random.Random], Example]] = [
    about_topic, about_topic, about_topic, which_topic, which_topic, title_match, title_match, same_article, section,
    section, choose_title, choose_word, write_title, numbers, numbers, numbers, larger,
]  # fmt: skip


def lay_out(rng: random.Random, example: Example) -> str:
    """The prompt up to where the answer begins; the instruction stands before or after the text."""
    parts = [example.instruction, example.text]
    if rng.random() < 0.4:
        parts.reverse()
    elif rng.random() < 0.3:
        parts[1] = f"Text: {parts[1]}"
    return render(rng.choice(SYSTEMS), "\n\n".join(parts))


# ---------------------------------------------------------------------------------------------------------- batches


@dataclass
class Batch:
    """Token rows, their targets, and the weight of every target in the loss."""

    inputs: torch.Tensor
    targets: torch.Tensor
    weights: torch.Tensor
    answers: torch.Tensor


def running_text(stream: torch.Tensor, counter: int, rows: int, length: int, seed: int) -> torch.Tensor:
    """Rows `counter` onward of an endless shuffled reading of the stream: a new order and offset every epoch."""
    a_epoch = (len(stream) - length - 1) // length
    found = []
    for row in range(counter, counter + rows):
        generator = torch.Generator().manual_seed(seed * 1000 + row // a_epoch)
        offset = int(torch.randint(length, (1,), generator=generator))
        order = _order(a_epoch - 1, seed * 1000 + row // a_epoch)
        start = offset + length * int(order[row % (a_epoch - 1)])
        found.append(stream[start : start + length + 1].long())
    return torch.stack(found)


_ORDERS: dict[tuple[int, int], torch.Tensor] = {}


def _order(size: int, seed: int) -> torch.Tensor:
    if (size, seed) not in _ORDERS:
        _ORDERS[size, seed] = torch.randperm(size, generator=torch.Generator().manual_seed(seed))
    return _ORDERS[size, seed]


def text_batch(tokens: torch.Tensor) -> Batch:
    targets = tokens[:, 1:].contiguous()
    weights = torch.full(targets.shape, 1.0 / targets.numel())
    return Batch(tokens[:, :-1].contiguous(), targets, weights, torch.zeros_like(weights))


def encode_example(tokenizer: Tokenizer, rng: random.Random, example: Example) -> tuple[list[int], list[float]]:
    """Ids and the weight of each id as an answer token; a long answer counts as much as four tokens."""
    prompt = tokenizer.encode(lay_out(rng, example)).ids
    answer = tokenizer.encode(f"{example.answer.strip()}{END}").ids
    newline = tokenizer.encode("\n").ids
    share = min(1.0, 4.0 / len(answer))
    return prompt + answer + newline, [0.0] * len(prompt) + [share] * len(answer) + [0.0] * len(newline)


def instruction_rows(
    tokenizer: Tokenizer, maker: Maker, rng: random.Random, rows: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Examples packed first-fit into rows of 513 ids, and the answer weight of every id."""
    packed: list[tuple[list[int], list[float]]] = [([], []) for _ in range(rows)]
    misses = 0
    while misses < 3:
        ids, marks = encode_example(tokenizer, rng, maker.make(rng))
        row = next((row for row in packed if len(row[0]) + len(ids) <= ROW + 1), None)
        if row is None:
            misses += 1
            continue
        row[0].extend(ids)
        row[1].extend(marks)
    pad = tokenizer.token_to_id(PAD)
    tokens = torch.full((rows, ROW + 1), pad)
    answers = torch.zeros(rows, ROW + 1)
    for i, (ids, marks) in enumerate(packed):
        tokens[i, : len(ids)] = torch.tensor(ids)
        answers[i, : len(ids)] = torch.tensor(marks)
    return tokens, answers


def mixed_batch(text: torch.Tensor, tokens: torch.Tensor, answers: torch.Tensor, pad: int) -> Batch:
    rows = torch.cat([text, tokens])
    targets = rows[:, 1:].contiguous()
    real = (targets != pad).float()
    marks = torch.cat([torch.zeros(text.shape), answers])[:, 1:].contiguous()
    weights = real / real.sum() + ANSWER_SHARE * marks / marks.sum().clamp(min=1.0)
    return Batch(rows[:, :-1].contiguous(), targets, weights, marks)


# -------------------------------------------------------------------------------------------------------- optimizer


def orthogonal(matrices: torch.Tensor) -> torch.Tensor:
    """Newton-Schulz iteration towards the nearest (semi-)orthogonal matrix, for a stack of matrices in bf16."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = matrices.bfloat16()
    tall = x.size(1) > x.size(2)
    x = x.mT if tall else x
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(5):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return (x.mT if tall else x).float()


class Optimizer:
    """Muon for the matrices of the layers, AdamW for everything else; state is a flat dict of tensors."""

    def __init__(self, model: LlamaForCausalLM, rank: int = 0, processes: int = 1, decay: float = 0.05):
        self.rank, self.processes = rank, processes
        named = dict(model.named_parameters())
        self.parameters, self.decay = named, decay
        self.groups: dict[torch.Size, list[str]] = defaultdict(list)
        for name, parameter in named.items():
            if parameter.ndim == 2 and "embed" not in name:
                self.groups[parameter.shape].append(name)
        matrices = {name for names in self.groups.values() for name in names}
        self.rest = [name for name in named if name not in matrices]
        self.state = {f"first.{name}": torch.zeros_like(p) for name, p in named.items()}
        self.state |= {f"second.{name}": torch.zeros_like(named[name]) for name in self.rest}

    @torch.no_grad()
    def step(self, rate: float, count: int) -> None:
        norm = torch.stack([p.grad.norm() for p in self.parameters.values() if p.grad is not None]).norm()
        scale = 1.0 / max(1.0, float(norm))
        for names in self.groups.values():
            self._muon(names, rate)
        for name in self.rest:
            self._adam(name, rate, count, scale)
        for parameter in self.parameters.values():
            parameter.grad = None

    def _muon(self, names: list[str], rate: float) -> None:
        gradients = [self.parameters[name].grad for name in names]
        updates = []
        for name, gradient in zip(names, gradients, strict=True):
            assert gradient is not None
            momentum = self.state[f"first.{name}"].lerp_(gradient, 0.05)
            updates.append(gradient.lerp(momentum, 0.95))
        stacked = self._orthogonal(torch.stack(updates))
        size = 0.2 * math.sqrt(max(stacked.shape[1:]))
        for name, update in zip(names, stacked, strict=True):
            self.parameters[name].mul_(1 - rate * self.decay).add_(update, alpha=-rate * size)

    def _orthogonal(self, stacked: torch.Tensor) -> torch.Tensor:
        """Every process does its share of the matrices; the sum puts them together."""
        if self.processes == 1:
            return orthogonal(stacked)
        result = torch.zeros_like(stacked)
        result[self.rank :: self.processes] = orthogonal(stacked[self.rank :: self.processes])
        dist.all_reduce(result)
        return result

    def _adam(self, name: str, rate: float, count: int, scale: float) -> None:
        parameter, gradient = self.parameters[name], self.parameters[name].grad
        assert gradient is not None
        gradient = gradient * scale
        first = self.state[f"first.{name}"].lerp_(gradient, 0.1)
        second = self.state[f"second.{name}"].lerp_(gradient.square(), 0.05)
        update = (first / (1 - 0.9**count)) / ((second / (1 - 0.95**count)).sqrt() + 1e-8)
        parameter.add_(update, alpha=-rate)


# --------------------------------------------------------------------------------------------------------- training


@dataclass
class Progress:
    """Everything but tensors that a run needs to continue; saved in the header of the checkpoint."""

    step: int = 0
    seconds: float = 0.0
    rows: int = 0
    long_rows: int = 0
    tokens_1: int = 0
    tokens_2: int = 0
    examples_2: int = 0
    log: list[dict[str, float]] = field(default_factory=list)


def new_model() -> LlamaForCausalLM:
    ids = {token: i for i, token in enumerate(SPECIAL)}
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=256,
        num_hidden_layers=6,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=688,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        bos_token_id=ids[BEGIN],
        eos_token_id=ids[END],
        pad_token_id=ids[PAD],
        attn_implementation="sdpa",
    )
    return LlamaForCausalLM(config)


def write_atomically(path: Path, write: Callable[[Path], None]) -> None:
    partial = path.with_name(f".{path.name}.partial")
    write(partial)
    partial.replace(path)


def save_checkpoint(path: Path, model: LlamaForCausalLM, optimizer: Optimizer, progress: Progress) -> None:
    tensors = {f"model.{name}": parameter.detach() for name, parameter in model.named_parameters()}
    header = {"progress": json.dumps(vars(progress))}
    write_atomically(path, lambda partial: save_file(tensors | optimizer.state, partial, metadata=header))


def load_checkpoint(path: Path, model: LlamaForCausalLM, optimizer: Optimizer | None = None) -> Progress:
    tensors = load_file(path)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(tensors[f"model.{name}"])
        for name, value in optimizer.state.items() if optimizer else ():
            value.copy_(tensors[name])
    with safe_open(path, "pt") as handle:
        return Progress(**json.loads(handle.metadata()["progress"]))


def schedule(fraction: float, step: int) -> float:
    warm = min(1.0, (step + 1) / WARM_UP_STEPS)
    return warm * min(1.0, max(0.0, (1.0 - fraction) / (1.0 - CONSTANT)))


#: bf16 arithmetic on processors that have instructions for it; elsewhere it would be many times slower.
FAST_BF16 = cpu_has_bf16()

LossFunction = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


def loss_function(model: LlamaForCausalLM, compiled: bool) -> LossFunction:
    def loss(inputs: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=FAST_BF16):
            hidden = model.model(input_ids=inputs, use_cache=False).last_hidden_state
            logits = model.lm_head(hidden)
        losses = F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten(), reduction="none")
        return (losses * weights.flatten()).sum()

    return torch.compile(loss, dynamic=False) if compiled else loss


@dataclass
class Run:
    """One training run: data, model and the state that is saved."""

    work: Path
    seed: int
    tokenizer: Tokenizer
    stream: torch.Tensor
    held_out: torch.Tensor
    maker: Maker
    held_out_maker: Maker
    model: LlamaForCausalLM
    optimizer: Optimizer
    progress: Progress
    rank: int = 0
    processes: int = 1

    @property
    def checkpoint(self) -> Path:
        return self.work / "checkpoint.safetensors"

    def next_batch(self, fraction: float) -> Batch:
        """This process's share of the next step."""
        p, pad, share = self.progress, self.tokenizer.token_to_id(PAD), ROWS_A_STEP // self.processes
        if fraction < PHASE_1:
            batch = text_batch(self.text_rows("rows", share, ROW, self.seed))
            p.tokens_1 += batch.targets.numel() * self.processes
            return batch
        if p.step % LONG_EVERY == 0:
            batch = text_batch(self.text_rows("long_rows", share * ROW // LONG_ROW, LONG_ROW, self.seed + 1))
        else:
            instructions = share * INSTRUCTION_ROWS // ROWS_A_STEP
            text = self.text_rows("rows", share - instructions, ROW, self.seed)
            rng = random.Random(f"{self.seed} {p.step} {self.rank}")
            batch = mixed_batch(text, *instruction_rows(self.tokenizer, self.maker, rng, instructions), pad)
            ends = (batch.answers > 0) & (batch.targets == self.tokenizer.token_to_id(END))
            p.examples_2 += int(ends.sum()) * self.processes
        p.tokens_2 += batch.targets.numel() * self.processes
        return batch

    def text_rows(self, counter: str, rows: int, length: int, seed: int) -> torch.Tensor:
        """This process's rows of running text; the counter moves on by the rows of all processes."""
        at = getattr(self.progress, counter)
        setattr(self.progress, counter, at + rows * self.processes)
        return running_text(self.stream, at + rows * self.rank, rows, length, seed)

    def average(self, notes: list[float]) -> list[float]:
        """Average the gradients, and a few numbers, over the processes."""
        if self.processes == 1:
            return notes
        gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
        flat = torch.cat([*(g.flatten() for g in gradients), torch.tensor(notes)])
        dist.all_reduce(flat)
        flat /= self.processes
        at = 0
        for gradient in gradients:
            gradient.copy_(flat[at : at + gradient.numel()].view_as(gradient))
            at += gradient.numel()
        return flat[at:].tolist()


def train(run: Run, budget_seconds: float, budget_tokens: int, rate: float, micro: int, every: float) -> None:
    """Train until the budget is used up; stop early, with a checkpoint, on SIGTERM or Ctrl-C."""
    stop: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _: stop.append(received))
    loss_of, p = loss_function(run.model, compiled=True), run.progress
    saved = evaluated = p.seconds
    recent: list[float] = []
    stopped, now = False, time.monotonic()
    while not stopped:
        fraction = (p.tokens_1 + p.tokens_2) / budget_tokens if budget_tokens else p.seconds / budget_seconds
        if fraction >= 1.0:
            break
        batch = run.next_batch(fraction)
        total, rows = 0.0, micro if batch.inputs.shape[1] == ROW else 1
        for part in zip(*(t.split(rows) for t in (batch.inputs, batch.targets, batch.weights)), strict=True):
            loss = loss_of(*part)
            loss.backward()
            total += float(loss.detach())
        p.step += 1
        # Compiling takes long and is no training: a step never counts for more than half a minute.
        before, now = now, time.monotonic()
        total, spent, stopping = run.average([total, min(30.0, now - before), float(bool(stop))])
        p.seconds, stopped = p.seconds + spent, stopping > 0
        run.optimizer.step(rate * schedule(fraction, p.step), p.step)
        recent.append(total)
        if run.rank > 0:
            continue
        if p.step % 25 == 0:
            print(f"{time.strftime('%H:%M:%S')} step {p.step} {100 * fraction:.1f}% tokens {p.tokens_1 + p.tokens_2:,} "
                  f"train {sum(recent) / len(recent):.3f} minutes {p.seconds / 60:.1f}", flush=True)  # fmt: skip
            recent.clear()
        if p.seconds - evaluated > 5 * every:
            evaluated = p.seconds
            report(run)
        if p.seconds - saved > every:
            saved = p.seconds
            save_checkpoint(run.checkpoint, run.model, run.optimizer, p)
    if run.rank == 0:
        save_checkpoint(run.checkpoint, run.model, run.optimizer, p)
    if stopped:
        raise SystemExit("stopped; give the same command again to continue")


# ------------------------------------------------------------------------------------------------------- evaluation


@torch.inference_mode()
def text_loss(model: LlamaForCausalLM, tokens: torch.Tensor, length: int, rows: int = 0) -> float:
    """Mean loss a token (nats) over non-overlapping rows, each read from nothing; all rows if `rows` is 0."""
    loss_of = loss_function(model, compiled=False)
    count = (len(tokens) - 1) // length
    picked = torch.arange(count) if not rows else torch.linspace(0, count - 1, rows).long()
    losses = []
    for index in picked.split(8 * ROW // length):
        batch = text_batch(torch.stack([tokens[i * length : (i + 1) * length + 1].long() for i in index.tolist()]))
        losses += [float(loss_of(batch.inputs, batch.targets, batch.weights))] * len(index)
    return sum(losses) / len(losses)


@torch.inference_mode()
def task_accuracy(run: Run, count: int) -> dict[str, float]:
    """Share of held-out instruction examples answered exactly (label and end of turn) by greedy decoding."""
    rng, right, seen = random.Random(0), Counter[str](), Counter[str]()
    for _ in range(count):
        example = run.held_out_maker.make(rng)
        ids, marks = encode_example(run.tokenizer, rng, example)
        if len(ids) > 2 * ROW:
            continue
        wanted = torch.tensor(marks[1:]) > 0
        with torch.autocast("cpu", torch.bfloat16, enabled=FAST_BF16):
            logits = run.model(input_ids=torch.tensor([ids[:-1]])).logits[0]
        seen[example.task] += 1
        right[example.task] += bool((logits.argmax(-1) == torch.tensor(ids[1:]))[wanted].all())
    del seen["write_title"]
    return {task: right[task] / seen[task] for task in sorted(seen)}


def report(run: Run, rows: int = 96, examples: int = 150) -> None:
    p = run.progress
    line = {
        "step": p.step,
        "minutes": round(p.seconds / 60, 1),
        "held_out": text_loss(run.model, run.held_out, ROW, rows),
    }
    if p.tokens_2:
        scores = task_accuracy(run, examples)
        line["answers"] = sum(scores.values()) / len(scores)
    p.log.append(line)
    print(f"{time.strftime('%H:%M:%S')} " + " ".join(f"{k} {v:.4g}" for k, v in line.items()), flush=True)


def final_report(run: Run, held_out_bytes: int, minutes_total: float) -> dict[str, object]:
    """Held-out loss and bits per byte over an even sample of the validation articles; accuracy on instructions."""
    short, long = (text_loss(run.model, run.held_out, length, FINAL_TOKENS // length) for length in (ROW, LONG_ROW))
    a_byte = len(run.held_out) / held_out_bytes / math.log(2)
    p = run.progress
    return {
        "tokens_phase_1": p.tokens_1,
        "tokens_phase_2": p.tokens_2,
        "instruction_examples": p.examples_2,
        "steps": p.step,
        "training_minutes": round(p.seconds / 60, 1),
        "minutes_of_this_start": round(minutes_total, 1),
        "held_out_tokens": len(run.held_out),
        "held_out_tokens_read": FINAL_TOKENS,
        "held_out_bytes": held_out_bytes,
        "held_out_loss_rows_of_512": round(short, 4),
        "held_out_loss_rows_of_2048": round(long, 4),
        "bits_per_byte_rows_of_512": round(short * a_byte, 4),
        "bits_per_byte_rows_of_2048": round(long * a_byte, 4),
        "held_out_instructions": {task: round(value, 3) for task, value in task_accuracy(run, 400).items()},
        "log": p.log,
    }


# ------------------------------------------------------------------------------------------------------------- main


def encode_stream(tokenizer: Tokenizer, documents: list[Document]) -> torch.Tensor:
    begin = tokenizer.token_to_id(BEGIN)
    ids: list[int] = []
    for start in range(0, len(documents), 64):
        for encoding in tokenizer.encode_batch([d.full() for d in documents[start : start + 64]]):
            ids += [begin, *encoding.ids]
    return torch.tensor(ids, dtype=torch.int16)


def prepare(data: Path, work: Path, seed: int) -> tuple[list[Document], list[Document], Tokenizer, dict[str, object]]:
    """Read the text, train the tokenizer and encode the text; the results are kept in the work folder."""
    documents, held_out = read_articles(data, "train") + read_pubmedqa(data), read_articles(data, "validation")
    if (work / "data.json").exists():
        left_out = set(json.loads((work / "data.json").read_text())["left_out"])
        documents = [document for document in documents if document.name not in left_out]
    else:
        documents, counts, left_out = without_overlap(documents, data)
        tokenizer = train_tokenizer(document.full() for document in documents)
        write_atomically(work / "tokenizer.json", lambda path: tokenizer.save(str(path)))
        order = random.Random(seed).sample(documents, len(documents))
        tensors = {"train": encode_stream(tokenizer, order), "held_out": encode_stream(tokenizer, held_out)}
        save_file(tensors, work / "tokens.safetensors")
        facts = {
            "documents": len(documents),
            "articles": sum(bool(document.body) for document in documents),
            "train_tokens": len(tensors["train"]),
            "train_bytes": sum(len(document.full().encode()) for document in documents),
            "held_out_documents": len(held_out),
            "held_out_bytes": sum(len(document.full().encode()) for document in held_out),
            "overlap": counts,
            "left_out": sorted(left_out),
        }
        write_atomically(work / "data.json", lambda path: path.write_text(json.dumps(facts, indent=1)) and None)
    facts = json.loads((work / "data.json").read_text())
    return documents, held_out, Tokenizer.from_file(str(work / "tokenizer.json")), facts


def export(run_model: LlamaForCausalLM, tokenizer: Tokenizer, out: Path) -> None:
    """Write the model folder; every file is replaced in one step, and files of others (the card) stay."""
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BEGIN,
        eos_token=END,
        pad_token=PAD,
        extra_special_tokens=[SYSTEM, USER, ASSISTANT],
        model_max_length=2048,
        clean_up_tokenization_spaces=False,
        padding_side="left",
    )
    fast.chat_template = CHAT_TEMPLATE
    ids = [tokenizer.token_to_id(token) for token in (BEGIN, END, PAD)]
    settings = GenerationConfig(bos_token_id=ids[0], eos_token_id=ids[1], pad_token_id=ids[2], do_sample=False,
                                max_new_tokens=16)  # fmt: skip
    scratch = out.with_name(f".{out.name}.partial")
    shutil.rmtree(scratch, ignore_errors=True)
    copy = LlamaForCausalLM(run_model.config).to(torch.bfloat16)
    copy.load_state_dict({name: value.to(torch.bfloat16) for name, value in run_model.state_dict().items()})
    copy.generation_config = settings
    copy.save_pretrained(scratch)
    fast.save_pretrained(scratch)
    out.mkdir(parents=True, exist_ok=True)
    for file in sorted(scratch.iterdir()):
        file.chmod(0o644)
        file.replace(out / file.name)
    scratch.rmdir()


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--out", type=Path, required=True, help="model folder to write")
    parser.add_argument("--work", type=Path, required=True, help="scratch folder: tokens, checkpoint, report.json")
    parser.add_argument("--minutes", type=float, default=38.0, help="training time over all starts")
    parser.add_argument("--tokens", type=int, default=0, help="stop after so many tokens instead")
    parser.add_argument("--rate", type=float, default=6e-3, help="peak learning rate")
    parser.add_argument("--micro", type=int, default=8, help="rows of 512 tokens computed at once")
    parser.add_argument("--every", type=float, default=180.0, help="seconds of training between checkpoints")
    parser.add_argument("--processes", type=int, default=2, help="processes of one thread each (1, 2, 4)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--export-only", action="store_true", help="write the folder from the last checkpoint")
    return parser.parse_args()


def work(rank: int, args: argparse.Namespace) -> None:
    """One process of the training; the first one also evaluates, saves and exports."""
    started = time.monotonic()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    if args.processes > 1:
        meeting = f"file://{(args.work / 'meeting').resolve()}"
        dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=args.processes)
    documents, held_out, tokenizer, facts = prepare(Path(os.environ["CLINFIT_DATA"]), args.work, args.seed)
    tokens, model = load_file(args.work / "tokens.safetensors"), new_model()
    run = Run(args.work, args.seed, tokenizer, tokens["train"], tokens["held_out"], Maker(documents), Maker(held_out),
              model, Optimizer(model, rank, args.processes), Progress(), rank, args.processes)  # fmt: skip
    if run.checkpoint.exists():
        run.progress = load_checkpoint(run.checkpoint, model, run.optimizer)
        print(f"process {rank} continues at step {run.progress.step}", flush=True)
    train(run, args.minutes * 60, args.tokens, args.rate, args.micro, args.every)
    if rank > 0:
        return
    torch.set_num_threads(args.processes)
    export(model, tokenizer, args.out)
    result = final_report(run, int(str(facts["held_out_bytes"])), (time.monotonic() - started) / 60)
    write_atomically(args.work / "report.json", lambda path: path.write_text(json.dumps(result, indent=1)) and None)
    print(json.dumps(result), flush=True)


def main() -> None:
    args = arguments()
    args.work.mkdir(parents=True, exist_ok=True)
    if args.export_only:
        model = new_model()
        load_checkpoint(args.work / "checkpoint.safetensors", model)
        export(model, Tokenizer.from_file(str(args.work / "tokenizer.json")), args.out)
        return
    if not (args.work / "data.json").exists():
        prepare(Path(os.environ["CLINFIT_DATA"]), args.work, args.seed)
    print((args.work / "data.json").read_text(), flush=True)
    (args.work / "meeting").unlink(missing_ok=True)
    started = torch.multiprocessing.spawn(work, (args,), nprocs=args.processes, join=False)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _: [process.terminate() for process in started.processes])
    while not started.join():
        pass


if __name__ == "__main__":
    main()
