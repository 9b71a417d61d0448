"""Free answers: the same as Transformers writes greedily, the same with and without memory, ended where they should."""

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from clinfit.data.records import Record
from clinfit.errors import ClinfitError
from clinfit.models.causal import CausalModel
from clinfit.scoring.answer_logits import answer_logits, states_at
from clinfit.scoring.generate import MOST_ROWS, Continuation, Generator, Request, record_seed, stop_tokens
from clinfit.scoring.slots import Slots
from clinfit.study.models import Causal, Lora, Train
from clinfit.study.tasks import Sampling, Task
from lessons import TASK

PROMPTS = [[0, 7, 19, 33], [0, *range(50, 90)], [0, 120]]


@pytest.fixture(scope="module")
def base(tiny_base: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(tiny_base).eval()


def greedy_answer(base: Any, prompt: list[int], stops: Collection[int], limit: int) -> list[int]:
    return Generator(base).write([Request(prompt, limit)], stops)[0].ids


def model(task: Task, base: Path, **train: Any) -> CausalModel:
    settings = Train(**{"max_length": 256, "precision": "fp32", "epochs": 1} | train)
    spec = Causal(name="m", family="causal", base=str(base), lora=Lora(rank=2), train=settings)
    return CausalModel(spec, {TASK: task}, 7)


@pytest.mark.parametrize("prompt", PROMPTS)
def test_same_as_transformers_generates(base: Any, prompt: list[int]) -> None:
    ids = torch.tensor([prompt])
    theirs = base.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=20)[0].tolist()
    ours = greedy_answer(base, prompt, stop_tokens(base, [1]), 20)
    assert len(set(ours)) > 1  # random weights, but not one token for ever
    assert prompt + ours == [token for token in theirs if token != 1]


@pytest.mark.parametrize("prompt", PROMPTS)
def test_memory_changes_nothing(base: Any, prompt: list[int]) -> None:
    written: list[int] = []
    with torch.inference_mode():
        for _ in range(20):
            ids = torch.tensor([[*prompt, *written]])
            hidden = states_at(base, ids, torch.tensor([0]), torch.tensor([ids.shape[1] - 1]))
            written.append(int(answer_logits(base, hidden)[0].argmax()))
    assert greedy_answer(base, prompt, (), 20) == written


MIXERS: dict[str, dict[str, Any]] = {
    "bamba": {"attn_layer_indices": [1, 3], "mamba_n_heads": 8, "mamba_d_head": 8, "mamba_d_state": 8},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1, "num_experts": 2, "use_mamba_kernels": False},
    "lfm2": {"layer_types": ["conv", "full_attention"] * 2},
    "gpt2": {},
    "bloom": {"num_key_value_heads": None},
    "mistral": {"sliding_window": 6},
}
TOGETHER = {"gpt2"}


@pytest.mark.parametrize("kind", MIXERS)
def test_memory_of_other_architectures_changes_nothing(kind: str) -> None:
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 4, "num_attention_heads": 4}
    sizes |= {"num_key_value_heads": 2, "initializer_range": 0.3}
    made = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, vocab_size=100, **{**sizes, **MIXERS[kind]}))
    prompts = [[0, 3, 42, 43, 44, 45, 46, 47, 48, 49, 1, 4], [7, 8, 9], [5, 80, 81, 82, 83]]
    expected = [[int(token) for token in without_memory(made.eval(), prompt, 8)] for prompt in prompts]
    assert all(len(set(written)) > 1 for written in expected)
    generator = Generator(made)
    assert generator.goes_together(20) == (kind in TOGETHER)
    assert [one.ids for one in generator.write([Request(prompt, 8) for prompt in prompts], ())] == expected


@torch.inference_mode()
def without_memory(made: Any, prompt: list[int], limit: int) -> Iterator[int]:
    written: list[int] = []
    for _ in range(limit):
        written.append(int(made(torch.tensor([[*prompt, *written]]), use_cache=False).logits[0, -1].argmax()))
    return iter(written)


# ---------------------------------------------------------------- many at a time


def many(n: int, limit: int = 12) -> list[Request]:
    """Prompts of many lengths, with limits and seeds of their own."""
    numbers = torch.Generator().manual_seed(3)
    lengths = torch.randint(1, 60, (n,), generator=numbers).tolist()
    ids = [torch.randint(5, 120, (length,), generator=numbers).tolist() for length in lengths]
    return [Request(own, 1 + (i * 5) % limit, seed=i) for i, own in enumerate(ids)]


def in_another_order(base: Any, requests: list[Request], *more: Any) -> list[Continuation]:
    """The same, asked in another order and with other neighbours."""
    order = sorted(range(len(requests)), key=lambda i: (i * 37) % 101)
    halves = [order[::2], order[1::2]]
    found: dict[int, Continuation] = {}
    for half in halves:
        found |= zip(half, Generator(base).write([requests[i] for i in half], *more), strict=True)
    return [found[i] for i in range(len(requests))]


@pytest.mark.parametrize("sampling", [None, Sampling(), Sampling(temperature=0.7, top_p=0.8)])
def test_neither_neighbours_nor_order_change_a_text(base: Any, sampling: Sampling | None) -> None:
    requests, stops = many(MOST_ROWS + 10), set(range(40, 44))
    generator = Generator(base)
    assert generator.goes_together(80)
    together = generator.write(requests, stops, sampling)
    assert [one.ids for one in together] == [one.ids for one in in_another_order(base, requests, stops, sampling)]
    assert {one.ended for one in together} == {True, False}
    assert all(len(one.ids) == each.limit or one.ended for one, each in zip(together, requests, strict=True))
    alone = Generator(base, together=False).write(requests, stops, sampling)
    assert [(one.ids, one.ended) for one in together] == [(one.ids, one.ended) for one in alone]


def test_a_row_says_bit_for_bit_the_same_beside_others(base: Any) -> None:
    """On one thread of the processors that were tried; where it fails, texts differ by ties of the last digit only."""
    threads = torch.get_num_threads()
    generator, requests = Generator(base), many(30)

    def state(*neighbours: Request) -> torch.Tensor:
        each = [requests[0], *neighbours]
        memories = [generator._read(request.ids)[0] for request in each]
        slots = Slots(memories[0], len(each), 100)
        for memory in memories:
            slots.add(memory)
        return generator._step(slots, [9] * len(each))[0]

    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            alone = state()
            assert all(torch.equal(state(*requests[1:n]), alone) for n in (2, 8, 9, 17, 30))
    finally:
        torch.set_num_threads(threads)


def test_each_is_told_once_when_it_is_written(base: Any) -> None:
    told: dict[int, Continuation] = {}
    requests = [*many(20), Request([5, 6], 0)]
    found = Generator(base).write(requests, {40, 41}, None, lambda i, one: told.update({i: one}))
    assert [told[i] for i in range(21)] == found and found[-1].ids == []
    assert list(told) != sorted(told)  # those that end early do not wait


def test_little_memory_changes_no_text(base: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    requests = many(40)
    expected = [one.ids for one in Generator(base).write(requests, ())]
    monkeypatch.setattr("clinfit.scoring.generate.MOST_BYTES", 1)
    assert [one.ids for one in Generator(base).write(requests, ())] == expected


def test_draws_follow_the_probabilities_and_the_nucleus(base: Any) -> None:
    with torch.inference_mode():
        logits = base(torch.tensor([PROMPTS[0]])).logits[0, -1].double()
    temperature, n = 0.5, 400
    probabilities = (logits / temperature).softmax(-1)
    requests = [Request(PROMPTS[0], 1, record_seed(1, str(i))) for i in range(n)]
    drawn = [one.ids[0] for one in Generator(base).write(requests, (), Sampling(temperature=temperature, top_p=0.9))]
    ordered = probabilities.sort(descending=True)
    kept = int((ordered.values.cumsum(-1) < 0.9).sum()) + 1
    assert set(drawn) <= set(ordered.indices[:kept].tolist())
    shares = ordered.values[:kept] / ordered.values[:kept].sum()
    for token, share in zip(ordered.indices[:3].tolist(), shares[:3].tolist(), strict=True):
        assert drawn.count(token) / n == pytest.approx(share, abs=4 * (0.25 / n) ** 0.5)


@pytest.mark.parametrize("wrong", [{"temperature": 0.0}, {"top_p": 0.0}, {"top_p": 1.1}])
def test_settings_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"greater than|less than"):
        Sampling(**wrong)


def test_it_stops_before_the_end_of_turn_and_at_the_limit(base: Any) -> None:
    free = greedy_answer(base, PROMPTS[0], (), 12)
    assert len(free) == 12
    at = next(i for i, token in enumerate(free) if free.index(token) == i and i > 1)
    assert greedy_answer(base, PROMPTS[0], {free[at]}, 12) == free[:at]
    assert greedy_answer(base, PROMPTS[0], (), 5) == free[:5]


def test_the_base_names_its_own_ends_too(base: Any) -> None:
    assert stop_tokens(base, [3]) == {1, 3}


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_texts_hold_no_chat_markup_and_do_not_depend_on_their_neighbours(
    text_task: Task, text_records: list[Record], tiny_base: Path, precision: str
) -> None:
    made = model(text_task, tiny_base, precision=precision)
    written = made.generate(TASK, text_records[:6], 8)
    assert written.tokens.max() <= 8 and len(written.texts) == len(written.seconds) == 6
    reasons = ["length" if tokens == 8 else "stop" for tokens in written.tokens]
    assert written.finish_reasons == reasons and (written.seconds >= 0).all()
    assert not any("<|" in text for text in written.texts)
    alone = [made.generate(TASK, [record], 8).texts[0] for record in text_records[:6]]
    assert written.texts == alone


def test_on_a_processor_texts_are_written_in_fp32_and_the_weights_stay(
    text_task: Task, text_records: list[Record], tiny_base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = model(text_task, tiny_base, precision="bf16")
    base = made._ready().model
    before = {name: weight.detach().clone() for name, weight in base.named_parameters()}
    assert {weight.dtype for weight in before.values()} == {torch.bfloat16}
    seen = []
    step = Generator._step
    monkeypatch.setattr(
        Generator, "_step", lambda self, *rest: (seen.append(next(base.parameters()).dtype), step(self, *rest))[1]
    )
    written = made.generate(TASK, text_records[:4], 8)
    assert set(seen) == {torch.float32} and len(written.texts) == 4

    def stop(self: Generator, *rest: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(Generator, "_step", stop)
    with pytest.raises(KeyboardInterrupt):
        made.generate(TASK, text_records[:4], 8)
    for name, weight in base.named_parameters():
        assert weight.dtype == torch.bfloat16 and torch.equal(weight, before[name])


def test_an_answer_that_would_not_fit_is_refused_with_the_length_that_does(
    text_task: Task, text_records: list[Record], tiny_base: Path
) -> None:
    made = model(text_task, tiny_base, max_length=508)
    with pytest.raises(ClinfitError, match="free answer") as error:
        made.generate(TASK, text_records[:1], 8)
    assert "max_length: 504" in "\n".join(error.value.lines())


def test_shortened_texts_are_counted(text_task: Task, text_records: list[Record], tiny_base: Path) -> None:
    whole, cut = (model(text_task, tiny_base, max_length=n).predict(TASK, text_records[:8]) for n in (500, 110))
    assert whole.dropped_tokens is not None and not whole.dropped_tokens.any()
    assert cut.dropped_tokens is not None and cut.dropped_tokens.any()
    assert cut.prompt_tokens is not None and cut.prompt_tokens.max() <= 110
