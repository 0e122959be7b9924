"""What a model says, as it may be shown: without its marks, and without what is secret."""

from __future__ import annotations

import re
from collections.abc import Iterable

from retrieval.captioners.address import HIDDEN, LONG, hidden
from retrieval.captioners.said import plain, settled
from retrieval.captioners.wire import whole


class Spoken:
    """Takes text piece by piece, and gives on what of it is settled.

    However it was cut, all that comes out is the same: what may yet turn out to be a part of a mark, of
    a letter or of a secret is held back until that is sure. White space around the whole is left
    out. The beginning of a secret that a reply ends with is one too.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        self._secrets = sorted((secret for secret in secrets if len(secret) >= LONG), key=len, reverse=True)
        self._folded = [secret.casefold() for secret in self._secrets]
        self._raw = ""
        self._held = ""
        self._blank = ""
        self._begun = False

    def feed(self, piece: str) -> str:
        self._raw += piece
        at = settled(self._raw)
        self._held += plain(whole(self._raw[:at]))
        self._raw = self._raw[at:]
        sure = self._sure()
        said, self._held = self._held[:sure], self._held[sure:]
        return self._inner(hidden(said, self._secrets))

    def end(self) -> str:
        """The rest; nothing more comes."""
        said = hidden(self._held + plain(whole(self._raw)), self._secrets)
        self._held = self._raw = ""
        at = self._opening(said)
        if len(said) - at >= LONG:
            said = said[:at] + HIDDEN
        return self._inner(said)

    def _sure(self) -> int:
        """Where what was cleaned may be cut: before what may become a secret, and through none."""
        at = self._opening(self._held)
        before = -1
        while at < len(self._held) and at != before:
            before = at
            for secret in self._secrets:
                for found in re.finditer(rf"(?={re.escape(secret)})", self._held, re.IGNORECASE):
                    if found.start() < at < found.start() + len(secret):
                        at = found.start()
        return at

    def _opening(self, text: str) -> int:
        """Where a secret may begin whose end is still to come."""
        longest = len(self._secrets[0]) if self._secrets else 1
        for start in range(max(0, len(text) - longest + 1), len(text)):
            tail = text[start:].casefold()
            if any(secret != tail and secret.startswith(tail) for secret in self._folded):
                return start
        return len(text)

    def _inner(self, said: str) -> str:
        """Without white space at the beginning, and with none at the end until more follows it."""
        if not self._begun:
            said = said.lstrip()
        kept = said.rstrip()
        if not kept:
            self._blank += said
            return ""
        self._begun = True
        told, self._blank = self._blank + kept, said[len(kept) :]
        return told


def shown(said: str, secrets: Iterable[str]) -> str:
    """The same for what came as a whole."""
    spoken = Spoken(secrets)
    return spoken.feed(said) + spoken.end()
