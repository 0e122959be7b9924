"""Asking in the page: answers as they come, their pictures, and what goes wrong on the way."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from PIL import Image, ImageDraw

from indexer import index_folder
from retrieval.encoders.toy import COLOURS
from tests.browsing import DESK, SIGHTS, Opens, asked, ended, in_nobodys_way, settled, started
from tests.chat_server import ChatServer
from tests.conftest import draw
from tests.seeing_server import seeing, step_of

if TYPE_CHECKING:
    from playwright.sync_api import Page, Route

HOSTILE = "<img src=x onerror=alert(1)>.png"
MARKUP = "A <b onclick=alert(1)>red</b> thing <script>alert(1)</script> [1]."
EXIF_IFD, TAKEN = 0x8769, 36867
RED = "Show me red pictures"


def taken(when: str) -> Image.Exif:
    exif = Image.Exif()
    exif.get_ifd(EXIF_IFD)[TAKEN] = when
    return exif


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Red pictures of June 2021, one of them under a hostile name, blue ones of a Christmas, a bit of green."""
    folder = tmp_path_factory.mktemp("asking")
    photos = folder / "photos"
    for day in (1, 2, 3):
        draw(photos / f"red-{day}.jpg", "red", mark=day, quality=90, exif=taken(f"2021:06:0{day} 10:00:00"))
    draw(photos / HOSTILE, "red", mark=9)
    for mark in (1, 2):
        draw(photos / f"blue-{mark}.jpg", "blue", mark=mark, quality=90, exif=taken("2022:12:24 18:00:00"))
    shore = Image.new("RGB", (100, 80), COLOURS["blue"])
    ImageDraw.Draw(shore).rectangle((0, 0, 30, 80), fill=COLOURS["green"])
    shore.save(photos / "shore.png")
    index_folder(folder / "catalog", [photos], model="toy", workers=1)
    return folder / "catalog"


@pytest.fixture(scope="module")
def home(library: Path, caches: Path) -> Iterator[str]:
    """A server that answers by rules."""
    process, address = started(library, caches)
    yield address
    ended(process)


@pytest.fixture(scope="module")
def model() -> Iterator[ChatServer]:
    with ChatServer(seeing()) as server:
        yield server


@pytest.fixture(scope="module")
def thinking(library: Path, model: ChatServer, caches: Path) -> Iterator[str]:
    """A server whose answers are made by a model."""
    own = library.parent / "thinking"
    shutil.copytree(library, own)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEARCH_ENDPOINT", model.url)
        process, address = started(own, caches)
    yield address
    model.release()
    ended(process)


@pytest.fixture
def drafting(model: ChatServer) -> Iterator[ChatServer]:
    """The model stops after the first word of a draft, until it is released."""
    honest = seeing()

    def answer(body: dict[str, Any]) -> str:
        model.stall = "within" if step_of(body) == "draft" else None
        return honest(body)

    model.released.clear()
    model.answer = answer
    yield model
    model.release()
    model.answer, model.stall = seeing(), None


def address_of(home: str, *questions: str) -> str:
    return f"{home}/?view=ask&question={quote(chr(10).join(questions))}"


def ask(page: Page, question: str) -> None:
    page.fill("#question", question)
    page.press("#question", "Enter")


def answered(page: Page, count: int = 1) -> list[str]:
    """The texts of the answers, once so many are there and nothing is asked any more."""
    settled(
        page,
        "count => document.querySelectorAll('.turn .by').length === count && !document.querySelector('.working')",
        count,
    )
    return [" ".join(text.split()) for text in page.locator(".answer").all_text_contents()]


def test_answer_shows_the_pictures_it_rests_on_and_opens_them(home: str, opens: Opens) -> None:
    page = opens(f"{home}/?view=ask")
    ask(page, RED)
    [text] = answered(page)
    assert text.startswith("Something red 1234.")
    assert asked(page) == {"view": ["ask"], "question": [RED]}
    assert RED in page.title()
    assert page.locator(".answer .cite img").count() == 7
    assert page.locator(".cited li").count() == 4
    assert "Well borne out" in (page.text_content(".sure") or "")
    assert "No language model" in (page.text_content(".by") or "")
    settled(
        page, "[...document.querySelectorAll('.cited img')].every(one => one.complete && one.naturalWidth)"
    )
    page.locator(".answer .cite").nth(1).click()
    page.wait_for_selector("dialog.viewer[open] .facts")
    assert page.text_content(".viewer .place") == "2 of 4"
    page.keyboard.press("ArrowRight")
    settled(page, "document.querySelector('.viewer .place').textContent === '3 of 4'")
    here = asked(page)["open"][0]
    page.keyboard.press("Escape")
    settled(
        page,
        "id => document.activeElement.closest('.cited') && document.activeElement.dataset.open === id",
        here,
    )
    assert answered(page) == [text]


def test_how_an_answer_was_found_can_be_read(home: str, opens: Opens) -> None:
    page = opens(address_of(home, RED))
    answered(page)
    assert not page.locator(".steps").is_visible()
    page.click("summary")
    steps = page.locator(".steps b").all_text_contents()
    assert (steps[0], steps[-1]) == ("Planned", "Answered")
    assert "Searched" in steps


def test_what_the_library_does_not_show_is_said_with_what_comes_closest(home: str, opens: Opens) -> None:
    page = opens(address_of(home, "Is there a picture of something green?"))
    [text] = answered(page)
    assert text.startswith("The library does not show something green.")
    assert page.text_content(".sure") == "No picture bears out an answer."
    assert page.locator(".near li").count() == 1
    page.click(".near a")
    page.wait_for_selector("dialog.viewer[open] .facts")
    assert page.text_content(".viewer .place") == "1 of 1"
    assert page.text_content(".viewer h2") == "shore.png"
    page.keyboard.press("Escape")
    page.click("text=Search for “green”")
    page.wait_for_selector(".tile")
    assert asked(page) == {"q": ["green"]}


def test_a_question_that_is_not_understood_claims_nothing(home: str, opens: Opens) -> None:
    page = opens(address_of(home, "Why is the sky red?"))
    [text] = answered(page)
    assert "not understood" in text
    assert "--answerer" not in text
    assert page.text_content(".sure") == "Not understood, so nothing is claimed."


def test_the_library_itself_gives_examples_that_have_an_answer(home: str, opens: Opens) -> None:
    page = opens(f"{home}/?view=ask")
    page.wait_for_selector(".below li a")
    offered = page.locator(".below li a").all_text_contents()
    assert offered == ["In which year did I take the most photos?", "Which pictures are from June 2021?"]
    # A file's own date is none that a question is made from.
    limited = opens(f"{home}/?view=ask&after=2022")
    limited.wait_for_selector(".below li a")
    assert limited.locator(".below li a").all_text_contents() == ["Which pictures are from December 2022?"]
    for question in offered:
        page.goto(f"{home}/?view=ask")
        page.click(f"text={question}")
        answered(page)
        assert page.text_content("h2") == question
        assert page.locator(".answer .cite").count() > 0


def test_filters_limit_what_is_asked(home: str, opens: Opens) -> None:
    page = opens(f"{address_of(home, 'How many pictures are there?')}&after=2022&before=2023")
    [text] = answered(page)
    assert "2 pictures" in text
    page.click("button[aria-label='Take the filter before 2023 away']")
    settled(page, "!location.search.includes('before')")
    assert "4 pictures" in answered(page)[0]


def test_one_asks_on_in_each_window_by_itself(home: str, opens: Opens) -> None:
    one, other = opens(f"{home}/?view=ask"), opens(f"{home}/?view=ask")
    ask(one, RED)
    answered(one)
    ask(other, "Show me blue pictures")
    answered(other)
    ask(one, "and when was that?")
    assert "between 1 and 3 June 2021" in answered(one, 2)[1]
    ask(other, "and when was that?")
    assert "24 December 2022" in answered(other, 2)[1]
    assert asked(one)["question"] == [f"{RED}\nand when was that?"]
    one.reload()
    assert "between 1 and 3 June 2021" in answered(one, 2)[1]
    one.locator(".turn").nth(0).locator(".cited a").first.click()
    one.wait_for_selector("dialog.viewer[open]")
    assert asked(one)["question"] == [f"{RED}\nand when was that?"]
    assert one.text_content(".viewer .place") == "1 of 4"
    one.go_back()
    settled(one, "!document.querySelector('dialog.viewer[open]')")
    one.click("text=Ask something else")
    settled(one, "!document.querySelector('.turn')")
    one.go_back()
    assert "between 1 and 3 June 2021" in answered(one, 2)[1]


def test_going_back_shows_the_kept_answer_without_asking(home: str, opens: Opens) -> None:
    page = opens(address_of(home, RED))
    answered(page)
    ask(page, "and when was that?")
    answered(page, 2)
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url) if request.url.endswith("/ask") else None)
    page.go_back()
    answered(page, 1)
    page.go_forward()
    answered(page, 2)
    page.click("nav >> text=Pictures")
    page.wait_for_selector(".tile")
    page.go_back()
    answered(page, 2)
    assert sent == []


def test_a_conversation_that_the_server_forgot_is_asked_again(home: str, opens: Opens) -> None:
    page = opens(address_of(home, RED))
    answered(page)

    def forgotten(route: Route) -> None:
        body = {**json.loads(route.request.post_data or ""), "turn": "long-ago"}
        route.continue_(post_data=json.dumps(body))

    page.route("**/api/v1/ask", forgotten, times=1)
    ask(page, "and when was that?")
    assert "between 1 and 3 June 2021" in answered(page, 2)[1]
    assert told_of(opens, "404") == 1


def test_a_long_conversation_goes_on_and_its_address_holds_the_last_of_it(home: str, opens: Opens) -> None:
    questions = [
        RED,
        "and blue ones?",
        "and red ones?",
        "and blue ones?",
        "and red ones?",
        "and when was that?",
    ]
    page = opens(address_of(home, *questions))
    assert "June 2021" in answered(page, 6)[5]
    sent: list[Any] = []
    page.on("request", lambda one: sent.append(one.post_data_json) if one.url.endswith("/ask") else None)
    ask(page, "How many pictures are there?")
    settled(page, "document.querySelector('.turn h2').textContent === 'and blue ones?'")
    assert "7 pictures" in answered(page, 6)[5]
    assert asked(page)["question"] == ["\n".join([*questions[1:], "How many pictures are there?"])]
    assert len(sent) == 1
    # The very same again is asked again, and is no other step.
    page.goto(address_of(home, "x" * 2001))
    page.wait_for_selector("[role=alert]")
    page.click("text=Say it differently")
    page.keyboard.press("Enter")
    settled(page, "performance.getEntriesByName(location.origin + '/api/v1/ask').length === 2")
    page.wait_for_selector("[role=alert]")
    assert told_of(opens, "422") >= 2


def told_of(opens: Opens, sign: str) -> int:
    """How often the browser itself told of a failure that the test brought about."""
    found = [line for line in opens.wrong if sign in line]
    opens.wrong[:] = [line for line in opens.wrong if sign not in line]
    return len(found)


def test_a_busy_server_is_told_and_asked_again(home: str, opens: Opens) -> None:
    page = opens(f"{home}/?view=ask")

    def busy(route: Route) -> None:
        route.fulfill(
            status=503,
            content_type="application/problem+json",
            headers={"Retry-After": "7"},
            body='{"status": 503, "detail": "Too much is asked at once."}',
        )

    page.route("**/api/v1/ask", busy, times=1)
    ask(page, RED)
    page.wait_for_selector(
        "[role=alert] >> text=Too much is asked at once. It may be free again in 7 seconds."
    )
    page.click("text=Try again")
    assert answered(page)[0].startswith("Something red")
    assert told_of(opens, "503") == 1


def test_a_refusal_is_one_sentence(home: str, opens: Opens) -> None:
    page = opens(f"{address_of(home, RED)}&near=Nowhereville")
    page.wait_for_selector(".trouble-line >> text=Nowhereville")
    page.click("text=Say it differently")
    assert page.input_value("#question") == RED
    assert page.evaluate("document.activeElement.id") == "question"
    assert told_of(opens, "422") >= 1


def test_a_draft_comes_as_it_is_made_and_the_answer_replaces_it(
    thinking: str, drafting: ChatServer, opens: Opens
) -> None:
    page = opens(f"{thinking}/?view=ask")
    page.evaluate(
        """() => {
          window.said = [];
          new MutationObserver(() => window.said.push(document.querySelector("#live").textContent))
            .observe(document.querySelector("#live"), { childList: true, characterData: true, subtree: true });
        }"""
    )
    ask(page, "What is red?")
    page.wait_for_selector(".answer.draft >> text=It")
    assert "each sentence is held against the pictures" in (page.text_content(".working") or "")
    drafting.release()
    [text] = answered(page)
    assert re.fullmatch(r"(It is red \d\.? ?)+", text)
    assert page.locator(".draft").count() == 0
    assert "Answered by endpoint:tiny-vlm, which looked at 4 pictures" in (page.text_content(".by") or "")
    # Whoever listens is told that it was asked, and the answer: not each word of it.
    settled(page, "window.said.at(-1)?.startsWith('It is red')")
    assert len([said for said in page.evaluate("window.said") if said]) == 2


def test_asking_can_be_stopped_and_begun_again(thinking: str, drafting: ChatServer, opens: Opens) -> None:
    page = opens(f"{thinking}/?view=ask")
    ask(page, "What is red?")
    page.wait_for_selector(".answer.draft >> text=It")
    page.click("text=Stop")
    page.wait_for_selector("text=Stopped. This is a draft, and nothing of it was checked.")
    assert page.locator(".by").count() == 0
    assert page.evaluate("document.activeElement.textContent") == "What is red?"
    drafting.release()
    page.click("text=Ask again")
    assert answered(page)[0].startswith("It is red")
    drafting.released.clear()
    ask(page, "What is blue?")
    page.wait_for_selector(".answer.draft >> text=It")
    page.focus("#question")
    page.keyboard.press("Escape")
    page.wait_for_selector("text=Stopped.")
    # What was stopped is no part of the conversation.
    drafting.release()
    ask(page, "What is red?")
    answered(page, 2)
    assert asked(page)["question"] == ["What is red?\nWhat is red?"]


def test_what_is_asked_meanwhile_comes_after(thinking: str, drafting: ChatServer, opens: Opens) -> None:
    page = opens(f"{thinking}/?view=ask")
    sent: list[str] = []
    page.on("request", lambda one: sent.append(one.url) if one.url.endswith("/ask") else None)
    ask(page, "What is red?")
    page.wait_for_selector(".answer.draft >> text=It")
    ask(page, "What is blue?")
    settled(page, "document.querySelectorAll('.turn').length === 2")
    assert page.locator(".answer.draft").count() == 1
    drafting.release()
    one, other = answered(page, 2)
    assert one.startswith("It is red")
    assert len(sent) == 2
    assert other.startswith("It is blue")


def test_a_lost_server_is_told_and_what_was_answered_stays(
    library: Path, caches: Path, drafting: ChatServer, opens: Opens, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = library.parent / "lost"
    shutil.copytree(library, own)
    monkeypatch.setenv("SEARCH_ENDPOINT", drafting.url)
    process, address = started(own, caches)
    try:
        page = opens(f"{address}/?view=ask")
        ask(page, "What is red?")
        page.wait_for_selector(".answer.draft >> text=It")
    finally:
        process.kill()
        process.communicate()
    page.wait_for_selector("[role=alert] >> text=The connection to the server was lost")
    page.click("text=Try again")
    page.wait_for_selector("[role=alert] >> text=The server does not answer")
    assert told_of(opens, "net::ERR") >= 1


def test_markup_in_questions_answers_and_names_is_text(
    thinking: str, model: ChatServer, opens: Opens, home: str
) -> None:
    model.answer = seeing(draft=MARKUP, check="YES")
    try:
        page = opens(f"{thinking}/?view=ask")
        ask(page, "<b>What</b> is red? <img src=x onerror=alert(1)>")
        answered(page)
    finally:
        model.answer = seeing()
    assert page.text_content("h2") == "<b>What</b> is red? <img src=x onerror=alert(1)>"
    assert page.locator(".turn b:not(.sure b, .steps b), .turn script, h2 img").count() == 0
    assert page.locator("[onerror], [onclick]").count() == 0
    page = opens(address_of(home, RED))
    answered(page)
    labels = page.eval_on_selector_all(".cite", "all => all.map(one => one.getAttribute('aria-label'))")
    assert f"Picture 4: {HOSTILE}" in labels


def test_words_that_read_like_a_question_can_be_asked(home: str, opens: Opens) -> None:
    page = opens(f"{home}/?q=red&type=jpeg")
    page.wait_for_selector(".tile")
    assert page.locator("text=Ask this").count() == 0
    for words in ("Is there a red picture", "red pictures?"):
        page.fill("#q", words)
        page.press("#q", "Enter")
        page.wait_for_selector("#asked >> text=Ask this")
    page.click("text=Ask this")
    assert "red" in answered(page)[0]
    assert asked(page) == {"view": ["ask"], "question": ["red pictures?"], "type": ["jpeg"]}
    # And words typed into the box there are searched for, without the question.
    page.fill("#q", "blue")
    page.press("#q", "Enter")
    page.wait_for_selector(".tile")
    assert asked(page) == {"q": ["blue"], "type": ["jpeg"]}


def test_keys_alone_ask_and_open_a_picture(home: str, opens: Opens) -> None:
    page = opens(home)
    page.wait_for_selector(".tile")
    page.keyboard.press("a")
    settled(page, "document.activeElement.id === 'question'")
    page.keyboard.type(RED)
    page.keyboard.press("Enter")
    answered(page)
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    page.wait_for_selector("dialog.sheet[open] >> text=ask a question")
    page.keyboard.press("Escape")
    settled(page, "!document.querySelector('dialog.sheet[open]')")
    page.focus("#main")
    page.keyboard.press("Tab")
    settled(page, "document.activeElement.matches('.cite')")
    first = page.evaluate("document.activeElement.dataset.open")
    page.keyboard.press("Enter")
    page.wait_for_selector("dialog.viewer[open]")
    assert asked(page)["open"] == [first]
    page.keyboard.press("Escape")
    settled(page, "id => document.activeElement.dataset.open === id", first)
    page.keyboard.press("a")
    page.keyboard.type("and when was that?")
    page.keyboard.press("Enter")
    assert "June 2021" in answered(page, 2)[1]


@SIGHTS
def test_nothing_of_asking_stands_in_anybodys_way(
    home: str, opens: Opens, scheme: str, size: dict[str, int], rules: list[str]
) -> None:
    page = opens(
        f"{home}/?view=ask", color_scheme=scheme, viewport=size, bypass_csp=True, reduced_motion="reduce"
    )
    states = [
        (address_of(home, RED, "Is there a picture of something green?"), ".near img"),
        (f"{home}/?view=ask", ".below li"),
        (f"{home}/?q=what+is+red", ".tile"),
    ]
    for address, sign in states if (scheme, size) == ("light", DESK) else states[:1]:
        page.goto(address)
        page.wait_for_selector(sign)
        for closed in page.locator("summary").all():
            closed.click()
        in_nobodys_way(page, rules)
