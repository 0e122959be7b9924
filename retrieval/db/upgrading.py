"""Catalogs of older versions: copied aside, and then brought to the schema of this one."""

from __future__ import annotations

import contextlib
import glob
import re
import time
from typing import TYPE_CHECKING

from retrieval import upgrades
from retrieval.db.reader import HEAD, REVISIONS, NoTable, open_reader, too_new
from retrieval.errors import CatalogBusy, CatalogUnwritable, RetrievalError, SchemaOutdated
from retrieval.flushing import make_folder
from retrieval.journal import Log

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Engine

    from retrieval.config import Location

KEPT = 3
"""Backups from before an upgrade that stay; older ones go as the next is made."""
WAIT_SECONDS = 20.0
"""How long somebody else's upgrade is waited for."""
ASKED_EVERY = 0.1
_BEFORE = re.compile(r"before-\d{4}-(\d{8}T\d{6}Z)(?:-(\d+))?\.db")
_log = Log(__name__)


def upgrade_catalog(location: Location) -> None:
    """Bring a catalog to the schema of this version; somebody else who does so is waited for."""
    from retrieval.db.locking import acquire
    from retrieval.db.queries import Writer

    until = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            acquire(location).release()
        except CatalogUnwritable as error:
            raise SchemaOutdated(
                f"The catalog at {location.name} was made by an older version, and cannot be upgraded "
                f"where it lies: {error} Or copy it to where it can be, and name that with --catalog."
            ) from error
        except CatalogBusy:
            pass
        try:
            Writer(location).close()
            return
        except CatalogBusy:
            if _is_upgraded(location):
                return
            if time.monotonic() > until:
                raise
        time.sleep(ASKED_EVERY)


def bring_up(location: Location, engine: Engine) -> None:
    """Create or upgrade the schema for who holds the write lock, with a copy of an older one aside.

    Where the copy cannot be made nothing is upgraded: the version that made the catalog can
    still be used.
    """
    before = _revision(engine)
    if before == HEAD:
        return
    if before is not None and before not in REVISIONS:
        raise too_new(location, before)
    from retrieval.db import migrate

    if before is None:
        migrate.upgrade(engine)
        return
    backup = _set_aside(location) if location.url is None else None
    migrate.upgrade(engine)
    _log.info("migrated", before=before, after=HEAD, backup=str(backup))
    upgrades.tell(upgrades.Upgrade(location.name, before, HEAD, backup))


def renewed(location: Location, part: Path) -> None:
    """Bring a copy that is about to become the catalog's database to this version's schema."""
    from dataclasses import replace

    from retrieval.db import migrate
    from retrieval.db.engine import open_engine

    engine = open_engine(replace(location, database=part))
    try:
        if _revision(engine) != HEAD:
            migrate.upgrade(engine)
    finally:
        engine.dispose()


def free_name(folder: Path, name: str) -> Path:
    """A path of that name with the time in it, which sorts behind all that were made of it before."""
    stem = f"{name}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
    there = [one.stem.removeprefix(stem) for one in folder.glob(f"{glob.escape(stem)}*.db")]
    numbers = [int(end[1:] or 1) for end in there if re.fullmatch(r"(-\d{1,9})?", end)]
    return folder / (f"{stem}-{max(numbers) + 1}.db" if numbers else f"{stem}.db")


def _set_aside(location: Location) -> Path:
    from retrieval.db.copies import copy_database

    backup = free_name(location.backups, f"before-{HEAD}")
    try:
        make_folder(location.backups)
        copy_database(location.database, backup)
    except (OSError, RetrievalError) as error:
        said = getattr(error, "strerror", None) or error
        raise CatalogUnwritable(
            f"The catalog at {location.name} was made by an older version, and was not upgraded, because "
            f"it could not be backed up first: {said} It is as it was. Make room, and run the same again."
        ) from error
    kept = sorted(
        (found[1], int(found[2] or 1), one)
        for one in location.backups.iterdir()
        if (found := _BEFORE.fullmatch(one.name))
    )
    for _, _, old in kept[:-KEPT]:
        with contextlib.suppress(OSError):  # one too many is no reason not to upgrade
            old.unlink()
    return backup


def _revision(engine: Engine) -> str | None:
    """The schema of a database; None for one that has none of ours."""
    from sqlalchemy import inspect, text

    with engine.connect() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return None
        found: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
        return found


def _is_upgraded(location: Location) -> bool:
    try:
        open_reader(location).close()
    except (SchemaOutdated, NoTable):
        return False
    return True
