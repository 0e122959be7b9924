"""The documentation is complete, current, and its code runs."""

from __future__ import annotations

import importlib
import importlib.util
import re
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest
from PIL import Image, ImageDraw

if TYPE_CHECKING:
    from types import ModuleType

ROOT = Path(__file__).resolve().parent.parent
WITH_CODE = ("README.md", "docs/library.md")
BLOCK = re.compile(r"^(?P<skip><!-- not run -->\s*\n)?```python[^\n]*\n(?P<code>.*?)^```\s*$", re.M | re.S)
EXAMPLE = re.compile(r"^\s+(?:\$ )?search\s", re.M)


@pytest.fixture(scope="module")
def cli_docs() -> ModuleType:
    specification = importlib.util.spec_from_file_location("cli_docs", ROOT / "scripts" / "cli_docs.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.fixture
def root(monkeypatch: pytest.MonkeyPatch) -> click.Group:
    monkeypatch.syspath_prepend(str(ROOT))
    group = importlib.import_module("cli").main
    assert isinstance(group, click.Group)
    context = click.Context(group)
    for name in group.list_commands(context):  # also those that are imported when they are used
        group.get_command(context, name)
    return group


def code_blocks(text: str) -> list[tuple[int, str]]:
    """The Python blocks that are to be run, each with the number of lines before it."""
    return [
        (text.count("\n", 0, found.start("code")), found["code"])
        for found in BLOCK.finditer(text)
        if found["skip"] is None
    ]


def draw_pictures(folder: Path) -> None:
    folder.mkdir(parents=True)
    for number, colour in enumerate([(200, 40, 40), (40, 160, 60), (40, 70, 200), (240, 240, 245)]):
        image = Image.new("RGB", (160 + 20 * number, 120), colour)
        ImageDraw.Draw(image).ellipse((20, 20, 90, 90), fill=(250, 220, 60))
        image.save(folder / f"picture-{number}.jpg")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home and current folder of its own, with pictures where the examples look for them."""
    draw_pictures(tmp_path / "photos")
    draw_pictures(tmp_path / "Pictures")
    monkeypatch.chdir(tmp_path)
    for name, value in {
        "HOME": str(tmp_path),
        "SEARCH_CATALOG": str(tmp_path / "catalog"),
        "SEARCH_CACHE": str(tmp_path / "cache"),
        "SEARCH_MODEL": "toy",
        "SEARCH_OFFLINE": "1",
        "HF_HUB_OFFLINE": "1",
    }.items():
        monkeypatch.setenv(name, value)
    return tmp_path


# The reference of the command line


def test_the_command_reference_is_current(cli_docs: ModuleType, root: click.Group) -> None:
    written = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    assert written == cli_docs.page(root), "run: python scripts/cli_docs.py"


def test_every_command_is_documented(cli_docs: ModuleType, root: click.Group) -> None:
    sections = re.findall(r"^## (.+)$", (ROOT / "docs" / "cli.md").read_text(encoding="utf-8"), re.M)
    assert sections == [context.command_path for context in cli_docs.commands(root)]
    assert {f"search {name}" for name, command in root.commands.items() if not command.hidden} <= set(
        sections
    )


def test_every_command_shows_an_example(cli_docs: ModuleType, root: click.Group) -> None:
    silent = [
        context.command_path
        for context in cli_docs.commands(root)
        if not isinstance(context.command, click.Group) and not EXAMPLE.search(context.get_help())
    ]
    assert silent == []
    assert EXAMPLE.search(next(cli_docs.commands(root)).get_help())


def unknown_options(root: click.Group, example: str) -> list[str]:
    """The options in one example line that its command does not have."""
    words = shlex.split(example.strip().removeprefix("$ ").partition("  ")[0], comments=True)[1:]
    for end in {"|", ">", "&&"} & set(words):
        words = words[: words.index(end)]
    command: click.Command = root
    while isinstance(command, click.Group) and words and words[0] in command.commands:
        command = command.commands[words.pop(0)]
    if command is root:
        # `search WORDS` is short for `search find WORDS`.
        command = root.commands.get("find", root)
    elif isinstance(command, click.Group):
        # So is `search feedback QUERY`.
        command = command.commands.get(getattr(command, "default", ""), command)
    # A command remembers the help option of the first context that asks: it has to be the real one's.
    context = click.Context(command, **root.context_settings)
    known = {option for parameter in command.get_params(context) for option in parameter.opts}
    used = [word.partition("=")[0] for word in words if re.match(r"--?[a-zA-Z0-9]", word)]
    return [option for option in used if option not in known]


def test_the_examples_use_only_options_that_exist(cli_docs: ModuleType, root: click.Group) -> None:
    wrong = [
        (context.command_path, line.strip(), option)
        for context in cli_docs.commands(root)
        for line in context.get_help().splitlines()
        if EXAMPLE.search(line)
        for option in unknown_options(root, line)
    ]
    assert wrong == []


@click.group()
def small() -> None:
    """A group for the tests below.

    \b
        search one x
    """


@small.command()
@click.argument("thing")
@click.option("--loud", is_flag=True, help="Say it " + "very " * 30 + "loudly.")
def one(thing: str, loud: bool) -> None:
    """Do one thing.

    \b
        search one apple
    """


@small.command(hidden=True)
def secret() -> None:
    """Not for the page."""


@small.group()
def many() -> None:
    """Do many things."""


@many.command(name="of-them")
def of_them() -> None:
    """Do one of many things, without an example."""


def test_the_reference_has_a_section_for_every_command_but_the_hidden(
    cli_docs: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    text = cli_docs.page(small)
    assert re.findall(r"^## (.+)$", text, re.M) == [
        "search",
        "search many",
        "search many of-them",
        "search one",
    ]
    assert (
        "- [`search many of-them`](#search-many-of-them): Do one of many things, without an example." in text
    )
    assert "Usage: search one [OPTIONS] THING" in text
    assert "    search one apple\n" in text
    assert "secret" not in text
    assert 60 < max(len(line) for line in text.split("```text")[-1].splitlines()) <= cli_docs.WIDTH
    monkeypatch.setenv("COLUMNS", "200")
    assert cli_docs.page(small) == text


def test_an_example_is_told_from_the_usage(cli_docs: ModuleType) -> None:
    found = {context.command_path: EXAMPLE.search(context.get_help()) for context in cli_docs.commands(small)}
    assert [name for name, example in found.items() if example] == ["search", "search one"]


def test_a_wrong_option_in_an_example_is_found() -> None:
    assert unknown_options(small, "  search one apple --loud --lowd=1 | tail -3    explained --so") == [
        "--lowd"
    ]
    assert unknown_options(small, "  $ search many of-them -x") == ["-x"]


def test_the_check_fails_until_the_reference_is_written(
    cli_docs: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = type(sys)("cli")
    module.__dict__["main"] = small
    monkeypatch.setitem(sys.modules, "cli", module)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(cli_docs, "ROOT", tmp_path)
    monkeypatch.setattr(cli_docs, "PAGE", tmp_path / "docs" / "cli.md")
    assert cli_docs.main(["--check"]) == 1
    assert "run python scripts/cli_docs.py" in capsys.readouterr().err
    assert not (tmp_path / "docs").exists()
    assert cli_docs.main([]) == 0
    assert cli_docs.main(["--check"]) == 0
    (tmp_path / "docs" / "cli.md").write_text("older", encoding="utf-8")
    assert cli_docs.main(["--check"]) == 1
    assert cli_docs.main(["--wrong"]) == 2


# Code in the documentation


@pytest.mark.parametrize("name", WITH_CODE)
def test_the_code_in_the_documentation_runs(name: str, home: Path) -> None:
    blocks = code_blocks((ROOT / name).read_text(encoding="utf-8"))
    assert blocks, f"{name} has no Python to run"
    namespace: dict[str, object] = {"__name__": "documentation"}
    for before, code in blocks:
        # Empty lines ahead, so that a traceback names the line of the page.
        exec(compile("\n" * before + code, str(ROOT / name), "exec"), namespace)


def test_code_blocks_are_found_unless_marked() -> None:
    text = (
        "Words\n\n```python\na = 1\n```\n\n<!-- not run -->\n```python\nb = 2\n```\n"
        "<!-- not run -->\n\n```python\nc = 3\n```\n\n```text\nd\n```\n"
        "<!-- other -->\n```python\ne = 5\n\nf = 6\n```\n"
    )
    blocks = code_blocks(text)
    assert [code for _, code in blocks] == ["a = 1\n", "e = 5\n\nf = 6\n"]
    lines = text.splitlines()
    assert [lines[before] for before, _ in blocks] == ["a = 1", "e = 5"]
