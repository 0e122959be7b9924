"""Where an endpoint answers, what may be shown of that, and what must never be."""

from __future__ import annotations

import base64
import ipaddress
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import SplitResult, quote, unquote, urlsplit

from retrieval import config
from retrieval.errors import ModelUnavailable

KEY = "SEARCH_ENDPOINT_KEY"
MODEL = "SEARCH_ENDPOINT_MODEL"
INSTEAD = "use what is built in: --answerer rules, --captioner describer"
HIDDEN = "***"
LONG = 8
"""Characters from which on a secret is one in any spelling, and also in what a model says: keys like `none`,
for servers that want none, are words like others there."""
_EXAMPLE = "such as http://localhost:11434/v1"
_PATH = re.compile(r"(?:/chat/completions|/models)?/*$")


@dataclass(frozen=True, slots=True)
class Address:
    """An endpoint taken apart; secrets are in no `repr` of it."""

    base: str
    """Without a name, a password or a slash at the end."""
    shown: str
    """For people."""
    host: str
    local: bool
    """Whether it is this machine."""
    encrypted: bool
    authorization: str = field(default="", repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)
    """What must not be shown, the longest first."""

    def redacted(self, text: str) -> str:
        """Text without the secrets."""
        return hidden(text, self.secrets)

    @property
    def note(self) -> str:
        if self.local:
            return ""
        return f"Pictures are sent to {self.host}{'' if self.encrypted else ', unencrypted'}."


def hidden(text: str, secrets: Iterable[str]) -> str:
    """Text without `secrets`, of which the longest come first."""
    for secret in secrets:
        spelling = re.IGNORECASE if len(secret) >= LONG else re.NOFLAG
        text = re.sub(re.escape(secret), HIDDEN, text, flags=spelling)
    return text


def address() -> Address:
    """The endpoint that the environment names, with its key."""
    named = config.endpoint()
    if named is None:
        raise ModelUnavailable(
            f"No endpoint is set up. Set SEARCH_ENDPOINT to where one answers, {_EXAMPLE}, or {INSTEAD}"
        )
    parts = _parts(named)
    if parts is None:
        raise ModelUnavailable(
            "SEARCH_ENDPOINT is no address of a server: it begins with http:// or https://, has a host, "
            f"and nothing after ? or #, {_EXAMPLE}. Or {INSTEAD}"
        )
    host = str(parts.hostname)
    at = parts.netloc.rpartition("@")[2]
    path = _PATH.sub("", parts.path)
    login = parts.netloc.rpartition("@")[0]
    base = f"{parts.scheme}://{at}{path}"
    authorization, secrets = _secrets(login)
    return Address(
        base=base,
        shown=f"{parts.scheme}://{HIDDEN}@{at}{path}" if login else base,
        host=host,
        local=is_local(host),
        encrypted=parts.scheme == "https",
        authorization=authorization,
        secrets=secrets,
    )


def is_local(host: str) -> bool:
    """Whether a host is this machine, by its name alone."""
    name = host.lower().rstrip(".")
    try:
        ip = ipaddress.ip_address(name)
    except ValueError:
        return name == "localhost" or name.endswith(".localhost")
    return ip.is_loopback or ip.is_unspecified


def _parts(named: str) -> SplitResult | None:
    if len(named) > 2000 or not named.isascii() or re.search(r"[\x00-\x20\x7f\\?#]", named):
        return None
    try:
        parts = urlsplit(named)
        labels = (parts.hostname or "").removesuffix(".").split(".")
        sound = parts.scheme in ("http", "https") and parts.port != 0
        sound = sound and all(0 < len(label) <= 63 for label in labels)
    except ValueError:
        # Not chained: what urllib says of an address repeats it, with its password.
        return None
    return parts if sound else None


def _secrets(login: str) -> tuple[str, tuple[str, ...]]:
    """The header that lets us in, and every form of it that could turn up somewhere."""
    key = os.environ.get(KEY, "").strip()
    if not re.fullmatch(r"[\x21-\x7e]*", key):
        raise ModelUnavailable(
            f"{KEY} holds characters that no key has: a space, a line's end or a letter's mark."
        )
    name, _, password = (unquote(part) for part in login.partition(":"))
    coded = base64.b64encode(f"{name}:{password}".encode()).decode("ascii")
    header = f"Bearer {key}" if key else f"Basic {coded}" if login else ""
    found = {key, quote(key, safe=""), login, password, quote(password, safe=""), login.partition(":")[2]}
    if login:
        found.add(coded)
    known = tuple(sorted((secret for secret in found if len(secret) > 2), key=len, reverse=True))
    return header, known
