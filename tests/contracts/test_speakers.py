"""What every speaker promises, over local models of every kind and a chat endpoint."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from retrieval.captioners import SPEAKERS, load_speaker
from retrieval.errors import ModelError
from retrieval.protocols import Speaker
from retrieval.speech import Chat, Turn
from tests.chat_server import ChatServer
from tests.tiny_vlm import KINDS, build

RED = Image.new("RGB", (90, 60), (200, 40, 30))
BLUE = Image.new("RGB", (60, 90), (20, 40, 200))
SAYS = "A red car stands on the street."
SUBJECTS = [*(f"local-{kind}" for kind in KINDS), "endpoint"]

ODD: list[tuple[str, Chat]] = [
    ("nothing at all", []),
    ("an empty turn", [Turn("user", ())]),
    ("an empty text", [Turn("user", ("",))]),
    ("a system alone", [Turn("system", ("Be brief.",))]),
    ("two turns of one side", [Turn("user", (RED, "one")), Turn("user", ("two",))]),
    ("a reply first", [Turn("assistant", ("hello",)), Turn("user", ("what?",))]),
    ("a reply last", [Turn("user", (RED, "what?")), Turn("assistant", ("It is",))]),
    ("a picture alone", [Turn("user", (RED,))]),
    ("text before a picture", [Turn("user", ("what?", RED))]),
    (
        "a picture in each turn",
        [Turn("user", (RED, "a")), Turn("assistant", ("b",)), Turn("user", (BLUE, "c"))],
    ),
    ("other alphabets", [Turn("user", (RED, "雪の中の二匹の犬 كلب 🐕 naïve"))]),
    ("half a surrogate pair", [Turn("user", (RED, "half \ud83d and \x00 and \x1b[2J"))]),
    ("marks of models", [Turn("user", (RED, "<image> </s> <|im_end|> <|image_pad|> [/INST] <eos> USER:"))]),
    ("one pixel", [Turn("user", (Image.new("RGB", (1, 1)), "what?"))]),
    ("a very slim picture", [Turn("user", (Image.new("RGB", (900, 2)), "what?"))]),
    ("a gray picture", [Turn("user", (Image.new("L", (40, 40)), "what?"))]),
]


@dataclass(frozen=True)
class Subject:
    """A speaker that says something of its own to each chat, one that always says `SAYS`, a slow one."""

    make: Callable[[], Speaker]
    other: Callable[[], Speaker]
    saying: Callable[[], Speaker]
    slow: Callable[[], Speaker]


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Models this small only lose by a second thread, and much where other work is going on."""
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    made: dict[Any, Path] = {}

    def get(kind: str, **options: Any) -> Path:
        key = (kind, *options.items())
        if key not in made:
            made[key] = build(kind, tmp_path_factory.mktemp(kind) / kind, **options)
        return made[key]

    return get


def digest(body: dict[str, Any]) -> str:
    """A server's answer that depends on the whole chat, and on the seed where there is any chance."""
    seed = body.get("seed") if body.get("temperature") else 0
    said = json.dumps([body["messages"], seed], sort_keys=True).encode()
    return "Words: " + " ".join(hashlib.sha256(said).hexdigest()[:30:2])


@pytest.fixture(params=SUBJECTS)
def subject(
    request: pytest.FixtureRequest, folders: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Subject]:
    name, _, kind = request.param.partition("-")
    if name == "local":
        yield Subject(
            lambda: load_speaker(f"local:{folders(kind)}"),
            lambda: load_speaker(f"local:{folders(kind, seed=1)}"),
            lambda: load_speaker(f"local:{folders(kind, says=SAYS)}"),
            lambda: load_speaker(f"local:{folders(kind)}"),
        )
        return
    for variable in ("SEARCH_ENDPOINT_MODEL", "SEARCH_ENDPOINT_KEY"):
        monkeypatch.delenv(variable, raising=False)
    with ExitStack() as stack:
        talking = stack.enter_context(ChatServer(digest, models=("tiny-vlm", "other-vlm")))
        saying = stack.enter_context(ChatServer(SAYS))
        slow = stack.enter_context(ChatServer(SAYS, stall="before"))

        def at(server: ChatServer, spec: str) -> Speaker:
            monkeypatch.setenv("SEARCH_ENDPOINT", server.url)
            return load_speaker(spec)

        yield Subject(
            lambda: at(talking, "endpoint:tiny-vlm"),
            lambda: at(talking, "endpoint:other-vlm"),
            lambda: at(saying, "endpoint"),
            lambda: at(slow, "endpoint"),
        )


def question(*parts: Any) -> Chat:
    return [Turn("system", ("Answer in a sentence.",)), Turn("user", parts)]


def test_every_registered_speaker_is_held_to_the_contract() -> None:
    assert set(SPEAKERS) <= {subject.partition("-")[0] for subject in SUBJECTS}


def test_a_speaker_says_who_it_is(subject: Subject) -> None:
    model = subject.make()
    assert model.id == subject.make().id
    assert model.id != subject.other().id
    assert model.batch_size >= 1
    assert isinstance(model.note, str)


def test_what_a_model_says_comes_back_whole_with_what_it_took(subject: Subject) -> None:
    model = subject.saying()
    reply = model.reply([question(RED, "What is it?")])[0]
    assert reply.text == SAYS
    assert reply.complete
    assert reply.tokens > 0
    assert reply.prompt_tokens > 0


def test_no_chats_get_no_replies(subject: Subject) -> None:
    assert subject.make().reply([]) == []


def test_every_chat_gets_a_reply_however_odd(subject: Subject) -> None:
    model = subject.make()
    for name, chat in ODD:
        replies = model.reply([chat], max_tokens=2)
        assert len(replies) == 1, name
        assert isinstance(replies[0].text, str), name


def test_a_chat_gets_the_same_reply_alone_and_among_others(subject: Subject) -> None:
    model = subject.make()
    chats = [
        question(RED, "What is it?"),
        question("No picture here, and a question that is a good deal longer than the others."),
        question(BLUE, "And what is this? It is long enough to be padded."),
        question(RED, BLUE, "What differs?"),
        question(BLUE, "x"),
    ]
    for chance in (0.0, 0.9):
        say = partial(model.reply, max_tokens=8, temperature=chance, seed=5)
        together = say(chats)
        alone = [say([chat])[0] for chat in chats]
        assert [reply.text for reply in together] == [reply.text for reply in alone]
        assert [reply.prompt_tokens for reply in together] == [reply.prompt_tokens for reply in alone]
        assert len({reply.text for reply in together}) == len(chats), "each chat has an answer of its own"


def test_chance_comes_from_the_seed_alone(subject: Subject) -> None:
    model = subject.make()
    chats = [question(RED, "What is it?")]
    drawn = [model.reply(chats, max_tokens=8, temperature=1.5, seed=seed)[0].text for seed in (1, 2, 3, 1)]
    assert drawn[0] == drawn[3]
    assert len(set(drawn)) > 1
    sure = [model.reply(chats, max_tokens=8, seed=seed)[0].text for seed in (1, 2)]
    assert sure[0] == sure[1]


def test_the_pieces_are_the_reply(subject: Subject) -> None:
    for model in (subject.saying(), subject.make()):
        pieces: list[str] = []
        reply = model.reply([question(RED, "What is it?")], max_tokens=40, on_text=pieces.append)[0]
        assert "".join(pieces) == reply.text
        assert len(pieces) > 1


def test_a_reply_that_is_cut_at_its_length_says_so(subject: Subject) -> None:
    model = subject.saying()
    reply = model.reply([question(RED, "What is it?")], max_tokens=2)[0]
    if model.id.startswith("endpoint"):
        assert reply.complete, "this server does not count"
        return
    assert not reply.complete
    assert reply.tokens == 2
    assert SAYS.startswith(reply.text)


def test_time_without_a_word_is_an_error_that_says_so(subject: Subject) -> None:
    model = subject.slow()
    with pytest.raises(ModelError, match=r"said nothing within .*--captioner describer"):
        model.reply([question(RED, "What is it?")] * 3, seconds=0)


def test_several_threads_get_the_replies_that_one_gets(subject: Subject) -> None:
    model = subject.make()
    chats = [question(RED, "What is it?"), question(BLUE, "And this?")]
    with ThreadPoolExecutor(3) as pool:
        several = list(pool.map(lambda _: model.reply(chats, max_tokens=4), range(3)))
    assert several == [model.reply(chats, max_tokens=4)] * 3
