"""The OpenAI-compatible chat protocol: what is sent, and what servers say of themselves and of it."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from retrieval.captioners.said import plain
from retrieval.images import encode_jpeg, thumbnail

if TYPE_CHECKING:
    from PIL import Image

    from retrieval.speech import Chat

MAX_SIDE = 768
"""Pixels of a picture's longer side as it is sent."""
MAX_BODY = 4 << 20
"""Bytes of an answer that are read."""
LONGEST_NAME = 200
_PARAMETERS = {
    "max_completion_tokens": r"max_completion_tokens",
    "max_tokens": r"max_tokens",
    "stream_options": r"stream_options|include_usage",
    "stream": r"stream(?:ing)?",
    "seed": r"seed",
    "temperature": r"temperature",
    "system": r"system(?: role| message| prompt)?|roles must alternate",
}
"""What can be left out or said otherwise, and how servers name it."""
_UNWANTED = re.compile(
    r"not (?:\w+ )?(?:support|permit|allow|accept|recogni|known)|n['’]t (?:support|allow|accept)|unsupported|"
    r"unrecogni|unknown|unexpected|invalid|extra|must|only|deprecated|cannot",
    re.IGNORECASE,
)
_PICTURE = r"\b(?:image|vision|multi-?modal|picture|mmproj)"
_BLIND = re.compile(
    rf"{_PICTURE}.{{0,60}}(?:(?:not|n['’]t)\b.{{0,20}}(?:support|accept|allow|enabled)|"
    r"unsupported|only supported|mmproj)|"
    rf"(?:(?:not|n['’]t)\b.{{0,20}}(?:support|accept|allow|take|capable)|unsupported|"
    rf"no endpoints|missing data|at most 0).{{0,60}}{_PICTURE}|not an? (?:vision|multi-?modal)|"
    r"unknown variant\W+image_url|content must be a string",
    re.IGNORECASE | re.DOTALL,
)
# A server turns what looks like a mark of its model into one, also in the middle of a text.
_MARK = re.compile(r"<(?=[A-Za-z/|｜_!<])|(?<=[|｜])>|\[(?=/?[A-Z_]{2,20}\])")


def messages(chat: Chat, *, fold: bool = False) -> list[dict[str, Any]]:
    """A chat as the protocol has it; `fold` puts what the system says before what the user says."""
    said: list[dict[str, Any]] = []
    system = ""
    for turn in chat:
        parts = [_part(part) for part in turn.parts]
        if turn.role == "system" and fold:
            system = "\n".join(part["text"] for part in parts)
            continue
        if system and turn.role == "user":
            parts.insert(0, {"type": "text", "text": system})
            system = ""
        alone = all(part["type"] == "text" for part in parts)
        content: Any = "\n".join(part["text"] for part in parts) if alone else parts
        said.append({"role": turn.role, "content": content})
    return said


def request(
    model: str, chat: Chat, settings: Mapping[str, Any], lacks: Collection[str], room: int = 0
) -> dict[str, Any]:
    """The body that asks; without what the server `lacks`, and with `room` for more tokens."""
    longest = "max_completion_tokens" if "max_tokens" in lacks else "max_tokens"
    body = {
        "model": model,
        "messages": messages(chat, fold="system" in lacks),
        longest: settings["max_tokens"] + room,
        "temperature": settings["temperature"],
        "seed": settings["seed"],
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    without = {*lacks, "stream_options"} if "stream" in lacks else lacks
    return {name: value for name, value in body.items() if name not in without}


def _part(part: str | Image.Image) -> dict[str, Any]:
    if isinstance(part, str):
        return {"type": "text", "text": harmless(part)}
    data = base64.b64encode(encode_jpeg(thumbnail(part, MAX_SIDE))).decode("ascii")
    return {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{data}"}}


def harmless(text: str) -> str:
    """Text in which nothing reads as a mark of any model: a space parts what would."""
    return _MARK.sub(lambda mark: f"{mark[0]} " if mark[0] != ">" else " >", whole(text))


def whole(text: str) -> str:
    """Text whose halves of characters are put together, or replaced."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def read(data: bytes) -> Any:
    """What JSON says, out of the list that some servers put an error into; None where it is none."""
    try:
        told = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return told[0] if isinstance(told, list) and len(told) == 1 else told


def complaint(body: bytes) -> tuple[str, str]:
    """A server's own words about what is wrong, made short and plain, and the parameter it names."""
    told = read(body)
    parameter = ""
    message: Any = None
    if isinstance(told, dict):
        message = told.get("error") or told.get("detail") or told.get("message") or told
        if isinstance(message, list) and message and isinstance(message[0], Mapping):
            place = message[0].get("loc")
            parameter = str(place[-1]) if isinstance(place, list) and place else ""
            message = message[0].get("msg")
        if isinstance(message, Mapping):
            parameter = str(message.get("param") or "")
            message = message.get("message") or message.get("msg") or message.get("code")
    if not isinstance(message, str):
        html = body.lstrip().startswith(b"<")
        message = "" if html or told is not None else body[:2000].decode("utf-8", "replace")
    return " ".join(plain(message).split()), parameter


def unwanted(message: str, parameter: str, sent: Mapping[str, Any]) -> str | None:
    """The parameter that a server will not have, if it is one that we sent and can do without."""
    roles = {said.get("role") for said in sent.get("messages", ())}
    ours = [name for name in _PARAMETERS if name in sent or (name == "system" and "system" in roles)]
    if parameter in ours:
        return parameter
    if not _UNWANTED.search(message):
        return None
    return next(
        (
            name
            for name in ours
            if re.search(rf"(?<!\w)(?:{_PARAMETERS[name]})(?!\w)", message, re.IGNORECASE)
        ),
        None,
    )


def blind(message: str) -> bool:
    """Whether a server says that its model takes no pictures."""
    return bool(_BLIND.search(message))


def model_names(body: bytes) -> list[str]:
    """The models that a server lists, fit to be shown and sent back."""
    try:
        told = json.loads(body)
    except (ValueError, RecursionError):
        return []
    rows = told.get("data") if isinstance(told, dict) else told
    names = (
        [row.get("id") if isinstance(row, dict) else row for row in rows] if isinstance(rows, list) else []
    )
    return [name for name in names if isinstance(name, str) and is_name(name)]


def is_name(text: str) -> bool:
    """Whether it could be a model's: it is shown, sent, and kept with what the model said."""
    return 0 < len(text) <= LONGEST_NAME and text.isprintable()
