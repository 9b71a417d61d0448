"""A server as OpenAI's API has it, in this process and on a real socket, with the two-layer Llama behind it.

What it offers, and how it fails, is set by a test: servers differ in both.
"""

import json
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

MODEL = "two-layer"


@dataclass
class Fault:
    """What is answered in place of the model. seconds: how long that takes. path: end of the only path where it is."""

    status: int = 200
    body: bytes = b"{}"
    headers: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    path: str = ""


@dataclass
class Offers:
    """What the server can do. top: most next tokens that it tells; 0: none. prompt_logprobs: whether it tells how
    likely a given text is. continued: whether it goes on from an answer that has begun, and what it wants to be told.
    key: without which it refuses. most: above which it refuses to tell next tokens."""

    top: int = 400
    prompt_logprobs: bool = True
    continued: str | None = "as-is"
    key: str | None = None
    served: str = MODEL
    listed: tuple[str, ...] = (MODEL,)
    most: int = 1000


class Engine:
    """The two-layer Llama: log-probabilities of every next token, and of a text."""

    def __init__(self) -> None:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        from two_layer import llama_base

        self.tokenizer = AutoTokenizer.from_pretrained(llama_base())
        self.model = AutoModelForCausalLM.from_pretrained(llama_base()).eval()
        self.lock = threading.Lock()
        # Hundreds of tokens are told at each place of an answer: what they are is looked up once.
        special = set(self.tokenizer.all_special_ids)
        pieces = enumerate(self.tokenizer.convert_ids_to_tokens(range(len(self.tokenizer))))
        self.raw = [
            b"" if one in special else bytes(_BYTES[char] for char in piece if char in _BYTES) for one, piece in pieces
        ]

    def ids(self, text: str) -> list[int]:
        return self.tokenizer(text, add_special_tokens=False)["input_ids"]

    def chat(self, messages: Sequence[Mapping[str, str]], begun: str) -> list[int]:
        text = self.tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=True)
        return self.ids(text) + self.ids(begun)

    def logs(self, ids: Sequence[int]) -> "torch.Tensor":
        import torch

        with self.lock, torch.inference_mode():
            return self.model(torch.tensor([list(ids)])).logits[0].float().log_softmax(-1)

    def token(self, one: int, log: float) -> dict[str, Any]:
        raw = self.raw[one]
        return {"token": raw.decode(errors="replace"), "bytes": list(raw), "logprob": log}


def _bytes_of_characters() -> dict[str, int]:
    """Byte-level BPE writes every byte as a character of its own."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {chr(256 + k): byte for k, byte in enumerate(others)}


_BYTES = _bytes_of_characters()


@cache
def engine() -> Engine:
    return Engine()


class RemoteServer:
    """The server; `asked` holds the path and content of each request, `headers` its headers."""

    def __init__(self, offers: Offers | None = None) -> None:
        self.offers = offers or Offers()
        self.faults: list[Fault] = []
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.headers: list[dict[str, str]] = []
        self.open = self.most_open = 0
        self._lock = threading.Lock()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # what is sent behind the headers would wait for the client's delayed ACK

            def do_GET(self) -> None:
                self._answer(None)

            def do_POST(self) -> None:
                self._answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

            def _answer(self, body: dict[str, Any] | None) -> None:
                with server._lock:
                    server.open += 1
                    server.most_open = max(server.most_open, server.open)
                    server.asked.append((self.path, body or {}))
                    server.headers.append(dict(self.headers))
                    hit = server.faults and self.path.endswith(server.faults[0].path)
                    fault = server.faults.pop(0) if hit else None
                found = fault or server.answer(self.path, body, dict(self.headers))
                time.sleep(found.seconds)
                with server._lock:
                    server.open -= 1
                try:
                    self.send_response(found.status)
                    for name, value in {"Content-Type": "application/json", **found.headers}.items():
                        self.send_header(name, value)
                    self.send_header("Content-Length", str(len(found.body)))
                    self.end_headers()
                    self.wfile.write(found.body)
                except OSError:
                    self.close_connection = True

            def log_message(self, *args: Any) -> None: ...

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        threading.Thread(target=self._http.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_port}/v1"

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()

    def questions(self) -> list[str]:
        """The user's last message of each request."""
        chats = [body["messages"] for _, body in self.asked if "messages" in body]
        return [next(one["content"] for one in reversed(chat) if one["role"] == "user") for chat in chats]

    # ------------------------------------------------------------ answers

    def answer(self, path: str, body: dict[str, Any] | None, headers: Mapping[str, str]) -> Fault:
        if self.offers.key is not None and headers.get("Authorization") != f"Bearer {self.offers.key}":
            return refused(401, "invalid_api_key")
        if path == "/v1/models":
            return told({"data": [{"id": one} for one in self.offers.listed]})
        if body is None or path not in ("/v1/chat/completions", "/v1/completions"):
            return refused(404, "not_found")
        found = self._chat(body) if path == "/v1/chat/completions" else self._text(body)
        return found if isinstance(found, Fault) else told({"model": self.offers.served, **found})

    def _chat(self, body: dict[str, Any]) -> dict[str, Any] | Fault:
        offers, messages, begun = self.offers, body["messages"], ""
        if (body.get("top_logprobs") or 0) > offers.most:
            return refused(400, "invalid_request_error")
        flagged = body.get("continue_final_message", False)
        if messages[-1]["role"] == "assistant":
            if flagged and offers.continued != "flagged":
                return refused(400, "invalid_request_error")
            if offers.continued == ("flagged" if flagged else "as-is"):
                *messages, last = messages
                begun = last["content"]
        ids = engine().chat(messages, begun)
        logs = engine().logs(ids)
        choice, count = self._written(ids, logs, body.get("max_tokens", 16), body.get("top_logprobs"))
        text = choice.pop("text")
        found: dict[str, Any] = {
            "choices": [choice | {"message": {"role": "assistant", "content": text}}],
            "usage": {"prompt_tokens": len(ids), "completion_tokens": count},
        }
        if "prompt_logprobs" in body and offers.prompt_logprobs and flagged:
            found["prompt_logprobs"] = self._given(ids, logs)
        return found

    def _text(self, body: dict[str, Any]) -> dict[str, Any] | Fault:
        ids = engine().ids(body["prompt"])
        told = engine().logs(ids)
        choice, count = self._written(ids, told, body.get("max_tokens", 16), body.get("logprobs"))
        content = (choice.get("logprobs") or {}).get("content") or []
        logs: dict[str, Any] = {
            "tokens": [one["token"] for one in content],
            "token_logprobs": [one["logprob"] for one in content],
            "top_logprobs": [{_old(top): top["logprob"] for top in one["top_logprobs"]} for one in content],
        }
        if body.get("echo"):
            if not self.offers.prompt_logprobs:
                return refused(400, "invalid_request_error")
            given = [None if one is None else next(iter(one.values())) for one in self._given(ids, told)]
            logs["tokens"] = [one and one["decoded_token"] for one in given] + logs["tokens"]
            logs["token_logprobs"] = [one and one["logprob"] for one in given] + logs["token_logprobs"]
        known = self.offers.top or body.get("echo")
        return {
            "choices": [choice | {"logprobs": logs if known else None}],
            "usage": {"prompt_tokens": len(ids), "completion_tokens": count},
        }

    def _written(self, ids: list[int], told: "torch.Tensor", limit: int, top: int | None) -> tuple[dict[str, Any], int]:
        """What is written behind a text, of which the log-probabilities are told."""
        tokenizer, ids, content, written = engine().tokenizer, list(ids), [], list[int]()
        for number in range(limit):
            logs = (engine().logs(ids) if number else told)[-1]
            best = int(logs.argmax())
            first = logs.topk(min(top or 0, self.offers.top))
            pairs = zip(first.indices.tolist(), first.values.tolist(), strict=True)
            tops = [engine().token(one, log) for one, log in pairs]
            content.append(engine().token(best, float(logs[best])) | {"top_logprobs": tops})
            if best == tokenizer.eos_token_id:
                return _choice(tokenizer.decode(written), "stop", content if tops else None), len(content)
            ids, written = [*ids, best], [*written, best]
        known = content if top and self.offers.top else None
        return _choice(tokenizer.decode(written), "length", known), len(content)

    def _given(self, ids: list[int], logs: "torch.Tensor") -> list[dict[str, Any] | None]:
        found = logs[range(len(ids) - 1), ids[1:]].tolist()
        pieces = [engine().raw[one].decode(errors="replace") for one in ids[1:]]
        told = zip(ids[1:], found, pieces, strict=True)
        return [None, *({str(one): {"logprob": log, "decoded_token": piece}} for one, log, piece in told)]


def _old(token: Mapping[str, Any]) -> str:
    """A token in the older form, which has no bytes."""
    try:
        return bytes(token["bytes"]).decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in token["bytes"])


def _choice(text: str, reason: str, content: Any) -> dict[str, Any]:
    return {"index": 0, "text": text, "finish_reason": reason, "logprobs": content and {"content": content}}


def told(content: Mapping[str, Any]) -> Fault:
    return Fault(body=json.dumps(content).encode())


def refused(status: int, code: str, message: str = "") -> Fault:
    body = json.dumps({"error": {"code": code, "message": message}}).encode()
    return Fault(status, body, path="/completions" if status == 400 else "")


@contextmanager
def serving(offers: Offers | None = None) -> Iterator[RemoteServer]:
    server = RemoteServer(offers)
    try:
        yield server
    finally:
        server.close()


class Remembering(RemoteServer):
    """A server that computes an answer once: the same question has the same answer."""

    def __init__(self, offers: Offers) -> None:
        self._known: dict[str, Fault] = {}
        super().__init__(offers)

    def answer(self, path: str, body: dict[str, Any] | None, headers: Mapping[str, str]) -> Fault:
        question = path + json.dumps(body, sort_keys=True)
        if question not in self._known:
            self._known[question] = super().answer(path, body, headers)
        return self._known[question]


@cache
def shared() -> RemoteServer:
    """One for all tests that leave it as it is, which offers all that there is."""
    return Remembering(Offers(continued="flagged"))
