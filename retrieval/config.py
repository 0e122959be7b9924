"""Every environment variable, default and path, in one place.

| variable | what it sets |
|---|---|
| `SEARCH_CATALOG` | the catalog used when `--catalog` is not given |
| `SEARCH_CACHE` | where converted and exported models are kept |
| `SEARCH_MODEL` | the model of a new catalog (default `auto`) |
| `SEARCH_ENDPOINT` | where an OpenAI-compatible server answers, such as `http://localhost:11434/v1` |
| `SEARCH_ENDPOINT_MODEL` | which of its models is asked |
| `SEARCH_ENDPOINT_KEY` | its key, where it wants one |
| `SEARCH_MCP_TOKEN` | what each request to `search mcp --http` has to bring, where it is set |
| `SEARCH_TOKEN` | what each request to `search serve` has to bring, where it is set |
| `SEARCH_TOKEN_FILE` | a file that holds that |
| `SEARCH_PREVIEW` | how `--preview` draws: `kitty`, `iterm2`, `sixel`, `blocks` or `none` |
| `SEARCH_LOG_FILE` | the log that every command writes: see `search --log-file` |
| `SEARCH_OFFLINE` | set to 1: never ask a model hub (`HF_HUB_OFFLINE` counts too) |
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import re
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from retrieval import container

APP = "picture-search"
DATABASE = "catalog.db"
"""The name of the database in a catalog folder."""

DEFAULT_MODEL = "auto"
RECOMMENDED_MODEL = "open_clip:ViT-B-32-256/datacomp_s34b_b86k"
QUALITY_MODEL = "open_clip:ViT-B-16-SigLIP/webli"
STARTER_MODEL = "starter"

DEFAULT_LIMIT = 10
RERANK_DEPTH = 50
RERANK_SECONDS = 20.0
ASK_LIMIT = 8
ASK_SECONDS = 120.0
"""How long an answer may take; what was found by then is answered from."""
REPLY_SECONDS = 60.0
"""How long a model may take over one call."""
MAX_QUESTION = 2000
COMMIT_IMAGES = 64
COMMIT_SECONDS = 5.0
FILE_SECONDS = 8.0
MAX_FILE_BYTES = 512 << 20
HUB_SECONDS = 2.0
LEAST_MEMORY = 64 << 20
"""What pictures in flight get where hardly anything is free: enough for one of 12 megapixels."""


def default_catalog() -> str:
    """`$SEARCH_CATALOG`, else a folder in the platform's user data folder."""
    named = os.environ.get("SEARCH_CATALOG")
    return named or str(_platform_dir("data") / "catalog")


@dataclass(frozen=True, slots=True)
class Location:
    """Where a catalog is: a folder with `catalog.db` and `cache/`, or an SQLAlchemy URL.

    A catalog behind a URL keeps its caches in the user's cache folder, and its write lock there too
    unless it is an SQLite file, which has that beside itself. `url` is set only for a database
    that is no SQLite file. `name` is for people: a password in the URL is not in it.
    """

    name: str
    url: str | None
    folder: Path
    database: Path
    untrusted: bool = False
    """Made by somebody else: only the database is read, and nothing else there is believed or written."""

    @classmethod
    def parse(cls, name: str | os.PathLike[str] | Location | None) -> Location:
        if isinstance(name, Location):
            return name
        text = os.fspath(name) if name is not None else default_catalog()
        if "://" not in text:
            folder = Path(os.path.abspath(os.path.expanduser(text)))
            return cls(str(folder), None, folder, folder / DATABASE)
        folder = _platform_dir("cache") / "catalogs" / digest(text)
        file = re.fullmatch(r"sqlite(?:\+pysqlite)?:///([^?]+)", text)
        if file:
            return cls(text, None, folder, Path(os.path.abspath(file[1])))
        shown = re.sub(r"(://[^/@]*?):[^/]*@", r"\1:***@", text)
        return cls(shown, text, folder, folder / DATABASE)

    def of_a_stranger(self) -> Location:
        """The same, with all but its database in a folder of this user's own, where nothing is."""
        if self.url is not None:
            from retrieval.errors import CatalogError

            raise CatalogError(
                f"{self.name} is no file, so its server decides who may write. Give it a user who may only "
                "read, and leave out --read-only."
            )
        folder = _platform_dir("cache") / "untrusted" / digest(str(self.database))
        return replace(self, folder=folder, untrusted=True)

    def resolved(self) -> Location:
        """The same, its database by the name that is no link: what takes its place has to have that one."""
        return replace(self, database=Path(os.path.realpath(self.database)))

    @property
    def cache(self) -> Path:
        return self.folder / "cache"

    @property
    def backups(self) -> Path:
        """Where copies of the database are kept that are made before it is changed from the ground up."""
        beside = self.database.parent
        return beside / ("backups" if beside == self.folder else f"{self.database.name}-backups")

    @property
    def lock(self) -> Path:
        """The lock of who writes: one for each database file, by whatever name that is reached."""
        return self._beside("write.lock")

    @property
    def describing(self) -> Path:
        """The lock of the one command that describes all pictures; meanwhile others may write."""
        return self._beside("describe.lock")

    def _beside(self, name: str) -> Path:
        if self.url is not None:
            return self.folder / name
        database = self.resolved().database
        return database.with_name(name if database.name == DATABASE else f"{database.name}-{name}")


def model_cache() -> Path:
    """The folder of converted and exported models: a cache, free to be deleted."""
    named = os.environ.get("SEARCH_CACHE")
    return Path(named).expanduser() / "models" if named else _platform_dir("cache") / "models"


def default_model() -> str:
    return os.environ.get("SEARCH_MODEL") or DEFAULT_MODEL


def endpoint() -> str | None:
    """The address of the server that answers chats, if one is set up."""
    return os.environ.get("SEARCH_ENDPOINT", "").strip() or None


def offline() -> bool:
    """Whether the person forbids asking a model hub."""
    return any(
        os.environ.get(name, "").strip().lower() in {"1", "true", "yes", "on"}
        for name in ("SEARCH_OFFLINE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
    )


def digest(text: str) -> str:
    """A short name for a text, which does not tell the text."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def cores() -> int:
    """The CPU cores this process may use: those it is bound to, and no more than its container pays for."""
    if hasattr(os, "sched_getaffinity"):
        bound = len(os.sched_getaffinity(0))
    else:
        bound = os.cpu_count() or 1
    allowed = container.processors()
    return max(1, bound if allowed is None else min(bound, math.ceil(allowed)))


def default_memory() -> int:
    """Bytes that pictures in flight may take: a quarter of RAM, and at most half of what is free.

    At least 256 MB where that is free, at most 2 GB.
    """
    usual = min(2 << 30, max(256 << 20, _ram() // 4))
    free = free_memory()
    return usual if free is None else max(LEAST_MEMORY, min(usual, free // 2))


def free_memory() -> int | None:
    """Bytes that could be taken now without swapping; None where the machine does not say.

    What is left of a container's own limit counts too; what files hold in memory can be given up.
    """
    found: list[int] = []
    with contextlib.suppress(OSError, ValueError):
        left = container.memory_left()
        found += [] if left is None else [left]
    with contextlib.suppress(OSError, ValueError):
        for line in (container.ROOT / "proc/meminfo").read_text("ascii").splitlines():
            if line.startswith("MemAvailable:"):
                found.append(int(line.split()[1]) << 10)
    return min(found, default=None)


def _ram() -> int:
    limit = container.memory_limit()
    try:
        built_in = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        built_in = 8 << 30
    return built_in if limit is None else min(built_in, limit)


def _platform_dir(kind: str) -> Path:
    if sys.platform.startswith("linux"):
        # What platformdirs answers on Linux, without its import: this runs in every cold query.
        variable, fallback = {
            "data": ("XDG_DATA_HOME", ".local/share"),
            "cache": ("XDG_CACHE_HOME", ".cache"),
        }[kind]
        base = os.environ.get(variable, "").strip()
        return (Path(base) if base else Path.home() / fallback) / APP
    import platformdirs

    return Path(platformdirs.user_data_dir(APP) if kind == "data" else platformdirs.user_cache_dir(APP))
