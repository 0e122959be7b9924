"""A catalog as files that other programs read, Parquet and npy, and back again."""

from __future__ import annotations

from retrieval.exchange.exporting import Exported, export_catalog
from retrieval.exchange.importing import Imported, import_catalog

__all__ = ["Exported", "Imported", "export_catalog", "import_catalog"]
