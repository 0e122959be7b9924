"""Models behind an OpenAI-compatible chat endpoint: Ollama, vLLM, llama.cpp's server, hosted ones.

Pictures and the key go to the host that the person named and to no other: redirects are not
followed. Nothing takes longer than its time: every chat has a thread of its own, and whoever
asks stops waiting when the time is over, whatever the server, the network or the name service do.
No exception of the HTTP library gets out, since it holds the request and with it the key.
"""

from __future__ import annotations

import os
import random
import re
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from retrieval import config
from retrieval.captioners import connection, failures, wire
from retrieval.captioners.address import MODEL, Address, address
from retrieval.captioners.connection import FAILED, GRACE_SECONDS, Connection, body_of, compressed
from retrieval.captioners.failures import Failure
from retrieval.captioners.in_time import Silence, Tell, in_time
from retrieval.captioners.received import Received
from retrieval.captioners.spoken import Spoken, shown
from retrieval.errors import UnknownModel
from retrieval.speech import Reply

if TYPE_CHECKING:
    import httpx2

    from retrieval.speech import Chat

BATCH = 4
"""Chats that are under way at a time: what servers of one's own are set up for."""
LIST_SECONDS = 10.0
"""For the list of a server's models: it has that at hand, or is not going to tell."""
RETRIES = 3
BACK_OFF = 0.5
"""Seconds before the first retry, twice as many before each further one; times 0.5 to 1.5."""
THINKING_TOKENS = 2048
"""Added where a model spends all its tokens on thinking aloud."""
_SEES = re.compile(
    r"vl\b|vl[-:_\d]|vlm|llava|vision|gemma-?[34]|pixtral|moondream|minicpm-?v|-4o|omni", re.IGNORECASE
)
_MUTE = re.compile(r"embed|rerank|whisper|\btts\b|\bbge\b", re.IGNORECASE)


def load_endpoint(rest: str) -> EndpointSpeaker:
    """The model `rest` of the endpoint that the environment names; nothing is asked of it yet."""
    model = rest.strip() or os.environ.get(MODEL, "").strip()
    if model and not wire.is_name(model):
        raise UnknownModel(
            f"What was given is not the name of a model: one has at most {wire.LONGEST_NAME} characters, "
            f"and all of them can be shown. Look at {MODEL}, or at what stands behind 'endpoint:'."
        )
    return EndpointSpeaker(address(), model)


class EndpointSpeaker:
    """A model behind a chat endpoint. Where it is not named, the server is asked what it has.

    `ModelUnavailable` means that asking again is of no use until something was done about it;
    any other `ModelError` is about the chats that were asked.
    """

    batch_size = BATCH

    def __init__(self, where: Address, model: str = "") -> None:
        self._where = where
        self._root = where.base
        self._model = model
        self._choice = ""
        self._lacks: set[str] = set()
        """What this server was found not to take."""
        self._room = 0
        self._lock = threading.RLock()
        self._connection = Connection(where)

    def __repr__(self) -> str:
        return f"<{self._model or 'a model'} at {self._where.shown}>"

    @property
    def id(self) -> str:
        """The model's name alone: the same model on another machine says the same.

        Without a name until one was chosen (see `settle`): nothing is asked for it, since errors tell it.
        """
        model = self._model
        return f"endpoint:{model}" if model else "endpoint"

    def settle(self, seconds: float | None = None) -> None:
        """Choose the model where none was named, within `LIST_SECONDS` or fewer."""
        if self._model:
            return
        deadline = time.monotonic() + min(LIST_SECONDS, LIST_SECONDS if seconds is None else seconds)
        named = in_time(
            [lambda _tell, _stop: self._model_by(deadline)],
            workers=1,
            deadline=deadline + GRACE_SECONDS,
            fatal=lambda _: True,
        )[0].result
        _, failure = named or ("", failures.late(self._where))
        if failure is not None:
            raise failure.error

    @property
    def note(self) -> str:
        return " ".join(filter(None, (self._where.note, self._choice)))

    def reply(
        self,
        chats: Sequence[Chat],
        *,
        max_tokens: int = 256,
        seconds: float | None = None,
        temperature: float = 0.0,
        seed: int = 0,
        on_text: Callable[[str], None] | None = None,
    ) -> list[Reply]:
        """What the model says in each chat; what is not said in time is cut off.

        Where the time brings no word in any chat, that is a `ModelError`.
        """
        deadline = time.monotonic() + (config.REPLY_SECONDS if seconds is None else max(seconds, 0.01))
        settings = {"max_tokens": max_tokens, "temperature": temperature, "seed": seed}
        spoken = Spoken(self._where.secrets)

        def aloud(piece: str) -> None:
            if on_text is not None and (said := spoken.feed(piece)):
                on_text(said)

        found = in_time(
            [partial(self._ask, chat, settings, deadline) for chat in chats],
            workers=BATCH,
            deadline=deadline + GRACE_SECONDS,
            fatal=lambda came: isinstance(came, Failure) and not came.late,
            on_text=aloud if on_text is not None and len(chats) == 1 else None,
        )
        if on_text is not None and (rest := spoken.end()):
            on_text(rest)
        replies = []
        for came in found:
            if isinstance(came.result, Failure) and not came.result.late:
                raise came.result.error
            cut = Reply(shown(came.told, self._where.secrets), complete=False)
            replies.append(came.result if isinstance(came.result, Reply) else cut)
        if chats and not any(reply.text or reply.complete for reply in replies):
            raise failures.late(self._where).error
        return replies

    def _ask(
        self, chat: Chat, settings: dict[str, Any], deadline: float, tell: Tell, stop: threading.Event
    ) -> Reply | Failure:
        """One chat, asked again where that may help and nothing was said yet."""
        retries = 0
        while True:
            model, failure = self._model_by(deadline)
            came = failure or self._attempt(chat, model, settings, deadline, tell, stop)
            if isinstance(came, Reply):
                return came
            if came.otherwise:
                continue
            wait = came.wait
            if wait is None:
                wait = BACK_OFF * 2**retries * random.uniform(0.5, 1.5)
            if not came.again or retries == RETRIES or time.monotonic() + wait >= deadline or stop.wait(wait):
                return came
            retries += 1

    def _attempt(
        self,
        chat: Chat,
        model: str,
        settings: dict[str, Any],
        deadline: float,
        tell: Tell,
        stop: threading.Event,
    ) -> Reply | Failure:
        with self._lock:
            lacks, root, room = set(self._lacks), self._root, self._room
        body = wire.request(model, chat, settings, lacks, room)
        received = Received()
        silence: Silence | None = None
        try:
            with self._connection.sent("POST", f"{root}/chat/completions", deadline, body) as response:
                if response.status_code != 200:
                    return self._refused(response, body, root, deadline)
                if compressed(response):
                    return failures.broken(self._where, "sent its reply compressed, unasked")
                socket = response.extensions["network_stream"].get_extra_info("socket")
                with Silence(socket, connection.STALL_SECONDS) as silence:
                    for data in response.iter_raw():
                        for piece in received.feed(data):
                            tell(piece)
                        if received.done or received.problem or stop.is_set() or time.monotonic() > deadline:
                            break
                        if received.speaking:
                            silence.heard()
                    else:
                        for piece in received.end():
                            tell(piece)
        except FAILED as error:
            if not received.begun and not (silence and silence.over):
                return self._connection.unsent(error, deadline)
        if text := shown(received.said, self._where.secrets):
            return Reply(text, received.prompt_tokens, received.tokens, received.complete)
        if silence and silence.over:
            return failures.silent(self._where, connection.STALL_SECONDS)
        if received.problem:
            return failures.broken(self._where, received.problem, again=received.status in failures.PASSING)
        if received.complete:
            return Reply(text, received.prompt_tokens, received.tokens)
        if received.finish is None:
            late = time.monotonic() > deadline
            return failures.late(self._where) if late else failures.cut(self._where)
        if received.finish != "length":
            return failures.broken(self._where, f"ended without a word ({received.finish})")
        with self._lock:
            spent, self._room = self._room > room or room == THINKING_TOKENS, THINKING_TOKENS
        # Cut off at its length without a word: it thought aloud, and needs room for that.
        return failures.wordless(self._where, otherwise=not spent)

    def _refused(
        self, response: httpx2.Response, body: dict[str, Any], root: str, deadline: float
    ) -> Failure:
        status = response.status_code
        said = body_of(response, deadline)
        message, parameter = wire.complaint(said)
        if wire.blind(message):
            return failures.refused(self._where, status, message)
        if status in (400, 422) and (name := wire.unwanted(message, parameter, body)):
            with self._lock:
                self._lacks.add(name)
            return failures.refused(self._where, status, message, otherwise=True)
        if status in (404, 405) and self._other_root(root):
            return failures.refused(self._where, status, message, otherwise=True)
        if status in (400, 404) and (status == 404 or failures.misses_model(message)):
            names, failure = self._listed(deadline)
            return failures.no_model(self._where, body["model"], names, failure is None, message)
        return failures.refused(
            self._where,
            status,
            message,
            location=response.headers.get("Location", ""),
            retry_after=response.headers.get("Retry-After", ""),
        )

    def _other_root(self, root: str) -> bool:
        """Whether to ask again below /v1, where an address without it does not answer."""
        with self._lock:
            if self._root != root:
                return True
            if root == self._where.base and not re.search(r"/v\d+\w*$", root):
                self._root = f"{root}/v1"
                return True
            self._root = self._where.base
            return False

    def _model_by(self, deadline: float) -> tuple[str, Failure | None]:
        """The model to ask; the first of the server's that seems to see, where none was named."""
        with self._lock:
            if self._model:
                return self._model, None
            names, failure = self._listed(deadline)
            if failure is not None:
                return "", failure
            if not names:
                return "", failures.unnamed(self._where)
            speak = [name for name in names if not _MUTE.search(name)] or names
            self._model = next(filter(_SEES.search, speak), speak[0])
            if len(names) > 1:
                self._choice = (
                    f"Asked {self._model}, one of {len(names)} models there; {MODEL} names another."
                )
            return self._model, None

    def _listed(self, deadline: float) -> tuple[list[str], Failure | None]:
        """The models that the server says it has."""
        deadline = min(deadline, time.monotonic() + LIST_SECONDS)
        while True:
            with self._lock:
                root = self._root
            try:
                with self._connection.sent("GET", f"{root}/models", deadline) as response:
                    status, said = response.status_code, body_of(response, deadline)
                    location = response.headers.get("Location", "")
            except FAILED as error:
                return [], self._connection.unsent(error, deadline)
            names = wire.model_names(said) if status == 200 else []
            names = [name for name in names if shown(name, self._where.secrets) == name]
            if names or status not in (200, 404, 405) or not self._other_root(root):
                break
        if status in (200, 404, 405):
            return names, None
        return [], failures.refused(self._where, status, wire.complaint(said)[0], location=location)
