"""What docs/server.md says: its examples run, its figures are those of the code; and how it is to be run."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import click
import pytest
import yaml
from click.testing import Result
from PIL import Image

from indexer import index_folder
from retrieval.client import Client
from retrieval.errors import RetrievalError
from tests.conftest import ROOT
from tests.test_docs import code_blocks, unknown_options

PAGE = (ROOT / "docs" / "server.md").read_text("utf-8")
WRITTEN = "127.0.0.1:7788"
TOKEN = "a-token-of-enough-characters"
DOCKER = (ROOT / "Dockerfile").read_text("utf-8")
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))
UNIT = (ROOT / "deploy" / "search.service").read_text("utf-8")


def blocks(language: str, text: str = PAGE) -> list[str]:
    found = re.findall(r"^ *```(\w*)\n(.*?)^ *```$", text, re.M | re.S)
    return [code for written, code in found if written == language]


def whole_command() -> click.Group:
    """The group with those of its commands too that are imported when they are used."""
    from cli import main

    context = click.Context(main)
    for name in main.list_commands(context):
        main.get_command(context, name)
    return main


def started(home: Path, *options: str, **environment: str) -> tuple[subprocess.Popen[str], str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "cli", "serve", "--catalog", str(home / "catalog"), "--port", "0", *options],
        cwd=ROOT, stderr=subprocess.PIPE, text=True, env={**os.environ, **environment},
    )  # fmt: skip
    assert process.stderr is not None
    said = process.stderr.readline()
    if not said.startswith("Serving "):
        process.kill()
        said += process.communicate()[1]
    assert said.startswith("Serving "), said
    return process, said.split()[1].rstrip("/")


def ended(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the examples name: pictures enough, and one of them in the folder where they run."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "Pictures").mkdir()
    for number in range(9):
        colour = (20 * number, 255 - 25 * number, 40 + 9 * number)
        Image.new("RGB", (90 + number, 60), colour).save(folder / "Pictures" / f"{number}.jpg")
    shutil.copy(folder / "Pictures" / "3.jpg", folder / "beach.jpg")
    index_folder(folder / "catalog", folder / "Pictures", model="toy", workers=1)
    return folder


@pytest.fixture(scope="module")
def address(home: Path) -> Iterator[str]:
    process, where = started(home)
    yield where
    ended(process)


# The examples


def test_every_example_of_the_api_is_answered(home: Path, address: str) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed; on Debian: apt-get install curl")
    # What is refused ends curl with a code; what was said stays to be read.
    (home / ".curlrc").write_text("fail-with-body\nsilent\nshow-error\n")
    environment = {**os.environ, "HOME": str(home), "CURL_HOME": str(home), "SEARCH_TOKEN": TOKEN}
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    assert len(lines) > 35
    assert [line for line in lines if not (line.startswith("curl ") and WRITTEN in line)] == []
    for line in lines:
        here = line.replace(WRITTEN, address.removeprefix("http://")).replace("/home/you", str(home))
        done = subprocess.run(
            ["sh", "-c", here], cwd=home, env=environment, capture_output=True, timeout=60, check=False
        )
        assert done.returncode == 0, f"{line}\n{done.stdout!r} {done.stderr!r}"
        wanted = b"event: " if " -N " in line else b"{"
        assert " -o " in line or done.stdout.startswith(wanted) or b"# HELP" in done.stdout, line
    assert {path.name: path.read_bytes()[:4] for path in home.glob("*.png")} == {"why.png": b"\x89PNG"}
    assert (home / "start.bin").read_bytes() == (home / "whole.jpg").read_bytes()[:1024]
    with Image.open(home / "small.jpg") as small:
        assert small.format == "JPEG"


def test_the_client_does_what_the_page_shows(
    home: Path, address: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(home)
    [(_, code)] = code_blocks(PAGE)
    exec(compile(code.replace(f"http://{WRITTEN}", address), "docs/server.md", "exec"), {})
    said = capsys.readouterr().out.splitlines()
    assert len(said) > 7
    assert "pictures" in said[-1]


def test_commands_that_are_named_have_the_options_they_are_given() -> None:
    main = whole_command()
    found = [line.strip() for block in blocks("") for line in block.splitlines() if "search " in line]
    own = [line for line in found if line.startswith("search ")]
    assert len(own) > 4
    assert [wrong for line in own for wrong in unknown_options(main, line)] == []


# Figures


def test_limits_are_those_of_the_code() -> None:
    from retrieval import config
    from retrieval.server import given, headers, jobs, settings
    from retrieval.server.routes import arranging, asking, describing, searching, teaching
    from retrieval.texts import MAX_CHARS

    said = PAGE.partition("## Limits")[2].partition("\n## ")[0]
    assert given.MAX_WORDS == config.MAX_QUESTION
    assert describing.SECONDS == arranging.SECONDS
    for line in (
        f"| a query, a question | {given.MAX_WORDS:,} characters |",
        f"| hits and rows a request | {given.MAX_LIMIT}; a search is paged through for {given.MAX_OFFSET:,} hits",
        f"| {given.MAX_PICTURES}, of {given.MAX_UPLOAD // 10**6} MB and {given.MAX_PIXELS // 10**6} megapixels each, "
        f"{given.MAX_TOGETHER // 10**6} together |",
        f"| a request | {headers.MAX_BODY >> 20} MB with pictures, {headers.MAX_WORDS >> 20} MB without",
        f"| a text that is added | {MAX_CHARS:,} characters |",
        f"of a concept | {teaching.MOST} |",
        f"| a search | {searching.SECONDS:g} seconds |",
        f"| a description, groups, duplicates | {describing.SECONDS:g} seconds |",
        f"its own `seconds` ({config.ASK_SECONDS:g}, at most 600), and {asking.MORE_SECONDS:g} more |",
        f"at least 2; {settings.WAITING} more wait",
        f"| 1; the last {jobs.KEPT} are remembered |",
    ):
        assert line in said, line


def test_metrics_and_problems_that_are_named_are_there(address: str) -> None:
    with urlopen(f"{address}/metrics") as answer:
        known = set(re.findall(r"^# TYPE (\w+)", answer.read().decode(), re.M))
    named = set(re.findall(r"`(search_\w+)", PAGE.partition("## Watching it")[2].partition("\n## ")[0]))
    assert named
    assert named <= known


# How it is run


def test_a_token_comes_from_a_file(home: Path, tmp_path: Path, search: Callable[..., Result]) -> None:
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    process, where = started(home, SEARCH_TOKEN_FILE=str(tmp_path / "token"))
    try:
        with pytest.raises(RetrievalError, match="wants its token"):
            Client(where).status()
        assert Client(where, token=TOKEN).status().images == 9
    finally:
        ended(process)


@pytest.mark.parametrize(
    ("content", "code", "said"), [(None, 1, "cannot be read"), ("", 1, "128 bits"), ("new\n", 1, "128 bits")]
)
def test_a_token_file_that_holds_none_serves_nothing(
    home: Path, tmp_path: Path, search: Callable[..., Result], content: str | None, code: int, said: str
) -> None:
    if content is not None:
        (tmp_path / "token").write_text(content)
    done = search("serve", "--catalog", home / "catalog", "--port", 0, "--token-file", tmp_path / "token")
    assert (done.exit_code, said in done.stderr) == (code, True)


def test_a_token_is_given_in_one_way(home: Path, tmp_path: Path, search: Callable[..., Result]) -> None:
    done = search(
        "serve", "--catalog", home / "catalog", "--token", TOKEN, "--token-file", tmp_path / "token"
    )
    assert done.exit_code == 2


def status(address: str, path: str, **headers: str) -> int:
    try:
        with urlopen(Request(address + path, headers=headers)) as answer:
            return int(answer.status)
    except HTTPError as error:
        return error.code


def test_a_server_goes_by_the_names_it_is_given(home: Path) -> None:
    process, where = started(
        home, "--host", "0.0.0.0", "--name", "Photos.example.org", "--name", "photos.example.org:8443",
        SEARCH_TOKEN=TOKEN,
    )  # fmt: skip
    where = where.replace("0.0.0.0", "127.0.0.1")
    key = {"Authorization": f"Bearer {TOKEN}"}
    path = "/api/v1/status"
    try:
        assert status(where, path, **key) == 200
        assert status(where, path, Host="photos.example.org", **key) == 200
        assert status(where, path, Host="photos.example.org:8443", **key) == 200
        assert status(where, path, Host="photos.example.org:8444", **key) == 421
        assert status(where, path, Host="evil.example", **key) == 421
        own = {"Host": "photos.example.org", **key}
        assert status(where, path, Origin="https://photos.example.org", **own) == 200
        assert status(where, path, Origin="https://evil.example", **own) == 403
    finally:
        ended(process)


def test_a_name_of_its_own_takes_a_token(home: Path, search: Callable[..., Result]) -> None:
    done = search("serve", "--catalog", home / "catalog", "--port", 0, "--name", "photos.example.org")
    assert (done.exit_code, "token" in done.stderr) == (1, True)


@pytest.mark.parametrize(("way", "secure"), [("https", True), ("http", False), (None, False)])
def test_behind_tls_the_cookie_is_for_tls_only(home: Path, way: str | None, secure: bool) -> None:
    from fastapi.testclient import TestClient

    from retrieval import Catalog
    from retrieval.server import create_app

    with Catalog(home / "catalog") as opened:
        web = TestClient(create_app(opened, token=TOKEN))
        headers = {} if way is None else {"X-Forwarded-Proto": way}
        answer = web.post("/login", data={"token": TOKEN}, headers=headers, follow_redirects=False)
    assert ("secure" in answer.headers["set-cookie"].lower()) is secure


# Files beside the code


def test_image_and_compose_ask_for_health_in_the_same_way() -> None:
    found = re.search(r"^HEALTHCHECK (?P<when>.*?)\\\n\s+CMD (?P<command>\[.*\])$", DOCKER, re.M)
    assert found
    check = COMPOSE["services"]["search"]["healthcheck"]
    assert ["CMD", *json.loads(found["command"])] == check["test"]
    when = " ".join(f"--{name.replace('_', '-')}={value}" for name, value in check.items() if name != "test")
    assert found["when"].strip() == when


def test_the_health_check_tells_a_server_that_lives_from_none(address: str) -> None:
    code = COMPOSE["services"]["search"]["healthcheck"]["test"][-1]
    port = address.rpartition(":")[2]
    alive = [sys.executable, "-c", code.replace("7788", port)]
    assert subprocess.run(alive, check=False, timeout=30).returncode == 0
    dead = [sys.executable, "-c", code.replace("7788", "1")]
    assert subprocess.run(dead, check=False, timeout=30, capture_output=True).returncode != 0


def test_the_service_may_do_as_little_as_possible() -> None:
    service: dict[str, Any] = COMPOSE["services"]["search"]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    assert [volume[-11:] for volume in service["volumes"] if "photos" in volume.lower()] == [":/photos:ro"]
    users = re.findall(r"^USER (.+)$", DOCKER, re.M)
    assert users == ["$UID:$UID"]
    assert re.search(r"^ARG UID=[1-9]\d*$", DOCKER, re.M)


def test_nothing_but_the_program_gets_into_the_image() -> None:
    rules = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    taken = {rule[1:] for rule in rules if rule.startswith("!")}
    copied = {
        name for line in re.findall(r"^COPY (?!--from)(.+)$", DOCKER, re.M) for name in line.split()[:-1]
    }
    assert next(rule for rule in rules if not rule.startswith("#")) == "*"
    assert taken == copied
    assert all((ROOT / name).exists() for name in taken)
    assert not re.search(r"(?i)token\s*=", DOCKER)


def test_the_unit_starts_a_command_that_there_is() -> None:
    main = whole_command()
    [command] = re.findall(r"^ExecStart=%h/\.local/bin/(search .+)$", UNIT, re.M)
    assert unknown_options(main, command) == []
    assert command.split()[1] in main.commands
