"""`search concepts`: teach things by examples, to be asked for as @name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from retrieval.commands.options import Place, catalog_option, echo_json, json_option, reading_options, safe

if TYPE_CHECKING:
    from retrieval.concepts import Concept


class ManyNots(click.Command):
    """A command whose `--not` takes every picture up to the next option, as a shell's pattern gives them."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        spread: list[str] = []
        inside = False
        for number, word in enumerate(args):
            if word == "--not":
                inside = True
                if args[number + 1 : number + 2] in ([], ["--not"]):
                    spread.append(word)  # nothing follows it: click says so
            elif word.startswith("-"):
                inside = False
                spread.append(word)
            else:
                spread += ["--not", word] if inside else [word]
        return super().parse_args(ctx, spread)


@click.group()
def concepts() -> None:
    """Teach things by examples, and find them as @name.

    \b
    search concepts add rex rex1.jpg rex2.jpg rex3.jpg
    search "@rex + beach"
    search concepts list
    """


@concepts.command(cls=ManyNots)
@click.argument("name")
@click.argument("photos", nargs=-1, metavar="PHOTO...", type=Place())
@click.option(
    "--not", "others", multiple=True, metavar="PHOTO...", type=Place(),
    help="Pictures that do not show it: all up to the next option.",
)  # fmt: skip
@catalog_option
@json_option
def add(
    name: str, photos: tuple[Path, ...], others: tuple[Path, ...], catalog: str | None, as_json: bool
) -> None:
    """Teach a concept with pictures that show it, and others that do not.

    Three to five good examples do; more can be added at any time. What is often taken for
    it by mistake makes a good --not. Pictures of the catalog are not read again.

    \b
    search concepts add rex rex1.jpg rex2.jpg rex3.jpg
    search concepts add rex --not other-dog.jpg neighbours-dog.jpg
    """
    from retrieval.catalog import Catalog

    with Catalog(catalog) as opened:
        taught = opened.concepts.add(name, photos, others)
    if as_json:
        echo_json([taught.as_dict()])
    else:
        click.echo(f'{_line(taught)}. Find it: search "@{safe(taught.name)}"')


@concepts.command(name="list")
@reading_options
@json_option
def list_concepts(catalog: str | None, no_server: bool, as_json: bool) -> None:  # noqa: ARG001
    """List the concepts that were taught.

    \b
    search concepts list
    """
    from retrieval.catalog import Catalog

    with Catalog(catalog) as opened:
        found = opened.concepts.list()
    if as_json:
        echo_json(concept.as_dict() for concept in found)
        return
    for concept in found:
        click.echo(_line(concept))
    if not found:
        click.echo("No concept was taught yet: search concepts add NAME PHOTO...", err=True)


@concepts.command()
@click.argument("name")
@reading_options
@json_option
def show(name: str, catalog: str | None, no_server: bool, as_json: bool) -> None:  # noqa: ARG001
    """Show the pictures that taught a concept.

    \b
    search concepts show rex
    """
    from retrieval.catalog import Catalog
    from retrieval.show.table import display_path

    with Catalog(catalog) as opened:
        found = opened.concepts.show(name)
    if as_json:
        echo_json(example.as_dict() for example in found.examples)
        return
    click.echo(_line(found))
    for example in found.examples:
        rests = "" if example.rests is None else f"  ({example.rests})"
        click.echo(
            f"{'shows it' if example.good else 'does not'}  {safe(display_path(str(example.path)))}{rests}"
        )


@concepts.command()
@click.argument("name")
@click.argument("photos", nargs=-1, metavar="[PHOTO]...", type=Place())
@catalog_option
@json_option
def remove(name: str, photos: tuple[Path, ...], catalog: str | None, as_json: bool) -> None:
    """Forget a concept, or only some of its examples. No picture is touched.

    \b
    search concepts remove rex rex3.jpg
    search concepts remove rex
    """
    from retrieval.catalog import Catalog

    with Catalog(catalog) as opened:
        count = opened.concepts.remove(name, photos or None)
    if as_json:
        echo_json([{"removed": count}])
    else:
        click.echo(f"{count} examples removed." if photos else f"Forgotten, with its {count} examples.")


def _line(concept: Concept) -> str:
    parts = [f"@{safe(concept.name)}: {concept.good} good"]
    if concept.bad:
        parts.append(f"{concept.bad} not")
    if concept.resting:
        parts.append(f"{concept.resting} resting")
    return ", ".join(parts)
