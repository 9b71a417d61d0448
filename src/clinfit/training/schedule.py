"""How many optimizer steps a training has, and the learning rate of each."""

import math
from dataclasses import dataclass

from clinfit.study.models import Train


@dataclass(frozen=True)
class Schedule:
    """steps: in all. evaluate_every: steps between validations. peak: highest learning rate."""

    steps: int
    steps_per_epoch: int
    warmup_steps: int
    evaluate_every: int
    peak: float
    kind: str

    @classmethod
    def of(cls, settings: Train, records_per_epoch: int) -> "Schedule":
        """What the settings give for so many records; `max_steps` shortens the schedule, not only the training."""
        per_epoch = math.ceil(records_per_epoch / settings.batch_size)
        steps = max(1, math.ceil(settings.epochs * per_epoch))
        steps = min(steps, settings.max_steps or steps)
        return cls(
            steps=steps,
            steps_per_epoch=per_epoch,
            warmup_steps=math.ceil(settings.warmup * steps),
            evaluate_every=settings.evaluate_every or per_epoch,
            peak=settings.learning_rate,
            kind=settings.schedule,
        )

    def rate(self, step: int) -> float:
        """Learning rate of the step after `step` finished ones: linear warm-up, then the schedule down to 0."""
        if step < self.warmup_steps:
            return self.peak * (step + 1) / self.warmup_steps
        done = (step - self.warmup_steps) / max(1, self.steps - self.warmup_steps)
        factor = {"constant": 1.0, "linear": 1 - done, "cosine": (1 + math.cos(math.pi * done)) / 2}[self.kind]
        return self.peak * factor

    def validates(self, step: int) -> bool:
        """Whether validation is looked at after so many finished steps."""
        return step % self.evaluate_every == 0 or step == self.steps
