"""Errors as problem details (RFC 9457). They name fields, positions and limits, and never what was submitted."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from starlette.responses import JSONResponse

MEDIA_TYPE = "application/problem+json"

#: code -> (HTTP status, title). The code is the last part of the problem's type.
PROBLEMS: dict[str, tuple[int, str]] = {
    "malformed": (400, "The request cannot be read"),
    "wrong-host": (400, "The service is not called so"),
    "no-key": (401, "An API key is needed"),
    "scope": (403, "The API key does not allow this"),
    "other-origin": (403, "Pages of other origins may not ask"),
    "not-found": (404, "There is nothing at this address"),
    "unknown-model": (404, "There is no such model"),
    "unknown-job": (404, "There is no such job"),
    "method": (405, "The address does not know this method"),
    "not-acceptable": (406, "The results do not come in this form"),
    "slow": (408, "The request takes too long to come"),
    "ended": (409, "The job has ended"),
    "unfinished": (409, "The job has not ended"),
    "too-large": (413, "The request is too large"),
    "media-type": (415, "The content is of a type that is not read"),
    "invalid": (422, "The request is not as described"),
    "invalid-record": (422, "The record is not what the task asks for"),
    "key-reused": (422, "The idempotency key was used for another request"),
    "rate": (429, "Too many items in too short a time"),
    "queue-full": (429, "Too much is waiting"),
    "failed": (500, "Something unexpected happened"),
    "unanswered": (500, "The record could not be answered"),
    "not-ready": (503, "The service is not ready"),
    "late": (504, "The answer took too long"),
}

#: Addresses of OpenAI's.
OPENAI = ("/v1/chat/completions", "/v1/completions")


@dataclass
class Problem(Exception):
    """One problem. code: of PROBLEMS. detail: what to do about it, never with text of a request.

    retry_after: seconds. errors: places, a parameter or the pointer of a part of the body, and what is wrong there.
    """

    code: str
    detail: str = ""
    retry_after: int | None = None
    errors: Sequence[Mapping[str, Any]] = ()

    @property
    def status(self) -> int:
        return PROBLEMS[self.code][0]

    def as_dict(self, request_id: str = "", path: str = "") -> dict[str, Any]:
        """The body of the answer. path: that was asked; at OpenAI's addresses there is also an error of its form."""
        status, title = PROBLEMS[self.code]
        body: dict[str, Any] = {"type": f"/problems/{self.code}", "title": title, "status": status, "code": self.code}
        if self.detail:
            body["detail"] = self.detail
        if request_id:
            body["request_id"] = request_id
        if self.errors:
            body["errors"] = list(self.errors)
        if path in OPENAI:
            body["error"] = self.openai_error()
        return body

    def openai_error(self) -> dict[str, str]:
        """The problem as OpenAI's libraries show it, in a line."""
        places = ", ".join(f"{place['pointer']} ({place['code']})" for place in self.errors if "pointer" in place)
        words = (PROBLEMS[self.code][1], places, self.detail)
        return {"message": ": ".join(filter(None, words)), "type": f"/problems/{self.code}", "code": self.code}

    def response(self, request_id: str = "", path: str = "") -> JSONResponse:
        headers = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        if self.code == "no-key":
            headers["WWW-Authenticate"] = "Bearer"
        if self.code == "slow":
            headers["Connection"] = "close"  # what still comes is read by nobody
        return JSONResponse(self.as_dict(request_id, path), self.status, headers, media_type=MEDIA_TYPE)


#: What every fault at an address that is not of our own making becomes.
BY_STATUS = {
    400: "malformed",
    404: "not-found",
    405: "method",
    408: "slow",
    413: "too-large",
    415: "media-type",
    422: "invalid",
}


def no_key() -> Problem:
    """Nobody known asks."""
    return Problem("no-key", "send a valid key: Authorization: Bearer KEY")


#: Types of content that a problem names; other words of a Content-Type are the sender's own.
COMMON_TYPES = frozenset(
    "application/json application/jsonl application/octet-stream application/x-ndjson application/xml text/csv "
    "application/x-www-form-urlencoded multipart/form-data text/html text/plain text/tab-separated-values".split()
)


def media_type(content_type: str) -> str:
    """What a Content-Type calls the content, without its parameters."""
    return content_type.partition(";")[0].strip().lower()


def other_type(content_type: str, *expected: str) -> Problem:
    """The content is of none of the types that are read."""
    kind = media_type(content_type)
    found = f"the Content-Type is {kind if kind in COMMON_TYPES else 'another'}" if kind else "there is no Content-Type"
    return Problem("media-type", f"{found}: send {', '.join(expected)}")


def no_json(line: int | str, column: int | str) -> Problem:
    """A body ends to be JSON at this place."""
    words = f"the body is no JSON from line {line}, column {column} on; send it as /openapi.json describes"
    return Problem("malformed", words, errors=[{"pointer": "#", "code": "json_invalid"}])


def no_utf8() -> Problem:
    """A body that is to be JSON is not even text."""
    errors = [{"pointer": "#", "code": "json_invalid"}]
    return Problem("malformed", "the body is not text in UTF-8; send it as /openapi.json describes", errors=errors)


def too_deep() -> Problem:
    errors = [{"pointer": "#", "code": "json_invalid"}]
    return Problem("malformed", "the body is nested too deep; send it as /openapi.json describes", errors=errors)


def invalid_places(errors: Sequence[Mapping[str, Any]], known: Set[str]) -> list[dict[str, str]]:
    """Where a request is wrong, of pydantic's errors: parameters by their names, parts of the body by JSON pointers,
    and nothing of what was submitted. known: names of fields and inputs; other keys are the sender's own words.

    Of what may be one of several things each is tried: what holds another place is the fault of one that was not meant.
    """
    places = {(*_place(error, known), str(error["type"])): None for error in errors[:20]}
    return [
        {kind: place, "code": code}
        for kind, place, code in places
        if not any(other.startswith(f"{place}/") for _, other, _ in places)
    ]


def _place(error: Mapping[str, Any], known: Set[str]) -> tuple[str, str]:
    """The kind of a place, and the place."""
    where, *steps = error["loc"]
    if where != "body":
        return "parameter", str(steps[0])  # as the route declares it
    parts: list[str] = []
    for at, step in enumerate(steps, start=1):
        if isinstance(step, int) or step in known:
            parts.append(f"/{step}")
        elif parts[-1:] == ["/inputs"] or (error["type"] == "extra_forbidden" and at == len(steps)):
            parts.append("/*")
        # Else it is the type that was tried of several, which is no part of the body.
    return "pointer", "#" + "".join(parts)
