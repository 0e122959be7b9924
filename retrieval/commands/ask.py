"""`search ask`: a question answered from the pictures, with the pictures cited."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from retrieval.commands.options import (
    Number,
    Place,
    echo_json,
    filter_options,
    json_option,
    one_of,
    reading_options,
    safe,
)

if TYPE_CHECKING:
    from PIL.Image import Image

    from retrieval.catalog import Catalog
    from retrieval.query.filters import Filter
    from retrieval.types import Answer, Citation

LIMIT = 8
SECONDS = 120


@click.command()
@click.argument("question", nargs=-1, required=True, metavar="QUESTION")
@reading_options
@click.option(
    "-k", "--limit", type=click.IntRange(1, 100), default=LIMIT, show_default=True, metavar="N",
    help="Look at the best N pictures.",
)  # fmt: skip
@click.option(
    "--answerer", metavar="NAME",
    help="What answers: rules, local[:MODEL] or endpoint[:MODEL]. Default: the endpoint where "
    "SEARCH_ENDPOINT is set, else rules.",
)  # fmt: skip
@filter_options
@click.option(
    "--rerank", is_flag=False, flag_value="auto", metavar="[NAME]",
    help="Have a model look again at the best hits of each search.",
)  # fmt: skip
@click.option(
    "--example", "examples", multiple=True, metavar="IMG=ANSWER",
    help="Show a model a picture with the right answer first; repeat it for several.",
)  # fmt: skip
@click.option("--continue", "follow_up", is_flag=True, help="Go on from the last question and its answer.")
@click.option("--no-check", is_flag=True, help="Do not hold the answer against the pictures.")
@click.option(
    "--timeout", type=Number(0, min_open=True), default=SECONDS, show_default=True, metavar="S",
    help="Answer from what there is after so many seconds.",
)  # fmt: skip
@click.option("--trace", is_flag=True, help="Tell each step as it is done.")
@click.option(
    "--html", metavar="FILE", type=Place(dir_okay=False),
    help="Write a page with the answer, its pictures and where in them it is borne out.",
)  # fmt: skip
@json_option
def ask(
    question: tuple[str, ...],
    catalog: str | None,
    no_server: bool,
    where: Filter,
    examples: tuple[str, ...],
    no_check: bool,
    timeout: float,
    trace: bool,
    html: Path | None,
    as_json: bool,
    **asked: Any,
) -> None:
    """Answer a question from your pictures, and cite them as [1], [2].

    Numbers, times, places and cameras come from the catalog itself. What is said of a picture is
    held against it, and what nothing bears out is left out.

    \b
    search ask "What did we eat in Lisbon?"
    search ask "How many photos of dogs are there?" --after 2023
    search ask --continue "and when was that?"
    search ask "Which animals did we see?" --answerer endpoint:llava --trace
    """
    from retrieval.catalog import Catalog
    from retrieval.commands.served import from_server
    from retrieval.show.answer import write_answer
    from retrieval.show.page import check_place

    one_of({"--json": as_json, "--html": html is not None})
    if html is not None:
        check_place(html)  # before the long part
    if not examples and not trace and html is None and asked["answerer"] is None and asked["rerank"] is None:
        from retrieval.running import answering

        found = from_server(
            catalog,
            lambda client: client.ask(
                " ".join(question),
                limit=asked["limit"],
                follow_up=asked["follow_up"],
                where=where,
                keep=True,
                seconds=timeout,
                check=not no_check,
            ),
            no_server=no_server,
            answering=lambda: answering(None),
        )
        if found is not None:
            _show(found, as_json=as_json)
            return

    told = 0

    def tell(answer: Answer) -> None:
        nonlocal told
        _show(answer, as_json=as_json)
        told = len(answer.notes)

    with Catalog(catalog) as opened:
        answer = opened.ask(
            " ".join(question),
            where=where,
            examples=[_example(text) for text in examples],
            keep=True,
            seconds=timeout,
            check=not no_check,
            progress=_traced if trace else None,
            # Keeping it for --continue takes longer than to answer many a question.
            on_answer=tell,
            **asked,
        )
        for note in answer.notes[told:]:
            click.echo(safe(note), err=True)
        if html is not None:
            failed = write_answer(answer, html, why=_drawn(opened))
            count = "1 picture" if len(failed) == 1 else f"{len(failed)} pictures"
            left_out = f"; {count} could not be shown" if failed else ""
            click.echo(f"Written to {safe(str(html))}{left_out}", err=True)


def _show(answer: Answer, *, as_json: bool) -> None:
    from retrieval.answers import RULES
    from retrieval.show.answer import answer_lines

    if as_json:
        echo_json([answer.as_dict()])
    else:
        for line in answer_lines(answer):
            click.echo(line)
    if answer.answerer != RULES:  # rules say so in their note
        click.echo(f"Answered by {safe(answer.answerer)}.", err=True)
    for note in answer.notes:
        click.echo(safe(note), err=True)


def _example(text: str) -> tuple[Path, str]:
    """A picture and its answer; a file's name may have an equals sign, so the first file there is counts."""
    places = [place for place, character in enumerate(text) if character == "="]
    for place in places:
        path = Path(text[:place]).expanduser()
        if path.is_file():
            return path, text[place + 1 :]
    if not places:
        raise click.BadParameter(
            f"'{safe(text)}' names no answer. Write it: --example photo.jpg=\"a red car\"",
            param_hint="--example",
        )
    return Path(text[: places[0]]), text[places[0] + 1 :]


def _traced(step: str, figures: dict[str, Any]) -> None:
    """Tell a step that is done, with what came of it."""
    from retrieval.show.answer import step_lines

    if step == "step":
        for line in step_lines(figures):
            click.echo(line, err=True)
    elif step == "note":
        click.echo(safe(str(figures["text"])), err=True)


def _drawn(catalog: Catalog) -> Any:
    """Draws where in each cited picture its sentence is borne out; nothing for one that cannot be read."""
    maps: dict[int, Image] = {}
    done: list[Answer] = []

    def why(answer: Answer, citation: Citation) -> Image | None:
        if answer not in done:
            done.append(answer)
            maps.update(
                {one.image_id: one.draw_map() for one in catalog.evidence(answer) if one.image_id is not None}
            )
        return maps.get(citation.image_id)

    return why
