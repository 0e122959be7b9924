"""What was answered lately, so that a next question can go on from it."""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from dataclasses import replace
from typing import TYPE_CHECKING

from retrieval.server.problems import NotHere

if TYPE_CHECKING:
    from retrieval.types import Answer

KEPT = 500
"""Answers; each is a few thousand characters."""


class Turns:
    """The last answers, each under a name that only whoever got the answer knows.

    So conversations of several people or windows do not run into each other, as they would in the
    one conversation that a catalog keeps, and a server that only reads can be asked on as well.
    """

    def __init__(self, most: int = KEPT) -> None:
        self._most = most
        self._kept: OrderedDict[str, Answer] = OrderedDict()
        self._lock = threading.Lock()

    def keep(self, answer: Answer) -> str:
        name = secrets.token_urlsafe(18)
        with self._lock:
            self._kept[name] = replace(answer, steps=(), closest=(), html=None)
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)
        return name

    def of(self, name: str) -> Answer:
        with self._lock:
            found = self._kept.get(name)
        if found is None:
            raise NotHere("This conversation is not kept any more. Ask its first question again.")
        return found
