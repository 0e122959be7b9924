"""Asking on: in the library, over HTTP and with the client, each conversation by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from PIL import Image, ImageDraw

from indexer import index_folder
from retrieval import Catalog, Filter
from retrieval.client import Client
from retrieval.encoders.toy import COLOURS
from retrieval.errors import QueryError
from retrieval.server import create_app
from retrieval.server.problems import NotHere
from retrieval.server.turns import Turns
from retrieval.types import Answer
from tests.browsing import ended, started
from tests.conftest import draw

ASK = "/api/v1/ask"
WHEN = "and when was that?"
EXIF_IFD, TAKEN = 0x8769, 36867


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A red picture of June 2021, a blue one of July 2022, and a blue one with a bit of green."""
    folder = tmp_path_factory.mktemp("asking")
    for colour, when in (("red", "2021:06:01 10:00:00"), ("blue", "2022:07:02 10:00:00")):
        exif = Image.Exif()
        exif.get_ifd(EXIF_IFD)[TAKEN] = when
        draw(folder / "photos" / f"{colour}.jpg", colour, quality=90, exif=exif)
    shore = Image.new("RGB", (100, 80), COLOURS["blue"])
    ImageDraw.Draw(shore).rectangle((0, 0, 30, 80), fill=COLOURS["green"])
    shore.save(folder / "photos" / "shore.png")
    index_folder(folder / "catalog", [folder / "photos"], model="toy", workers=1)
    return folder / "catalog"


@pytest.fixture
def library(kept: Path) -> Iterator[Catalog]:
    with Catalog(kept, readonly=True) as opened:
        yield opened


@pytest.fixture
def web(library: Catalog) -> TestClient:
    return TestClient(create_app(library))


def test_question_goes_on_from_the_answer_that_is_given_with_it(library: Catalog) -> None:
    ask: Callable[..., Answer] = library.ask
    red, blue = ask("Show me red pictures"), ask("Show me blue pictures", where=Filter(type="jpeg"))
    assert "June 2021" in ask(WHEN, after=red).text
    assert "July 2022" not in ask(WHEN, after=red).text
    assert "July 2022" in ask(WHEN, after=blue).text
    # What a person limited the answer to holds for the next one, and the trail goes on.
    again = ask("and blue ones?", after=ask("Show me red pictures", where=Filter(type="jpeg"), after=blue))
    assert [citation.path.name for citation in again.citations] == ["blue.jpg"]
    assert len(again.trail.past) == 3
    # As many turns as a question is understood by, and no more.
    for _ in range(9):
        again = ask("and red ones?", after=again)
    assert len(again.trail.past) == 6


def test_question_goes_on_from_one_thing_and_from_an_answer_of_the_library(library: Catalog) -> None:
    red = library.ask("Show me red pictures")
    with pytest.raises(QueryError, match="not from both"):
        library.ask(WHEN, after=red, follow_up=True)
    with pytest.raises(QueryError, match="no question can go on from it"):
        library.ask(WHEN, after=replace(red, trail=None))


def test_each_conversation_over_http_is_its_own(web: TestClient) -> None:
    turns = {
        colour: web.post(ASK, json={"question": f"Show me {colour} pictures"}).json()["turn"]
        for colour in ("red", "blue")
    }
    assert turns["red"] != turns["blue"]
    answer = web.post(ASK, json={"question": WHEN, "turn": turns["red"]}).json()
    assert "June 2021" in answer["text"]
    assert "July 2022" not in answer["text"]
    assert "July 2022" in web.post(ASK, json={"question": WHEN, "turn": turns["blue"]}).json()["text"]
    later = web.post(ASK, json={"question": "and the blue ones?", "turn": answer["turn"]}).json()
    assert later["citations"][0]["path"].endswith("blue.jpg")


@pytest.mark.parametrize(
    ("turn", "status"),
    [("long-ago", 404), ("", 422), ("a" * 65, 422), ("a b", 422), (7, 422)],
    ids=["forgotten", "empty", "long", "spaced", "number"],
)
@pytest.mark.parametrize("accept", ["application/json", "text/event-stream"])
def test_a_turn_that_is_none_is_a_problem(web: TestClient, turn: Any, status: int, accept: str) -> None:
    answer = web.post(ASK, json={"question": WHEN, "turn": turn}, headers={"Accept": accept})
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert web.post(ASK, json={"question": "Show me red pictures"}).status_code == 200


def test_a_server_keeps_the_last_answers_and_no_more() -> None:
    turns = Turns(most=2)
    names = [turns.keep(Answer(str(number), (), (), 0.0)) for number in range(3)]
    assert [turns.of(name).text for name in names[1:]] == ["1", "2"]
    with pytest.raises(NotHere, match="Ask its first question again"):
        turns.of(names[0])


def test_what_came_closest_is_told_as_data(library: Catalog, web: TestClient) -> None:
    question = "Is there a picture of something green?"
    answer = library.ask(question)
    assert [hit.path.name for hit in answer.closest] == ["shore.png"]
    [row] = answer.as_dict()["closest"]
    assert (row["image_id"], row["path"]) == (answer.closest[0].image_id, str(answer.closest[0].path))
    assert web.post(ASK, json={"question": question}).json()["closest"] == [row]
    assert "closest" not in library.ask("Show me red pictures").as_dict()


def test_the_client_asks_on_and_tells_what_came_closest(kept: Path, caches: Path) -> None:
    process, address = started(kept, caches)
    try:
        client = Client(address)
        red = client.ask("Show me red pictures")
        blue = client.ask("Show me blue pictures", on_text=lambda _: None)
        assert "June 2021" in client.ask(WHEN, after=red).text
        assert "July 2022" not in client.ask(WHEN, after=red).text
        assert "July 2022" in client.ask(WHEN, after=blue).text
        [near] = client.ask("Is there a picture of something green?").closest
        assert near.path.name == "shore.png"
        with pytest.raises(QueryError, match="did not come from a server"):
            client.ask(WHEN, after=replace(red, trail=None))
        with pytest.raises(QueryError, match="not kept any more"):
            client.ask(WHEN, after=replace(red, trail="long-ago"))
    finally:
        ended(process)
