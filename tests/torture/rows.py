"""Damage inside of `catalog.db`: it is told with the command that mends, and the doctor mends it."""

from __future__ import annotations

import contextlib
import random
import shutil
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

from click.testing import CliRunner

from retrieval import Catalog
from retrieval.doctor import examine
from tests.torture.ground import Ground
from tests.torture.outcomes import Outcome

PICTURES = 120
BY_COMMAND = 8
"""Every so many times a command runs in a process of its own."""
FLIPPED = 0.3
"""The share of damages that are flips inside of vectors, where only the row's checksum sees them."""


def run(ground: Ground, times: int, rng: random.Random) -> Outcome:
    """Damage a catalog's database `times` times, ask it, have it mended, and index again."""
    outcome = Outcome("rows")
    photos = ground.photos(PICTURES)
    sound = ground.calm(photos, "sound")
    with Catalog(sound) as opened:
        opened.texts.add(["a red picture", "something green", "the blue of the sea"])
        opened.search("red")
        ids = [hit.image_id for hit in opened.search("green", limit=20, cutoff=False)]
        for image_id in ids:
            opened.tags.set(image_id, "mine")
        scores = _scores(opened)
    _checkpoint(sound)
    commands = _commands(photos)
    catalog = ground.folder / "damaged"
    for number in range(times):
        shutil.rmtree(catalog, ignore_errors=True)
        shutil.copytree(sound, catalog)
        flips = rng.random() < FLIPPED
        if flips:
            what, hidden = _flip_vectors(catalog, rng)
        else:
            what, hidden = _damage(catalog, rng), set()
        if rng.random() < 0.5:
            shutil.rmtree(catalog / "cache")
        for command in rng.sample(commands, 3):
            own = number % BY_COMMAND == 0
            outcome.wrong += [f"{what}: {wrong}" for wrong in _asked(command, catalog, own=own)]
        if flips:
            outcome.wrong += [f"{what}: {wrong}" for wrong in _noticed(catalog, hidden, scores)]
        outcome.wrong += [f"{what}: {wrong}" for wrong in _mended(ground, catalog, photos, outcome)]
        outcome.times += 1
    return outcome


def _checkpoint(catalog: Path) -> None:
    with contextlib.closing(sqlite3.connect(catalog / "catalog.db")) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _scores(opened: Catalog) -> dict[int, float]:
    return {hit.image_id: round(hit.score, 4) for hit in opened.search("green", limit=500, cutoff=False)}


def _commands(photos: Path) -> list[list[str]]:
    picture = str(photos / "1" / "0001.png")
    return [
        ["find", "green", "--json"],
        ["find", "mark", "--all", "--explain"],
        ["similar", picture, "--json"],
        ["match", picture],
        ["status"],
        ["failures"],
        ["tag", "list"],
        ["dupes"],
        ["groups"],
        ["texts", "list"],
        ["ask", "How many pictures are green?"],
        ["doctor"],
        ["index", str(photos)],
        ["concepts", "list"],
        ["gc"],
        ["rebuild"],
    ]


def _asked(command: list[str], catalog: Path, *, own: bool) -> list[str]:
    """What a command does with a damaged catalog: it answers, or says in a sentence what helps."""
    arguments = [*command, "--catalog", str(catalog)]
    if own:
        ran = subprocess.run(
            [sys.executable, "-m", "cli", *arguments], capture_output=True, text=True, timeout=60, check=False
        )
        code, said = ran.returncode, ran.stderr
        if "Traceback" in said:
            return [f"{command[0]} shows a traceback: {said[-500:]}"]
    else:
        from cli import main

        result = CliRunner().invoke(main, arguments)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            return [f"{command[0]} raises {result.exception!r}"]
        code, said = result.exit_code, result.stderr
    if code not in (0, 1):
        return [f"{command[0]} ends with {code}: {said[-300:]}"]
    if code == 1 and command[0] != "doctor" and "search " not in said:
        return [f"{command[0]} does not say what helps: {said[-300:]}"]
    return []


def _flip_vectors(catalog: Path, rng: random.Random) -> tuple[str, set[int]]:
    """Flip a bit in the bytes of some vectors where they lie in the file, as a disk would."""
    data = bytearray((catalog / "catalog.db").read_bytes())
    with contextlib.closing(sqlite3.connect(catalog / "catalog.db")) as connection:
        rows = connection.execute("SELECT image_id, vector FROM embeddings ORDER BY image_id").fetchall()
    hidden = set()
    for image_id, vector in rng.sample(rows, rng.randint(1, 5)):
        places = _found(data, vector)
        if len(places) != 1:
            continue  # a copy has the same vector, or the row goes over several pages
        data[places[0] + rng.randrange(len(vector))] ^= 1 << rng.randrange(8)
        hidden.add(int(image_id))
    (catalog / "catalog.db").write_bytes(data)
    return f"bits flipped in {len(hidden)} vectors", hidden


def _found(data: bytearray, part: bytes) -> list[int]:
    places, at = [], data.find(part)
    while at >= 0:
        places.append(at)
        at = data.find(part, at + 1)
    return places


def _damage(catalog: Path, rng: random.Random) -> str:
    path = catalog / "catalog.db"
    way = rng.choice(("header", "flips", "zeroed", "noise", "cut", "pages swapped", "log", "byte"))
    if way == "log":
        # Changes that are only in the log, a byte of which is flipped.
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA wal_autocheckpoint=0")
            for number in range(8):
                connection.execute(
                    "UPDATE images SET indexed_at = indexed_at + 1 WHERE id % 8 = ?", (number,)
                )
                connection.commit()
            log = bytearray(path.with_name("catalog.db-wal").read_bytes())
        log[rng.randrange(len(log))] ^= 1 << rng.randrange(8)
        path.with_name("catalog.db-wal").write_bytes(log)
        path.with_name("catalog.db-shm").unlink(missing_ok=True)
        return "a bit of the log"
    data = bytearray(path.read_bytes())
    count = len(data) // 4096
    pages = [rng.randrange(count) for _ in range(rng.randint(1, 6))]
    if way == "header":
        for _ in range(rng.randint(1, 8)):
            data[rng.randrange(100)] = rng.randrange(256)
    elif way == "flips":
        for _ in range(rng.randint(1, 60)):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    elif way == "byte":
        data[rng.randrange(len(data))] = rng.randrange(256)
    elif way == "cut":
        del data[rng.randrange(4096, len(data)) :]
    elif way == "pages swapped":
        one, two = rng.randrange(1, count) * 4096, rng.randrange(1, count) * 4096
        data[one : one + 4096], data[two : two + 4096] = data[two : two + 4096], data[one : one + 4096]
    else:
        for page in pages:
            data[page * 4096 : page * 4096 + 4096] = bytes(4096) if way == "zeroed" else rng.randbytes(4096)
    path.write_bytes(data)
    return f"{way} ({', '.join(map(str, pages))})"


def _noticed(catalog: Path, hidden: set[int], scores: dict[int, float]) -> list[str]:
    """A picture whose vector is damaged is left out with a word, or found as ever by a sound cache."""
    wrong = []
    with Catalog(catalog) as opened:
        found, notes = _scores(opened), opened.search("green", cutoff=False).notes
    missing = scores.keys() - found.keys()
    if missing - hidden or any(scores[image_id] != score for image_id, score in found.items()):
        wrong.append("another answer than that of sound rows")
    if missing and not any("search doctor" in note for note in notes):
        wrong.append(f"{len(missing)} pictures are left out without a word")
    told = [finding for finding in examine(catalog) if finding.kind == "vectors"]
    if hidden and not told:
        wrong.append("the doctor does not see it")
    return wrong


def _mended(ground: Ground, catalog: Path, photos: Path, outcome: Outcome) -> list[str]:
    """The doctor mends it, and after the next indexing all that pictures tell is there again."""
    began = time.monotonic()
    try:
        examine(catalog, fix=True)
        ground.index(catalog, photos)
        left = examine(catalog, fix=True)
        outcome.recoveries.append(time.monotonic() - began)
        left = [finding for finding in examine(catalog) if not finding.mended]
        with Catalog(catalog) as opened:
            count = opened.status().images
    except Exception as error:
        return [f"the doctor fails: {type(error).__name__}: {error}"]
    wrong = [f"the doctor leaves {finding.detail}" for finding in left]
    if count < PICTURES - 1:
        outcome.lost += PICTURES - 1 - count
    return wrong
