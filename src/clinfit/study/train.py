"""How an adapter is made and how a neural model is trained: the blocks `lora` and `train`."""

from typing import Literal

from pydantic import Field, model_validator

from clinfit.study.section import Fraction, Section
from clinfit.study.stages import StageSettings


class Lora(Section):
    """Low-rank adapter (Hu et al., 2021), in PEFT's own format."""

    rank: int = Field(default=16, ge=1, description="rank of the two low-rank matrices of every adapted layer")
    alpha: float = Field(default=32, gt=0, description="the adapter's output is scaled by alpha/rank")
    dropout: float = Field(default=0.0, ge=0, lt=1, description="dropout on the adapter's input")
    targets: Literal["all-linear"] | list[str] = Field(default="all-linear", description="module names, or all-linear")
    rslora: bool = Field(default=False, description="scale by alpha/sqrt(rank) (Kalajdzievski, 2023)")
    dora: bool = Field(default=False, description="weight-decomposed adapter (Liu et al., 2024)")


class Train(Section):
    """How a neural model is trained."""

    epochs: float = Field(default=3, gt=0, description="passes over the training split; may be a fraction")
    max_steps: int | None = Field(
        default=None, ge=1, description="most optimizer steps, whatever `epochs` says; the schedule ends there"
    )
    learning_rate: float = Field(default=2e-4, gt=0, description="highest learning rate of the schedule (AdamW)")
    batch_size: int = Field(default=16, ge=1, description="records in one optimizer step, whatever the memory")
    batch_tokens: int = Field(default=2048, ge=1, description="tokens in one forward pass, padding included")
    max_length: int = Field(
        default=1024,
        ge=16,
        description="most tokens of a record as the model reads it: prompt and longest answer together (with "
        "max_new_tokens, where a text is written), of an encoder the document; a longer one loses document text "
        "(`shorten`)",
    )
    shorten: Literal["middle", "end"] = Field(default="middle", description="where a too-long document loses text")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        default="auto",
        description="number format of the base's weights and products; auto: bf16 where the processor has it",
    )
    schedule: Literal["linear", "cosine", "constant"] = Field(
        default="cosine", description="course of the learning rate after the warm-up; linear and cosine end at 0"
    )
    warmup: Fraction = Field(default=0.05, description="share of the steps in which the learning rate rises")
    weight_decay: float = Field(default=0.0, ge=0, description="decoupled weight decay of AdamW")
    clip: float = Field(default=1.0, gt=0, description="largest norm of the gradient")
    evaluate_every: int | None = Field(
        default=None, ge=1, description="optimizer steps between validations; default: an epoch"
    )
    early_stopping: int | None = Field(
        default=None, ge=1, description="stop after this many validations without improvement"
    )
    select_by: Literal["loss", "primary"] = Field(
        default="loss", description="validation value that picks the best checkpoint"
    )
    loss_per: Literal["record", "token"] = Field(
        default="record",
        description="divide the loss, in training and on validation, by records (each counts once) or by answer tokens",
    )
    checkpoint_every: int = Field(
        default=50,
        ge=1,
        description="most optimizer steps between resumable checkpoints; one is also written every 30 s",
    )
    gradient_checkpointing: bool = Field(default=False, description="recompute activations to save memory")
    processes: int = Field(
        default=1,
        ge=1,
        description="processes that share the records of every batch (DDP), each with a copy of the model: a GPU each, "
        "or the processor's threads divided; they give the loss and weights of one, within rounding",
    )

    @model_validator(mode="after")
    def _a_record_each(self) -> "Train":
        if self.processes > self.batch_size:
            raise ValueError(
                f"processes is {self.processes} and batch_size {self.batch_size}: each process needs a record of every "
                "batch; lower `processes`, or raise `batch_size`"
            )
        return self

    @property
    def duration(self) -> str:
        """What ends training, in words. An epoch has a step at least, so that as many epochs as steps end nothing."""
        epochs = f"{self.epochs:g} epoch{'' if self.epochs == 1 else 's'}"
        if self.max_steps is None:
            return epochs
        steps = f"{self.max_steps} step{'' if self.max_steps == 1 else 's'}"
        return steps if self.epochs >= self.max_steps else f"{epochs} or {steps}"

    def during(self, stage: StageSettings) -> "Train":
        """The settings of one stage."""
        return self.model_copy(update=stage.model_dump(exclude_none=True))
