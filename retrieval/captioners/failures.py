"""What goes wrong with an endpoint: each thing as a sentence, and whether to ask again."""

from __future__ import annotations

import re
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from retrieval.captioners import wire
from retrieval.captioners.address import INSTEAD, KEY, MODEL, Address
from retrieval.captioners.said import plain
from retrieval.errors import ModelError, ModelUnavailable

PASSING = (429, 500, 502, 503, 504)
"""Answers after which the same may succeed."""
MAX_TOLD = 200
"""Characters of a server's own words in a message of ours."""
MAX_LISTED = 8


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an attempt brought no reply, and what may be done about it."""

    error: ModelError
    again: bool = False
    """Worth another try after a while."""
    wait: float | None = None
    """Seconds that the server asks to wait before it."""
    otherwise: bool = False
    """To be asked at once in another way, which is settled."""
    late: bool = False
    """The time was over."""


def late(where: Address) -> Failure:
    return Failure(
        ModelError(
            f"{_name(where)} said nothing within its time. If it was still loading its model, ask again "
            f"in a minute; or {INSTEAD}"
        ),
        late=True,
    )


def cut(where: Address) -> Failure:
    return broken(where, "closed the connection before it said anything", again=True)


def silent(where: Address, seconds: float) -> Failure:
    return broken(where, f"went silent for {seconds:g} seconds", again=True)


def wordless(where: Address, *, otherwise: bool) -> Failure:
    error = ModelError(
        f"{_name(where)} used up its tokens without a word of an answer, as models do that think aloud. "
        f"Name one that does not with {MODEL}, or {INSTEAD}"
    )
    return Failure(error, otherwise=otherwise)


def broken(where: Address, problem: str, *, again: bool = False) -> Failure:
    """An answer that is none; `problem` goes on where "The endpoint at …" ends."""
    if wire.blind(problem):
        return Failure(_blind(where, problem))
    return Failure(
        ModelError(f"{_name(where)} {_short(where, problem)}. Ask again, or {INSTEAD}"), again=again
    )


def down(where: Address, error: BaseException) -> Failure:
    """Nothing could be sent; of the exception only the system's own words are told."""
    reason = "no connection"
    inner: BaseException | None = error
    while inner is not None:
        if isinstance(inner, ssl.SSLError):
            return _unsafe(where, inner)
        if isinstance(inner, OSError):
            reason = inner.strerror or ("timed out" if isinstance(inner, TimeoutError) else reason)
        inner = inner.__cause__ or inner.__context__
    return Failure(
        ModelUnavailable(f"{_name(where)} does not answer ({_short(where, reason)}). Start it, or {INSTEAD}")
    )


def _unsafe(where: Address, error: ssl.SSLError) -> Failure:
    """No encrypted connection came about."""
    if isinstance(error, ssl.SSLCertVerificationError):
        told = (
            f"has a certificate that is not trusted ({_short(where, error.verify_message)}). If it is your "
            "own, name its file: SSL_CERT_FILE=FILE"
        )
    else:
        reason = (error.reason or "TLS error").replace("_", " ").lower()
        told = f"makes no encrypted connection ({_short(where, reason)}). It may answer at http://"
    return Failure(ModelUnavailable(f"{_name(where)} {told}. Or {INSTEAD}"))


def unproxied(where: Address) -> Failure:
    return Failure(
        ModelUnavailable(
            f"The proxy before {where.shown} lets nothing through. Look at HTTPS_PROXY, ALL_PROXY and "
            f"NO_PROXY, or {INSTEAD}"
        )
    )


def unnamed(where: Address) -> Failure:
    return Failure(
        ModelUnavailable(f"{_name(where)} lists no models. Name the one to ask: {MODEL}=MODEL. Or {INSTEAD}")
    )


def misses_model(message: str) -> bool:
    """Whether a server says that it has no such model."""
    return bool(re.search(r"model", message, re.IGNORECASE)) and bool(
        re.search(
            r"not found|(?:not|n['’]t) exist|unknown model|no such|not available", message, re.IGNORECASE
        )
    )


def wants_key(status: int, message: str) -> bool:
    """Whether it is the key; some servers say so with a 400."""
    told = re.search(r"api[ _-]?key", message, re.IGNORECASE)
    return status in (401, 403) or (status == 400 and told is not None)


def no_model(where: Address, model: str, names: Sequence[str], listed: bool, message: str) -> Failure:
    """Nothing answers under the model's name, or under the address as a whole."""
    if not listed or not names:
        told = f" ({_short(where, message)})" if message else ""
        return Failure(
            ModelUnavailable(
                f"{_name(where)} answers no chats there, or has no model '{model}'{told}. "
                f"SEARCH_ENDPOINT mostly ends in /v1, and {MODEL} names a model of the server's. Or {INSTEAD}"
            )
        )
    shown = ", ".join(names[:MAX_LISTED]) + (", …" if len(names) > MAX_LISTED else "")
    return Failure(
        ModelUnavailable(
            where.redacted(
                f"{_name(where)} has no model '{model}'. It has: {shown}. Name one of them: {MODEL}=MODEL"
            )
        )
    )


def refused(
    where: Address,
    status: int,
    message: str,
    *,
    location: str = "",
    retry_after: str = "",
    otherwise: bool = False,
) -> Failure:
    """An answer by its HTTP status, with the server's own words."""
    told = f"{status}: {_short(where, message)}" if message else str(status)
    name = _name(where)
    error: ModelError
    if wire.blind(message):
        error = _blind(where, message)
    elif 300 <= status < 400:
        error = ModelUnavailable(
            f"{name} sends us on to {_place(where, location)} ({status}), which is not followed: pictures "
            "and key go only where you said. If that is right, set SEARCH_ENDPOINT to it."
        )
    elif wants_key(status, message) and where.authorization:
        error = ModelUnavailable(f"{name} does not accept the key in {KEY} ({told}).")
    elif wants_key(status, message):
        error = ModelUnavailable(f"{name} wants a key ({told}). Put it into {KEY}.")
    elif status == 413:
        error = ModelError(f"{name} takes no chats of this size ({told}). Raise its limit, or {INSTEAD}")
    elif status == 429:
        error = ModelUnavailable(f"{name} takes no more for now ({told}). Ask again later, or {INSTEAD}")
    elif status in (502, 503, 504):
        error = ModelUnavailable(f"{name} is not ready ({told}). Ask again later, or {INSTEAD}")
    else:
        error = ModelError(f"{name} refused ({told}). Or {INSTEAD}")
    again = status in PASSING and not wire.blind(message)
    return Failure(error, again=again, wait=_seconds(retry_after), otherwise=otherwise)


def _blind(where: Address, message: str) -> ModelUnavailable:
    return ModelUnavailable(
        f"The model at {where.shown} takes no pictures ({_short(where, message)}). "
        f"Name one that does with {MODEL}, or {INSTEAD}"
    )


def _name(where: Address) -> str:
    return f"The endpoint at {where.shown}"


def _short(where: Address, message: str) -> str:
    # What is secret goes before the text is cut, or half of it would stay.
    told = where.redacted(" ".join(plain(message).split())).rstrip(".")
    return told if len(told) <= MAX_TOLD else f"{told[: MAX_TOLD - 1]}…"


def _place(where: Address, location: str) -> str:
    """The host of a redirect; its path could hold anything."""
    try:
        parts = urlsplit(location)
        host = parts.hostname or ""
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        host, port = "", ""
    return f"{parts.scheme}://{_short(where, host)}{port}" if host else "another path"


def _seconds(retry_after: str) -> float | None:
    """How long a server asks to wait: seconds, or the time of a date."""
    if re.fullmatch(r"\d{1,6}(\.\d{1,3})?", retry_after.strip()):
        return float(retry_after)
    try:
        when = parsedate_to_datetime(retry_after)
    except (TypeError, ValueError, OverflowError):
        return None
    if when.tzinfo is None:
        return None
    return max(0.0, (when - datetime.now(UTC)).total_seconds())
