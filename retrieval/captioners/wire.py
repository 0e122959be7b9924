"""The OpenAI-compatible chat protocol: what is sent, and what comes back, in whatever shape."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from retrieval.captioners.said import plain, without_thoughts
from retrieval.images import encode_jpeg, thumbnail

if TYPE_CHECKING:
    from PIL import Image

    from retrieval.speech import Chat

MAX_SIDE = 768
"""Pixels of a picture's longer side as it is sent."""
MAX_BODY = 4 << 20
"""Bytes of an answer that are read."""
CUT = ("length", "content_filter", "abort", "error")
"""What servers give as a reason for an end that is none."""

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


class Received:
    """An answer on its way in: events of a stream, or one piece of JSON, whichever the server sends."""

    def __init__(self) -> None:
        self.problem = ""
        """What is wrong with it, as the rest of a sentence that begins with the server."""
        self.status: int | None = None
        """The status that an error within the stream gives itself."""
        self.finish: str | None = None
        self.speaking = False
        """Whether it says or thinks anything yet."""
        self.done = False
        self.prompt_tokens = 0
        self.tokens = 0
        self._bytes = bytearray()
        self._size = 0
        self._json: bool | None = None
        self._event: list[bytes] = []
        self._texts: list[str] = []
        self._chosen = False
        self._held: str | None = ""
        """What may yet turn out to be a thought; None once it cannot."""

    @property
    def text(self) -> str:
        return plain(without_thoughts(whole("".join(self._texts)))).strip()

    @property
    def begun(self) -> bool:
        """Whether any of the reply's text has come; thoughts are none."""
        return bool(self.text)

    @property
    def complete(self) -> bool:
        return not self.problem and self.finish not in CUT and (self.done or self.finish is not None)

    def feed(self, data: bytes) -> Iterator[str]:
        """Take in what came, and give the pieces of text in it that are no thoughts."""
        self._size += len(data)
        self._bytes += data
        if self._size > MAX_BODY:
            self.problem = f"sent more than {MAX_BODY >> 20} MB"
            return
        if self._json is None:
            self._recognise(at_end=False)
        if self._json is False:
            while not (self.done or self.problem) and (end := self._bytes.find(b"\n")) >= 0:
                line = bytes(self._bytes[:end]).removesuffix(b"\r")
                del self._bytes[: end + 1]
                yield from self._line(line)

    def end(self) -> Iterator[str]:
        """Nothing more comes."""
        if self._json is None and not self.problem:
            self._recognise(at_end=True)
        if self._json and not self.problem:
            yield from self._object(bytes(self._bytes))
            self.done = True
        elif self._json is False and not (self.done or self.problem):
            yield from self._line(bytes(self._bytes))
            yield from self._line(b"")
        self._reviewed()

    def _reviewed(self) -> None:
        if not self._chosen and not self.problem:
            self.problem = "sent no reply"

    def _recognise(self, *, at_end: bool) -> None:
        if self._bytes.startswith(b"\xef\xbb\xbf"):
            del self._bytes[:3]
        head = bytes(self._bytes).lstrip()[:8]
        if head.startswith((b"{", b"[")):
            self._json = True
        elif head.startswith(b"<"):
            self.problem = "sent a web page, not a reply"
        elif head.startswith((b"data:", b"event:", b"id:", b"retry:", b"error:", b":")):
            self._json = False
        elif at_end or len(head) == 8:
            self.problem = "sent nothing that is a reply" if head else "sent an empty answer"

    def _line(self, line: bytes) -> Iterator[str]:
        if line.startswith(b"data:"):
            self._event.append(line[5:].strip())
        elif line.startswith((b"error:", b"{")):
            # Where it fails midway, llama.cpp named the field like that, and Ollama names none.
            yield from self._object(line.removeprefix(b"error:"), failed=True)
        elif not line and self._event:
            data, self._event = b"\n".join(self._event), []
            if data == b"[DONE]":
                self.done = True
                self._reviewed()
            else:
                yield from self._object(data)

    def _object(self, data: bytes, *, failed: bool = False) -> Iterator[str]:
        told = _read(data)
        if not isinstance(told, dict):
            self.problem = "sent nothing that is a reply"
            return
        if failed or told.get("error") or told.get("object") == "error":
            message, _ = complaint(data)
            error = told.get("error") or told
            code = error.get("code") if isinstance(error, dict) else None
            self.status = code if isinstance(code, int) else None
            self.problem = f"broke off: {message}"
            return
        usage = told.get("usage")
        if isinstance(usage, dict):
            self.prompt_tokens = _count(usage.get("prompt_tokens"))
            self.tokens = _count(usage.get("completion_tokens"))
        choices = told.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices else None
        if not isinstance(choice, dict):
            return
        said = choice.get("delta") or choice.get("message")
        if isinstance(said, dict):
            self._chosen = True
            self.speaking |= any(said.get(name) for name in ("content", "reasoning", "reasoning_content"))
            yield from self._hear(_text(said.get("content")))
        finish = choice.get("finish_reason")
        self.finish = finish if isinstance(finish, str) else self.finish

    def _hear(self, piece: str) -> Iterator[str]:
        if not piece:
            return
        self._texts.append(piece)
        if self._held is None:
            yield piece
            return
        self._held += piece
        begin = self._held.lstrip()
        if not begin.startswith("<think") and not "<think".startswith(begin):
            self._held = None
            yield begin
        elif re.search(r"</think(?:ing)?>", self._held[-len(piece) - 12 :]):
            begin, self._held = without_thoughts(self._held), None
            if begin:
                yield begin


def _read(data: bytes) -> Any:
    """What JSON says, out of the list that some servers put an error into; None where it is none."""
    try:
        told = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return told[0] if isinstance(told, list) and len(told) == 1 else told


def complaint(body: bytes) -> tuple[str, str]:
    """A server's own words about what is wrong, made short and plain, and the parameter it names."""
    told = _read(body)
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
    return [name for name in names if isinstance(name, str) and 0 < len(name) <= 200 and name.isprintable()]


def _text(content: Any) -> str:
    if isinstance(content, list):
        return "".join(_text(part.get("text")) for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


def _count(value: Any) -> int:
    return value if isinstance(value, int) and 0 <= value < 1 << 31 else 0
