"""An answer for people: its lines in a terminal, and a page that shows what it rests on."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

from retrieval.show.gallery import FLATTEST, STEEPEST, WHY_QUALITY
from retrieval.show.page import MARKER, data_uri, digest, missing_section, part, thumbnails, write_page
from retrieval.show.table import display_path, file_url, percent, safe_name
from retrieval.types import Failure

if TYPE_CHECKING:
    from PIL.Image import Image

    from retrieval.types import Answer, Citation

    Why = Callable[[Answer, Citation], Image | None]
    """Draws where in a cited picture its sentence is borne out."""

LONGEST_SAID = 400
LOOKS_SHOWN = 12


def answer_lines(answer: Answer) -> list[str]:
    """The answer, and a line for each picture that it cites."""
    lines = [safe_name(answer.text)]
    if answer.citations:
        wide = max(len(f"[{citation.n}]") for citation in answer.citations)
        lines.append("")
        for citation in answer.citations:
            facts = "  ".join(_facts(citation))
            path = safe_name(display_path(str(citation.path)))
            lines.append(f"{f'[{citation.n}]':<{wide}}  {path}" + (f"  {facts}" if facts else ""))
    return lines


def step_lines(step: Mapping[str, Any]) -> list[str]:
    """A step as it is told while it happens: what was done, and what came of it."""
    lines = [f"{step['step']:<7} {step['seconds']:>6.2f} s  {safe_name(str(step['text']))}"]
    data = step.get("data", {})
    if "text" in data:
        lines.append(f"{'':18}{_cut(str(data['text']))}")
    for picture in data.get("pictures", ())[:LOOKS_SHOWN]:
        name = safe_name(Path(str(picture.get("path", ""))).name)
        said = _cut(str(picture["says"])) if picture["says"] else "nothing to the question"
        lines.append(f"{'':18}{percent(picture['match'])} {name}: {said}")
    for claim in data.get("claims", ())[:LOOKS_SHOWN]:
        support = percent(claim["support"]) if "support" in claim else "not compared"
        lines.append(f"{'':18}{claim['verdict']} ({support}): {_cut(str(claim['says']))}")
    return lines


def write_answer(
    answer: Answer, destination: Path, *, why: Why | None = None, made: datetime | None = None
) -> list[Failure]:
    """Write an answer as a page that opens from the disk; returns the pictures it could not show.

    The file appears whole or not at all; a file that is no page of ours is left alone.
    """
    return write_page(destination, lambda: _page(answer, why, made or datetime.now()))


def _page(answer: Answer, why: Why | None, made: datetime) -> tuple[str, list[Failure]]:
    items: list[str] = []
    rules: list[str] = []
    failures: list[Failure] = []
    shown: set[int] = set()
    drawn = False
    for citation, picture in zip(
        answer.citations, thumbnails([str(citation.path) for citation in answer.citations]), strict=True
    ):
        if isinstance(picture, Failure):
            failures.append(picture)
            continue
        data, shape = picture
        shown.add(citation.n)
        rules.append(f"#p{citation.n}{{--shape:{min(FLATTEST, max(STEEPEST, shape)):.4f}}}")
        where = None if why is None else why(answer, citation)
        drawn |= where is not None
        items.append(_item(citation, data, where))
    style = part("gallery.css") + part("answer.css") + "\n".join(rules) + "\n"
    scale = (
        '<p class="scale">Beside each picture: where in it the words are borne out, by the catalog\'s model. '
        "Grey is unlike them, light yellow like them.</p>\n"
    )
    page = Template(part("answer.html")).substitute(
        marker=MARKER,
        title=html.escape(safe_name(answer.question or "An answer")),
        summary=_summary(answer, made),
        answer=_linked(answer.text, shown),
        style=style,
        style_hash=digest(style),
        evidence=(scale if drawn else "") + _list("evidence", items) if items else "",
        missing=_closest(answer) + missing_section(failures),
        notes=_notes(answer),
        steps=_steps(answer),
    )
    return page, failures


def _closest(answer: Answer) -> str:
    """What came nearest to something that is not there: small, and said to be no answer."""
    shown = thumbnails([str(hit.path) for hit in answer.closest])
    items = [
        f'<li><img src="{picture[0]}" alt="{html.escape(safe_name(hit.path.name))}">'
        f'<bdi class="name">{html.escape(safe_name(hit.path.name))}</bdi> '
        f"<span>{percent(hit.match)} match</span></li>"
        for hit, picture in zip(answer.closest, shown, strict=True)
        if not isinstance(picture, Failure)
    ]
    if not items:
        return ""
    return (
        '<section class="closest">\n<p>Not an answer: only what came closest.</p>\n'
        f"{_list('', items)}\n</section>\n"
    )


def _summary(answer: Answer, made: datetime) -> str:
    parts = [
        f"Answered by {html.escape(safe_name(answer.answerer))}",
        # Nothing was found: there is no finding to be sure of, and 0 % would read as doubt about that.
        *([f"confidence {percent(answer.confidence)}"] if answer.confidence else []),
        f"{answer.cost.seconds:.1f} s",
        f'<time datetime="{made.isoformat(timespec="seconds")}">{made.day} {made:%B %Y, %H:%M}</time>',
    ]
    return " · ".join(parts)


def _linked(text: str, shown: set[int]) -> str:
    """The text, with each mark of a picture that is shown leading to it."""

    def link(found: re.Match[str]) -> str:
        number = int(found[1])
        return f'<a href="#p{number}">[{number}]</a>' if number in shown else found[0]

    return re.sub(r"\[(\d{1,4})\]", link, html.escape(safe_name(text)), flags=re.ASCII)


def _item(citation: Citation, data: str, where: Image | None) -> str:
    name, whole = safe_name(citation.path.name), safe_name(str(citation.path))
    original = (
        f'<a href="{html.escape(file_url(str(citation.path)))}" title="{html.escape(whole)}">'
        f'<img src="{data}" alt="{html.escape(name)}"></a>'
    )
    label = html.escape(f"where in {name} it is borne out")
    heat = "" if where is None else f'<img src="{data_uri(where, WHY_QUALITY)}" alt="{label}">'
    facts = "".join(f"<span>{html.escape(fact)}</span>" for fact in _facts(citation))
    said = f'<p class="said">{html.escape(safe_name(citation.sentence))}</p>' if citation.sentence else ""
    return (
        f'<li id="p{citation.n}"><div class="pair">{original}{heat}</div>'
        f'<span class="line"><span class="rank">{citation.n}</span>'
        f'<bdi class="name">{html.escape(name)}</bdi></span>{said}<span class="facts">{facts}</span></li>'
    )


def _facts(citation: Citation) -> list[str]:
    facts = [] if citation.taken_at is None else [citation.taken_at[:10]]
    if citation.match is not None:
        facts.append(f"{percent(citation.match)} match")
    if citation.support is not None:
        facts.append(f"{percent(citation.support)} borne out")
    return facts


def _notes(answer: Answer) -> str:
    lines = "\n".join(f"<p>{html.escape(safe_name(note))}</p>" for note in answer.notes)
    return f'<section class="notes">\n{lines}\n</section>' if lines else ""


def _steps(answer: Answer) -> str:
    rows = [
        f"<li><b>{html.escape(step.name)}</b><span>{html.escape(safe_name(step.text))}</span>"
        f"<time>{step.seconds:.2f} s</time></li>"
        for step in answer.steps
    ]
    return (
        f'<details class="steps"><summary>How it was answered</summary>{_list("", rows)}</details>'
        if rows
        else ""
    )


def _list(name: str, items: list[str]) -> str:
    attribute = f' class="{name}"' if name else ""
    return f"<ol{attribute}>\n" + "\n".join(items) + "\n</ol>"


def _cut(text: str) -> str:
    line = safe_name(" ".join(text.split()))
    return line if len(line) <= LONGEST_SAID else line[: LONGEST_SAID - 1] + "…"
