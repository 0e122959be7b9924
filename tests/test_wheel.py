"""What is in the wheel, and that a catalog can be made from an installed one."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.conftest import ROOT, draw


def build(kind: str, sources: Path, target: Path) -> Path:
    """With the build backend that is installed, so that nothing is fetched."""
    code = f"import sys; from hatchling.build import build_{kind} as build; print(build(sys.argv[1]))"
    target.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        [sys.executable, "-c", code, str(target)], cwd=sources, check=True, capture_output=True, text=True
    )
    return target / done.stdout.split()[-1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("wheel", ROOT, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def page() -> set[str]:
    """The files of the page, as they are named from the project's folder."""
    static = ROOT / "retrieval" / "server" / "static"
    found = {path.relative_to(ROOT).as_posix() for path in static.rglob("*") if path.is_file()}
    assert len(found) > 20
    return found


def test_the_wheel_holds_the_packages_data_and_migrations(wheel: Path, page: set[str]) -> None:
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
    assert page <= names
    assert not any("tests" in name or "__pycache__" in name for name in names)


def test_the_sources_hold_the_page_and_what_the_image_is_built_from(tmp_path: Path, page: set[str]) -> None:
    with tarfile.open(build("sdist", ROOT, tmp_path)) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert page <= names
    assert {"Dockerfile", ".dockerignore", "compose.yaml", "deploy/search.service", "docs/server.md"} <= names


def test_what_the_image_copies_makes_the_same_wheel(wheel: Path, tmp_path: Path) -> None:
    for line in re.findall(r"^COPY (?!--from)(.+) /src/\S*$", (ROOT / "Dockerfile").read_text("utf-8"), re.M):
        for name in line.split():
            source, target = ROOT / name, tmp_path / "src" / name
            target.parent.mkdir(exist_ok=True)
            shutil.copytree(source, target) if source.is_dir() else shutil.copy(source, target)
    again = build("wheel", tmp_path / "src", tmp_path / "out")
    with zipfile.ZipFile(wheel) as one, zipfile.ZipFile(again) as other:
        assert sorted(one.namelist()) == sorted(other.namelist())


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A Python with the wheel in it, and where that is."""
    environment = tmp_path_factory.mktemp("installed") / "env"
    venv.create(environment, with_pip=False, system_site_packages=False, symlinks=True)
    site = next((environment / "lib").glob("python*")) / "site-packages"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    # Dependencies come from the environment of the tests, behind the wheel's own files.
    outside = [path for path in sys.path if path.endswith("site-packages")]
    (site / "dependencies.pth").write_text("\n".join(outside) + "\n")
    return environment / "bin" / "python", site


def test_an_installed_wheel_serves_the_page(
    wheel: Path, installed: tuple[Path, Path], tmp_path: Path, page: set[str]
) -> None:
    python, site = installed
    code = "import cli; assert cli.__file__.startswith({site!r}); cli.main(['serve', '--port', '0', '--catalog', 'c'])"
    process = subprocess.Popen(
        [python, "-c", code.format(site=str(site))], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    said = process.stderr.readline()
    try:
        assert said.startswith("Serving "), said + process.stderr.read()
        address = said.split()[1]
        served = {
            name: urlopen(address + name.removeprefix("retrieval/server/")).read() for name in sorted(page)
        }
        index = urlopen(address).read()
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
    with zipfile.ZipFile(wheel) as archive:
        assert served == {name: archive.read(name) for name in page}
        assert index == archive.read("retrieval/server/static/index.html")


def test_an_installed_wheel_makes_a_catalog_and_answers(installed: tuple[Path, Path], tmp_path: Path) -> None:
    python, site = installed
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
