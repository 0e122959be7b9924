"""`.searchignore` files: every pattern is one or is told, and a walk ends."""

from __future__ import annotations

from indexer.scan import scan
from retrieval.errors import QueryError
from tests.fuzz import told
from tests.fuzz.library import folder

SEEDS = (b"*.gif\nraw/\n!keep.gif\n", b"# a comment\n/**/x\\ \n", b"[a-\n!\n", b"a/**/b/*/c?[!x]\n")
WORDS = (b"**/", b"[!a]", b"[[:alpha:]]", b"!", b"\\", b"/", b"*")
MOST = 300


def one(data: bytes) -> None:
    root = folder() / "walked"
    for name in ("a/b/x.png", "a/keep.gif", "raw/c d.jpg", "z.jpg"):
        path = root / name
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    (root / ".searchignore").write_bytes(data)
    found = scan(bytes(root))
    assert all(file.path.startswith(bytes(root)) for file in found.files)
    text = data.decode("utf-8", "surrogateescape").replace("\0", "")
    try:
        scan(bytes(root), exclude=[text])
    except QueryError as error:
        told(error)
