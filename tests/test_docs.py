"""The documentation is complete, current, and its code runs."""

from __future__ import annotations

import importlib
import importlib.util
import json
import re
import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest
from click.testing import CliRunner
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


# The examples of the command line, each run in a home that has what they name

PIPED = re.compile(r"^\s+(?:\$ )?(?:\S.*\| )?search\s", re.M)
NOT_RUN = {
    "search index ~/Pictures --ocr": "needs an extra, and takes a second a picture",
    "search index --model open_clip:ViT-B-32/laion2b_s34b_b79k": "fetches a model",
    "search models pull open_clip:ViT-B-32-256/datacomp_s34b_b86k": "fetches a model",
    "search models pull vit-b-32-256@int8 --photos ~/Pictures": "fetches a model",
    "search models pull vit-b-32-256@int8 --eval dev.json": "fetches a model",
    "search eval dev.json --rerank blip_itm --plot figures.png": "fetches a model",
    'search ask "Which animals did we see?" --answerer endpoint:llava --trace': "needs a server",
    "search describe beach.jpg --captioner local:HuggingFaceTB/SmolVLM-256M-Instruct": "fetches a model",
    "search describe --library --captioner endpoint --candidates 3": "needs a server",
    "search mcp": "serves until its input ends",
    "search mcp --http --port 8765": "serves until it is stopped",
    "search mcp --catalog ~/photos.search --allow-write": "serves until its input ends",
    "search serve --open": "serves until it is stopped",
    "search serve --host 0.0.0.0 --token new": "serves until it is stopped",
    "search index ~/Pictures --every 1h": "runs until it is stopped",
    "search watch ~/Pictures": "runs until it is stopped",
    'search watch --exclude "screenshots/" --json': "runs until it is stopped",
}
BEFORE = {
    "search eval": ["search index ~/flickr8k/images"],
    "search tag add": ["search tag remove 'golden retriever'"],
    "search restore": ["search backup ~/backups/pictures.db"],
    "search import": ["search export ~/pictures-export"],
}
"""What else has to be done before a command's examples."""
PHOTOS = [
    "rex.jpg", "rex1.jpg", "rex2.jpg", "rex3.jpg", "other-dog.jpg", "neighbours-dog.jpg", "beach.jpg",
    "beach-1.jpg", "beach-2.jpg", "cat.jpg", "bella.jpg", "pool.jpg", "holiday.jpg", "monday.jpg",
    "tuesday.jpg", "scans/a.jpg", "travel/b.jpg", "travel/c.jpg",
]  # fmt: skip


FURNISHING = (
    "search index ~/Pictures",
    "search texts add captions.jsonl",
    "search tag add 'golden retriever'",
    "search concepts add rex rex1.jpg rex2.jpg rex3.jpg",
    *(f"search feedback 'a dog' --good {name}" for name in ("rex.jpg", "bella.jpg", "rex1.jpg", "rex2.jpg")),
)
SETTINGS = {"SEARCH_MODEL": "toy", "SEARCH_OFFLINE": "1", "HF_HUB_OFFLINE": "1"}
COMMANDS = re.findall(r"^## (.+)$", (ROOT / "docs" / "cli.md").read_text(encoding="utf-8"), re.M)


def example_lines(cli_docs: ModuleType, root: click.Group) -> dict[str, list[str]]:
    """The examples of every command, without the words that explain them."""
    return {
        context.command_path: [
            line.strip().removeprefix("$ ").partition("  ")[0]
            for line in context.get_help().splitlines()
            if PIPED.search(line)
        ]
        for context in cli_docs.commands(root)
    }


def arguments_of(example: str, home: Path) -> list[str]:
    """The arguments of the one `search` in a line of shell."""
    words = shlex.split(example, comments=True)
    words = words[words.index("search") + 1 :]
    for end in {"|", ">", "&&"} & set(words):
        words = words[: words.index(end)]
    return [str(home) + word[1:] if word.startswith("~/") else word for word in words]


def succeeds(root: click.Group, example: str, home: Path) -> str:
    """Nothing if the example works, else what went wrong."""
    result = CliRunner().invoke(root, arguments_of(example, home), input="a red door\n")
    return (
        "" if result.exit_code == 0 else f"{example}: {result.exit_code} {result.output} {result.exception!r}"
    )


@pytest.fixture(scope="module")
def furnished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home, as it is to be copied, of a person who has done what the examples speak of."""
    home = tmp_path_factory.mktemp("furnished")
    pictures = home / "Pictures"
    for number, name in enumerate(PHOTOS):
        colour = (11 * number % 256, 97 * number % 256, 200 - 10 * number)
        (pictures / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (64 + number, 48), colour).save(pictures / name)
    captions = [{"text": f"caption {number}", "image": name} for number, name in enumerate(PHOTOS)]
    (pictures / "captions.jsonl").write_text("\n".join(map(json.dumps, captions)))
    (pictures / "alt-texts.csv").write_text("text,image\na dog,rex.jpg\n")
    (pictures / "notes.txt").write_text("a summer day\n")
    (pictures / "words.txt").write_text("golden retriever\nrex: a brown dog\n")
    (pictures / "more-words.txt").write_text("snow\n")
    (pictures / "dev.json").write_text(json.dumps({"query": "dog", "relevant": ["rex.jpg"]}))
    question = {"question": "How many pictures are there?", "answer": "18"}
    (pictures / "questions.jsonl").write_text(json.dumps(question))
    (home / "backups").mkdir()
    flickr = home / "flickr8k" / "images" / "1.jpg"
    flickr.parent.mkdir(parents=True)
    Image.new("RGB", (50, 40), "red").save(flickr)
    entry = {"filename": "1.jpg", "split": "test", "sentences": [{"raw": "red"}]}
    (pictures / "dataset_flickr8k.json").write_text(json.dumps({"images": [entry]}))
    return home


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory, furnished: Path) -> tuple[Path, Path]:
    """The home where examples run, and how it is to be before each of them."""
    from cli import main

    home = tmp_path_factory.mktemp("stage") / "home"
    kept = home.with_name("kept")
    with pytest.MonkeyPatch.context() as patch:
        shutil.copytree(furnished, home)
        at_home(patch, home)
        for example in FURNISHING:
            assert not succeeds(main, example, home)
    shutil.copytree(home, kept)
    return home, kept


def at_home(patch: pytest.MonkeyPatch, home: Path) -> None:
    patch.chdir(home / "Pictures")
    for name, value in {**SETTINGS, "HOME": str(home), "SEARCH_CATALOG": str(home / "catalog")}.items():
        patch.setenv(name, value)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_example_runs(
    cli_docs: ModuleType,
    root: click.Group,
    command: str,
    stage: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    home, kept = stage
    monkeypatch.chdir(home.parent)
    shutil.rmtree(home)
    shutil.copytree(kept, home)
    at_home(monkeypatch, home)
    for example in BEFORE.get(command, ()):
        assert not succeeds(root, example, home)
    examples = [example for example in example_lines(cli_docs, root)[command] if example not in NOT_RUN]
    assert [wrong for example in examples if (wrong := succeeds(root, example, home))] == []


def test_the_commands_whose_examples_run_are_all_there_are(cli_docs: ModuleType, root: click.Group) -> None:
    examples = example_lines(cli_docs, root)
    assert sorted(COMMANDS) == sorted(command for command, lines in examples.items() if lines)
    known = [example for lines in examples.values() for example in lines]
    assert set(NOT_RUN) <= set(known)
    assert sum(example not in NOT_RUN for example in known) > 60


def test_an_example_that_does_not_work_is_told(root: click.Group, home: Path) -> None:
    assert "There is no catalog" in succeeds(root, "search status", home)


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


def named_tests(page: str) -> set[str]:
    """The tests, and the files of tests, that a page names."""
    text = (ROOT / page).read_text("utf-8")
    return set(re.findall(r"\b(test_[a-z0-9_]+)\b", text)) | set(re.findall(r"\btests/[a-z_]+\.py\b", text))


@pytest.mark.parametrize("page", ["docs/reliability.md", "docs/architecture.md", "SECURITY.md"])
def test_every_test_that_a_promise_names_is_there(page: str) -> None:
    files = sorted((ROOT / "tests").rglob("*.py"))
    there = {str(file.relative_to(ROOT)) for file in files} | {file.stem for file in files}
    for file in files:
        there.update(re.findall(r"^ *def (test_\w+)", file.read_text("utf-8"), flags=re.MULTILINE))
    assert named_tests(page) - there == set()
    assert len(named_tests(page)) > 10


def test_every_fault_of_the_matrix_belongs_to_a_promise() -> None:
    from tests.torture.__main__ import FAULTS

    page = (ROOT / "docs/reliability.md").read_text("utf-8")
    named = set(" ".join(re.findall(r"python -m tests\.torture ([a-z ]+)`", page)).split())
    assert {fault.name for fault in FAULTS} == named
