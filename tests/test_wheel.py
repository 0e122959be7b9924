"""What is in the wheel, and that a catalog can be made from an installed one."""

from __future__ import annotations

import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from tests.conftest import ROOT, draw


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built with the build backend that is installed, so that nothing is fetched."""
    target = tmp_path_factory.mktemp("wheel")
    code = "import sys; from hatchling.build import build_wheel; build_wheel(sys.argv[1])"
    subprocess.run([sys.executable, "-c", code, str(target)], cwd=ROOT, check=True, capture_output=True)
    (built,) = target.glob("*.whl")
    return built


def test_the_wheel_holds_the_packages_data_and_migrations(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"retrieval", "indexer", "cli.py"}
    assert "retrieval/py.typed" in names
    assert "retrieval/migrations/env.py" in names
    assert "retrieval/migrations/script.py.mako" in names
    scripts = {path.name for path in (ROOT / "alembic" / "versions").glob("*.py")}
    assert scripts == {n.rpartition("/")[2] for n in names if n.startswith("retrieval/migrations/versions/")}
    data = {f"retrieval/encoders/starter_data/{path.name}" for path in
            (ROOT / "retrieval" / "encoders" / "starter_data").iterdir() if path.is_file()}  # fmt: skip
    assert data <= names
    assert not any("tests" in name or "__pycache__" in name for name in names)


def test_an_installed_wheel_makes_a_catalog_and_answers(wheel: Path, tmp_path: Path) -> None:
    environment = tmp_path / "env"
    venv.create(environment, with_pip=False, system_site_packages=False, symlinks=True)
    python = environment / "bin" / "python"
    site = next((environment / "lib").glob("python*")) / "site-packages"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    # Dependencies come from the environment of the tests, behind the wheel's own files.
    outside = [path for path in sys.path if path.endswith("site-packages")]
    (site / "dependencies.pth").write_text("\n".join(outside) + "\n")
    draw(tmp_path / "photos" / "red.png", "red")
    code = (
        "import retrieval, indexer, cli; from retrieval.db.migrate import scripts;"
        "print(retrieval.__file__); print(scripts());"
        "from indexer import index_folder; from retrieval import Catalog;"
        "print(index_folder('c', 'photos', model='toy').added);"
        "print(len(Catalog('c').search('red')))"
    )
    result = subprocess.run(
        [python, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert result.returncode == 0, result.stderr
    home, migrations, added, found = result.stdout.split("\n")[:4]
    assert home.startswith(str(site))
    assert migrations == str(site / "retrieval" / "migrations")
    assert (added, found) == ("1", "1")
