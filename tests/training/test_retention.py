"""Remedies against forgetting by themselves: each formula by hand, and nothing lost where nothing is asked for."""

from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from peft import LoraConfig, get_peft_model
from torch import nn

from clinfit.data.records import Record
from clinfit.study.stages import Mix
from clinfit.study.tasks import Task, task_from
from clinfit.training.imbalance import Part, epoch_sizes, mixed_epoch
from clinfit.training.retention.kl import base_teacher, kl_rows, previous_teacher
from clinfit.training.retention.l2 import L2
from clinfit.training.retention.rehearsal import drawn_share, rehearse, stratified_share


def records(task: str, labels: str) -> list[Record]:
    return [
        Record(f"{task}{at}", f"{task}{at}", {"text": "x"}, label, "train", task) for at, label in enumerate(labels)
    ]


def asked(kind: str, **more: object) -> Task:
    label = {"columns": {"finding": "y"}} if kind == "extraction" else "y"
    return task_from({"kind": kind, "data": {"path": "a.csv", "inputs": {"text": "text"}, "label": label}, **more})


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(7, 5), nn.Linear(5, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(torch.tanh(self.first(x)))


def adapted(**settings: object) -> nn.Module:
    torch.manual_seed(0)
    config = LoraConfig(r=2, lora_alpha=6, target_modules=["first"], modules_to_save=["second"], **settings)  # type: ignore[arg-type]
    model = get_peft_model(Net(), config)  # type: ignore[arg-type]
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter))
    return model


def moved(module: nn.Module) -> None:
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.requires_grad:
                parameter.add_(0.3 * torch.randn_like(parameter))


def delta(module: nn.Module) -> torch.Tensor:
    (layer,) = (part for part in module.modules() if hasattr(part, "lora_A") and hasattr(part, "base_layer"))
    return layer.scaling["default"] * layer.lora_B["default"].weight @ layer.lora_A["default"].weight  # type: ignore[operator,index]


# ---------------------------------------------------------------- L2


@pytest.mark.parametrize("rslora", [False, True])
def test_l2_on_the_product_is_the_squared_distance_of_what_the_adapter_adds(rslora: bool) -> None:
    module = adapted(use_rslora=rslora)
    before, head = (
        delta(module).detach(),
        {k: v.detach().clone() for k, v in module.named_parameters() if "second" in k},
    )
    penalty = L2(module, 0.5, "product")
    assert penalty().item() == 0
    moved(module)
    by_hand = (delta(module) - before).square().sum()
    by_hand = by_hand + sum(
        (value - head[name]).square().sum()
        for name, value in module.named_parameters()
        if name in head and value.requires_grad
    )
    assert penalty().item() == pytest.approx(0.5 * by_hand.item(), rel=1e-4)
    trained = [value for value in module.parameters() if value.requires_grad]
    for found, expected in zip(
        torch.autograd.grad(penalty(), trained), torch.autograd.grad(0.5 * by_hand, trained), strict=True
    ):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_factors_that_turn_with_the_same_product_cost_nothing_on_it() -> None:
    module = adapted()
    product, factors = L2(module, 1.0, "product"), L2(module, 1.0, "factors")
    turn = torch.linalg.qr(torch.randn(2, 2))[0]
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if "lora_A" in name:
                parameter.copy_(turn @ parameter)
            if "lora_B" in name:
                parameter.copy_(parameter @ turn.T)
    assert product().item() == pytest.approx(0, abs=1e-4 * factors().item())
    assert factors().item() > 0.1


# ---------------------------------------------------------------- KL


def test_kl_is_summed_over_the_positions_of_each_record() -> None:
    teacher, student = torch.randn(5, 4), torch.randn(5, 4)
    p, q = teacher.softmax(-1), student.softmax(-1)
    each = (p * (p / q).log()).sum(-1)
    found = kl_rows(teacher, student, torch.tensor([0, 0, 2, 2, 2]), 3)
    torch.testing.assert_close(found, torch.stack([each[:2].sum(), torch.tensor(0.0), each[2:].sum()]))
    assert kl_rows(teacher, teacher, torch.tensor([0, 0, 2, 2, 2]), 3).abs().max() == 0


def test_the_previous_teacher_is_what_the_model_was_and_leaves_it_as_it_is() -> None:
    module, x = adapted(lora_dropout=0.5), torch.randn(4, 7)
    module.eval()
    was = module(x)
    teacher = previous_teacher(module, 1.0)
    moved(module)
    now = module(x)
    module.train()
    with teacher():
        assert torch.equal(module(x), was) and not module(x).requires_grad
    assert module.training
    module.eval()
    assert torch.equal(module(x), now)
    assert all(parameter.requires_grad for name, parameter in module.named_parameters() if "lora_" in name)


def test_the_base_is_a_teacher_without_a_second_copy() -> None:
    torch.manual_seed(0)
    net = Net()
    x = torch.randn(4, 7)
    plain = net(x)
    module = get_peft_model(net, LoraConfig(r=2, target_modules=["first"]))  # type: ignore[arg-type]
    moved(module)
    with base_teacher(module, 1.0)():  # type: ignore[arg-type]
        assert torch.equal(module(x), plain)
    assert not torch.equal(module(x), plain)


# ---------------------------------------------------------------- rehearsal


@given(st.text("abc", min_size=1, max_size=60), st.floats(0, 1), st.integers(0, 5))
def test_a_share_is_as_large_as_asked_and_divided_by_label(labels: str, share: float, seed: int) -> None:
    given_records = records("a", labels)
    found = stratified_share(given_records, share, seed)
    assert len(found) == max(round(share * len(labels)), 1 if share > 0 else 0)
    assert found == stratified_share(given_records, share, seed)
    assert [record.id for record in found] == [record.id for record in given_records if record in found]
    all_of, some = Counter(labels), Counter(str(record.target) for record in found)
    for label, n in all_of.items():
        assert abs(some[label] - share * n) <= len(all_of)
        if len(found) >= len(all_of):
            assert some[label] >= 1


def test_only_the_named_tasks_are_thinned() -> None:
    together = records("a", "xy" * 50) + records("b", "uv" * 10)
    tasks = {"a": asked("classification", labels=["x", "y"])}
    found = rehearse(together, tasks, 0.1, 1)
    assert Counter(record.task for record in found) == {"a": 10, "b": 20}
    assert Counter(record.target for record in found if record.task == "a") == {"x": 5, "y": 5}
    assert rehearse(together, tasks, 0.1, 2) != found


@pytest.mark.parametrize("draw", [stratified_share, drawn_share])
@pytest.mark.parametrize(
    ("n", "share", "drawn"), [(4, 0.1, 1), (5, 0.1, 1), (5, 0.001, 1), (5, 0.0, 0), (0, 0.5, 0), (20, 0.1, 2)]
)
def test_of_few_records_one_is_rehearsed(draw: Any, n: int, share: float, drawn: int) -> None:
    assert len(draw(records("a", "xy" * 10)[:n], share, 1)) == drawn


@pytest.mark.parametrize("kind", ["generation", "extraction"])
def test_of_texts_the_seed_draws_and_what_they_say_does_not(kind: str) -> None:
    def texts(order: int) -> list[Record]:
        targets = [f"finding {at:04}" for at in range(3000)][::order]
        return [Record(f"r{at}", f"r{at}", {"text": "x"}, text, "train", "a") for at, text in enumerate(targets)]

    tasks = {"a": asked(kind, **({"fields": {"finding": {}}} if kind == "extraction" else {}))}
    one, again, other, otherwise = (
        [record.id for record in rehearse(texts(order), tasks, 0.1, seed)]
        for order, seed in ((1, 1), (1, 1), (1, 2), (-1, 1))
    )
    assert len(one) == 300 and one == again == otherwise != other
    assert one == [record.id for record in drawn_share(texts(1), 0.1, 1)] and one != [f"r{at}" for at in range(300)]


# ---------------------------------------------------------------- mixing


def part(first: int, n: int) -> Part:
    return Part(np.arange(first, first + n), ["x", "y"], np.arange(n) % 2)


def test_a_temperature_moves_shares_towards_each_other() -> None:
    parts = {"a": part(0, 90), "b": part(90, 10)}
    assert epoch_sizes(parts, "none", 1, Mix(temperature=1.0)) == [90, 10]
    assert epoch_sizes(parts, "none", 1, Mix(temperature=2.0)) == [75, 25]
    assert epoch_sizes(parts, "none", 1, Mix(temperature=1e6)) == [50, 50]
    assert epoch_sizes(parts, "none", 1, Mix(records={"b": 40})) == [90, 40]


@given(st.integers(1, 30), st.integers(1, 30), st.integers(1, 6))
def test_over_the_epochs_every_record_takes_its_turn(n: int, size: int, epochs: int) -> None:
    one = part(0, n)
    shown = np.concatenate([mixed_epoch([one], "none", epoch, 3, [size]) for epoch in range(epochs)])
    counts = np.bincount(shown, minlength=n)
    assert len(shown) == size * epochs and counts.max() - counts.min() <= 1


def test_as_many_as_there_are_is_the_order_without_mixing() -> None:
    parts = [part(0, 12), part(12, 5)]
    for epoch in range(3):
        assert (mixed_epoch(parts, "none", epoch, 3, [12, 5]) == mixed_epoch(parts, "none", epoch, 3)).all()
