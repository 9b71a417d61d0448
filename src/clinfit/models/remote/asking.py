"""What is asked of an OpenAI-compatible server, and how its answers are read.

Servers differ in what they offer, and few say so. `found_way` tries it out with a made-up question: whether they tell
how likely a given text is (`prompt-logprobs`), which next tokens are most probable (`top-logprobs`), or neither
(`generation`), whether they go on from an answer that has begun, and how they write a token.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any, Literal, cast

from tokenizers.decoders import ByteLevel

from clinfit.errors import ClinfitError
from clinfit.models.base import FinishReason
from clinfit.models.remote.server import NoObject, Refused, Server
from clinfit.models.remote.tree import Tops
from clinfit.study.remote import FEWEST_TOPS, RUNGS, Rung

#: role and content of each turn; the last one is the user's.
Messages = Sequence[Mapping[str, str]]
#: How an answer that has begun is sent: as a last turn of the assistant, or with the two keys that vLLM wants.
Continued = Literal["as-is", "flagged"]
#: How a token is written: as its text, or as it stands in the vocabulary, of bytes (Ġused) or of words (▁used).
Pieces = Literal["text", "byte-level", "sentencepiece"]

_FLAGS = {"add_generation_prompt": False, "continue_final_message": True}
_QUESTIONS: Sequence[Messages] = [
    [{"role": "user", "content": text}]
    for text in ("Name the first three months of the year, in order.", "Count from one to three.", "Say hello to me.")
]
_TRIED = _QUESTIONS[0]
_TRIED_ANSWER = "January"
#: Two log-probabilities of one token, asked for in two ways, may differ by this much.
_SAME = 0.1
#: Refusals that say that a server does not offer something.
_NOT_OFFERED = {400, 404, 405, 422, 501}
#: Chat markup of known models; a record that holds any could end its own turn.
_MARKUP = re.compile(r"<(?=\|[^|<>\n]{1,40}\|>|/?s>|(?:start|end)_of_turn>|[be]os>)|\[(?=/?INST\])")


@dataclass
class Usage:
    """What answers took: requests and tokens, as the server counts them."""

    requests: int = 0
    prompt_tokens: int = 0
    output_tokens: int = 0

    def add(self, response: Mapping[str, Any]) -> None:
        used = response.get("usage") or {}
        self.requests += 1
        self.prompt_tokens += int(used.get("prompt_tokens") or 0)
        self.output_tokens += int(used.get("completion_tokens") or 0)

    def take(self, other: "Usage") -> None:
        self.requests += other.requests
        self.prompt_tokens += other.prompt_tokens
        self.output_tokens += other.output_tokens


@dataclass(frozen=True)
class Way:
    """How a server is asked. continued: None where it cannot go on from a beginning. served: the model that its answers
    name. listed: the models that it says it has. pieces: how it writes tokens. counted: whether `logprobs` of a plain
    text says how many are told, as OpenAI's does, or that any are."""

    rung: Rung
    continued: Continued | None
    served: str | None
    listed: list[str] = field(default_factory=list)
    pieces: Pieces = "text"
    counted: bool = True

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Written:
    """What a server wrote, and why it ended."""

    text: str
    finish_reason: FinishReason


@dataclass(frozen=True)
class Told:
    """What a server says of a given answer: negative log-likelihood, and the tokens that it has of it."""

    nats: float
    tokens: Sequence[str]


class Asking:
    """One server, asked in one way. way: None while it is being found; served, pieces and counted are what is known
    of it then."""

    def __init__(self, server: Server, way: Way | None = None) -> None:
        self.server, self.spec, self.way = server, server.spec, way
        self.served: str | None = None
        self.pieces: Pieces = way.pieces if way else "text"
        self.counted = way.counted if way else True

    def next_tokens(
        self, messages: Messages, beginning: str, usage: Usage, continued: Continued | None, top: int | None = None
    ) -> Tops:
        """The most probable next tokens behind a beginning of the answer; empty where the server tells none. top: how
        many, other than the study says."""
        top = top or self.spec.top
        if self.spec.prompts == "plain":
            asked = {"logprobs": top} if self.counted else {"logprobs": True, "top_logprobs": top}
            body = {"prompt": plain(messages) + beginning, "max_tokens": 1, **asked}
            return _tops(self._choice("/completions", body, usage)[1], self.pieces)
        body = {"messages": _begun(messages, beginning), "max_tokens": 1, "logprobs": True}
        body |= {"top_logprobs": top} | (_FLAGS if beginning and continued == "flagged" else {})
        return _tops(self._choice("/chat/completions", body, usage)[1], self.pieces)

    def answer_nats(self, messages: Messages, answer: str, usage: Usage) -> Told | None:
        """How likely an answer is, without its end of turn; None where the server does not tell."""
        if self.spec.prompts == "plain":
            body = {"prompt": plain(messages) + answer, "max_tokens": 1, "logprobs": 1, "echo": True}
            response, choice = self._choice("/completions", body, usage)
            written = int((response.get("usage") or {}).get("completion_tokens") or 1)
            logs = choice.get("logprobs") or {}
            pairs = list(zip(logs.get("tokens") or [], logs.get("token_logprobs") or [], strict=False))
            return self._of_answer(messages, pairs[: len(pairs) - written], answer, response, usage)
        body = {"messages": _begun(messages, answer), "max_tokens": 1, "prompt_logprobs": 0, **_FLAGS}
        response, choice = self._choice("/chat/completions", body, usage)
        told = response.get("prompt_logprobs") or choice.get("prompt_logprobs") or []
        tokens = [next(iter(place.values())) for place in told if place]
        pairs = [(one.get("decoded_token"), one.get("logprob")) for one in tokens]
        return self._of_answer(messages, pairs, answer, response, usage)

    def _of_answer(
        self,
        messages: Messages,
        pairs: Sequence[tuple[Any, Any]],
        answer: str,
        response: Mapping[str, Any],
        usage: Usage,
    ) -> Told | None:
        """What the tokens of a prompt with an answer say of the answer: of those at the end that spell it, or, where a
        character is divided among tokens, of as many as the prompt has fewer without it."""
        if (found := _last(pairs, answer)) is not None or answer.isascii() or not pairs:
            return found
        alone, whole = Usage(), int((response.get("usage") or {}).get("prompt_tokens") or 0)
        self.write(messages, 1, alone)
        usage.take(alone)
        last = pairs[len(pairs) - (whole - alone.prompt_tokens) :]
        if not 0 < whole - alone.prompt_tokens <= len(pairs) or not all(
            isinstance(log, int | float) for _, log in last
        ):
            return None
        return Told(-sum(log for _, log in last), [str(token) for token, _ in last])

    def write(self, messages: Messages, limit: int, usage: Usage) -> Written:
        """A text of at most `limit` tokens, the most probable token each time."""
        if self.spec.prompts == "plain":
            _, choice = self._choice("/completions", {"prompt": plain(messages), "max_tokens": limit}, usage)
            text = choice.get("text")
        else:
            _, choice = self._choice("/chat/completions", {"messages": list(messages), "max_tokens": limit}, usage)
            text = (choice.get("message") or {}).get("content")
        return Written(text or "", "length" if choice.get("finish_reason") == "length" else "stop")

    def _choice(self, path: str, body: Mapping[str, Any], usage: Usage) -> tuple[dict[str, Any], dict[str, Any]]:
        """The server's answer, and its first choice."""
        response = self.server.post(path, {"model": self.spec.model, "temperature": 0, **body})
        usage.add(response)
        self._check_served(response.get("model"))
        choices = response.get("choices")
        if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
            raise ClinfitError(
                f"the server of {self.spec.name} ({self.spec.url}) answered without `choices`",
                expected="answers as OpenAI's API has them",
            )
        return response, choices[0]

    def _check_served(self, named: Any) -> None:
        """Raise ClinfitError where another model answers than the one that was there at first."""
        served = named if isinstance(named, str) else None
        if self.way is None:
            self.served = served
        elif self.way.served != served:
            raise self._changed(f"answers with model {served!r}", f"did so with {self.way.served!r}")

    def check_listed(self) -> None:
        """Raise ClinfitError where the server has other models than at first, by its own list; one that has more or
        fewer beside that of the study has not changed."""
        if self.way is None or not self.way.listed:
            return
        before, now = set(self.way.listed), set(_listed(self.server))
        if now and now != before and self.spec.model not in before & now:
            raise self._changed(f"has {', '.join(sorted(now))}", f"had {', '.join(sorted(before))}")

    def _changed(self, now: str, before: str) -> ClinfitError:
        return ClinfitError(
            f"the server of {self.spec.name} now {now}, and {before}",
            expected="one model in all answers of a run",
            fix="serve the first one again, or begin anew: clinfit run STUDY --out NEW_FOLDER --fresh",
        )


def found_way(server: Server) -> Way:
    """Try out what a server offers. Raises ClinfitError where that is less than the study asks for."""
    asking, spec = Asking(server), server.spec
    rungs = RUNGS if spec.labels == "auto" else (spec.labels,)
    asking.write(_TRIED, 1, Usage())  # a wrong key or name is told before anything is tried out
    tried: dict[str, Callable[[], Any]] = {
        "prompt-logprobs": lambda: _offered(lambda: asking.answer_nats(_TRIED, _TRIED_ANSWER, Usage())),
        "top-logprobs": lambda: _tells_tops(asking),
        "generation": lambda: True,
    }
    for rung in rungs:
        if tried[rung]():
            if rung == "top-logprobs":
                asking.pieces = _pieces(asking)
            continued = _continued(asking) if rung == "top-logprobs" and spec.prompts == "chat" else None
            return Way(rung, continued, asking.served, _listed(server), asking.pieces, asking.counted)
    raise ClinfitError(
        f"the server of {spec.name} ({spec.url}) does not offer what `labels: {spec.labels}` needs",
        fix="labels: auto, which takes what it offers",
    )


def _tells_tops(asking: Asking) -> bool:
    """Whether the server tells the most probable next tokens. Raises ClinfitError where it tells fewer than are asked
    for."""
    ask = partial(asking.next_tokens, _TRIED, "", Usage(), None)
    if _offered(ask):
        return True
    if asking.spec.prompts == "plain":
        asking.counted = False
        if _offered(ask):
            return True
    if asking.spec.top > FEWEST_TOPS and _offered(partial(ask, FEWEST_TOPS)):
        raise ClinfitError(
            f"the server of {asking.spec.name} ({asking.spec.url}) tells next tokens, and refuses "
            f"`top: {asking.spec.top}`",
            expected="no more than it tells",
            fix="a smaller `top` (many servers tell 20 at most, mlx_lm 10, others 5 with `prompts: plain`), or a "
            "higher limit there",
        )
    return False


def _pieces(asking: Asking) -> Pieces:
    """How the server writes tokens: by the letters that vocabularies have for the space before a word."""
    if asking.spec.prompts == "plain":
        told = [token for token, _ in asking.next_tokens(_TRIED, "January, February", Usage(), None)]
    else:
        body = {"messages": _TRIED, "max_tokens": 8, "logprobs": True, "top_logprobs": FEWEST_TOPS}
        choice = asking._choice("/chat/completions", body, Usage())[1]
        places = (choice.get("logprobs") or {}).get("content") or []
        told = [_bytes(one, "text") for place in places for one in place.get("top_logprobs") or []]
    letters = b"".join(told).decode(errors="ignore")
    return "byte-level" if {"\u0120", "\u010a"} & set(letters) else "sentencepiece" if "\u2581" in letters else "text"


def _continued(asking: Asking) -> Continued | None:
    """How the server goes on from a beginning: the second token of an answer must be what follows the first one."""
    for question in _QUESTIONS:
        body = {"messages": list(question), "max_tokens": 2, "logprobs": True, "top_logprobs": 2}
        found = _offered(lambda body=body: asking._choice("/chat/completions", body, Usage())[1])
        told = ((found or {}).get("logprobs") or {}).get("content") or []
        if len(told) < 2:
            continue
        # The likeliest of the told ones is what was written, whichever of them the server puts first.
        first, second = (
            max(place.get("top_logprobs") or [place], key=lambda one: one["logprob"]) for place in told[:2]
        )
        begun = _bytes(first, asking.pieces).decode(errors="replace")
        if "\ufffd" in begun or not begun.strip():
            continue
        for way in cast(Sequence[Continued], ("as-is", "flagged")):
            ask = partial(asking.next_tokens, question, begun, Usage(), way)
            same = [share for token, share in _offered(ask) or [] if token == _bytes(second, asking.pieces)]
            if same and abs(math.log(max(*same, 1e-300)) - second["logprob"]) < _SAME:
                return way
    return None


def _offered(ask: Callable[[], Any]) -> Any:
    """What the server says; None where it refuses what it does not know."""
    try:
        return ask()
    except Refused as error:
        if error.status not in _NOT_OFFERED:
            raise
        return None


def _listed(server: Server) -> list[str]:
    """The models that the server names; none where it has no such list. Raises ClinfitError where it cannot be asked
    now: such a server is none without a list, whose models are never looked at again."""
    try:
        models = server.get("/models").get("data")
    except (Refused, NoObject):
        return []
    return [str(model.get("id")) for model in models if isinstance(model, dict)] if isinstance(models, list) else []


# ---------------------------------------------------------------- texts


def neutral(text: str) -> str:
    """`text` with known chat markup taken apart, so that a record cannot end its own turn."""
    return _MARKUP.sub(lambda match: match.group() + " ", text)


def plain(messages: Messages) -> str:
    """Messages as one text: as bases without a chat template of their own read them (prompts/chat.py)."""
    turns = [("Answer:\n" if one["role"] == "assistant" else "") + one["content"] for one in messages]
    return "\n\n".join([*turns, "Answer:\n"])


def _begun(messages: Messages, beginning: str) -> list[Mapping[str, str]]:
    return [*messages, *([{"role": "assistant", "content": beginning}] if beginning else [])]


# ---------------------------------------------------------------- reading answers


def _tops(choice: Mapping[str, Any], pieces: Pieces) -> Tops:
    """The next tokens that a choice tells of its first token, in either form in which servers do."""
    logs = choice.get("logprobs") or {}
    if content := logs.get("content"):
        return [(_bytes(one, pieces), math.exp(one["logprob"])) for one in content[0].get("top_logprobs") or []]
    if told := logs.get("top_logprobs"):
        return [(_bytes({"token": token}, pieces), math.exp(log)) for token, log in (told[0] or {}).items()]
    return []


def _bytes(token: Mapping[str, Any], pieces: Pieces) -> bytes:
    """A token as UTF-8: as the server says, or as its text is; `bytes:\\xe2` is OpenAI's way to write a part of a
    character. Of a vocabulary's piece that is a part of a character U+FFFD remains, which no label holds."""
    if (known := token.get("bytes")) is not None:
        return bytes(known)
    text = str(token["token"])
    if pieces == "sentencepiece":
        return text.replace("\u2581", " ").encode()
    if pieces == "byte-level":
        return ByteLevel().decode([text]).encode()
    if re.fullmatch(r"bytes:(\\x[0-9a-f]{2})+", text):
        return bytes.fromhex(text.removeprefix("bytes:").replace("\\x", ""))
    return text.encode()


def _last(tokens: Sequence[tuple[Any, Any]], answer: str) -> Told | None:
    """What the last tokens say, as many as spell the answer; None where they do not spell it or one of them has no
    likelihood."""
    text, nats, found = "", 0.0, list[str]()
    for token, log in reversed(tokens):
        if len(text) >= len(answer) or not isinstance(token, str) or not isinstance(log, int | float):
            break
        text, nats, found = token + text, nats - log, [token, *found]
    return Told(nats, found) if found and text.strip() == answer.strip() and math.isfinite(nats) else None
