"""Bringing a catalog to the schema of this version."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Engine

import retrieval
from retrieval.db.reader import HEAD


def scripts() -> Path:
    """The migration scripts: inside the package in a wheel, beside it in a checkout."""
    package = Path(retrieval.__file__).parent
    shipped = package / "migrations"
    return shipped if shipped.is_dir() else package.parent / "alembic"


def upgrade(engine: Engine) -> None:
    """Create or upgrade the schema in one transaction: all of it happens, or nothing."""
    config = _config()
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def head() -> str:
    """The newest revision among the scripts; `reader.HEAD` repeats it for those who must not import this."""
    found = ScriptDirectory.from_config(_config()).get_current_head()
    if found != HEAD:
        raise AssertionError(f"reader.HEAD is {HEAD!r}, the migration scripts end at {found!r}")
    return found


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(scripts()).replace("%", "%%"))
    return config
