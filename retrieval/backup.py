"""Backups of a catalog: one file that holds all of it, checked when it was made and before it is used."""

from __future__ import annotations

import os
import re
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retrieval.config import Location, digest
from retrieval.errors import CatalogError, CatalogNotFound, CatalogUnwritable, QueryError
from retrieval.flushing import flush_file
from retrieval.journal import Log

if TYPE_CHECKING:
    from retrieval.db.checked import Held

_log = Log(__name__)


@dataclass(frozen=True, slots=True)
class Restored:
    """A catalog that was taken from a backup, and where it is kept as it was before."""

    catalog: str
    held: Held
    before: Path | None

    def as_dict(self) -> dict[str, Any]:
        return {
            "catalog": self.catalog,
            **asdict(self.held),
            "before": None if self.before is None else str(self.before),
        }


def backup(
    file: str | os.PathLike[str],
    catalog: str | os.PathLike[str] | Location | None = None,
    *,
    keep: int | None = None,
) -> Held:
    """Copy a catalog into one file, whatever else is at work in it, and check the copy.

    In a folder it gets a name with the catalog and the time in it; there `keep` leaves only the
    newest so many of this catalog. A file that is there is never replaced. Nothing is called a
    backup that was not read to its end.
    """
    from retrieval.db.copies import NameTaken

    location = _of_a_file(catalog, "Back it up with the database's own tools: pg_dump")
    target = _path(file)
    if not location.database.is_file():
        from retrieval.db.reader import not_found

        raise CatalogNotFound(not_found(location))
    if not target.is_dir():
        if keep is not None:
            raise QueryError(
                f"Old backups are only cleared away in a folder, and {target} is none. Name one."
            )
        return _backup(target, location)
    while True:
        try:
            held = _backup(_dated(target, location), location)
            break
        except NameTaken:
            continue  # by another backup of this very second
    if keep is not None:
        _clear(target, location, keep)
    return held


def _backup(target: Path, location: Location) -> Held:
    from retrieval.db.checked import CopyDamaged, check_copy, counts
    from retrieval.db.copies import arriving, copy_pages, writing_to

    with arriving(target, like=location.database) as part:
        expected = copy_pages(location.database, part, told=target, look=counts)
        with writing_to(target):
            flush_file(part, from_disk=True)
        try:
            held = check_copy(part, told=target, expected=expected)
        except CopyDamaged as error:
            raise CatalogError(
                f"No backup was made, because what would be in it is not sound. {error} "
                "See what can be mended in the catalog: search doctor"
            ) from error
    _log.info("backed up", backup=str(target), images=held.images, bytes=held.bytes)
    return held


def check(file: str | os.PathLike[str]) -> Held:
    """What a backup holds, every page and every vector of which was read and found sound."""
    from retrieval.db.checked import check_copy

    return check_copy(_path(file))


def restore(
    file: str | os.PathLike[str], catalog: str | os.PathLike[str] | Location | None = None
) -> Restored:
    """Make a catalog what it was when a backup was made; what it is now is kept aside.

    The backup is checked first and stays as it is. The change is one step: whoever reads
    meanwhile sees the old catalog or the new one, and so does who comes after a crash. A
    backup by an older version is brought to this version's schema on the way.
    """
    from retrieval.db import replacing, strangers
    from retrieval.db.checked import check_copy
    from retrieval.db.copies import copy_pages, new_part, remove_database, writing_to
    from retrieval.db.locking import acquire
    from retrieval.db.upgrading import renewed

    location = _of_a_file(catalog, "Restore it with the database's own tools: pg_restore").resolved()
    source = _path(file)
    if source.exists() and location.database.exists() and os.path.samefile(source, location.database):
        raise CatalogError(f"{source} is the catalog's own database. Name a file that search backup made.")
    held = check_copy(source)
    lock = acquire(location)
    try:
        with writing_to(location.database):
            location.database.parent.mkdir(parents=True, exist_ok=True)
            mode = (location.database if location.database.exists() else source).stat().st_mode & 0o777
        part = new_part(location.database.parent)
        try:
            with writing_to(part):
                os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode | 0o600))
            copy_pages(source, part, told=location.database)
            # Views and triggers of somebody else's file would run as soon as it is used.
            strangers.connect(replace(location, name=str(source), database=part)).close()
            renewed(location, part)
            before = None
            if location.database.exists():
                replacing.give_no_id_again(part, replacing.highest_id(location))
                before = replacing.set_aside(location)
            check_copy(part, told=source)
            replacing.put_in_place(location, part)
        finally:
            remove_database(part)
    finally:
        lock.release()
    _log.info("restored", backup=str(source), images=held.images, before=str(before))
    return Restored(location.name, held, before)


def _of_a_file(catalog: str | os.PathLike[str] | Location | None, instead: str) -> Location:
    location = Location.parse(catalog)
    if location.url is not None:
        raise QueryError(f"The catalog at {location.name} is not a file. {instead}")
    return location


def _path(file: str | os.PathLike[str]) -> Path:
    return Path(os.path.abspath(os.path.expanduser(file)))


def _stem(location: Location) -> str:
    """Names a catalog among those whose backups lie in one folder."""
    name = re.sub(r"[^\w-]+", "-", location.database.parent.name, flags=re.ASCII).strip("-") or "catalog"
    return f"{name[:40]}-{digest(str(location.database))[:6]}"


def _dated(folder: Path, location: Location) -> Path:
    from retrieval.db.upgrading import free_name

    return free_name(folder, _stem(location))


def _clear(folder: Path, location: Location, keep: int) -> None:
    """Remove all but the newest backups of this catalog: files that only `backup` can have named."""
    named = re.compile(re.escape(_stem(location)) + r"-(\d{8}T\d{6}Z)(?:-(\d+))?\.db")
    found = sorted(
        (match[1], int(match[2] or 1), one)
        for one in folder.iterdir()
        if (match := named.fullmatch(one.name)) and one.is_file() and not one.is_symlink()
    )
    for _, _, old in found[: -max(1, keep)]:
        try:
            old.unlink(missing_ok=True)
        except OSError as error:
            raise CatalogUnwritable(
                f"The backup was made, but {old}, an older one, cannot be removed: "
                f"{error.strerror or error}. Remove it yourself."
            ) from error
