"""Examining the rows of a catalog against themselves, and mending them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field

from retrieval import registry
from retrieval.config import Location
from retrieval.db import reads, soundness
from retrieval.db.full_text import index_problem
from retrieval.db.reader import Reader, open_reader
from retrieval.doctor.findings import Finding
from retrieval.errors import ModelError

FIX = "search doctor --fix"


@dataclass(slots=True)
class Damage:
    """What mending has to be told: which rows, and of which encoder."""

    rows: dict[str, list[int]] = field(default_factory=dict)
    images: dict[int, list[int]] = field(default_factory=dict)
    texts: dict[int, list[int]] = field(default_factory=dict)
    examples: list[int] = field(default_factory=list)
    stale: list[bytes] = field(default_factory=list)
    """Failures of files that are gone."""
    begun: list[int] = field(default_factory=list)
    """Encoders that a switch to was begun, and that have no vector yet."""
    active: int | None = None
    """The encoder that queries should use, where that is not plain."""


def examine_rows(place: Location, reader: Reader) -> tuple[list[Finding], Damage]:
    damage = Damage(rows=soundness.strange_values(reader))
    found = list(_strange(damage))
    if damage.rows:
        # Whoever reads on would trip over them; the rest is looked at once they are gone.
        return found, damage
    damage.images = soundness.broken_vectors(reader, reads.vectors)
    damage.texts = soundness.broken_vectors(reader, reads.text_vectors)
    damage.examples = soundness.broken_examples(reader)
    damage.active = soundness.right_active(reader)
    found += [*_orphans(reader), *_vectors(damage), *_encoders(reader, damage), *_texts(reader)]
    found += [*_words(place, reader), *_switches(reader, damage), *_failures(reader, damage)]
    return found, damage


def mend_rows(place: Location, found: list[Finding], damage: Damage) -> list[Finding]:
    """Mend what can be; the findings as they are then."""
    kinds = {finding.kind for finding in found if finding.mends}
    if kinds:
        from retrieval.db import mending
        from retrieval.db.queries import Writer
        from retrieval.db.words_writes import rebuild_words

        with Writer(place) as writer:
            if damage.rows:
                mending.drop_rows(writer, damage.rows)
            if damage.rows or "orphans" in kinds:
                mending.drop_orphans(writer)
            if damage.rows or "words" in kinds:
                rebuild_words(writer)
            mending.drop_vectors(writer, damage.images, damage.texts)
            mending.drop_example_vectors(writer, damage.examples)
            writer.drop_encoders(damage.begun)
            if damage.active is not None:
                writer.activate(damage.active)
            writer.forget_failures(damage.stale)
    found = [finding.done() if finding.mends else finding for finding in found]
    if any(finding.kind == "texts" and not finding.mended for finding in found) and _embed_texts(place):
        found = [finding.done() if finding.kind == "texts" else finding for finding in found]
    return found


def _strange(damage: Damage) -> Iterator[Finding]:
    for table, row_ids in damage.rows.items():
        yield Finding(
            "rows",
            f"{len(row_ids)} rows of the table {table} hold values that cannot be theirs. With --fix they "
            "are dropped; what comes from pictures, the next indexing brings back.",
            f"{FIX}, then search index",
            True,
        )


def _orphans(reader: Reader) -> Iterator[Finding]:
    for table, count in soundness.orphans(reader).items():
        called = soundness.CALLED.get(table, f"rows of the table {table}")
        if table == "texts":
            detail = f"{count} texts belong to a picture that is not there. Those that people added are kept."
        else:
            detail = f"{count} {called} belong to nothing that is there."
        yield Finding("orphans", detail, FIX, True)


def _vectors(damage: Damage) -> Iterator[Finding]:
    for kind, what, owners in (("vectors", "pictures", damage.images), ("texts", "texts", damage.texts)):
        count = sum(map(len, owners.values()))
        if count:
            yield Finding(
                kind,
                f"The vectors of {count} {what} are damaged. With --fix they are dropped, "
                "and the next indexing makes them anew.",
                f"{FIX}, then search index",
                True,
            )
    if damage.examples:
        yield Finding(
            "vectors",
            f"The vectors of {len(damage.examples)} examples of concepts are damaged. They are made anew "
            "when the concept is used.",
            FIX,
            True,
        )


def _encoders(reader: Reader, damage: Damage) -> Iterator[Finding]:
    if damage.active is not None:
        known = {info.id: info for info in reads.encoders(reader)}
        several = sum(info.active for info in known.values())
        yield Finding(
            "encoders",
            f"{several or 'No'} models are in use; there has to be one. With --fix it is "
            f"{known[damage.active].spec}, which has the most vectors.",
            FIX,
            True,
        )


def _texts(reader: Reader) -> Iterator[Finding]:
    active = reads.active_encoder(reader)
    count = reads.texts_waiting(reader, active.id) if active is not None else 0
    if count:
        yield Finding(
            "texts",
            f"Texts that have no vector yet and are found by their words only: {count}.",
            "search doctor --fix, or search index",
            False,
        )


def _words(place: Location, reader: Reader) -> Iterator[Finding]:
    """Pictures whose words were not noted, and an index of words that does not agree with them."""
    missing = reader.rows(
        "SELECT COUNT(*) FROM images i WHERE NOT EXISTS (SELECT 1 FROM image_words w WHERE w.image_id = i.id)"
    )[0][0]
    if missing:
        yield Finding("words", f"The words around {missing} pictures are not noted.", FIX, True)
    problem = index_problem(place, reader)
    if problem:
        yield Finding("words", f"The index of words does not agree with them ({problem}).", FIX, True)


def _switches(reader: Reader, damage: Damage) -> Iterator[Finding]:
    counts = soundness.vector_counts(reader)
    for info in reads.encoders(reader):
        waiting = reads.count_unembedded(reader, info.id)
        if waiting and not info.active and info.state == "building" and info.id != damage.active:
            if not counts.get(info.id) and not info.text_generation:
                damage.begun.append(info.id)
                yield Finding(
                    "model-switch",
                    f"A switch to {info.spec} was begun, and has no vector yet. With --fix it is forgotten.",
                    f"search index --model {info.spec}, or {FIX}",
                    True,
                )
                continue
            yield Finding(
                "model-switch",
                f"The switch to {info.spec} is not complete: {waiting} pictures have no vector of it yet. "
                "Until then the model before it answers. To give it up: search gc --encoders",
                f"search index --model {info.spec}",
                False,
            )
        elif waiting and info.active:
            yield Finding(
                "vectors",
                f"{waiting} pictures have no vector yet and cannot be found.",
                "search index",
                False,
            )


def _failures(reader: Reader, damage: Damage) -> Iterator[Finding]:
    """Failures of files that are gone, in folders that are there: a disk that is away says nothing."""
    online = tuple(root.rstrip(b"/") + b"/" for root in reads.roots(reader) if os.path.isdir(root))
    for path, _, _ in reads.failures(reader):
        if path.startswith(online) and not os.path.lexists(path):
            damage.stale.append(path)
    if damage.stale:
        yield Finding(
            "failures", f"{len(damage.stale)} files that could not be indexed are gone by now.", FIX, True
        )


def _embed_texts(place: Location) -> bool:
    """Give texts their vectors, where the catalog's model is at hand; returns whether all have them now."""
    from retrieval.db.queries import Writer
    from retrieval.texts import embed_texts

    with contextlib.closing(open_reader(place)) as reader:
        info = reads.active_encoder(reader)
        if info is None:
            return False
        try:
            encoder = registry.load_encoder(info.spec)
            if encoder.id != info.key:
                return False
            with Writer(place) as writer:
                return embed_texts(
                    reader, writer, encoder, info.id, progress=lambda *_: None, stopped=lambda: False
                )
        except ModelError:
            # `_models` has told what is wrong with it; the finding stays, with what helps.
            return False
