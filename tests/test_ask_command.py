"""`search ask`: what it prints, the page it writes, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import Result

from retrieval.errors import RetrievalError
from retrieval.show.answer import answer_lines, step_lines, write_answer
from retrieval.types import Answer, Citation, Cost, Hit, Step
from tests.chat_server import ChatServer
from tests.conftest import draw, json_lines, python
from tests.seeing_server import seeing

Search = Callable[..., Result]


@pytest.fixture(autouse=True)
def _no_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SEARCH_ENDPOINT", "SEARCH_ENDPOINT_MODEL", "SEARCH_ENDPOINT_KEY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def ask(search: Search, catalog: Path) -> Search:
    def run(*arguments: object) -> Result:
        return search("ask", *arguments, "--catalog", catalog)

    return run


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ChatServer]:
    with ChatServer(seeing()) as running:
        monkeypatch.setenv("SEARCH_ENDPOINT", running.url)
        yield running


def test_the_answer_stands_before_the_pictures_it_cites(ask: Search) -> None:
    result = ask("Is", "there", "a", "red", "picture?")
    assert result.exit_code == 0
    text, empty, *cited = result.stdout.splitlines()
    assert text.startswith("Yes, ")
    assert empty == ""
    assert cited[0].startswith("[1]  ")
    assert "red" in cited[0]
    assert "% match" in cited[0]
    assert "not by a language model" in result.stderr


def test_json_is_one_object_with_the_keys_that_were_promised(ask: Search) -> None:
    result = ask("Is there a red picture?", "--json")
    (row,) = json_lines(result.stdout)
    assert {"text", "citations", "confidence", "steps"} <= row.keys()
    assert {"n", "path", "image_id"} <= row["citations"][0].keys()
    assert [step["step"] for step in row["steps"]] == ["plan", "search", "look", "draft", "check", "answer"]


def test_what_is_not_there_is_no_error(ask: Search) -> None:
    result = ask("Is there a purple unicorn?", "--json")
    assert result.exit_code == 0
    (row,) = json_lines(result.stdout)
    assert (row["citations"], row["confidence"]) == ([], 0)
    assert row["text"].startswith("The library does not show")


def test_the_trace_tells_each_step_on_stderr(ask: Search) -> None:
    result = ask("Is there a red picture?", "--trace")
    steps = [line.split()[0] for line in result.stderr.splitlines() if line[:1].isalpha()]
    assert steps[:6] == ["plan", "search", "look", "draft", "check", "answer"]
    assert "supported (" in result.stderr
    assert "search" not in result.stdout


def test_filters_and_limits_reach_the_pictures(ask: Search, photos: Path) -> None:
    (row,) = json_lines(ask("Is there a red picture?", "--in", photos / "trip", "--json").stdout)
    assert [Path(one["path"]).name for one in row["citations"]] == ["red-again.jpg"]
    (row,) = json_lines(ask("Show me red pictures", "-k", 1, "--json").stdout)
    assert len(row["citations"]) == 1


def test_a_conversation_goes_on(ask: Search) -> None:
    refused = ask("And how many?", "--continue")
    assert (refused.exit_code, "no conversation" in refused.stderr) == (1, True)
    assert ask("Show me red pictures").exit_code == 0
    (row,) = json_lines(ask("How many of those are there?", "--continue", "--json").stdout)
    assert row["text"].startswith("2 pictures look like")


def test_no_check_leaves_the_check_out(ask: Search) -> None:
    (row,) = json_lines(ask("Is there a red picture?", "--no-check", "--json").stdout)
    assert all("support" not in citation for citation in row["citations"])


def test_an_example_is_a_picture_and_its_answer(
    ask: Search, photos: Path, server: ChatServer, tmp_path: Path
) -> None:
    odd = draw(tmp_path / "a=b.png", "blue")
    result = ask(
        "What is red?", "--example", f"{odd}=a = cold one", "--example", f"{photos / 'green.png'}=a lawn"
    )
    assert result.exit_code == 0, result.stderr
    assert "Answered by endpoint:" in result.stderr
    said = json.dumps(server.chats)
    assert "a = cold one" in said
    assert "a lawn" in said
    for wrong, code in (("photo.jpg", 2), (f"{tmp_path / 'none.jpg'}=x", 1), (f"{odd}=", 1)):
        result = ask("What is red?", "--example", wrong)
        assert result.exit_code == code
        assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ([], 2),
        ([""], 1),
        (["x" * 3000], 1),
        (["red?", "-k", "0"], 2),
        (["red?", "--timeout", "0"], 2),
        (["red?", "--answerer", "nonsense"], 1),
        (["red?", "--rerank", "nonsense"], 1),
        (["red?", "--after", "soon"], 1),
        (["red?", "--json", "--html", "x.html"], 2),
    ],
)
def test_what_cannot_be_done_is_one_sentence(ask: Search, arguments: list[str], code: int) -> None:
    result = ask(*arguments)
    assert result.exit_code == code
    assert "Traceback" not in result.output
    assert result.stdout == ""


def test_an_endpoint_that_is_down_is_one_sentence(ask: Search, monkeypatch: pytest.MonkeyPatch) -> None:
    with ChatServer() as server:
        url = server.url
    monkeypatch.setenv("SEARCH_ENDPOINT", url)
    monkeypatch.setenv("SEARCH_ENDPOINT_MODEL", "m")
    monkeypatch.setenv("SEARCH_ENDPOINT_KEY", "sk-very-secret")
    result = ask("What is red?", "--trace")
    assert result.exit_code == 1
    assert "--answerer rules" in result.stderr
    assert "sk-very-secret" not in result.output
    assert ask("Is there a red picture?", "--answerer", "rules").exit_code == 0


def test_the_page_shows_the_answer_its_pictures_and_where(ask: Search, tmp_path: Path) -> None:
    page = tmp_path / "answer.html"
    result = ask("Is there a red picture?", "--html", page)
    assert result.exit_code == 0
    told = page.read_text("utf-8")
    assert told.count('<img src="data:image/jpeg') == 4, "two pictures, each with its map"
    assert '<a href="#p1">[1]</a>' in told
    assert 'id="p2"' in told
    assert "where in red.png it is borne out" in told
    assert "How it was answered" in told
    assert ask("Is there a blue picture?", "--html", page).exit_code == 0, "a page of ours is replaced"
    other = tmp_path / "mine.html"
    other.write_text("<p>mine</p>")
    assert ask("Is there a red picture?", "--html", other).exit_code == 1
    assert other.read_text() == "<p>mine</p>"


def test_a_page_that_cannot_be_written_is_told_before_the_model_is_asked(
    ask: Search, server: ChatServer, tmp_path: Path
) -> None:
    result = ask("Is there a red picture?", "--html", tmp_path / "nowhere" / "answer.html")
    assert result.exit_code == 1
    assert "does not exist" in result.stderr
    assert not server.requests


def test_the_answer_is_told_also_where_its_page_fails_at_last(
    ask: Search, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise RetrievalError("The page could not be written: No space left on device.")

    monkeypatch.setattr("retrieval.show.answer.write_answer", full)
    result = ask("Is there a red picture?", "--html", tmp_path / "answer.html")
    assert result.exit_code == 1
    assert result.stdout.startswith("Yes, ")
    assert "No space left" in result.stderr


def test_the_page_is_still_written_for_pictures_that_are_gone(
    ask: Search, tmp_path: Path, photos: Path
) -> None:
    (photos / "red.png").unlink()
    result = ask("Is there a red picture?", "--html", tmp_path / "answer.html")
    assert result.exit_code == 0
    assert "could not be shown" in result.stderr
    told = (tmp_path / "answer.html").read_text("utf-8")
    assert "the file is gone" in told
    assert "[1]" in told
    assert 'href="#p1"' not in told, "a mark leads to no picture that is not there"


def test_the_page_shows_what_came_closest_and_says_that_it_is_no_answer(tmp_path: Path) -> None:
    hit = Hit(1, draw(tmp_path / "horse.png", "red"), 0.1, 0.16, 1)
    none = Answer("The library does not show a zebra.", (), (), 0.0, answerer="rules")
    page = tmp_path / "answer.html"
    assert write_answer(none, page) == []
    assert "Not an answer" not in page.read_text("utf-8")
    write_answer(replace(none, closest=(hit, replace(hit, path=tmp_path / "gone.png"))), page)
    told = page.read_text("utf-8")
    assert "Not an answer: only what came closest." in told
    assert told.count('<img src="data:image/jpeg') == 1
    assert "16% match" in told
    assert "gone.png" not in told


def test_the_answer_is_printed_before_it_is_kept(ask: Search, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> str:
        raise RetrievalError("The disk is full.")

    monkeypatch.setattr("retrieval.answers.conversation.kept", fails)
    result = ask("Is there a red picture?")
    assert result.stdout.startswith("Yes, ")
    assert "The disk is full." in result.stderr


def test_the_page_of_an_answer_without_pictures_speaks_of_no_confidence(tmp_path: Path) -> None:
    page = tmp_path / "answer.html"
    write_answer(Answer("The library does not show a zebra.", (), (), 0.0, answerer="rules"), page)
    assert "Answered by rules · 0.0 s" in page.read_text("utf-8")
    picture = draw(tmp_path / "red.png", "red")
    write_answer(Answer("Red [1].", (Citation(1, picture, 1),), (), 0.5, answerer="rules"), page)
    assert "Answered by rules · confidence 50% · 0.0 s" in page.read_text("utf-8")


EVIL = '<script>alert(1)</script>"><img src=x onerror=y>\x1b[31m\u202e[9]'


def evil_answer(path: Path) -> Answer:
    return Answer(
        text=f"{EVIL} [1]",
        citations=(Citation(1, path, 1, 0.5, EVIL, match=0.7, taken_at="2022-05-03T10:00:00"),),
        steps=(Step("look", EVIL, 0.1, {"pictures": [{"path": EVIL, "match": 0.5, "says": EVIL}]}),),
        confidence=0.5,
        question=EVIL,
        answerer=EVIL,
        cost=Cost(),
        notes=(EVIL,),
    )


def test_nothing_that_was_said_acts_in_the_page(tmp_path: Path) -> None:
    picture = draw(tmp_path / "red.png", "red")
    write_answer(evil_answer(picture), tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text("utf-8")
    assert "<script" not in page
    assert "<img src=x" not in page
    assert "\x1b" not in page
    assert "\u202e" not in page
    assert 'href="#p9"' not in page
    assert "script-src" not in page
    assert "default-src 'none'" in page


def test_nothing_that_was_said_acts_in_a_terminal(tmp_path: Path) -> None:
    answer = evil_answer(tmp_path / "\x1b[31mred.png")
    lines = [*answer_lines(answer), *(line for step in answer.steps for line in step_lines(step.as_dict()))]
    assert not any(character in line for line in lines for character in "\x1b\u202e\n")


def test_asking_by_rules_imports_no_model(photos: Path, tmp_path: Path) -> None:
    from indexer import index_folder

    index_folder(tmp_path / "c", photos, model="starter:lite0-fast")
    code = (
        "import sys; from retrieval import Catalog\n"
        "with Catalog(sys.argv[1]) as catalog: print(catalog.ask('Is there a wall?').text)\n"
        "heavy = {'torch', 'transformers', 'httpx2', 'sqlalchemy', 'rich', 'PIL', 'mcp', 'faiss'}\n"
        "print(*sorted(heavy & {name.partition('.')[0] for name in sys.modules}), 'end')"
    )
    result = python(code, str(tmp_path / "c"))
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1] == "end"
