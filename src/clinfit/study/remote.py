"""Models that somebody else serves: the block of `family: remote`."""

from ipaddress import ip_address
from typing import Annotated, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from clinfit.study.model_section import ModelSection
from clinfit.study.section import Section
from clinfit.study.stages import Stage
from clinfit.study.tasks import Generation, MultipleChoice, Task, Writing

#: How label scores are had, the best way first.
RUNGS = ("prompt-logprobs", "top-logprobs", "generation")
#: What asking for the most probable next tokens begins at.
FEWEST_TOPS = 2
Rung = Literal["prompt-logprobs", "top-logprobs", "generation"]


class Requests(Section):
    """How a server is asked; nothing of it changes an answer."""

    concurrent: int = Field(default=4, ge=1, le=256, description="requests that are on their way at the same time")
    per_minute: int | None = Field(default=None, ge=1, description="most requests in a minute; default: no limit")
    timeout: float = Field(default=120.0, gt=0, description="seconds that one answer may take")
    retries: int = Field(
        default=6,
        ge=0,
        description="how often a request is sent again that found the server busy, gone or garbled; the pauses double, "
        "with a random share, and Retry-After is honoured",
    )


class Price(Section):
    """What tokens cost, to be counted up in the run."""

    per_million_prompt_tokens: float = Field(ge=0, description="price of a million tokens that are read")
    per_million_output_tokens: float = Field(ge=0, description="price of a million tokens that are written")
    currency: str = Field(default="USD", min_length=1, description="in which the prices are")


class Remote(ModelSection):
    """A language model behind an OpenAI-compatible address; it is asked, never trained."""

    untaught: ClassVar[bool] = True
    language_model: ClassVar[bool] = True

    family: Literal["remote"] = Field(description="language models behind an OpenAI-compatible address")
    url: str = Field(
        description="where it is served, up to and with /v1: http://127.0.0.1:8080/v1. Any host but this machine needs "
        "--allow-egress on the command line"
    )
    model: str = Field(min_length=1, description="the name by which the server knows the model")
    api_key_env: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] | None = Field(
        default=None, description="name of the environment variable that holds the API key; the key is never saved"
    )
    prompts: Literal["chat", "plain"] = Field(
        default="chat",
        description="chat: messages to /chat/completions, under the server's own chat template; plain: one text to "
        "/completions, for models that know no chat",
    )
    shots: int = Field(
        default=0,
        ge=0,
        description="examples before every question, with their answers; drawn from the training split with the seed, "
        "as many of each label as there can be",
    )
    labels: Literal["auto", "prompt-logprobs", "top-logprobs", "generation"] = Field(
        default="auto",
        description="how labels are scored. prompt-logprobs: the likelihood of each whole label; top-logprobs: the "
        "labels' tokens among the `top` most probable next ones; generation: a written answer, read by the strict "
        "parser; auto: the first of these that the server offers",
    )
    top: int = Field(default=20, ge=FEWEST_TOPS, description="top-logprobs: how many next tokens are asked for")
    answer_tokens: int = Field(
        default=32, ge=1, description="generation: most tokens of the written answer that a label is read from"
    )
    requests: Requests = Field(default_factory=Requests, description="how the server is asked")
    price: Price | None = Field(default=None, description="what tokens cost; default: cost is not counted")

    @field_validator("url")
    @classmethod
    def _address(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("an address such as http://127.0.0.1:8080/v1 is expected")
        try:
            _ = parts.port
        except ValueError:
            raise ValueError("the port of the address is a number from 0 to 65535") from None
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError(
                "the address may hold no user, password or key; name an environment variable in `api_key_env`"
            )
        return url.rstrip("/")

    @property
    def host(self) -> str:
        """The host that texts are sent to."""
        return str(urlsplit(self.url).hostname)

    @property
    def leaves_machine(self) -> bool:
        """Whether texts that are sent leave this machine."""
        try:
            return not ip_address(self.host).is_loopback
        except ValueError:
            return self.host != "localhost"

    def cost(self, prompt_tokens: int, output_tokens: int) -> dict[str, float | str]:
        """What tokens cost, with its currency; nothing where no prices are declared."""
        if (price := self.price) is None:
            return {}
        read = prompt_tokens * price.per_million_prompt_tokens
        return {"cost": (read + output_tokens * price.per_million_output_tokens) / 1e6, "currency": price.currency}

    @property
    def prompting(self) -> bool:
        return True

    @property
    def repeats(self) -> bool:
        return self.shots > 0

    @property
    def kinds(self) -> frozenset[str]:
        return frozenset({"classification", "multilabel", "multiple-choice", "generation", "extraction"})

    def obstacle(self, task: Task) -> str | None:
        if isinstance(task, MultipleChoice) and task.answer != "letters":
            return "a remote model is asked for letters: answer: letters"
        if isinstance(task, Generation) and task.long_input == "map-reduce":
            return "long_input: map-reduce needs the model's tokenizer, which is on the server"
        if isinstance(task, Writing) and task.sampling is not None:
            return "a server is asked for the most probable token each time: leave `sampling` out"
        if self.shots and task.kind == "multilabel":
            return "examples (`shots`) are for tasks with one answer a record"
        return super().obstacle(task)

    def stage_obstacle(self, stage: Stage) -> str | None:
        if stage.merge is not None or stage.adapter != "continue" or stage.retain is not None:
            return "`family: remote` trains nothing, so merge, adapter and retain mean nothing; give it own `stages`"
        return None
