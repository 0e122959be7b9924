"""`search models`: what there is, what is here, and getting more."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from retrieval.commands.options import Place, echo_json, json_option, safe


@click.group(invoke_without_command=True, short_help="List the models that can be had, and which are here.")
@json_option
@click.pass_context
def models(ctx: click.Context, as_json: bool) -> None:
    """List the models that can be had, and which are here.

    A model that has been here long enough to be tried says how many pictures a second it
    does on this machine, and what runs it.

    \b
    search models
    search models pull open_clip:ViT-B-32-256/datacomp_s34b_b86k
    """
    if ctx.invoked_subcommand is not None:
        return
    from retrieval.models import list_models
    from retrieval.show.lines import model_lines

    found = list_models()
    if as_json:
        echo_json(model.as_dict() for model in found)
    else:
        click.echo("\n".join(model_lines(found)))


@models.command()
@click.argument("name")
@click.option(
    "--photos", metavar="FOLDER", type=Place(),
    help="Measure an int8 model with pictures of this folder.",
)  # fmt: skip
@click.option(
    "--eval", "questions", metavar="FILE", type=Place(),
    help="Measure it with an evaluation file, as search eval reads; --photos says where its pictures are.",
)  # fmt: skip
@click.option("--untested", is_flag=True, help="Take an int8 model as it comes, without measuring it.")
def pull(name: str, photos: Path | None, questions: Path | None, untested: bool) -> None:
    """Fetch a model, make it ready for use without torch, and try what runs it fastest here.

    NAME@int8 makes an int8 model from NAME: several times as fast on some machines, and
    kept only if it is faster here and finds what NAME finds.

    \b
    search models pull open_clip:ViT-B-32-256/datacomp_s34b_b86k
    search models pull vit-b-32-256@int8 --photos ~/Pictures
    search models pull vit-b-32-256@int8 --eval dev.json
    """
    from indexer.export import pull as fetch
    from retrieval.show.progress import ProgressLine

    if untested and (photos is not None or questions is not None):
        raise click.UsageError("--untested measures nothing: leave out --photos and --eval.")
    labels = None
    if questions is not None:
        from indexer.int8 import pictures_below
        from retrieval.evaluate.labels import read_labels

        labels = read_labels(questions, pictures_below, photos=photos)
    with ProgressLine(sys.stderr) as line:
        told = fetch(name, line, photos=photos, labels=labels, untested=untested)
    click.echo(safe(told))
