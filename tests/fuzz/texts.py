"""Files of texts: lines that can be stored or a reason for each, and nothing half imported."""

from __future__ import annotations

import io
import zlib

from retrieval import Catalog
from retrieval.errors import QueryError, RetrievalError
from retrieval.texts.files import FORMATS, read_lines
from tests.fuzz import told
from tests.fuzz.library import library

FORMS = tuple(FORMATS)
SEEDS = (
    b'\0{"text": "a dog", "id": "1", "image": "red.png"}\n"a cat"\n[1]\n',
    b'\1text;image\na dog;red.png\n"a ""cat""";\n',
    b"\1a dog,7\na cat\n",
    b'\0{"text": "a \\u0000dog \\ud800"}\n',
    b"\2a dog\r\na cat\r",
    b"\2\xff\xfea\0 \0b\0",
)
WORDS = (
    b'{"text":',
    b'"image":',
    b'"id":',
    b"\\ud800",
    b"\\u0000",
    b"text,image",
    b'""',
    b"\r\n",
    b"1e999",
    b"NaN",
)


def one(data: bytes) -> None:
    catalog = library()
    form, body = FORMS[data[0] % len(FORMS)] if data else "txt", data[1:]
    try:
        reading = read_lines(body, form, "a file")
    except QueryError as error:
        told(error)
        return
    numbers = [line.number for line in reading.lines]
    assert numbers == sorted(numbers)
    for line in reading.lines:
        assert line.number > 0
        assert bool(line.text) != bool(line.broken)
        line.text.encode("utf-8")
        assert "\0" not in line.text
        assert line.text == line.text.strip()
        assert line.broken.isprintable(), line.broken
        if line.name is not None:
            line.name.encode("utf-8")
    if zlib.crc32(data) % 8 == 0:
        _import(catalog, body, form)


def _import(catalog: Catalog, body: bytes, form: str) -> None:
    """Into a real catalog: what the report says is what is there, and a refusal leaves nothing."""
    before = {text.text_id for text in catalog.texts.list(limit=10_000)}
    try:
        report = catalog.texts.add(io.BytesIO(body), form=form)
    except RetrievalError:
        assert {text.text_id for text in catalog.texts.list(limit=10_000)} == before
        return
    after = [text.text_id for text in catalog.texts.list(limit=10_000)]
    new = [number for number in after if number not in before]
    assert len(new) == report.added
    catalog.texts.remove(new)
