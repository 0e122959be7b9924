"""Lists of alt texts that people edit: all of it is written again, and one entry is added to it."""

from __future__ import annotations

from pathlib import Path

from retrieval.describing.list_formats import FORMATS, ForeignListError, Offer
from tests.fuzz import told

KINDS = tuple(FORMATS.values())
OFFER = Offer(Path("/photos/=1+1 \udcff.jpg"), '-a "dog",\nand a cat', "describer:1")
SEEDS = (
    b'\0[{"path": "a.jpg", "alt": "a dog", "captioner": "x", "check": "0", "mine": [1.5, null]}]',
    b"\1path,alt,captioner,check\na.jpg,'=1,x,0\n",
    b'\1\xef\xbb\xbfpath;alt;captioner;note\n"a;b.jpg";"a ""dog""";x;\n\n',
    b"\0[]",
)
WORDS = (
    b'"path":',
    b'"alt":',
    b'"path_b64":',
    b"path,alt,captioner",
    b"1e400",
    b"1E5",
    b"\\ud800",
    b'""',
    b"'=",
    b"\r",
)


def one(data: bytes) -> None:
    kind, body = KINDS[data[0] % len(KINDS)] if data else KINDS[0], data[1:]
    try:
        content = kind.parse(body)
    except ForeignListError as error:
        told(error)
        return
    try:
        written = content.dump()
        same = kind.parse(written) == content
    except (ForeignListError, UnicodeEncodeError):
        # Seen before anything is written: such a file is left as it is.
        return
    if not same:
        return
    before = len(content)
    seen = [[content.get(number, name) for name in ("path", "alt")] for number in range(before)]
    number = content.put(None, OFFER)
    again = kind.parse(content.dump())
    assert len(again) == before + 1 == number + 1
    assert [[again.get(number, name) for name in ("path", "alt")] for number in range(before)] == seen
    fields = OFFER.fields()
    assert all(again.get(number, name) == value for name, value in fields.items())
