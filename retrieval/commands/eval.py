"""`search eval`: how good the answers are."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from retrieval.commands.options import Place, echo_json, json_option, reading_options, safe


@click.command(name="eval", short_help="Measure how good hits and answers are, on your own data.")
@click.argument("file", metavar="FILE", type=Place())
@reading_options
@click.option(
    "--images", metavar="DIR", type=Place(),
    help="Where the names of pictures start from. Default: the folder of FILE.",
)  # fmt: skip
@click.option("--split", metavar="NAME", help="Of a Karpathy-style file: test (the default), val, all, ...")
@click.option(
    "--rerank", multiple=True, metavar="NAME",
    help="Also measure with this reranker; may be given several times.",
)  # fmt: skip
@click.option("--limit-queries", type=click.IntRange(1), metavar="N", help="Ask only a sample of N queries.")
@click.option("--answerer", metavar="NAME", help="Of a file of questions: what answers them.")
@click.option(
    "--plot", metavar="OUT", type=Place(dir_okay=False),
    help="Draw the figures into a .png, .svg or .pdf file.",
)  # fmt: skip
@json_option
def evaluate(
    file: Path,
    catalog: str | None,
    no_server: bool,  # noqa: ARG001
    images: Path | None,
    split: str | None,
    rerank: tuple[str, ...],
    limit_queries: int | None,
    answerer: str | None,
    plot: Path | None,
    as_json: bool,
) -> None:
    """Measure how good the answers are, with a file of questions whose right answers are known.

    FILE is a Karpathy-style JSON, a COCO captions JSON, or a jsonl with an object a line:
    {"image": "a.jpg", "texts": ["a dog", ...]} or {"query": "dog", "relevant": ["a.jpg", ...]};
    "relevant" may also grade, as {"a.jpg": 2, "b.jpg": 1}. A query whose "relevant" is empty
    asks for what is not there. Pictures are named by their path, from FILE or whole, or by
    a file name that only one picture has.

    The rows are: none, without a second look; default, what `search` does; and each --rerank.

    A jsonl of questions measures `search ask`: {"question": "What did we eat?", "answer": "pizza",
    "evidence": ["a.jpg"]}. Several right answers are a list; null is for what the pictures do
    not show.

    \b
    search eval dev.json
    search eval dataset_flickr8k.json --images ~/flickr8k/images --split test
    search eval dev.json --rerank blip_itm --plot figures.png
    search eval questions.jsonl
    """
    from retrieval.catalog import Catalog
    from retrieval.evaluate import evaluate as measure
    from retrieval.evaluate.answers import asks_questions
    from retrieval.show.evaluation import evaluation_lines
    from retrieval.show.progress import ProgressLine

    if asks_questions(file):
        if rerank or plot is not None or split is not None:
            raise click.UsageError("--rerank, --plot and --split are not for files of questions.")
        _answers(file, catalog, images, answerer, limit_queries, as_json=as_json)
        return
    if answerer is not None:
        raise click.UsageError("--answerer is for files of questions.")
    if plot is not None:
        from retrieval.evaluate.plot import check_place

        check_place(plot)
    with Catalog(catalog) as opened, ProgressLine(sys.stderr, doing="Asking") as line:
        found = measure(
            opened,
            file,
            images=images,
            split=split,
            rerank=rerank,
            limit_queries=limit_queries,
            progress=line,
        )
    for note in found.notes:
        click.echo(safe(note), err=True)
    if as_json:
        echo_json(found.rows())
    else:
        click.echo("\n".join(evaluation_lines(found)))
    if plot is not None:
        from retrieval.evaluate.plot import write_plot

        write_plot(found, plot)
        click.echo(f"Figures drawn in {safe(str(plot))}", err=True)


def _answers(
    file: Path,
    catalog: str | None,
    images: Path | None,
    answerer: str | None,
    most: int | None,
    *,
    as_json: bool,
) -> None:
    """Measure the answers to a file of questions."""
    from retrieval.catalog import Catalog
    from retrieval.evaluate.answers import evaluate_answers
    from retrieval.show.answer_evaluation import answer_evaluation_lines
    from retrieval.show.progress import ProgressLine

    with Catalog(catalog) as opened, ProgressLine(sys.stderr, doing="Asking") as line:
        found = evaluate_answers(
            opened, file, answerer=answerer, images=images, limit_questions=most, progress=line
        )
    for note in found.notes:
        click.echo(safe(note), err=True)
    if as_json:
        echo_json(found.rows())
    else:
        click.echo("\n".join(answer_evaluation_lines(found)))
