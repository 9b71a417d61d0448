"""Metrics of text that need weights of their own: an encoder or a classifier that is on this machine, named by the
study. Both are proxies, computed in fp32; nothing is fetched, and no model under test is asked.

BERTScore (Zhang et al., 2020): vectors of one layer, special tokens left out; recall is the mean over the reference's
tokens of the largest cosine with any token of the output, precision the reverse, and the score 2PR / (P + R), without
weights of rare words and not rescaled, so that only differences between systems mean anything. Texts are cut to what
the encoder reads. An output without a token is 0.

SummaC-ZS (Laban et al., 2022): for each sentence of the output the largest P(entailment) over the sentences of the
source, as premises, less the largest P(contradiction) over them, perhaps of another sentence; the mean over the
output's sentences. Pairs are cut to what the classifier reads.
"""

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

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
from clinfit.study.evaluation import BertScore, Nli
from clinfit.training.precision import default_device

#: Texts or pairs that are read at once.
BATCH = 32

Floats = NDArray[np.float64]


def local_base(name: str) -> Base:
    """A base that is on this machine; raises ClinfitError for one of the hub."""
    base = find_base(name)
    if base.sha256 is None:
        raise ClinfitError(
            f"{name!r} is not a folder on this machine",
            expected="clinfit/minilm, or a folder with config.json, tokenizer.json and *.safetensors",
            fix="download it first, and name its folder",
        )
    return base


class BertScorer:
    """BERTScore with one encoder; raises ClinfitError for a layer that it does not have."""

    def __init__(self, asked: BertScore) -> None:
        base = local_base(asked.encoder)
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

    def scores(self, outputs: Sequence[str], references: Sequence[str]) -> Floats:
        """(n,) F1; nan where the reference has no token."""
        pairs = list(zip(outputs, references, strict=True))
        scores = np.full(len(pairs), np.nan)
        order = sorted(range(len(pairs)), key=lambda at: (len(pairs[at][0]), pairs[at]))
        for start in range(0, len(order), BATCH):  # the vectors of all texts would fill the memory
            batch = order[start : start + BATCH]
            # In an order of their own, since what stands beside a text moves its last digits.
            texts = sorted({text for at in batch for text in pairs[at]}, key=lambda text: (len(text), text))
            vectors = dict(self._vectors(texts))
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


class NliScorer:
    """SummaC-ZS with one classifier; raises ClinfitError where its labels are not named as needed."""

    def __init__(self, asked: Nli) -> None:
        base = local_base(asked.classifier)
        names = {int(place): str(name) for place, name in (load_config(base).id2label or {}).items()}
        self.entailment, self.contradiction = (_label(names, word, asked) for word in ("entail", "contradict"))
        self.tokenizer = load_tokenizer(base.name)
        self.model = load_weights(AutoModelForSequenceClassification, base, "fp32")[0].to(default_device())  # type: ignore[arg-type]
        self.longest = longest_input(self.model.config, self.tokenizer)

    def score(self, output: Sequence[str], source: Sequence[str]) -> float:
        """Of the sentences of an output and its source; nan where either has none."""
        if not output or not source:
            return float("nan")
        pairs = list(product(source, output))
        found = np.concatenate([self._said(pairs[k : k + BATCH]) for k in range(0, len(pairs), BATCH)])
        entailed, contradicted = found.reshape(len(source), len(output), 2).max(axis=0).T
        return float((entailed - contradicted).mean())

    @torch.inference_mode()
    def _said(self, pairs: Sequence[tuple[str, str]]) -> Floats:
        """(pairs, 2) P(entailment) and P(contradiction) of (premise, hypothesis)."""
        read: Any = self.tokenizer(
            [premise for premise, _ in pairs],
            [hypothesis for _, hypothesis in pairs],
            return_tensors="pt",
            padding=True,
            truncation=self.longest is not None,
            max_length=self.longest,
        )
        said = self.model(**read.to(self.model.device)).logits.double().softmax(-1).cpu().numpy()
        return said[:, [self.entailment, self.contradiction]]


def _label(names: dict[int, str], word: str, asked: Nli) -> int:
    plain = {place: name.casefold() for place, name in names.items()}
    places = [place for place, name in plain.items() if word in name and "not" not in name]
    if len(places) != 1:
        raise ClinfitError(
            f"the labels of {asked.classifier!r} are {', '.join(names.values())}",
            expected="one label named entailment and one named contradiction (id2label in config.json)",
            fix="name the folder of a classifier that was trained on natural language inference",
        )
    return places[0]
