"""Where a model hub keeps its files on this machine, and whether the hub can be asked.

Nothing here imports huggingface_hub until it is used: asking these questions is cheap.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from retrieval import config

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

CONFIG = "open_clip_config.json"
WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")


def cache_folder() -> Path:
    """The hub's download folder: what its own library says if it is loaded, else by the same variables."""
    loaded = sys.modules.get("huggingface_hub.constants")
    if loaded is not None:
        return Path(loaded.HF_HUB_CACHE)
    for variable in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        named = os.environ.get(variable)
        if named:
            return Path(os.path.expandvars(named)).expanduser()
    home = os.environ.get("HF_HOME")
    if home:
        return Path(os.path.expandvars(home)).expanduser() / "hub"
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "huggingface" / "hub"


def cached_file(repo: str, names: Sequence[str]) -> Path | None:
    """The first of `names` that has been fetched of a repository's current revision."""
    folder = cache_folder() / f"models--{repo.replace('/', '--')}"
    try:
        revision = (folder / "refs" / "main").read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return None
    for name in names:
        path = folder / "snapshots" / revision / name
        if path.is_file():
            return path
    return None


def cached_repos() -> list[str]:
    """Repositories in the cache that hold an open_clip model with its weights."""
    repos = []
    for folder in sorted(cache_folder().glob("models--*--*")):
        repo = folder.name.removeprefix("models--").replace("--", "/", 1)
        if cached_file(repo, WEIGHTS):
            repos.append(repo)
    return repos


def answers(url: str | None = None, seconds: float = config.HUB_SECONDS) -> bool:
    """Whether a TCP connection to the hub (or to the proxy that leads there) comes up in time."""
    import urllib.request

    address = urlsplit(url or os.environ.get("HF_ENDPOINT") or "https://huggingface.co")
    proxy = urllib.request.getproxies().get(address.scheme)
    if proxy and address.hostname and not urllib.request.proxy_bypass(address.hostname):
        address = urlsplit(proxy if "//" in proxy else f"//{proxy}")
    host = address.hostname
    if not host:
        return False
    try:
        port = address.port or (80 if address.scheme == "http" else 443)
    except ValueError:
        return False
    reached = threading.Event()
    done = threading.Event()

    def connect() -> None:
        try:
            with socket.create_connection((host, port), timeout=seconds):
                reached.set()
        except (OSError, UnicodeError):
            pass  # no answer is what `reached` unset says
        finally:
            done.set()

    # In a thread, because resolving a name takes no timeout and can hang for half a minute.
    threading.Thread(target=connect, name="hub-answers", daemon=True).start()
    done.wait(seconds)
    return reached.is_set()


@contextmanager
def offline_hub(offline: bool) -> Iterator[None]:
    """Forbid (or allow) huggingface_hub the network, whether it is imported already or not.

    Its variable is read once, at its import; without this every look-up of a file retries for
    about twenty seconds where there is no network.
    """
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = offline or before
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before
