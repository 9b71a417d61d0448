"""KL to a teacher: on the records of a stage, the model is kept near to what a teacher would say to them (Li and Hoiem,
Learning without Forgetting, ECCV 2016).

    loss of a record = its own loss + strength x sum over its answer positions of KL(teacher || model)
    KL(p || q) = sum over the vocabulary of p (log p - log q)

The teacher is the model that the stage began with, whose few trained weights are kept and put in place for its pass, or
the base, with the adapter switched off: neither is a second copy of the base in memory. An encoder has no common
vocabulary; it is kept near to what the heads of the earlier tasks say of the new records, as in the paper.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import torch
import torch.nn.functional as F
from peft import PeftModel
from torch import Tensor, nn

from clinfit.study.stages import Retain


def kl_rows(teacher: Tensor, student: Tensor, rows: Tensor, n_rows: int) -> Tensor:
    """(n_rows,) sum of KL(teacher || student) over each record's positions, in nats.

    teacher, student: (m, classes) logits at the m positions. rows: (m,) which record each belongs to.
    """
    log_teacher, log_student = (F.log_softmax(logits.float(), dim=-1) for logits in (teacher, student))
    of_positions = F.kl_div(log_student, log_teacher, reduction="none", log_target=True).sum(dim=-1)
    return of_positions.new_zeros(n_rows).index_add(0, rows, of_positions)


class Teacher:
    """strength, and how a pass through the teacher is made: `with teacher():`."""

    def __init__(self, strength: float, pose: Callable[[], AbstractContextManager[None]]) -> None:
        self.strength, self._pose = strength, pose

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Inside, the module is the teacher: no gradients, no dropout."""
        with torch.no_grad(), self._pose():
            yield


def teacher_of(module: nn.Module, adapted: PeftModel | None, retain: Retain) -> Teacher | None:
    """Whom the answers are kept near to; None for nobody. adapted: the module with an adapter around it."""
    if not retain.kl:
        return None
    if retain.kl_to == "base":
        assert adapted is not None
        return base_teacher(adapted, retain.kl)
    return previous_teacher(module, retain.kl)


def previous_teacher(module: nn.Module, strength: float) -> Teacher:
    """The module as it is now, whatever it becomes: its trained weights are copied, the frozen ones are shared."""
    now = {name: value for name, value in module.named_parameters() if value.requires_grad}
    before = {name: value.detach().clone() for name, value in now.items()}

    @contextmanager
    def pose() -> Iterator[None]:
        with _without_dropout(module):
            _swap(now, before)
            try:
                yield
            finally:
                _swap(now, before)

    return Teacher(strength, pose)


def base_teacher(adapted: PeftModel, strength: float) -> Teacher:
    """The base of an adapted model."""

    @contextmanager
    def pose() -> Iterator[None]:
        with _without_dropout(adapted), adapted.disable_adapter():
            yield

    return Teacher(strength, pose)


def _swap(now: dict[str, nn.Parameter], before: dict[str, Tensor]) -> None:
    """Exchange the values of parameters with those kept; the parameters themselves stay, and so do their gradients."""
    for name, parameter in now.items():
        parameter.data, before[name] = before[name], parameter.data


@contextmanager
def _without_dropout(module: nn.Module) -> Iterator[None]:
    training = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(training)
