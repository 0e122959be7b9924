"""A reply on its way in, in whatever shape servers send it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from retrieval.captioners.said import plain, without_thoughts
from retrieval.captioners.wire import MAX_BODY, complaint, read, whole

CUT = ("length", "content_filter", "abort", "error")
"""What servers give as a reason for an end that is none."""


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
    def said(self) -> str:
        """The reply without what was thought aloud, and else as it came."""
        return without_thoughts(whole("".join(self._texts)))

    @property
    def begun(self) -> bool:
        """Whether any of the reply's text has come; thoughts are none."""
        return bool(plain(self.said).strip())

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
        told = read(data)
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


def _text(content: Any) -> str:
    if isinstance(content, list):
        return "".join(_text(part.get("text")) for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


def _count(value: Any) -> int:
    return value if isinstance(value, int) and 0 <= value < 1 << 31 else 0
