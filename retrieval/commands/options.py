"""What several commands share: options, and the ways out."""

from __future__ import annotations

import functools
import json
import math
import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from retrieval.errors import ImageError

if TYPE_CHECKING:
    from PIL.Image import Image

    from retrieval.catalog import Catalog
    from retrieval.query.terms import Query
    from retrieval.types import Hit, Hits

F = TypeVar("F", bound=Callable[..., Any])


class Place(click.Path):
    """A path that was really given: an empty one, of an unset variable, would be the folder at hand."""

    def __init__(self, *, dir_okay: bool = True) -> None:
        super().__init__(dir_okay=dir_okay, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not os.fspath(value):
            self.fail("The path is empty. Is it a variable that is not set?", param, ctx)
        return super().convert(value, param, ctx)


class Number(click.FloatRange):
    """A number within bounds; `nan` lies within all of them for click, and `inf` has no end."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a number that can be used here.", param, ctx)
        return number


class Duration(click.ParamType[float]):
    """A time as `90s`, `10m`, `1h` or `1d`, in seconds: from one of them to a year."""

    name = "duration"
    SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}  # noqa: RUF012

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        text = str(value).strip().lower()
        unit = self.SECONDS.get(text[-1:])
        try:
            seconds = float(text[:-1]) * (unit or math.nan)
        except ValueError:
            seconds = math.nan
        if not 1 <= seconds <= 366 * self.SECONDS["d"]:
            self.fail(f"'{value}' is no time such as 90s, 10m, 1h or 1d.", param, ctx)
        return seconds


def safe(text: str) -> str:
    """The text with nothing in it that a terminal would act on."""
    from retrieval.show.table import safe_name

    return safe_name(text)


def _catalog(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    if value == "":
        raise click.BadParameter("It is empty. Is it a variable that is not set?", ctx, param)
    return value


def catalog_option(command: F) -> F:
    return click.option(
        "--catalog",
        metavar="C",
        callback=_catalog,
        help="Catalog folder or database URL. Default: $SEARCH_CATALOG, else the user's data folder.",
    )(command)


def reading_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Those of every command that only reads; a catalog of a stranger is given on as its `Location`."""

    @functools.wraps(command)
    def reading(*given: Any, untrusted: bool, catalog: str | None, **options: Any) -> Any:
        if not untrusted:
            return command(*given, catalog=catalog, **options)
        from retrieval.config import Location

        return command(*given, catalog=Location.parse(catalog).of_a_stranger(), **options)

    found: Callable[..., Any] = reading
    for option in (
        click.option("--no-server", is_flag=True, help="Leave a running local server alone."),
        click.option(
            "--read-only", "--untrusted", "untrusted", is_flag=True,
            help="Somebody else made the catalog: write nothing there, and believe nothing but its rows.",
        ),
    ):  # fmt: skip
        found = option(found)
    return catalog_option(found)


def json_option(command: F) -> F:
    return click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")(command)


def limit_option(command: F) -> F:
    return click.option(
        "-k", "--limit", type=click.IntRange(1), default=10, show_default=True, metavar="N",
        help="At most N hits.",
    )(command)  # fmt: skip


def filter_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say which pictures may be found at all; the command gets them as `where`."""
    names = ("folder", "after", "before", "camera", "near", "orientation", "min_size", "type", "tags")

    @functools.wraps(command)
    def filtered(**options: Any) -> Any:
        from retrieval.query.filters import Filter

        near = options["near"]
        if near is not None and any(character.isalpha() for character in near):
            from retrieval.query.gazetteer import prepared

            if not prepared():
                click.echo("Learning the names of places, once ...", err=True)
        where = Filter(**{name: options.pop(name) for name in names})
        if where.place is not None:
            click.echo(f"Near {safe(str(where.area))}.", err=True)
        return command(where=where, **options)

    for option in reversed(
        [
            click.option(
                "--in", "folder", metavar="DIR", type=Place(),
                help="Only below this folder.",
            ),
            click.option("--after", metavar="DATE", help="Taken then or later: 2023, 2023-07 or 2023-07-15."),
            click.option("--before", metavar="DATE", help="Taken earlier than that."),
            click.option("--camera", metavar="TEXT", help="Camera make or model contains this."),
            click.option(
                "--near", metavar="PLACE",
                help='Taken near a town ("Bergen", "Bergen, Norway, 30"), in a country, or LAT,LON,KM.',
            ),
            click.option(
                "--orientation",
                type=click.Choice(["landscape", "portrait", "square"], case_sensitive=False),
                help="Which way the picture lies.",
            ),
            click.option(
                "--min-size", metavar="SIZE",
                help="At least this large: 1000 (longer side), 1920x1080 or 12MP.",
            ),
            click.option(
                "--type", metavar="TYPE",
                help="Kind of file: jpeg, png, heic, raw ...; several with commas.",
            ),
            click.option(
                "--tag", "tags", multiple=True, metavar="TAG",
                help="Has this tag; repeat it for several.",
            ),
        ]
    ):  # fmt: skip
        filtered = option(filtered)
    return filtered


def ranking_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say which hits count, and in which order; the command gets `cutoff`."""

    @functools.wraps(command)
    def with_cutoff(*, everything: bool, **options: Any) -> Any:
        return command(cutoff=not everything, **options)

    found: Callable[..., Any] = with_cutoff
    for option in reversed(
        [
            click.option(
                "--sort", type=click.Choice(["relevance", "date"]), default="relevance", show_default=True
            ),
            click.option("--min-match", type=Number(0, 1), metavar="X", help="Show hits from this match on."),
            click.option("--all", "everything", is_flag=True, help="Show weak hits too."),
            click.option(
                "--allow-url", is_flag=True, help="Let pictures be given by web address: http:// or https://"
            ),
        ]
    ):
        found = option(found)
    return found


@dataclass(frozen=True, slots=True)
class Output:
    """How hits are to be shown; a table where nothing else was asked for."""

    as_json: bool
    paths: bool
    null: bool
    preview: bool
    html: Path | None
    explain: bool

    def show(self, hits: Hits, query: str, *, why: Callable[[Hit], Image | None] | None = None) -> None:
        """Results to stdout, what there is to say about them to stderr.

        `why` draws where in a hit the match comes from: for a page, where it was asked for.
        """
        if self.as_json:
            echo_json(hit.as_dict(explain=self.explain) for hit in hits)
        elif self.paths:
            from retrieval.show.table import write_paths

            if sys.stdout.isatty() and not self.null:  # exact bytes are for programs, not for terminals
                for hit in hits:
                    click.echo(safe(str(hit.path)))
            else:
                write_paths(hits, sys.stdout.buffer, null=self.null)
        elif self.preview:
            from retrieval.show.terminal import preview as draw

            draw(hits, sys.stdout)
        elif self.html is not None:
            from retrieval.show.gallery import write_gallery

            failed = write_gallery(hits, self.html, query=query, why=why if self.explain else None)
            left_out = f"; {len(failed)} could not be shown" if failed else ""
            written = f"{len(hits) - len(failed)} pictures written to {safe(str(self.html))}{left_out}"
            click.echo(written, err=True)
        elif len(hits):
            from retrieval.show.table import write_table

            write_table(hits, sys.stdout, explain=self.explain)
        for note in hits.notes:
            click.echo(safe(note), err=True)
        if not len(hits):
            from retrieval.show.lines import nothing_line

            click.echo(nothing_line(hits), err=True)


def drawn_why(catalog: Catalog, query: Query) -> Callable[[Hit], Image | None]:
    """Draws where in a hit the match comes from; nothing for a file that cannot be read now."""

    def why(hit: Hit) -> Image | None:
        try:
            return catalog.explain(query, hit.image_id).draw_map()
        except ImageError:
            return None

    return why


def output_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say how hits are shown; the command gets them as `output`."""

    @functools.wraps(command)
    def with_output(
        *,
        as_json: bool,
        paths: bool,
        null: bool,
        preview: bool,
        html: Path | None,
        explain: bool,
        **options: Any,
    ) -> Any:
        paths = paths or null
        one_of({"--json": as_json, "--paths": paths, "--preview": preview, "--html": html is not None})
        return command(output=Output(as_json, paths, null, preview, html, explain), **options)

    found: Callable[..., Any] = with_output
    for option in reversed(
        [
            click.option("--json", "as_json", is_flag=True, help="One JSON object a line."),
            click.option("--paths", is_flag=True, help="Only the paths, one a line."),
            click.option("-0", "--null", is_flag=True, help="With --paths: end each with NUL, not newline."),
            click.option("--preview", is_flag=True, help="Show the pictures in the terminal."),
            click.option(
                "--html", metavar="FILE", type=Place(dir_okay=False),
                help="Write a gallery that opens in a browser.",
            ),
            click.option("--explain", is_flag=True, help="Say what spoke for each hit."),
        ]
    ):  # fmt: skip
        found = option(found)
    return found


def echo_json(rows: Iterable[dict[str, Any]]) -> None:
    out, plain = sys.stdout.buffer, sys.stdout.isatty()
    for row in rows:
        out.write(json.dumps(row, ensure_ascii=plain).encode("utf-8", "replace") + b"\n")
    out.flush()


def say_damage(catalog: Catalog) -> None:
    """Say what of the catalog is damaged, and was left out of what was just done."""
    for note in catalog.state.damage():
        click.echo(safe(note), err=True)


def one_of(flags: dict[str, bool]) -> None:
    given = [name for name, used in flags.items() if used]
    if len(given) > 1:
        raise click.UsageError(f"{' and '.join(given)} cannot go together. Choose one.")


def parse_bytes(text: str | None) -> int | None:
    """A size as people write it: 500M, 2G, 1073741824."""
    if text is None:
        return None
    units = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
    number = text.strip().lower().removesuffix("b").removesuffix("i")
    unit = number[-1:] if number[-1:] in units and not number[-1:].isdigit() else ""
    try:
        size = int(float(number[: len(number) - len(unit)]) * units[unit])
    except (ValueError, OverflowError):
        size = 0
    if size < 16 << 20:
        raise click.BadParameter(
            f"'{text}' is not a size of at least 16M, such as 500M or 2G.", param_hint="--memory"
        )
    return size
