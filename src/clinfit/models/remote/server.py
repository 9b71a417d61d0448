"""Asking a server over HTTP: several requests at once, no faster than allowed, again where it was busy.

What a server says of a refused request may quote the record, so that no error here repeats it; nor does any hold the
key.
"""

import random
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from email.utils import parsedate_to_datetime
from queue import Empty, SimpleQueue
from typing import Any, TypeVar, cast

import httpx2 as httpx

from clinfit.errors import ClinfitError
from clinfit.models.remote.egress import api_key, check_allowed
from clinfit.study.remote import Remote

#: Statuses after which the same request may be answered.
AGAIN = {408, 425, 429, 500, 502, 503, 504, 529}
#: Seconds: the first pause before a request is sent again, the longest one, and the longest that a server may ask for.
FIRST_PAUSE, LONGEST_PAUSE, LONGEST_ASKED = 0.5, 60.0, 600.0

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class Refused(ClinfitError):
    """The server understood and refused. status: of its answer."""

    def __init__(self, status: int, found: str, *, fix: str = "") -> None:
        self.status = status
        super().__init__(found, fix=fix)


class NoObject(ClinfitError):
    """The server answered, and at the last with something else than a JSON object."""


class Server:
    """The server of a model. sleep: waits some seconds; tests bring their own.

    Raises ClinfitError where texts may not be sent there, or the key is missing.
    """

    def __init__(self, spec: Remote, sleep: Callable[[float], None] | None = None) -> None:
        check_allowed(spec)
        key = api_key(spec)
        self.spec = spec
        self._http = httpx.Client(
            headers={} if key is None else {"Authorization": f"Bearer {key}"},
            timeout=spec.requests.timeout,
            trust_env=spec.leaves_machine,  # no proxy may stand between this machine and itself
            limits=httpx.Limits(max_connections=spec.requests.concurrent),
        )
        self._of = threading.local()  # ended: of the `each` whose thread this is
        self._sleep = sleep or self._wait
        self._lock, self._next = threading.Lock(), 0.0

    def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """The JSON object that the server answers. Raises Refused where it will not, and ClinfitError where it could
        not be reached or understood in as many tries as the study gives it."""
        return self._ask("POST", path, body)

    def get(self, path: str) -> dict[str, Any]:
        """As `post`, of a request without content."""
        return self._ask("GET", path, None)

    def each(
        self,
        items: Sequence[Item],
        ask: Callable[[Item], Answer],
        done: Callable[[int, Answer], None] = lambda index, answer: None,
    ) -> list[Answer]:
        """What `ask` says of each item, several at the same time. done: told of each as soon as it is there, in this
        thread. The first that fails ends all."""
        waiting, answered = SimpleQueue[int](), SimpleQueue[tuple[int, Answer | None, BaseException | None]]()
        for index in range(len(items)):
            waiting.put(index)
        ended = threading.Event()

        def work() -> None:
            self._of.ended = ended
            while not ended.is_set():
                try:
                    index = waiting.get_nowait()
                except Empty:
                    return
                try:
                    answered.put((index, ask(items[index]), None))
                except BaseException as error:
                    answered.put((index, None, error))

        for _ in range(min(self.spec.requests.concurrent, len(items))):
            threading.Thread(target=work, daemon=True).start()  # so that Ctrl-C need not wait for a slow server
        found: dict[int, Answer] = {}
        try:
            for _ in items:
                index, answer, error = answered.get()
                if error is not None:
                    raise error
                found[index] = cast(Answer, answer)
                done(index, found[index])
        finally:
            ended.set()
        return [found[index] for index in range(len(items))]

    # ------------------------------------------------------------ one request

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None) -> dict[str, Any]:
        tries, trouble = self.spec.requests.retries + 1, "was not asked"
        kind: type[ClinfitError] = ClinfitError
        for number in range(tries):
            self._take_turn()
            kind = ClinfitError
            try:
                response = self._http.request(method, self.spec.url + path, json=body)
            except httpx.TimeoutException:
                trouble, asked = f"gave no answer within {self.spec.requests.timeout:g} s", None
            except httpx.TransportError as error:
                trouble, asked = f"cannot be reached ({type(error).__name__})", None
            except httpx.RequestError as error:  # an answer that is compressed wrongly, redirects without end
                trouble, asked = f"answered what cannot be read ({type(error).__name__})", None
            else:
                if response.is_success:
                    trouble, asked, content = "answered what is no JSON object", None, None
                    with suppress(ValueError):
                        content = response.json()
                    if isinstance(content, dict):
                        if not content.get("error"):
                            return content
                        trouble = f"answered {response.status_code} with an error in place of an answer"
                    else:
                        kind = NoObject
                elif response.status_code in AGAIN:
                    trouble, asked = f"answered {response.status_code}", _asked_pause(response)
                else:
                    raise self._refused(path, response)
            if asked is not None and asked > LONGEST_ASKED:
                raise self._failed(f"asks to be left alone for {asked:.0f} s")
            if number + 1 < tries:
                self._sleep(_pause(number) if asked is None else asked)
        raise self._failed(f"{trouble}, {tries} time{'s' if tries > 1 else ''}", kind)

    def _take_turn(self) -> None:
        """Wait until another request is allowed."""
        if (per_minute := self.spec.requests.per_minute) is None:
            return
        with self._lock:
            now = time.monotonic()
            turn = max(now, self._next)
            self._next = turn + 60.0 / per_minute
        if turn > now:
            self._sleep(turn - now)

    def _wait(self, seconds: float) -> None:
        """Wait as long as there is a use for it: of requests that are made together until one of them fails."""
        ended: threading.Event | None = getattr(self._of, "ended", None)
        if ended is None:
            time.sleep(seconds)
        elif ended.wait(seconds):
            raise self._failed("was no longer asked, since another request failed")

    def _failed(self, trouble: str, kind: type[ClinfitError] = ClinfitError) -> ClinfitError:
        return kind(
            f"the server of {self.spec.name} ({self.spec.url}) {trouble}",
            expected="an OpenAI-compatible server that answers",
            fix="start it, or look at its log; what was answered is kept, and the same command goes on from there",
        )

    def _refused(self, path: str, response: httpx.Response) -> Refused:
        status = response.status_code
        found = f"the server of {self.spec.name} ({self.spec.url}) refused {path}: {status}{_code(response)}"
        if status in (401, 403):
            variable = self.spec.api_key_env
            fix = f"put a valid key into {variable}" if variable else "name the variable of its key: api_key_env"
        elif status == 404:
            fix = f"look whether the url ends as the server's does (.../v1), and whether it serves {self.spec.model!r}"
        elif status in (400, 413, 422):
            fix = "the record may be longer than the server's context: give it a longer one, or leave long records out"
        else:
            fix = "look at the server's log"
        return Refused(status, found, fix=fix)


def _pause(number: int) -> float:
    """Seconds before a request is sent again for the n-th time (from 0): twice as many each time, half to whole."""
    return min(LONGEST_PAUSE, FIRST_PAUSE * 2.0**number) * random.uniform(0.5, 1.0)


def _asked_pause(response: httpx.Response) -> float | None:
    """Seconds in Retry-After, which may be a date; None where it says nothing."""
    told = response.headers.get("retry-after", "").strip()
    if re.fullmatch(r"\d+(\.\d+)?", told):
        return float(told)
    with suppress(ValueError, TypeError):
        return max(0.0, parsedate_to_datetime(told).timestamp() - time.time())
    return None


def _code(response: httpx.Response) -> str:
    """The server's word for what is wrong, where it is one word: a sentence might quote the record."""
    with suppress(ValueError, AttributeError):
        error = response.json().get("error", {})
        for name in ("code", "type"):
            if isinstance(word := error.get(name), str) and re.fullmatch(r"[A-Za-z][A-Za-z_.-]{0,59}", word):
                return f" ({word})"
    return ""
