"""The public names: complete, sorted, lazy, and typed."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

import indexer
import retrieval
from retrieval import errors


@pytest.mark.parametrize("package", [retrieval, indexer])
def test_public_names_are_sorted_and_there(package: object) -> None:
    names = package.__all__  # type: ignore[attr-defined]
    assert names == sorted(names)
    for name in names:
        assert getattr(package, name).__name__ == name


def test_unknown_names_are_attribute_errors() -> None:
    with pytest.raises(AttributeError):
        retrieval.nonsense  # noqa: B018
    with pytest.raises(AttributeError):
        indexer.nonsense  # noqa: B018


def test_public_names_are_listed() -> None:
    assert set(retrieval.__all__) <= set(dir(retrieval))


def test_packages_are_typed() -> None:
    for package in (retrieval, indexer):
        assert (Path(package.__file__ or "").parent / "py.typed").exists()


def test_the_error_tree_is_the_one_that_is_drawn() -> None:
    drawn = {
        "CatalogError": [
            "CatalogNotFound",
            "SchemaOutdated",
            "SchemaTooNew",
            "CatalogBusy",
            "CatalogUnwritable",
            "EncoderMismatch",
        ],
        "ModelError": ["UnknownModel", "ModelUnavailable", "MissingDependency"],
        "QueryError": [],
        "ImageError": ["ImageUnreadable", "ImageTooLarge"],
        "StoreError": ["CacheCorrupt"],
    }
    for parent, children in drawn.items():
        assert getattr(errors, parent).__bases__ == (errors.RetrievalError,)
        for child in children:
            assert getattr(errors, child).__bases__ == (getattr(errors, parent),)
            assert child in (errors.__doc__ or "")


def test_every_module_can_be_imported_alone() -> None:
    for path in sorted(Path(retrieval.__file__).parent.rglob("*.py")):
        name = ".".join(path.relative_to(Path(retrieval.__file__).parent.parent).with_suffix("").parts)
        importlib.import_module(name.removesuffix(".__init__"))
