"""Causal language models: fine-tuned on the answer, scored by the likelihood of each answer.

One adapter serves all tasks of a model; each task has its own renderer.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from clinfit.data.records import Record
from clinfit.errors import ClinfitError
from clinfit.models.answering import Said, gold_losses, in_order, probability_of, said
from clinfit.models.base import Attribution, Heard, LabelOutputs, Progress, TextOutputs, WrittenText
from clinfit.models.bases.architectures import check_architecture
from clinfit.models.bases.long_rope import fix_frequencies
from clinfit.models.bases.pretrained import (
    Base,
    check_length,
    check_rows,
    four_bit_supported,
    load_config,
    load_tokenizer,
)
from clinfit.models.neural import Loaded, NeuralModel, Read, Retained, told
from clinfit.models.saved import Pretrained
from clinfit.models.texts.long_input import Reading, readings
from clinfit.models.validation import Judged, Looked
from clinfit.prompts.encode import Encoded, Renderer
from clinfit.prompts.places import neutral_token
from clinfit.prompts.reasoning import answer_in
from clinfit.scoring.answer_logits import check_answer_logits
from clinfit.scoring.beginnings import Beginnings
from clinfit.scoring.general_text import general_text, negative_log_likelihood
from clinfit.scoring.generate import Continuation, Generator, Request, record_seed, stop_tokens
from clinfit.scoring.gradients import integrated_gradients
from clinfit.scoring.label_likelihood import AnswerScores, BranchScorer
from clinfit.scoring.likelihood import Likelihood
from clinfit.study.models import Causal, LanguageModel, Neural
from clinfit.study.tasks import Writing
from clinfit.training.answer_loss import AnswerLoss, asks_several
from clinfit.training.precision import default_device, resolve_precision, torch_engine

#: Validation records of which the loss of every token is told: as many as the probe of general text has passages.
PROBED = 16
#: The last characters of a text that is being written, which may change yet.
UNSETTLED = 16

#: Beginnings of prompts that are kept: for scoring, and for writing.
Kept = tuple[Beginnings, Beginnings]


@dataclass
class LoadedCausal(Loaded):
    """A causal base in memory, with the renderer of each task, what scores its answers, and what writes them."""

    renderers: dict[str, Renderer] = field(default_factory=dict)
    scorer: BranchScorer = field(init=False)
    generator: Generator = field(init=False)

    def __post_init__(self) -> None:
        self.scorer = BranchScorer(self.model, self.tokenizer.pad_token_id)
        self.generator = Generator(self.model)

    def beginnings(self) -> Kept:
        """What the prompts of each task begin with, read in the precisions of scoring and of writing."""
        texts = list(dict.fromkeys(tuple(renderer.beginning) for renderer in self.renderers.values()))
        with self.autocast():
            scoring = Beginnings.read(self.model, texts)
        with self.writing():
            return scoring, Beginnings.read(self.model, texts)

    def keep(self, kept: Kept | None) -> None:
        """Begin every prompt from these beginnings from now on; None: read each whole. For a model that is trained no
        more."""
        self.scorer.beginnings, self.generator.beginnings = (None, None) if kept is None else kept

    @property
    def keeps(self) -> bool:
        """Whether anything that prompts begin with is kept."""
        return self.scorer.beginnings is not None and bool(self.scorer.beginnings.found)

    def nats_of(self, text: list[int]) -> float:
        """Negative log-likelihood of every token of a text but the first."""
        return negative_log_likelihood(self.model, text)

    def scores(self, batch: Sequence[Encoded], with_end: bool = False) -> list[AnswerScores]:
        """Scores of records that are asked alike, in one batch."""
        with self.autocast():
            return self.scorer.score([item.prompt_ids for item in batch], [item.branches for item in batch], with_end)


class CausalModel(NeuralModel[LanguageModel, LoadedCausal]):
    """A causal language model with an optional adapter (contract: models/base.py).

    Before `fit` it answers as the base does; after it, with the adapter.
    """

    spec_type: ClassVar[type[Neural]] = Causal
    task_type = "CAUSAL_LM"
    #: Task -> records that stand before every question, with their answers (models/prompted.py).
    _examples: Mapping[str, Sequence[Record]] = MappingProxyType({})

    @property
    def engine(self) -> str:
        """What computes the answers, as every answer names it."""
        kept = self._loaded is not None and self._loaded.keeps
        return torch_engine(default_device()) + (", with a prefix cache" if kept else "")

    def _predict(
        self, task: str, records: Sequence[Record], batch_tokens: int | None, progress: Progress
    ) -> LabelOutputs:
        """Probabilities by likelihood (see scoring/label_likelihood.py and models/answering.py)."""
        loaded, asked = self._ready(), self.tasks[task]
        encoded = loaded.renderers[task].encode_all(records)
        batches = self._batches(loaded, [_width(item) for item in encoded], batch_tokens)
        seconds, found = np.zeros(len(records)), []
        for batch in told(batches, progress):
            started = time.perf_counter()
            scores = loaded.scores([encoded[i] for i in batch])
            found.append(said(asked, [records[i] for i in batch], scores))
            seconds[batch] = (time.perf_counter() - started) / len(batch)
        together = in_order(found, batches) if found else Said(np.zeros((0, len(asked.labels))))
        return LabelOutputs(
            probabilities=together.probabilities,
            seconds=seconds,
            label_mass=together.label_mass,
            scorings=together.scorings,
            prompt_tokens=np.array([item.read_tokens for item in encoded], dtype=np.int64),
            dropped_tokens=np.array([item.dropped for item in encoded], dtype=np.int64),
        )

    def generate(
        self,
        task: str,
        records: Sequence[Record],
        limit: int,
        *,
        done: Callable[[int, WrittenText], None] = lambda index, written: None,
        heard: Heard | None = None,
    ) -> TextOutputs:
        """The answer that the model writes by itself to each record; for tasks with one answer a record.

        limit: most new tokens; an answer of as many was not seen to end. done: called with the number of a record and
        its answer as soon as it is written. heard: see `Writer`. Where the task says so, each record's tokens are drawn
        from a generator of its own, seeded by the model's seed and the record's id. The texts may quote the record.
        Raises ClinfitError when prompt and answer together may be longer than the base reads.
        """
        loaded = self._answering(task)._ready()
        if self.tasks[task].kind == "multilabel":
            raise ClinfitError(
                f"task {task} asks a question for each label, to which no single text is the answer",
                fix="generate: 0, or other `tasks` for the model",
            )
        renderer, tokenizer = loaded.renderers[task], loaded.tokenizer
        asked = self.tasks[task]
        sampling = asked.sampling if isinstance(asked, Writing) else None
        kept_free = isinstance(asked, Writing) and limit <= renderer.room
        check_length(self.spec, loaded.model.config, tokenizer, 0 if kept_free else limit)
        texts: dict[int, WrittenText] = {}

        def write(group: Sequence[Reading]) -> list[Reading]:
            """One round; those that need another."""
            prompts = [(one, k, *prompt) for one in group for k, prompt in enumerate(one.prompts(renderer))]

            def finish(at: int, found: Continuation) -> None:
                one, k, _, read = prompts[at]
                text, ended = tokenizer.decode(found.ids, skip_special_tokens=True), "stop" if found.ended else "length"
                if (written := one.take(k, text, ended, len(found.ids), found.seconds, read)) is not None:
                    texts[one.index] = written
                    done(one.index, written)

            def follow(at: int, ids: Sequence[int]) -> bool:
                if heard is None:
                    return True
                one = prompts[at][0]
                own = "" if one.in_pieces else tokenizer.decode(ids, skip_special_tokens=True)
                return heard(one.index, settled(answer_in(own)))

            requests = [Request(read.prompt_ids, limit, record_seed(self.seed, key)) for *_, key, read in prompts]
            loaded.generator.write(requests, stop_tokens(loaded.model, renderer.end_ids), sampling, finish, follow)
            return [one for one in group if one.index not in texts]

        with loaded.writing():
            for group in readings(self.tasks[task], records, renderer.encode_all(records)):
                while group := write(group):
                    for one in group:
                        one.put_together(renderer)
        return TextOutputs.of([texts[i] for i in range(len(records))])

    def attribute(self, task: str, record: Record, label: str, steps: int) -> Attribution:
        """Integrated gradients of the probability that the answer is this label, given that it is one of them."""
        loaded, asked = self._answering(task)._ready(), self.tasks[task]
        encoded, places = loaded.renderers[task].placed(record)

        with loaded.writing():
            at, neutral = [place.at for place in places], neutral_token(loaded.tokenizer)
            totals = loaded.scorer.totals(encoded.prompt_ids, encoded.branches)

            def probability() -> Tensor:
                return probability_of(asked, record, label, totals())

            found = integrated_gradients(loaded.model, at, neutral, probability, steps)
        return Attribution(places, *found)

    def reason(self, task: str, record: Record, question: str, limit: int) -> WrittenText:
        """What the model writes, greedily, to a question behind its own answer (see `Reasoning`)."""
        loaded = self._answering(task)._ready()
        prompt = loaded.renderers[task].behind_answer(record, question)
        check_rows(self.spec, loaded.model.config, loaded.tokenizer, len(prompt) + limit)
        stops = stop_tokens(loaded.model, loaded.renderers[task].end_ids)
        request = Request(prompt, limit, record_seed(self.seed, record.id))
        with loaded.writing():
            (one,) = loaded.generator.write([request], stops)
        text = loaded.tokenizer.decode(one.ids, skip_special_tokens=True).strip()
        return WrittenText(text, "stop" if one.ended else "length", len(one.ids), one.seconds, len(prompt))

    def likelihood(self, task: str, records: Sequence[Record], *, batch_tokens: int | None = None) -> Likelihood:
        """How unlikely the model finds the answer that training would teach for each record, end of turn included; of
        records with several answers, all of them together. Raises ClinfitError for records without one, and for a
        reference text that makes a row longer than the base reads."""
        loaded = self._answering(task)._ready()
        items = loaded.renderers[task].encode_all(records)
        if missing := sum(not item.trained for item in items):
            raise ClinfitError(f"{missing} of {len(items)} records of task {task} have no answer to be likely or not")
        self._check_rows(loaded, [item for item in items if not asks_several(item)])  # questions may be rows apart
        answers = np.array([len(item.trained) for item in items], dtype=np.float64)
        return Likelihood(
            nats=self._reference_losses(loaded, items, batch_tokens) * answers,
            tokens=np.array([len(item.answer_ids) for item in items], dtype=np.int64),
            bytes=np.array([_answer_bytes(loaded.tokenizer, item) for item in items], dtype=np.int64),
        )

    def opened(self, task: str | None = None) -> LoadedCausal:
        """Base, adapter and renderers in memory, of a task those that answer it, for a look inside."""
        return (self if task is None else self._answering(task))._ready()

    # ------------------------------------------------------------ what NeuralModel asks

    def _open(self, base: Base, pretrained: Pretrained | None, tokenizer_folder: Path | None) -> LoadedCausal:
        """Raises ClinfitError when the base cannot be quantized here as it was in training."""
        device, spec = default_device(), self.spec
        four_bit = spec.four_bit and four_bit_supported(device)
        if pretrained is not None and pretrained.four_bit != four_bit:
            raise ClinfitError(
                f"model {spec.name} was trained on a {'4-bit' if pretrained.four_bit else 'not quantized'} base, "
                "which this machine does not load alike, so its answers would differ",
                expected="an NVIDIA GPU and bitsandbytes" if pretrained.four_bit else "a machine without 4-bit support",
            )
        notes = []
        if spec.four_bit and not four_bit:
            notes.append("4-bit weights need an NVIDIA GPU and bitsandbytes; the base was loaded unquantized instead")
        precision = resolve_precision(pretrained.precision if pretrained else spec.train.precision, device)
        tokenizer = load_tokenizer(spec.base, base.revision, tokenizer_folder)
        renderers = self._renderers(tokenizer)
        config = load_config(base)
        check_architecture(spec, config)
        check_length(spec, config, tokenizer, spec.generate)
        model = self._bases.causal(base, precision, device, four_bit)
        rope = fix_frequencies(model, spec.train.max_length)
        first = next(iter(renderers.values()))
        check_answer_logits(model, next(iter(first.answers.values()), []) + first.end_ids)
        return LoadedCausal(model, tokenizer, precision, four_bit, notes=notes, rope=rope, renderers=renderers)

    def _renderers(self, tokenizer: Any) -> dict[str, Renderer]:
        train = self.spec.train
        return {
            name: Renderer(
                task,
                tokenizer,
                max_length=train.max_length,
                shorten=train.shorten,
                examples=self._examples.get(name, ()),
            )
            for name, task in self.tasks.items()
        }

    def _read(self, loaded: LoadedCausal, records: Sequence[Record]) -> Read:
        items: dict[int, Encoded] = {}
        for name, renderer in loaded.renderers.items():
            members = [i for i, record in enumerate(records) if record.task == name]
            items |= zip(members, renderer.encode_all([records[i] for i in members]), strict=True)
        encoded = [items[i] for i in range(len(records))]
        self._check_rows(loaded, encoded)
        return Read(
            encoded,
            lengths=[len(item.ids) for item in encoded],
            answer_tokens=[len(item.answer_ids) / max(1, len(item.trained)) for item in encoded],
            dropped=[item.dropped for item in encoded],
        )

    def _check_rows(self, loaded: LoadedCausal, items: Sequence[Encoded]) -> None:
        """Raise ClinfitError when a reference text makes a row longer than the base reads."""
        longest = max((len(item.ids) for item in items), default=0)
        check_rows(self.spec, loaded.model.config, loaded.tokenizer, longest)

    def _losses(self, loaded: LoadedCausal, records: Sequence[Record], read: Read, retained: Retained) -> nn.Module:
        return self._answer_loss(loaded, read.items, retained)

    def _answer_loss(self, loaded: LoadedCausal, items: Sequence[Encoded], retained: Retained) -> nn.Module:
        """The losses of records' answers; several questions of a record stand side by side where that is the same."""
        pad_id = loaded.tokenizer.pad_token_id
        several = [item for item in items if asks_several(item)]
        if not several:
            return AnswerLoss(loaded.model, items, pad_id, teacher=retained.teacher)
        widest = max(several, key=lambda item: len(item.ids))
        behind = [(part.context, [part.answer]) for part in widest.trained]
        loaded.model.eval()
        with torch.no_grad(), loaded.autocast():
            side_by_side = loaded.scorer.shares_rows([widest.prompt_ids], [behind])
        return AnswerLoss(loaded.model, items, pad_id, side_by_side, retained.teacher)

    def _judge(self, loaded: LoadedCausal, task: str, looked: Looked) -> Judged:
        """Losses of the gold answers as in training, end of turn included, and probabilities."""
        asked, n = self.tasks[task], len(looked.items)
        if isinstance(asked, Writing):
            return Judged(self._reference_losses(loaded, looked.items), None)
        losses, probabilities = np.zeros(n), np.zeros((n, len(asked.labels)))
        for batch in self._batches(loaded, [_width(item) for item in looked.items], None):
            scores = loaded.scores([looked.items[i] for i in batch], with_end=True)
            losses[batch] = gold_losses(asked, looked.gold[batch], scores)
            probabilities[batch] = said(asked, [looked.records[i] for i in batch], scores).probabilities
        return Judged(losses, probabilities)

    def _reference_losses(
        self, loaded: LoadedCausal, items: Sequence[Encoded], batch_tokens: int | None = None
    ) -> NDArray[np.float64]:
        """(n,) losses of the records' own answers as training counts them."""
        losses, found = self._answer_loss(loaded, items, Retained(None, [])), np.zeros(len(items))
        with torch.inference_mode(), loaded.autocast():
            for batch in self._batches(loaded, [len(item.ids) for item in items], batch_tokens):
                found[batch] = losses(batch).double().cpu().numpy()
        return found

    def _token_losses(self, loaded: LoadedCausal, task: str, records: Sequence[Record]) -> dict[str, Any]:
        """Mean loss of a token, in nats: of answers, which are what is trained on, and of all tokens, prompts too, as
        trainers give it that train on both. Of PROBED validation records; not of tasks that ask several questions,
        which do not read each other."""
        items = loaded.renderers[task].encode_all(records[:: max(1, len(records) // PROBED)][:PROBED])
        if not items or any(asks_several(item) for item in items):
            return {}
        answers = self._reference_losses(loaded, items).sum() / sum(len(item.answer_ids) for item in items)
        with loaded.autocast():
            nats = sum(loaded.nats_of(item.ids) for item in items)
        every = nats / sum(len(item.ids) - 1 for item in items)
        return {"validation_nats_per_token": {"answers": float(answers), "all_tokens": every, "records": len(items)}}

    def _fluency(self, loaded: LoadedCausal, *, base: bool) -> dict[str, Any] | None:
        """Perplexity of general text, and of the base where a model begins with it: later stages need not ask again."""
        assert loaded.adapted is not None
        with loaded.autocast():
            found = {"perplexity": general_text(loaded.tokenizer, loaded.nats_of).perplexity}
            if base:
                with loaded.adapted.disable_adapter():
                    found["base_perplexity"] = general_text(loaded.tokenizer, loaded.nats_of).perplexity
        return found

    def _task_facts(self, loaded: LoadedCausal, task: str) -> dict[str, Any]:
        renderer = loaded.renderers[task]
        return {
            "prompt_sha256": renderer.fingerprint,
            "answer_tokens": {name: len(ids) for name, ids in renderer.answers.items()},
        }


def settled(text: str) -> str:
    """The beginning of a text that further tokens leave as it is: without its last word, which they may change (half a
    character, a space before a mark), or where words are not divided by spaces, its last characters."""
    words = text.rstrip()
    return words[: max(words.rfind(" "), words.rfind("\n"), len(words) - UNSETTLED, 0)].rstrip()


def _width(item: Encoded) -> int:
    """Tokens of the row that scores a record; a few labels behind a prompt of hundreds are not counted."""
    if len(item.branches) == 1:
        return len(item.prompt_ids)
    return len(item.prompt_ids) + sum(len(branch.context) + sum(map(len, branch.answers)) for branch in item.branches)


def _answer_bytes(tokenizer: Any, item: Encoded) -> int:
    """UTF-8 bytes of the record's answers as their tokens decode; an end of turn is no text."""
    texts = [tokenizer.decode(part.answer, skip_special_tokens=True) for part in item.trained]
    return sum(len(text.encode()) for text in texts)
