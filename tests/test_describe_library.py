"""Describing the whole library: kept, taken up again, filtered by itself, and following its pictures."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from indexer import IndexReport
from retrieval import Catalog, Filter
from retrieval.captioners.describer import load_describer
from retrieval.describing.report import DescribeReport
from retrieval.encoders.toy import COLOURS, PALETTE
from retrieval.errors import CatalogError, ModelError, ModelUnavailable, QueryError
from retrieval.speech import Sight, Style
from tests.conftest import ROOT, draw

Index = Callable[..., IndexReport]


def colour_of(image: Image.Image) -> str:
    mean = np.asarray(image.convert("RGB"), np.float32).reshape(-1, 3).mean(0)
    return list(COLOURS)[int(((PALETTE - mean) ** 2).sum(1).argmin())]


@dataclass
class Looker:
    """A captioner that sees one thing: the colour of a picture."""

    id: str = "looker/1"
    note: str = ""
    batch_size: int = 2
    sees: bool = True
    offers: tuple[str, ...] = ("a {} wall",)
    fails: Callable[[int], Exception | None] = lambda _call: None
    calls: list[list[str]] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    styles: list[Style] = field(default_factory=list)

    def captions(
        self, sights: Sequence[Sight], *, style: Style = "caption", count: int = 1
    ) -> list[list[str]]:
        self.calls.append([str(sight.facts.path) for sight in sights])
        self.styles.append(style)
        self.told += [one.text for sight in sights for one in sight.facts.told]
        error = self.fails(len(self.calls))
        if error is not None:
            raise error
        found = []
        for sight in sights:
            assert sight.image is not None
            assert max(sight.image.size) <= 1536
            found.append([offer.format(colour_of(sight.image)) for offer in self.offers[:count]])
        return found

    @property
    def described(self) -> int:
        return sum(map(len, self.calls))


def run(catalog: Path, captioner: Looker | str, **options: object) -> DescribeReport:
    with Catalog(catalog) as opened:
        return opened.describe_library(captioner=captioner, **options)  # type: ignore[arg-type]


def said(catalog: Path, style: Style = "caption") -> dict[str, str]:
    with Catalog(catalog) as opened:
        found = opened.descriptions(style=style)
        return {one.path.name: one.caption for one in found if one.path is not None}


def captions(catalog: Path) -> list[tuple[str, str]]:
    """The caption texts: of which picture, and what."""
    with Catalog(catalog) as opened:
        found = opened.texts.list(source="caption")
        return sorted((one.path.name, one.text) for one in found if one.path is not None)


def vectors(catalog: Path) -> int:
    with Catalog(catalog) as opened, opened.state.snapshot() as reader:
        return int(reader.rows("SELECT COUNT(*) FROM text_embeddings")[0][0])


ALL = {
    "red.png": "a red wall",
    "green.png": "a green wall",
    "blue.png": "a blue wall",
    "yellow.png": "a yellow wall",
    "red-again.jpg": "a red wall",
    "white.png": "a white wall",
}


# What is kept


def test_every_picture_is_described_once_and_found_by_its_caption(catalog: Path) -> None:
    looker = Looker(offers=("a {} zeppelin",))
    report = run(catalog, looker)
    assert (report.described, report.unchanged, report.failed, report.waiting) == (6, 0, 0, 0)
    assert (report.offered, report.kept, report.empty, report.matcher, report.share) == (6, 6, 0, None, None)
    assert (report.captioner, report.interrupted) == ("looker/1", False)
    assert [len(call) for call in looker.calls] == [2, 2, 2]
    zeppelins = {name: text.replace("wall", "zeppelin") for name, text in ALL.items()}
    assert said(catalog) == zeppelins
    assert captions(catalog) == sorted(zeppelins.items())
    assert vectors(catalog) == 6
    with Catalog(catalog) as opened:
        hits = opened.search("blue zeppelin", limit=1)
        assert (hits[0].path.name, hits[0].signals["told"] > 0.5) == ("blue.png", True)
        assert opened.texts.list(source="caption")[0].name == "looker/1"


def test_a_second_run_describes_only_what_is_new(catalog: Path, photos: Path, index: Index) -> None:
    run(catalog, Looker())
    draw(photos / "pink.png", "pink")
    index(photos)
    looker = Looker()
    report = run(catalog, looker)
    assert (report.described, report.unchanged) == (1, 6)
    assert looker.calls == [[str(photos / "pink.png")]]
    assert run(catalog, looker).described == 0


def test_a_run_with_nothing_to_do_writes_nothing(catalog: Path) -> None:
    run(catalog, Looker())
    with Catalog(catalog) as opened, opened.state.writer():  # another command holds the lock
        assert run(catalog, Looker()).unchanged == 6


def test_a_picture_whose_content_changes_is_described_anew(catalog: Path, photos: Path, index: Index) -> None:
    run(catalog, Looker())
    draw(photos / "red.png", "purple", mark=5)
    index(photos)
    assert "red.png" not in said(catalog)
    assert "red.png" not in dict(captions(catalog))
    assert run(catalog, Looker()).described == 1
    assert said(catalog) == {**ALL, "red.png": "a purple wall"}


def test_another_captioner_takes_the_place_of_the_first(catalog: Path) -> None:
    run(catalog, Looker())
    report = run(catalog, Looker(id="looker/2", offers=("all {}",)))
    assert (report.described, report.unchanged) == (6, 0)
    assert said(catalog)["red.png"] == "all red"
    assert dict(captions(catalog))["red.png"] == "all red"
    assert len(captions(catalog)) == vectors(catalog) == 6


def test_again_describes_all_anew_and_an_equal_caption_keeps_its_text(catalog: Path) -> None:
    run(catalog, Looker())
    with Catalog(catalog) as opened:
        before = {one.text_id for one in opened.texts.list(source="caption")}
    looker = Looker()
    assert run(catalog, looker, again=True).described == looker.described == 6
    with Catalog(catalog) as opened:
        assert {one.text_id for one in opened.texts.list(source="caption")} == before


def test_again_in_parts_goes_round(catalog: Path) -> None:
    looker = Looker(batch_size=1)
    run(catalog, looker, limit=4)
    run(catalog, looker, again=True, limit=4)  # the two that never were, then the oldest
    order = [call[0] for call in looker.calls]
    assert [set(order[:4]) & set(order[4:6]), order[6:]] == [set(), order[:2]]
    run(catalog, looker, again=True, limit=4)
    assert [call[0] for call in looker.calls][8:] == [*order[2:4], *order[4:6]]


def test_again_that_failed_midway_says_how_to_describe_the_rest(catalog: Path) -> None:
    run(catalog, Looker())
    gone = Looker(fails=lambda call: ModelUnavailable("The endpoint is down.") if call == 3 else None)
    with pytest.raises(ModelUnavailable, match=r"4 of 6 pictures\) is kept; .* --limit 2 describes the rest"):
        run(catalog, gone, again=True)
    rest = Looker()
    run(catalog, rest, again=True, limit=2)
    assert rest.calls == [gone.calls[2]]


def test_both_styles_are_kept_and_only_captions_are_searched(catalog: Path) -> None:
    run(catalog, Looker())
    looker = Looker(offers=("A {} surface.",))
    assert run(catalog, looker, style="alt").described == 6
    assert set(looker.styles) == {"alt"}
    assert said(catalog) == ALL
    assert said(catalog, "alt")["blue.png"] == "A blue surface."
    assert captions(catalog) == sorted(ALL.items())


def test_a_filter_and_a_limit_bound_the_run(catalog: Path, photos: Path) -> None:
    report = run(catalog, Looker(), where=Filter(folder=photos / "trip"))
    assert (report.described, report.waiting) == (2, 0)
    assert set(said(catalog)) == {"red-again.jpg", "white.png"}
    report = run(catalog, Looker(), limit=3)
    assert (report.described, report.unchanged, report.waiting) == (3, 2, 1)
    with Catalog(catalog) as opened:
        inside = [one.path for one in opened.descriptions(where=Filter(folder=photos / "trip"))]
    assert len(inside) == 2


def test_a_captioner_is_told_what_people_said_and_not_what_a_captioner_said(
    catalog: Path, photos: Path
) -> None:
    with Catalog(catalog) as opened:
        opened.texts.add([{"text": "our old car", "image": str(photos / "red.png")}])
    run(catalog, Looker())
    looker = Looker(id="looker/2")
    run(catalog, looker)
    assert looker.told == ["our old car"]


def test_what_a_captioner_gives_becomes_one_plain_line(catalog: Path) -> None:
    run(catalog, Looker(offers=("  a\n{}\x1b[31m\u202e wall\x00 ",)))
    assert said(catalog)["red.png"] == "a red [31m wall"


def test_letters_that_are_joined_by_what_is_not_seen_stay_so(catalog: Path) -> None:
    run(catalog, Looker(offers=("می\u200cروم {}",)))
    assert said(catalog)["red.png"] == "می\u200cروم red"


def test_a_caption_of_any_length_is_kept_within_bounds(catalog: Path) -> None:
    run(catalog, Looker(offers=("{} " + "word " * 2000,)))
    assert 3900 < len(said(catalog)["red.png"]) <= 4000
    assert said(catalog)["red.png"].endswith("word…")


def test_a_person_s_own_texts_are_never_touched(catalog: Path, photos: Path) -> None:
    with Catalog(catalog) as opened:
        opened.texts.add([{"text": "a red wall", "image": str(photos / "red.png")}])
        run(catalog, Looker())
        run(catalog, Looker(id="looker/2", offers=("all {}",)))
        assert [one.text for one in opened.texts.list(source="added")] == ["a red wall"]
        with pytest.raises(QueryError, match="describing"):
            opened.texts.add(["mine"], source="caption")


# The built-in describer


def test_what_the_describer_says_is_kept_but_not_searched(catalog: Path) -> None:
    report = run(catalog, "describer")
    assert (report.described, report.failed) == (6, 0)
    assert "not a vision-language model" in report.note
    assert len(said(catalog)) == 6
    assert captions(catalog) == []
    assert vectors(catalog) == 0


def test_the_describer_never_takes_the_place_of_what_a_model_saw(catalog: Path) -> None:
    run(catalog, Looker(), limit=2)
    for again in (False, True):
        report = run(catalog, "describer", again=again)
        assert (report.described, report.unchanged) == (4, 2)
    assert len(captions(catalog)) == 2
    # The other way round it does.
    assert run(catalog, Looker()).described == 4
    assert said(catalog) == ALL


def test_the_describer_fills_in_where_a_model_had_nothing_to_say(catalog: Path) -> None:
    report = run(catalog, Looker(offers=(" ",)))
    assert (report.described, report.empty, report.offered) == (6, 6, 0)
    assert run(catalog, "describer").described == 6


def test_who_looked_is_not_told_by_a_name(catalog: Path) -> None:
    class Namer(Looker):
        def captions(
            self, sights: Sequence[Sight], *, style: Style = "caption", count: int = 1
        ) -> list[list[str]]:
            assert all(sight.image is None for sight in sights)
            return [["from its name"] for _ in sights]

    run(catalog, Namer(id="plugin/names", sees=False))
    assert captions(catalog) == []
    with Catalog(catalog) as opened:
        assert not any(one.seen for one in opened.descriptions())
        assert not opened.describe(1, captioner=Namer(sees=False)).seen
        assert opened.describe(1, captioner=Looker()).seen
    # What does not look is no better than the describer, and what looks is, whatever it is called.
    assert run(catalog, "describer").described == 6
    assert run(catalog, Looker(id="describer/of-mine")).described == 6
    assert run(catalog, "describer").described == 0
    with Catalog(catalog) as opened:
        assert all(one.seen for one in opened.descriptions())


def test_a_copy_is_as_much_seen_as_its_picture(catalog: Path, photos: Path, index: Index) -> None:
    run(catalog, Looker(id="describer/of-mine"))
    (photos / "copy.png").write_bytes((photos / "red.png").read_bytes())
    index(photos)
    assert run(catalog, "describer").unchanged == 7


def test_the_describer_needs_no_file(catalog: Path, photos: Path) -> None:
    (photos / "red.png").unlink()
    report = run(catalog, "describer")
    assert (report.described, report.failed) == (6, 0)


# What goes wrong


def test_a_file_that_is_gone_or_changed_is_told_and_the_run_goes_on(catalog: Path, photos: Path) -> None:
    (photos / "red.png").unlink()
    draw(photos / "blue.png", "green")
    (photos / "green.png").write_bytes(b"no picture")
    notes: list[str] = []
    report = run(
        catalog,
        Looker(),
        progress=lambda step, figures: notes.append(str(figures["text"])) if step == "note" else None,
    )
    assert (report.described, report.failed, report.waiting) == (3, 3, 0)
    assert len([note for note in notes if "is passed over" in note]) == 3
    assert any("blue.png is passed over: it has changed since it was indexed" in note for note in notes)
    assert set(said(catalog)) == ALL.keys() - {"red.png", "blue.png", "green.png"}
    # They wait for the file to come back, or to be indexed as it is now.
    draw(photos / "red.png", "red")
    assert run(catalog, Looker()).described == 1


def test_many_files_that_are_gone_do_not_flood(catalog: Path, photos: Path) -> None:
    for path in photos.rglob("*.*g"):
        path.unlink()
    notes: list[str] = []
    run(
        catalog,
        Looker(),
        progress=lambda step, figures: notes.append(str(figures["text"])) if step == "note" else None,
    )
    assert len(notes) == 6
    assert notes[-1] == "1 more pictures were passed over."


def test_a_model_that_goes_away_midway_keeps_what_is_done(catalog: Path) -> None:
    gone = Looker(fails=lambda call: ModelUnavailable("The endpoint is down.") if call == 3 else None)
    with pytest.raises(ModelUnavailable, match=r"The endpoint is down\. .*4 of 6 pictures\) is kept"):
        run(catalog, gone)
    assert len(said(catalog)) == vectors(catalog) == 4
    looker = Looker()
    assert run(catalog, looker).described == looker.described == 2


def test_a_model_that_was_never_there_says_only_that(catalog: Path) -> None:
    with pytest.raises(ModelUnavailable, match=r"^The endpoint is down\.$"):
        run(catalog, Looker(fails=lambda _call: ModelUnavailable("The endpoint is down.")))


def test_a_picture_that_a_model_fails_for_does_not_stop_the_others(catalog: Path, photos: Path) -> None:
    @dataclass
    class Picky(Looker):
        def captions(
            self, sights: Sequence[Sight], *, style: Style = "caption", count: int = 1
        ) -> list[list[str]]:
            if any(sight.facts.path == photos / "green.png" for sight in sights):
                raise ModelError("I do not like green.")
            return super().captions(sights, style=style, count=count)

    report = run(catalog, Picky())
    assert (report.described, report.failed) == (5, 1)
    assert set(said(catalog)) == ALL.keys() - {"green.png"}


def test_a_model_that_fails_for_every_picture_is_not_asked_for_all(catalog: Path) -> None:
    looker = Looker(fails=lambda _call: ModelError("Out of order."), batch_size=1)
    with pytest.raises(ModelError, match="Out of order"):
        run(catalog, looker)
    assert len(looker.calls) == 3


def test_pictures_that_a_model_fails_for_now_and_then_do_not_end_the_run(catalog: Path) -> None:
    looker = Looker(batch_size=1, fails=lambda call: ModelError("Not this one.") if call % 2 else None)
    report = run(catalog, looker)
    assert (report.described, report.failed) == (3, 3)


def test_what_a_model_said_before_it_failed_for_good_is_kept(catalog: Path) -> None:
    looker = Looker(batch_size=6, fails=lambda call: None if call == 2 else ModelError("Out of order."))
    with pytest.raises(ModelError, match=r"Out of order\. .*1 of 6 pictures\) is kept"):
        run(catalog, looker)
    assert len(said(catalog)) == 1
    assert run(catalog, Looker()).described == 5


def test_a_library_of_one_picture_that_fails_is_an_error(tmp_path: Path, index: Index) -> None:
    draw(tmp_path / "one" / "red.png", "red")
    index(tmp_path / "one")
    with pytest.raises(ModelError, match="Out of order"):
        run(tmp_path / "catalog", Looker(fails=lambda _call: ModelError("Out of order.")))


def test_a_picture_that_is_forgotten_meanwhile_is_left_out(catalog: Path, photos: Path) -> None:
    from retrieval.db.descriptions_writes import NewDescription, put_descriptions

    with Catalog(catalog) as opened, opened.state.writer() as writer:
        stale = NewDescription(1, b"other content", "a lie", 1, 1)
        gone = NewDescription(999, b"none", "a ghost", 1, 1)
        assert put_descriptions(writer, "looker/1", "caption", [stale, gone], seen=True) == []
    assert said(catalog) == {}


def test_an_interrupted_run_is_taken_up_where_it_ended(catalog: Path) -> None:
    looker = Looker()
    report = run(catalog, looker, stopped=lambda: looker.described >= 2)
    assert (report.interrupted, report.described, report.waiting) == (True, 2, 4)
    assert vectors(catalog) == 0
    report = run(catalog, Looker())
    assert (report.interrupted, report.described, report.unchanged) == (False, 4, 2)
    assert vectors(catalog) == 6


def test_ctrl_c_keeps_what_is_done(catalog: Path) -> None:
    def fails(call: int) -> Exception | None:
        if call == 2:
            raise KeyboardInterrupt
        return None

    report = run(catalog, Looker(fails=fails))
    assert (report.interrupted, report.described) == (True, 2)
    assert run(catalog, Looker()).described == 4
    assert vectors(catalog) == 6


def test_texts_that_wait_get_their_vectors_though_nothing_is_left_to_describe(catalog: Path) -> None:
    looker = Looker(batch_size=6)
    run(catalog, looker, stopped=lambda: bool(looker.calls))
    assert (len(captions(catalog)), vectors(catalog)) == (6, 0)
    assert run(catalog, Looker()).described == 0
    assert vectors(catalog) == 6


def test_time_that_is_used_up_ends_a_run_in_order(catalog: Path) -> None:
    report = run(catalog, Looker(), seconds=1e-9)
    assert (report.interrupted, report.described, report.waiting) == (False, 0, 6)
    assert run(catalog, Looker(), seconds=600).waiting == 0


KILLED = """
import os, signal, sys
from retrieval import Catalog
from tests.test_describe_library import Looker
class Dying(Looker):
    def captions(self, sights, *, style="caption", count=1):
        if self.calls:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().captions(sights, style=style, count=count)
with Catalog(sys.argv[1]) as opened:
    opened.describe_library(captioner=Dying())
"""


def test_killed_at_any_batch_the_next_run_completes_the_same(catalog: Path) -> None:
    for killed in (1, 2):
        died = subprocess.run([sys.executable, "-c", KILLED, str(catalog)], cwd=ROOT, check=False)
        assert died.returncode == -signal.SIGKILL
        assert len(said(catalog)) == len(captions(catalog)) == 2 * killed
    run(catalog, Looker())
    assert said(catalog) == ALL
    assert captions(catalog) == sorted(ALL.items())
    assert vectors(catalog) == 6


def test_what_cannot_be_done_is_said(catalog: Path, tmp_path: Path) -> None:
    with Catalog(catalog) as opened:
        mistakes: dict[str, tuple[Any, ...]] = {
            "candidates": (0, 99, "3", None),
            "limit": (0, "x", 2.5),
            "style": ("poem", None),
            "where": ({}, {"after": "2020"}, "2020"),
            "seconds": (0, -1, float("nan"), float("inf"), "x"),
        }
        for name, values in mistakes.items():
            for wrong in values:
                with pytest.raises(QueryError):
                    opened.describe_library(captioner=Looker(), **{name: wrong})
        with pytest.raises(QueryError, match="Filter"):
            list(opened.descriptions(where={"after": "2020"}))  # type: ignore[arg-type]
        with pytest.raises(QueryError, match="poem"):
            list(opened.descriptions(style="poem"))  # type: ignore[arg-type]
    with Catalog(catalog, readonly=True) as opened, pytest.raises(CatalogError, match="reading only"):
        opened.describe_library(captioner=Looker())
    run(catalog, Looker())  # It is refused also where nothing would be written.
    with Catalog(catalog, readonly=True) as opened, pytest.raises(CatalogError, match="reading only"):
        opened.describe_library(captioner=Looker())
    with (
        Catalog(tmp_path / "empty", create=True) as opened,
        pytest.raises(CatalogError, match="search index"),
    ):
        opened.describe_library(captioner=Looker())


# Captions that filter themselves


OFFERS = ("a purple wall", "a {} wall", "{}")


def test_only_captions_that_the_matcher_agrees_with_are_kept(catalog: Path) -> None:
    report = run(catalog, Looker(offers=OFFERS), candidates=3, matcher="encoder")
    assert (report.offered, report.kept) == (18, 12)
    assert report.share == pytest.approx(2 / 3)
    assert report.matcher == "encoder/toy/colours/1"
    assert said(catalog) == ALL
    assert report.as_dict()["share_kept"] == 0.6667


def test_a_caption_that_is_possible_but_unlikely_is_not_kept(catalog: Path, photos: Path) -> None:
    from retrieval.fitting import Fitting

    doubtful = "a red, pink, blue, green and yellow wall"
    with Catalog(catalog) as opened:
        red = opened.state.find_picture(photos / "red.png")
        fitting = Fitting(opened.state, "encoder")
        assert red is not None
        chance = fitting.chances([(red, doubtful)])[0]
        assert chance is not None
        assert 0.2 < chance < fitting.least
    report = run(catalog, Looker(offers=(doubtful,)), matcher="encoder")
    assert (report.kept, report.empty) == (0, 6)


def test_the_best_of_the_kept_is_taken(catalog: Path) -> None:
    run(catalog, Looker(offers=("a {} and gray wall", "all {}")), candidates=2, matcher="encoder")
    assert said(catalog)["red.png"] == "all red"


def test_a_picture_without_a_kept_caption_is_not_tried_again(catalog: Path) -> None:
    report = run(catalog, Looker(offers=("a purple wall", "a pink one")), candidates=2, matcher="encoder")
    assert (report.described, report.kept, report.empty) == (6, 0, 6)
    assert said(catalog) == {}
    assert captions(catalog) == []
    looker = Looker()
    assert run(catalog, looker, candidates=2).unchanged == 6
    assert looker.calls == []
    assert run(catalog, looker, candidates=2, again=True).empty == 0


def test_one_candidate_is_checked_where_a_matcher_is_named(catalog: Path) -> None:
    report = run(catalog, Looker(offers=("a red wall",)), matcher="encoder")
    assert (report.offered, report.kept, report.empty) == (6, 2, 4)
    assert set(said(catalog)) == {"red.png", "red-again.jpg"}


def test_equal_candidates_count_once(catalog: Path) -> None:
    report = run(catalog, Looker(offers=("all {}", " all {} ")), candidates=2, matcher="encoder")
    assert (report.offered, report.kept) == (6, 6)


# Following the picture


def test_captions_go_with_a_forgotten_picture_and_stay_with_a_missing_one(
    catalog: Path, photos: Path, index: Index
) -> None:
    run(catalog, Looker())
    data = (photos / "red.png").read_bytes()
    (photos / "red.png").unlink()
    index(photos)
    assert "red.png" not in said(catalog)
    (photos / "red.png").write_bytes(data)
    index(photos)
    assert said(catalog) == ALL
    with Catalog(catalog) as opened:
        opened.forget(photos / "red.png")
        with opened.state.snapshot() as reader:
            assert reader.rows("SELECT COUNT(*) FROM descriptions")[0][0] == 5
    assert captions(catalog) == sorted(set(ALL.items()) - {("red.png", "a red wall")})


def test_a_copy_and_a_move_keep_what_was_said(catalog: Path, photos: Path, index: Index) -> None:
    run(catalog, Looker())
    run(catalog, Looker(), style="alt")
    (photos / "copy.png").write_bytes((photos / "red.png").read_bytes())
    (photos / "blue.png").rename(photos / "sea.png")
    index(photos)
    assert run(catalog, Looker()).unchanged == run(catalog, Looker(), style="alt").unchanged == 7
    now = said(catalog)
    assert (now["copy.png"], now["sea.png"]) == ("a red wall", "a blue wall")
    assert ("copy.png", "a red wall") in captions(catalog)


def test_a_caption_that_a_person_removes_does_not_come_back_by_itself(catalog: Path, photos: Path) -> None:
    run(catalog, Looker())
    with Catalog(catalog) as opened:
        mine = opened.texts.list(source="caption", image=photos / "red.png")
        opened.texts.remove([mine[0].text_id])
    assert run(catalog, Looker()).unchanged == 6
    assert "red.png" not in {**said(catalog), **dict(captions(catalog))}
    run(catalog, Looker(), again=True)
    assert said(catalog) == ALL


def test_removing_other_texts_leaves_descriptions_alone(catalog: Path, photos: Path) -> None:
    run(catalog, Looker())
    with Catalog(catalog) as opened:
        opened.texts.add([{"text": "our old car", "image": str(photos / "red.png")}])
        assert opened.texts.remove(source="added") == 1
    assert said(catalog) == ALL


def test_descriptions_are_listed_with_tags_and_captioner(catalog: Path, photos: Path) -> None:
    run(catalog, Looker())
    with Catalog(catalog) as opened:
        opened.tags.set(photos / "red.png", "holiday")
        found = {one.path: one for one in opened.descriptions()}
    one = found[photos / "red.png"]
    assert one.captioner == "looker/1"
    assert "holiday" in [tag.tag for tag in one.tags]


def test_pictures_are_read_ahead_and_closing_early_leaves_no_thread(catalog: Path) -> None:
    import threading

    looker = Looker(batch_size=1)
    run(catalog, looker, stopped=lambda: bool(looker.calls))
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("describe-read")]


def test_the_describer_is_the_default_where_no_endpoint_is_set(
    catalog: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SEARCH_ENDPOINT", raising=False)
    with Catalog(catalog) as opened:
        assert opened.describe_library().captioner == load_describer("").id


@pytest.fixture(autouse=True)
def _no_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("SEARCH_ENDPOINT")]:
        monkeypatch.delenv(name)


# Models on this machine


def test_a_model_on_this_machine_describes_the_library(catalog: Path, tmp_path: Path) -> None:
    from tests.tiny_vlm import build

    model = build("llava", tmp_path / "tiny", says="a red car")
    report = run(catalog, f"local:{model}", limit=4)
    assert (report.described, report.failed, report.empty) == (4, 0, 0)
    assert set(said(catalog).values()) == {"A red car."}
    assert len(captions(catalog)) == vectors(catalog) == 4


# What a caption counts in a search


def test_the_meaning_of_a_model_s_caption_alone_shows_no_picture(catalog: Path, photos: Path) -> None:
    with Catalog(catalog) as opened:
        run(catalog, Looker(offers=("purple",)), where=Filter(folder=photos / "trip"))
        opened.texts.add([{"text": "purple", "image": str(photos / "blue.png")}])
        # The same meaning in another word, so that only vectors can tell.
        hits = {hit.path.name: hit for hit in opened.search("violet", cutoff=False)}
        assert hits["blue.png"].signals["caption"] == pytest.approx(1, abs=0.01)
        assert hits["white.png"].signals["caption"] == pytest.approx(0.4, abs=0.01)
        assert [hit.path.name for hit in opened.search("violet")] == ["blue.png"]
