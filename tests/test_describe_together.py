"""Describing the library while others use the catalog: locks are short, and nobody describes twice."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from indexer import IndexReport
from retrieval import Catalog
from retrieval.db.queries import Writer
from retrieval.describing import run as describing
from retrieval.errors import CatalogBusy, CatalogUnwritable
from retrieval.speech import Sight, Style
from tests.conftest import draw
from tests.test_describe_library import ALL, Looker, captions, run, said, vectors

Index = Callable[..., IndexReport]


@dataclass
class Meanwhile(Looker):
    """Does something else with the catalog while it is at work."""

    act: Callable[[int], None] = lambda _call: None

    def captions(
        self, sights: Sequence[Sight], *, style: Style = "caption", count: int = 1
    ) -> list[list[str]]:
        found = super().captions(sights, style=style, count=count)
        self.act(len(self.calls))
        return found


@dataclass
class Held:
    """Another command that is writing, until it is told of."""

    writer: Writer
    notes: list[str] = field(default_factory=list)

    def __call__(self, step: str, figures: dict[str, object]) -> None:
        if step == "note":
            self.notes.append(str(figures["text"]))
            self.writer.close()


def test_while_a_model_is_at_work_the_catalog_is_written_to(
    catalog: Path, photos: Path, index: Index
) -> None:
    def act(call: int) -> None:
        with Catalog(catalog) as other:
            other.tags.set(photos / "red.png", f"mine{call}")
            other.texts.add([f"a sentence {call}"])
            other.ask("What is red?", answerer="rules", keep=True, seconds=60)
        draw(photos / f"new{call}.png", "pink", mark=call)
        assert index(photos).added == 1

    report = run(catalog, Meanwhile(act=act))
    assert (report.described, report.waiting) == (6, 0)
    assert said(catalog) == ALL
    assert vectors(catalog) == 6 + 3
    with Catalog(catalog) as opened:
        assert opened.ask("and blue?", answerer="rules", follow_up=True).text


def test_captions_are_found_as_they_come(catalog: Path) -> None:
    found: list[int] = []
    run(catalog, Meanwhile(act=lambda _call: found.append(vectors(catalog))))
    assert found == [0, 2, 4]


def test_a_second_run_is_refused_and_asks_its_model_for_nothing(catalog: Path) -> None:
    second = Looker(id="looker/2")

    def act(_call: int) -> None:
        for style in ("caption", "alt"):
            with pytest.raises(CatalogBusy, match=r"Another command \(process \d+\) is describing"):
                run(catalog, second, style=style)

    assert run(catalog, Meanwhile(act=act)).described == 6
    assert second.calls == []
    assert captions(catalog) == sorted(ALL.items())
    assert run(catalog, second).described == 6, "the first one's lock has gone with it"


def test_a_run_that_failed_leaves_no_lock(catalog: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        run(catalog, Looker(fails=lambda _call: ZeroDivisionError()))
    assert run(catalog, Looker()).described == 6


def test_what_another_run_described_just_before_is_not_paid_for_again(
    catalog: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from retrieval.db import locking

    acquire, first = locking.acquire, Looker()

    def late(*place: object, **more: object) -> object:
        if len(place) > 1:
            monkeypatch.undo()
            run(catalog, first)
        return acquire(*place, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(locking, "acquire", late)
    second = Looker()
    assert run(catalog, second).unchanged == 6
    assert (first.described, second.described) == (6, 0)


def test_a_batch_waits_for_whoever_is_writing(catalog: Path) -> None:
    with Catalog(catalog) as opened, Catalog(catalog) as other:
        held = Held(other.state.writer())
        report = opened.describe_library(captioner=Looker(), progress=held)
    assert (report.described, report.interrupted) == (6, False)
    assert len(held.notes) == 1
    assert "is writing to the catalog" in held.notes[0]
    assert "goes on by itself" in held.notes[0]
    assert said(catalog) == ALL


def test_a_run_that_is_to_end_waits_only_a_little(catalog: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(describing, "GRACE", 0.0)
    monkeypatch.setattr(describing, "ASKED_EVERY", 0.001)
    looker = Looker()
    with Catalog(catalog) as opened, Catalog(catalog) as other, other.state.writer():
        report = opened.describe_library(captioner=looker, stopped=lambda: bool(looker.calls))
        assert (report.interrupted, report.described, report.waiting) == (True, 0, 6)
        looker.calls.clear()
        report = opened.describe_library(captioner=looker, seconds=0.3)
        assert (report.interrupted, report.described) == (False, 0)
        assert len(looker.calls) == 1, "what cannot be kept is not asked for"
    assert said(catalog) == {}


def test_what_was_said_as_the_end_came_is_kept_once_the_other_is_done(catalog: Path) -> None:
    looker = Looker()
    with Catalog(catalog) as opened, Catalog(catalog) as other:
        held = Held(other.state.writer())
        report = opened.describe_library(captioner=looker, stopped=lambda: bool(looker.calls), progress=held)
    assert (report.interrupted, report.described) == (True, 2)
    assert len(said(catalog)) == 2


def test_a_catalog_that_cannot_be_written_costs_no_call(catalog: Path) -> None:
    (catalog / "write.lock").unlink(missing_ok=True)
    (catalog / "write.lock").mkdir()  # what cannot be opened for writing, even by root
    looker = Looker()
    with pytest.raises(CatalogUnwritable):
        run(catalog, looker)
    assert looker.calls == []


def test_two_threads_with_one_catalog_describe_it_once(catalog: Path) -> None:
    refused: list[str] = []
    lookers = Looker(), Looker()

    with Catalog(catalog) as opened:

        def work(looker: Looker) -> None:
            try:
                opened.describe_library(captioner=looker)
            except CatalogBusy as error:
                refused.append(str(error))

        threads = [threading.Thread(target=work, args=(looker,)) for looker in lookers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sum(looker.described for looker in lookers) == 6
    assert len(refused) <= 1
    assert captions(catalog) == sorted(ALL.items())
