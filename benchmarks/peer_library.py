"""A made library, the same on both sides: files, a catalog, and rclip's database; see peers.py.

Importing this imports nothing heavy.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any

import machine
import peer_rclip
from machine import Cost
from peer_rclip import Rclip
from peer_sides import QUERY, ask, together

if TYPE_CHECKING:
    from numpy.typing import NDArray

WORDLESS = "a zebra"
"""No made picture's words have it: then both sides rank by vectors alone."""
# Rows as rclip writes them itself, by its own code. The checksum of the content is only looked at
# for files that are new or changed, so that of the path stands for it.
FILL = """
import hashlib, os, sys
import numpy as np
from rclip.db import DB
place, listing, rows = sys.argv[1:]
database = DB(place)
with open(listing, "rb") as paths:
    for path, row in zip(paths.read().split(b"\\0"), np.load(rows), strict=True):
        status, name = os.stat(path), os.fsdecode(path)
        database.upsert_image(
            {
                "filepath": name,
                "modified_at": status.st_mtime,
                "size": status.st_size,
                "vector": row.tobytes(),
                "hash": hashlib.sha256(path).hexdigest(),
            },
            commit=False,
        )
database.close()
"""


class Library:
    """The same files and vectors in a catalog and in rclip's database."""

    def __init__(self, rclip: Rclip, place: Path, root: Path, data: Path) -> None:
        self.rclip, self.place, self.root, self.data = rclip, place, root, data
        self.digest = machine.apart(digest, data)

    def our_query(self) -> Cost:
        return machine.run(ask(self.place))[0]

    def our_rerun(self) -> Cost:
        again = machine.command("index", self.root, "--catalog", self.place, "--json")
        return together([machine.run(again)[0], self.our_query()])

    def their_query(self) -> Cost:
        with peer_rclip.at(self.root, self.data):
            return machine.run(self.rclip.ask(QUERY, indexing=False))[0]

    def their_rerun(self) -> Cost:
        with peer_rclip.at(self.root, self.data):
            return machine.run(self.rclip.ask(QUERY, indexing=True))[0]

    def check(self, count: int) -> None:
        """That neither side finds anything to do, and both find the same pictures."""
        again = machine.command("index", self.root, "--catalog", self.place, "--json")
        report = json.loads(machine.run(again)[1])
        if report["unchanged"] != count:
            raise SystemExit(f"The product found changes where none are: {report}")
        with peer_rclip.at(self.root, self.data):
            named = machine.run(self.rclip.ask(WORDLESS, indexing=True))[1].splitlines()
        if machine.apart(digest, self.data) != self.digest:
            raise SystemExit("rclip found changes where none are: its rows are not what they were.")
        hits = [
            json.loads(line) for line in machine.run([*ask(self.place, WORDLESS), "--all"])[1].splitlines()
        ]
        same = len({hit["path"] for hit in hits} & set(named))
        print(
            f"  {count:,} images: nothing to do on either side; {same} of {len(named)} hits in common\n",
            flush=True,
        )


def digest(data: Path) -> str:
    """All that rclip's database holds of files that are there: their paths and vectors."""
    import hashlib

    paths, vectors = peer_rclip.rows(data)
    return hashlib.sha256("\0".join(paths).encode("utf-8", "surrogateescape") + vectors.tobytes()).hexdigest()


def fill(rclip: Rclip, data: Path, catalog: Path) -> None:
    """Give rclip's database the files and the vectors of one of the product's catalogs."""
    import numpy as np

    paths, vectors = catalog_rows(catalog)
    listing, matrix = data / "paths", data / "vectors.npy"
    listing.write_bytes(b"\0".join(map(os.fsencode, paths)))
    np.save(matrix, vectors)
    machine.run([str(rclip.python), "-c", FILL, str(data / peer_rclip.DATABASE), str(listing), str(matrix)])
    listing.unlink()
    matrix.unlink()


def catalog_rows(place: Path) -> tuple[list[str], NDArray[Any]]:
    """The files of a catalog in order of their paths, and their vectors."""
    import numpy as np

    with contextlib.closing(sqlite3.connect(place / "catalog.db")) as connection:
        listed = connection.execute(
            "SELECT path, vector FROM images JOIN embeddings ON image_id = images.id ORDER BY path"
        ).fetchall()
    joined = np.frombuffer(b"".join(vector for _, vector in listed), "<f2").astype(np.float32)
    return [os.fsdecode(path) for path, _ in listed], joined.reshape(len(listed), -1)


def write_files(root: Path, count: int) -> None:
    """JPEG files of the size and time that made rows tell of, no two alike.

    Each is a small picture with its number in a comment; a hole behind it brings it to its size.
    """
    from io import BytesIO

    from PIL import Image

    for number in range(count):
        path = Path(machine.row_path(root, number))
        if number % 100 == 0:
            path.parent.mkdir(parents=True, exist_ok=True)
            buffer = BytesIO()
            Image.new("RGB", (24, 16), (number & 255, number >> 8 & 255, 99)).save(buffer, "JPEG")
            picture = buffer.getvalue()
        comment = str(number).encode()
        head = b"\xff\xd8\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment
        with open(path, "wb") as file:
            file.write(head + picture[2:])
            file.truncate(machine.row_bytes(number))
        os.utime(path, ns=(machine.row_time(number), machine.row_time(number)))
