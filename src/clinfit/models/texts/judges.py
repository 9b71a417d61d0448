"""Metrics of text that need weights of their own: an encoder or a classifier that is on this machine, named by the
study. Both are proxies, computed in fp32; nothing is fetched, and no model under test is asked.

BERTScore (Zhang et al., 2020): vectors of one layer, special tokens left out; recall is the mean over the reference's
tokens of the largest cosine with any token of the output, precision the reverse, and the score 2PR / (P + R), without
weights of rare words and not rescaled, so that only differences between systems mean anything. Texts are cut to what
the encoder reads. An output without a token is 0.

SummaC-ZS (Laban et al., 2022): for each sentence of the output the largest P(entailment) over the sentences of the
source, as premises, less the largest P(contradiction) over them, perhaps of another sentence; the mean over the
output's sentences. Pairs are cut to what the classifier reads.

AlignScore (Zha et al., 2023): for each sentence of the output the largest P(aligned) over pieces of the source of about
350 words each; the mean over the output's sentences. scripts/convert_alignscore.py makes the classifier of a published
checkpoint.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import AutoModel, AutoModelForSequenceClassification

from clinfit.errors import ClinfitError
from clinfit.models.bases.pretrained import (
    POOLERS,
    Base,
    find_base,
    load_config,
    load_tokenizer,
    load_weights,
    longest_input,
)
from clinfit.study.evaluation import AlignScore, BertScore, Judge, Nli
from clinfit.training.precision import default_device

#: Texts or pairs that are read at once.
BATCH = 32
#: Words of a source that AlignScore's classifier reads at once, about.
PIECE = 350

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class JudgedText:
    """A text to be judged: as it is and in sentences, its reference, and its source in sentences."""

    output: str
    reference: str
    sentences: Sequence[str]
    source: Sequence[str]


class Scorer(Protocol):
    """A metric that needs weights of its own."""

    def scores(self, texts: Sequence[JudgedText]) -> Floats:
        """(n,) one score a text; nan where there is nothing to judge."""
        ...


#: What weights are on this machine.
FOLDER = "a folder with config.json, tokenizer.json and *.safetensors"


def local_base(name: str, expected: str = FOLDER) -> Base:
    """A base that is on this machine; raises ClinfitError for one of the hub. expected: what else may stand there."""
    here = name.startswith("clinfit/") or Path(name).expanduser().is_dir()
    base = find_base(name) if here else None
    if base is None or base.sha256 is None:
        raise ClinfitError(
            f"{name!r} is not a folder on this machine",
            expected=expected,
            fix="download it first, and name its folder",
        )
    return base


class BertScorer:
    """BERTScore with one encoder; raises ClinfitError for a layer that it does not have."""

    def __init__(self, asked: BertScore) -> None:
        base = local_base(asked.encoder, f"clinfit/minilm, or {FOLDER}")
        config = load_config(base)
        if config.is_encoder_decoder:
            raise ClinfitError(
                f"{asked.encoder!r} reads and writes in two parts",
                expected="an encoder, such as BERT",
                fix="name the folder of one, or clinfit/minilm",
            )
        layers = int(config.get_text_config().num_hidden_layers)
        if asked.layer is not None and asked.layer > layers:
            raise ClinfitError(
                f"bertscore.layer is {asked.layer}; {asked.encoder!r} has {layers} layers",
                expected=f"a layer from 0 (the embeddings) to {layers}",
                fix="leave bertscore.layer out for the last one",
            )
        self.layer = layers if asked.layer is None else asked.layer
        self.tokenizer = load_tokenizer(base.name)
        model, new = load_weights(AutoModel, base, "fp32", may_lack_head=True)
        if lacking := [key for key in new if not POOLERS & set(key.split("."))]:  # a pooler is not asked
            raise ClinfitError(
                f"{asked.encoder!r} lacks {len(lacking)} of its weights, among them {lacking[0]}",
                expected="every weight of the encoder in *.safetensors",
                fix="download the folder again, whole",
            )
        self.model = model.to(default_device())  # type: ignore[arg-type]
        self.longest = longest_input(self.model.config, self.tokenizer)

    def scores(self, texts: Sequence[JudgedText]) -> Floats:
        """(n,) F1; nan where the reference has no token."""
        pairs = [(text.output, text.reference) for text in texts]
        scores = np.full(len(pairs), np.nan)
        order = sorted(range(len(pairs)), key=lambda at: (len(pairs[at][0]), pairs[at]))
        for start in range(0, len(order), BATCH):  # the vectors of all texts would fill the memory
            batch = order[start : start + BATCH]
            # In an order of their own, since what stands beside a text moves its last digits.
            words = sorted({text for at in batch for text in pairs[at]}, key=lambda text: (len(text), text))
            vectors = dict(self._vectors(words))
            scores[batch] = [f1(*(vectors[text] for text in pairs[at])) for at in batch]
        return scores

    @torch.inference_mode()
    def _vectors(self, texts: Sequence[str]) -> Iterator[tuple[str, Tensor]]:
        """Each text with its (tokens, d) vectors of length 1."""
        for start in range(0, len(texts), BATCH):
            batch = list(texts[start : start + BATCH])
            read = self.tokenizer(
                batch,
                return_tensors="pt",
                return_special_tokens_mask=True,
                padding=True,
                truncation=self.longest is not None,
                max_length=self.longest,
            )
            own = read.pop("special_tokens_mask") == 0
            states = self.model(**read.to(self.model.device), output_hidden_states=True).hidden_states[self.layer].cpu()
            for text, state, mask in zip(batch, states, own & (read["attention_mask"].cpu() == 1), strict=True):
                yield text, torch.nn.functional.normalize(state[mask].float(), dim=-1)


def f1(output: Tensor, reference: Tensor) -> float:
    """Of (tokens, d) vectors of length 1."""
    if not len(reference):
        return float("nan")
    if not len(output):
        return 0.0
    cosines = output @ reference.T
    precision, recall = float(cosines.amax(dim=1).mean()), float(cosines.amax(dim=0).mean())
    return 2 * precision * recall / (precision + recall) if precision + recall > 0 else 0.0


class PairClassifier:
    """Probabilities of a sequence classifier for pairs of texts."""

    def __init__(self, folder: str) -> None:
        self.folder, base = folder, local_base(folder)
        self.names = {int(place): str(name) for place, name in (load_config(base).id2label or {}).items()}
        self.tokenizer = load_tokenizer(base.name)
        self.model = load_weights(AutoModelForSequenceClassification, base, "fp32")[0].to(default_device())  # type: ignore[arg-type]
        self.longest = longest_input(self.model.config, self.tokenizer)

    def label(self, word: str, expected: str) -> int:
        """The place of the one label whose name holds `word`, and no denial of it."""
        plain = {place: name.casefold() for place, name in self.names.items()}
        places = [place for place, name in plain.items() if word in name and not re.search("not|un|mis", name)]
        if len(places) != 1:
            raise ClinfitError(
                f"the labels of {self.folder!r} are {', '.join(self.names.values())}",
                expected=f"{expected} (id2label in config.json)",
                fix="name the folder of a classifier that was trained for this",
            )
        return places[0]

    def grid(self, given: Sequence[str], said: Sequence[str], cut: bool | str) -> Floats:
        """(given, said, labels) probabilities of every pair; a pair too long is cut as the tokenizer calls it."""
        pairs = list(product(given, said))
        found = [self._probabilities(pairs[k : k + BATCH], cut) for k in range(0, len(pairs), BATCH)]
        return np.concatenate(found).reshape(len(given), len(said), -1)

    @torch.inference_mode()
    def _probabilities(self, pairs: Sequence[tuple[str, str]], cut: bool | str) -> Floats:
        first, second = zip(*pairs, strict=True)
        read: Any = self.tokenizer(
            list(first),
            list(second),
            return_tensors="pt",
            padding=True,
            truncation=cut if self.longest is not None else False,
            max_length=self.longest,
        )
        return self.model(**read.to(self.model.device)).logits.double().softmax(-1).cpu().numpy()


class PairScorer(ABC):
    """A metric of the sentences of a text and its source, by a classifier of pairs."""

    def __init__(self, folder: str) -> None:
        self.classifier = PairClassifier(folder)

    def scores(self, texts: Sequence[JudgedText]) -> Floats:
        """(n,) nan where an output or its source has no sentence."""
        whole = [bool(text.sentences and text.source) for text in texts]
        scores = [
            self.score(text.sentences, text.source) if has else np.nan for text, has in zip(texts, whole, strict=True)
        ]
        return np.array(scores, dtype=np.float64)

    @abstractmethod
    def score(self, output: Sequence[str], source: Sequence[str]) -> float:
        """Of the sentences of an output and its source, neither of them none."""


class NliScorer(PairScorer):
    """SummaC-ZS with one classifier; raises ClinfitError where its labels are not named as needed."""

    def __init__(self, asked: Nli) -> None:
        super().__init__(asked.classifier)
        expected = "one label named entailment and one named contradiction"
        self.entailment, self.contradiction = (
            self.classifier.label(word, expected) for word in ("entail", "contradict")
        )

    def score(self, output: Sequence[str], source: Sequence[str]) -> float:
        """-1 to 1."""
        best = self.classifier.grid(source, output, cut=True).max(axis=0)
        return float((best[:, self.entailment] - best[:, self.contradiction]).mean())


class AlignScorer(PairScorer):
    """AlignScore with one classifier; raises ClinfitError where no label is named aligned."""

    def __init__(self, asked: AlignScore) -> None:
        super().__init__(asked.classifier)
        self.aligned = self.classifier.label("align", "one label named aligned")

    def score(self, output: Sequence[str], source: Sequence[str]) -> float:
        """0 to 1. Of a pair too long the source is cut."""
        return float(
            self.classifier.grid(pieces(source), output, cut="only_first")[..., self.aligned].max(axis=0).mean()
        )


def pieces(sentences: Sequence[str]) -> list[str]:
    """A source in pieces of whole sentences: as many of the same number of sentences as the source has 350 words, the
    last one with what is left."""
    asked = sum(len(sentence.split()) for sentence in sentences) // PIECE + 1
    each = max(len(sentences) // asked, 1)
    return [" ".join(sentences[start : start + each]) for start in range(0, len(sentences), each)]


SCORERS: dict[type[Judge], Callable[[Any], Scorer]] = {BertScore: BertScorer, Nli: NliScorer, AlignScore: AlignScorer}


def judge_of(asked: Judge) -> Scorer:
    """What computes a metric; raises ClinfitError where its weights are not on this machine, or of another kind."""
    return SCORERS[type(asked)](asked)
