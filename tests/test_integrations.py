"""The catalog as a retriever of other libraries."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from indexer import index_folder
from retrieval import Catalog, Filter
from retrieval.integrations.documents import described
from retrieval.integrations.langchain import CatalogRetriever as LangChainRetriever
from retrieval.integrations.llama_index import CatalogRetriever as LlamaIndexRetriever
from tests.conftest import draw, python

NOT_UTF8 = os.fsdecode(b"red-\xff.png")


@pytest.fixture
def opened(catalog: Path) -> Any:
    with Catalog(catalog) as opened:
        opened.texts.add([{"text": "The front door of the mill", "image": str(_red(opened))}])
        yield opened


def _red(opened: Catalog) -> Path:
    return next(hit.path for hit in opened.search("red", limit=5) if hit.path.name == "red.png")


# LangChain


def test_langchain_gets_what_a_search_finds(opened: Catalog) -> None:
    documents = LangChainRetriever(catalog=opened, limit=2).invoke("red")
    hits = opened.search("red", limit=2)
    assert [document.metadata["image_id"] for document in documents] == [hit.image_id for hit in hits]
    assert [document.id for document in documents] == [str(hit.image_id) for hit in hits]
    first = next(one for one in documents if one.metadata["path"].endswith("red.png"))
    assert "The front door of the mill" in first.page_content
    assert first.metadata["source"] == first.metadata["path"]
    assert 0 < first.metadata["match"] <= 1
    assert all(document.page_content for document in documents)


def test_langchain_takes_filters_and_limits_for_one_call(opened: Catalog, photos: Path) -> None:
    retriever = LangChainRetriever(catalog=opened, limit=1, cutoff=False)
    found = retriever.invoke("red", limit=9, where=Filter(folder=photos / "trip"))
    assert {Path(one.metadata["path"]).name for one in found} == {"red-again.jpg", "white.png"}
    assert len(retriever.invoke("red")) == 1


def test_langchain_chains_and_batches(opened: Catalog) -> None:
    from langchain_core.runnables import RunnableLambda

    chain = LangChainRetriever(catalog=opened, limit=3) | RunnableLambda(len)
    assert chain.batch(["red", "blue"]) == [len(opened.search(word, limit=3)) for word in ("red", "blue")]


def test_nothing_found_is_an_empty_list(opened: Catalog) -> None:
    nowhere = Filter(after="2040")
    assert LangChainRetriever(catalog=opened, where=nowhere).invoke("red") == []
    assert LlamaIndexRetriever(opened, where=nowhere).retrieve("red") == []


def test_a_picture_that_is_forgotten_meanwhile_is_left_out(opened: Catalog) -> None:
    hits = opened.search("red", limit=3, cutoff=False)
    opened.forget(hits[1].path)
    assert [hit.rank for hit, _, _ in described(opened, hits)] == [1, 3]


# LlamaIndex


def test_llama_index_gets_image_nodes_with_matches(opened: Catalog) -> None:
    nodes = LlamaIndexRetriever(opened, limit=2).retrieve("red")
    hits = opened.search("red", limit=2)
    assert [node.node.id_ for node in nodes] == [str(hit.image_id) for hit in hits]
    assert [node.score for node in nodes] == [hit.match for hit in hits]
    first: Any = next(one.node for one in nodes if one.node.metadata["path"].endswith("red.png"))
    assert Path(first.image_path).samefile(_red(opened))
    assert "The front door of the mill" in first.text


def test_llama_index_finds_pictures_like_one(opened: Catalog) -> None:
    red = opened.search("red", limit=1)[0].image_id
    nodes = LlamaIndexRetriever(opened, limit=2).retrieve_like(red)
    assert [node.node.id_ for node in nodes] == [str(hit.image_id) for hit in opened.similar(red, limit=2)]


# Both


@pytest.mark.skipif(sys.platform != "linux", reason="only there is a name any bytes")
def test_a_name_that_is_not_utf8_comes_through(tmp_path: Path) -> None:
    draw(tmp_path / "odd" / NOT_UTF8, "red")
    index_folder(tmp_path / "odd-catalog", [tmp_path / "odd"], model="toy", workers=1)
    with Catalog(tmp_path / "odd-catalog") as opened:
        (document,) = LangChainRetriever(catalog=opened).invoke("red")
        (node,) = LlamaIndexRetriever(opened).retrieve("red")
    for known in (document.metadata, node.node.metadata):
        known["path"].encode("utf-8")
        assert known["path_b64"]
    assert document.model_dump_json()
    assert node.model_dump_json()


@pytest.mark.parametrize("module", ["langchain", "llama_index"])
def test_without_the_library_the_import_says_what_is_missing(module: str) -> None:
    package = {"langchain": "langchain_core", "llama_index": "llama_index"}[module]
    code = f"import sys; sys.modules[{package!r}] = None; import retrieval.integrations.{module}"
    done = python(code)
    assert done.returncode == 1
    assert f"pip install 'picture-search[{module.replace('_', '-')}]'" in done.stderr.splitlines()[-1]


def test_the_catalog_itself_imports_neither() -> None:
    code = (
        "import sys, retrieval.catalog, retrieval.facts; "
        "print([name for name in ('langchain_core', 'llama_index') if name in sys.modules])"
    )
    assert python(code).stdout.strip() == "[]"
