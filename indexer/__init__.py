"""Indexing folders of pictures into a catalog."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from indexer.report import IndexReport
    from indexer.run import index_folder
    from indexer.watch import watch_folders

__all__ = ["IndexReport", "index_folder", "watch_folders"]


def __getattr__(name: str) -> Any:
    if name == "index_folder":
        from indexer.run import index_folder

        return index_folder
    if name == "watch_folders":
        from indexer.watch import watch_folders

        return watch_folders
    if name == "IndexReport":
        from indexer.report import IndexReport

        return IndexReport
    raise AttributeError(f"module 'indexer' has no attribute {name!r}")
