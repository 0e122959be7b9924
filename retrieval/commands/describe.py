"""`search describe`: pictures in words, one by one or the whole library."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from retrieval.commands.options import echo_json, filter_options, json_option, reading_options, safe
from retrieval.errors import ImageError, QueryError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from retrieval.catalog import Catalog
    from retrieval.describing.alt import AltReport
    from retrieval.describing.report import DescribeReport
    from retrieval.protocols import Captioner
    from retrieval.query.filters import Filter
    from retrieval.query.terms import Picture
    from retrieval.speech import Style
    from retrieval.types import Description

SHOWN_FAILED = 5


@click.command()
@click.argument("images", nargs=-1, metavar="IMAGE...")
@reading_options
@click.option(
    "--captioner", metavar="NAME",
    help="Who describes: describer (built in), endpoint[:MODEL], local[:MODEL], blip. "
    "Default: endpoint where SEARCH_ENDPOINT is set, else describer.",
)  # fmt: skip
@click.option("--library", is_flag=True, help="Describe all pictures of the catalog, and keep that.")
@click.option("--again", is_flag=True, help="With --library: also those described before.")
@click.option(
    "--candidates", type=click.IntRange(1, 16), default=1, show_default=True, metavar="N",
    help="With --library: offer N captions a picture, and keep only what the matcher agrees with.",
)  # fmt: skip
@click.option(
    "--matcher", metavar="NAME",
    help="What checks captions: blip_itm or encoder. Default: blip_itm where it is here, else encoder.",
)  # fmt: skip
@click.option("--limit", type=click.IntRange(1), metavar="N", help="With --library: at most N pictures.")
@filter_options
@click.option(
    "--alt-text", "places", multiple=True, metavar="OUT",
    help="Describe for screen readers, into OUT.json, OUT.csv or, for xmp, a file beside each picture.",
)  # fmt: skip
@click.option("--write", is_flag=True, help="With --alt-text: write it into the pictures themselves.")
@click.option("--allow-url", is_flag=True, help="Let pictures be given by web address: http:// or https://")
@json_option
def describe(
    images: tuple[str, ...],
    catalog: str | None,
    no_server: bool,  # noqa: ARG001
    captioner: str | None,
    library: bool,
    again: bool,
    candidates: int,
    matcher: str | None,
    limit: int | None,
    where: Filter,
    places: tuple[str, ...],
    write: bool,
    allow_url: bool,
    as_json: bool,
) -> None:
    """Put pictures into words, each with its tags.

    The built-in describer goes by tags, texts and metadata; models that look at the picture
    need the extra 'vlm' or an endpoint. With --library the whole catalog is described, and found
    by it; only what is new is done, and the same command goes on after an interruption.

    \b
    search describe ~/Pictures/beach.jpg
    search describe beach.jpg --captioner local:HuggingFaceTB/SmolVLM-256M-Instruct
    search describe --library --captioner endpoint --candidates 3
    search describe --library --alt-text alt.csv --in ~/Pictures/website
    """
    from retrieval.catalog import Catalog

    if bool(images) == library:
        raise click.UsageError("Name pictures to describe, or describe all with --library.")
    if library and allow_url:
        raise click.UsageError("--allow-url goes with pictures that are named, not with --library.")
    if not library:
        for name, given in {
            "--again goes": again,
            "--candidates goes": candidates != 1,
            "--matcher goes": matcher,
            "--limit goes": limit,
            "Filters go": where,
        }.items():
            if given:
                raise click.UsageError(f"{name} with --library.")
    if write and not places:
        raise click.UsageError("--write goes with --alt-text: say what else is written, or --alt-text xmp.")
    if places:
        from retrieval.describing.alt import check_alt_place

        check_alt_place(places, write=write)
    from retrieval.captioners import load_captioner
    from retrieval.describing.report import go_on

    style: Style = "alt" if places else "caption"
    speaker = load_captioner(captioner)
    with Catalog(catalog) as opened:
        told = speaker.note if speaker.sees else ""
        _tell(told)  # before anything is sent anywhere
        if library:
            report, stopped_by = _library(
                opened,
                captioner=speaker,
                style=style,
                where=where,
                again=again,
                candidates=candidates,
                matcher=matcher,
                limit=limit,
            )
            if speaker.note != told:
                _tell(speaker.note.removeprefix(told).strip())
            if report.interrupted:
                _report(report, as_json=as_json)
                asked = report.described + report.failed + report.waiting
                left = (asked if limit is None else min(limit, asked)) - report.described
                _tell(f"Interrupted. What was described is kept; {go_on(left, again=again)}")
                click.get_current_context().exit(128 + stopped_by)
            if not report.described + report.unchanged + report.failed + report.waiting:
                _tell_none(where)
            told_of = opened.descriptions(where=where, style=style)
            written = _written(told_of, places, write=write, catalog=opened)
            if as_json:
                echo_json(one.as_dict() for one in opened.descriptions(where=where, style=style))
            _report(report, written, as_json=as_json)
        else:
            found: list[Description] = []
            written = None
            try:
                failed = _each(opened, images, speaker, style, found, allow_url=allow_url, as_json=as_json)
            finally:  # also of those before a model went away
                if found:
                    written = _written(found, places, write=write, catalog=opened)
            if failed:
                click.get_current_context().exit(1)
    if written is not None and written.failed:
        click.get_current_context().exit(1)


def _library(opened: Catalog, **options: Any) -> tuple[DescribeReport, int]:
    """Run over the library until it is done or a signal comes, which is given too."""
    from indexer.stopping import StopSignals
    from retrieval.show.progress import ProgressLine

    with ProgressLine(sys.stderr, doing="Describing") as line, StopSignals() as stop:
        report = opened.describe_library(progress=line, stopped=stop.is_set, **options)
    return report, stop.signal or signal.SIGINT


def _each(
    opened: Catalog,
    images: Sequence[str],
    speaker: Captioner,
    style: Style,
    found: list[Description],
    *,
    allow_url: bool,
    as_json: bool,
) -> int:
    """Show the pictures one by one as they are described; returns how many could not be used."""
    from retrieval.query.terms import is_url

    failed, spoke = 0, False
    told = speaker.note if speaker.sees else ""
    for name in images:
        picture: Picture = name if is_url(name) else Path(name)
        try:
            one = opened.describe(picture, captioner=speaker, style=style, allow_url=allow_url)
        except (ImageError, QueryError) as error:
            if len(images) == 1:
                raise
            failed += 1
            _tell(f"Error: {error}")
            continue
        # Only now: a model that was not named is chosen when it is first asked, and has one more to tell.
        by = "" if spoke else f"Described by {one.captioner}."
        _tell(" ".join(part for part in (by, speaker.note.removeprefix(told).strip()) if part))
        told, spoke = speaker.note, True
        _show(one, name, several=len(images) > 1, said=told, as_json=as_json)
        if one.path is not None:
            found.append(one)
    return failed


def _show(one: Description, name: str, *, several: bool, said: str, as_json: bool) -> None:
    if as_json:
        echo_json([one.as_dict()])
        return
    if several:
        click.echo(f"{safe(name if one.path is None else str(one.path))}:")
    click.echo(safe(one.caption) or "No words were found for it.")
    if one.tags:
        click.echo("  " + ", ".join(f"{safe(tag.tag)} {tag.confidence:.0%}" for tag in one.tags))
    _tell(one.note.removeprefix(said).strip())


def _report(report: DescribeReport, written: AltReport | None = None, *, as_json: bool) -> None:
    if as_json:
        places = {} if written is None else {"alt_texts": written.as_dict()}
        echo_json([{**report.as_dict(), **places}])
        return
    parts = [f"{_pictures(report.described)} described by {report.captioner} in {report.seconds:.1f} s"]
    others = ("described before", report.unchanged), ("passed over", report.failed)
    parts += (f"{count} {what}" for what, count in (*others, ("still to do", report.waiting)) if count)
    click.echo(safe("; ".join(parts) + "."))
    none = f"; {_pictures(report.empty)} got none" if report.empty else ""
    if report.share is not None:
        click.echo(
            f"Of {report.offered} captions offered, the matcher agreed with {report.kept} "
            f"({report.share:.0%}){none}."
        )
    elif report.empty:
        click.echo(f"{_pictures(report.empty)} got no words.")


def _written(
    descriptions: Iterable[Description], places: Sequence[str], *, write: bool, catalog: Catalog
) -> AltReport | None:
    """Write and tell of alt texts, where any are asked for."""
    if not places:
        return None
    from retrieval.describing.alt import write_alt_texts

    report = write_alt_texts(descriptions, places, write=write, catalog=catalog)
    kept = f", {report.kept} had one already" if report.kept else ""
    _tell(f"{report.out}: alt texts of {_pictures(report.written)} written{kept}.")
    if report.unseen:
        _tell(
            f"{_pictures(report.unseen)} got an alt text of the built-in describer, which has not looked at "
            "the picture, and an alt text in a picture is never replaced. To read such texts before they are "
            "written into pictures, make a list first: --alt-text alt.csv"
        )
    if report.untold:
        _tell(
            f"{_pictures(report.untold)} written to, of which the catalog could not be told: "
            f"{report.why_untold} The next search index reads them again, and what models said of them is "
            "forgotten."
        )
    for path, why in report.failed[:SHOWN_FAILED]:
        _tell(f"{path}: {why}")
    if len(report.failed) > SHOWN_FAILED:
        _tell(f"{len(report.failed) - SHOWN_FAILED} more could not be written.")
    if report.failed and write:
        _tell("What cannot be written into pictures can stand beside them: --alt-text xmp without --write")
    return report


def _tell_none(where: Filter) -> None:
    if where.folder and not os.path.exists(os.path.expanduser(where.folder)):
        _tell(f"There is no folder {where.folder}.")
    elif where:
        _tell("No picture of the catalog passes these filters. What there is: search status")
    else:
        _tell("The files of all pictures are gone. When they are back: search index")


def _tell(text: str) -> None:
    if text:
        click.echo(safe(text), err=True)


def _pictures(count: int) -> str:
    return f"{count} picture{'' if count == 1 else 's'}"
