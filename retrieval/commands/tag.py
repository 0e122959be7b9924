"""`search tag`: words for what is in each picture."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from retrieval.commands.options import (
    Place,
    catalog_option,
    echo_json,
    json_option,
    reading_options,
    safe,
    say_damage,
)
from retrieval.types import path_fields

if TYPE_CHECKING:
    from collections.abc import Sequence

    from retrieval.catalog import Catalog
    from retrieval.tags import TagCount, Tagged

SHOWN = 30


@click.group(invoke_without_command=True, short_help="Tag the pictures with words of a vocabulary.")
@catalog_option
@click.option("--again", is_flag=True, help="Tag every picture anew, once the catalog has grown a lot.")
@json_option
@click.pass_context
def tag(ctx: click.Context, catalog: str | None, again: bool, as_json: bool) -> None:
    """Tag the pictures with the words of a vocabulary that you can edit.

    Only what is new or changed is looked at, from what was stored while indexing. Filter by tags
    with --tag.

    \b
    search tag
    search tag add "golden retriever"
    search tag show ~/Pictures/beach.jpg
    """
    ctx.obj = catalog
    if ctx.invoked_subcommand is not None:
        return
    from retrieval.catalog import Catalog

    with Catalog(catalog) as opened:
        done = _update(opened, again=again)
        found = opened.tags.list()
        say_damage(opened)
    if as_json:
        echo_json({"tag": one.tag, "count": one.count} for one in found if one.count)
        return
    _show_counts([one for one in found if one.count][:SHOWN])
    used = sum(1 for one in found if one.count)
    more = " All of them: search tag list" if used > SHOWN else ""
    click.echo(f"{_pictures(done)} tagged anew; {used} tag{'' if used == 1 else 's'} in use.{more}", err=True)


@tag.command()
@click.argument("name")
@click.option("--prompt", metavar="TEXT", help="What to look for, where it is not the name itself.")
@catalog_option
@json_option
@click.pass_obj
def add(outer: str | None, name: str, prompt: str | None, catalog: str | None, as_json: bool) -> None:
    """Put a tag into the vocabulary, and tag the pictures.

    \b
    search tag add "golden retriever"
    search tag add rex --prompt "a brown dog with a red collar"
    """
    from retrieval.catalog import Catalog

    with Catalog(catalog or outer) as opened:
        opened.tags.add(name, prompt=prompt)
        _update(opened)
        wanted = " ".join(name.split())
        count = next((one.count for one in opened.tags.list() if one.tag == wanted), 0)
    if as_json:
        echo_json([{"tag": wanted, "tagged": count}])
    else:
        click.echo(f"{_pictures(count)} tagged {safe(wanted)}.")


@tag.command()
@click.argument("name")
@catalog_option
@json_option
@click.pass_obj
def remove(outer: str | None, name: str, catalog: str | None, as_json: bool) -> None:
    """Take a tag out of the vocabulary and off every picture.

    \b
    search tag remove "golden retriever"
    """
    from retrieval.catalog import Catalog

    with Catalog(catalog or outer) as opened:
        opened.tags.remove(name)
    if as_json:
        echo_json([{"tag": " ".join(name.split()), "tagged": 0}])
    else:
        click.echo(f"The tag {safe(name)} is gone.")


@tag.command("list")
@reading_options
@json_option
@click.pass_obj
def list_tags(outer: str | None, catalog: str | None, no_server: bool, as_json: bool) -> None:  # noqa: ARG001
    """List the vocabulary, and how many pictures have each tag.

    \b
    search tag list
    search tag list --json
    """
    from retrieval.catalog import Catalog

    with Catalog(catalog or outer) as opened:
        found = opened.tags.list()
    if as_json:
        echo_json(one.as_dict() for one in found)
    else:
        _show_counts(found)


@tag.command()
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...", type=Place())
@reading_options
@json_option
@click.pass_obj
def show(
    outer: str | None,
    images: tuple[Path, ...],
    catalog: str | None,
    no_server: bool,  # noqa: ARG001
    as_json: bool,
) -> None:
    """Show the tags of pictures.

    \b
    search tag show ~/Pictures/beach.jpg --json
    """
    from retrieval.catalog import Catalog

    with Catalog(catalog or outer) as opened:
        found = [opened.tags.of(image) for image in images]
    if as_json:
        echo_json(one.as_dict() for one in found)
        return
    for one in found:
        words = ", ".join(f"{safe(tag.tag)} {tag.confidence:.0%}" for tag in one.tags)
        click.echo(f"{safe(str(one.path))}: {words or 'no tags'}")


@tag.command("set")
@click.argument("image", type=Place())
@click.argument("name", metavar="TAG")
@catalog_option
@json_option
@click.pass_obj
def set_tag(outer: str | None, image: Path, name: str, catalog: str | None, as_json: bool) -> None:
    """Say that a picture has a tag. Your word is final.

    \b
    search tag set ~/Pictures/beach.jpg holiday
    """
    from retrieval.catalog import Catalog

    with Catalog(catalog or outer) as opened:
        opened.tags.set(image, name)
        _decided(opened.tags.of(image), name, kept=True, as_json=as_json)


@tag.command("unset")
@click.argument("image", type=Place())
@click.argument("name", metavar="TAG")
@catalog_option
@json_option
@click.pass_obj
def unset_tag(outer: str | None, image: Path, name: str, catalog: str | None, as_json: bool) -> None:
    """Say that a picture does not have a tag. Your word is final.

    \b
    search tag unset ~/Pictures/beach.jpg desert
    """
    from retrieval.catalog import Catalog

    with Catalog(catalog or outer) as opened:
        opened.tags.unset(image, name)
        _decided(opened.tags.of(image), name, kept=False, as_json=as_json)


@tag.command()
@click.argument("file", required=False, metavar="[FILE]", type=Place())
@click.option("--merge", is_flag=True, help="Keep the tags that the file does not name.")
@catalog_option
@click.pass_obj
def vocabulary(outer: str | None, file: Path | None, merge: bool, catalog: str | None) -> None:
    """Take the vocabulary from a text file; without one, print it as such a file.

    A line is a tag, or a tag and what to look for: "rex: a brown dog". Lines with # are remarks.

    \b
    search tag vocabulary > words.txt
    search tag vocabulary words.txt
    search tag vocabulary --merge more-words.txt
    """
    from retrieval.catalog import Catalog
    from retrieval.vocabulary import read_vocabulary

    with Catalog(catalog or outer) as opened:
        if file is None:
            for one in sorted(opened.tags.list(), key=lambda one: one.tag):
                if one.prompt is not None:
                    click.echo(safe(one.tag if one.prompt == one.tag else f"{one.tag}: {one.prompt}"))
            return
        changed = opened.tags.load(read_vocabulary(file), merge=merge)
        done = _update(opened)
    click.echo(f"{changed} tag{'' if changed == 1 else 's'} changed, {_pictures(done)} tagged anew.")


def _update(catalog: Catalog, *, again: bool = False) -> int:
    from retrieval.show.progress import ProgressLine

    with ProgressLine(sys.stderr, doing="Tagging") as line:
        return catalog.tags.update(again=again, progress=line)


def _decided(picture: Tagged, name: str, *, kept: bool, as_json: bool) -> None:
    wanted = " ".join(name.split())
    if as_json:
        echo_json([{**path_fields(picture.path), "tag": wanted, "tagged": int(kept)}])
    else:
        click.echo(f"{safe(str(picture.path))} {'has' if kept else 'does not have'} the tag {safe(wanted)}.")


def _pictures(count: int) -> str:
    return f"{count} picture{'' if count == 1 else 's'}"


def _show_counts(found: Sequence[TagCount]) -> None:
    width = max((len(str(one.count)) for one in found), default=1)
    for one in found:
        click.echo(f"{one.count:>{width}}  {safe(one.tag)}")
