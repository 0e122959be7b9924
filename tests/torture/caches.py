"""Caches that lie: every file of them damaged in every way, and the answers stay what they were."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from retrieval import Catalog
from retrieval.doctor import examine
from retrieval.encoders import artifacts, exports, trials
from retrieval.rerankers.looks import LookCache
from retrieval.running import find
from retrieval.stores import cache
from tests.torture.ground import Ground
from tests.torture.outcomes import Outcome

Found = TypeVar("Found")

PICTURES = 30
ASKED_SECONDS = 30
"""An answer that takes longer hangs."""
TICK_SECONDS = 0.012
"""Clocks of file systems tick every 4 to 10 ms."""
BY_COMMAND = 10
"""Every so many times the command is asked too, in a process of its own."""
ALL = 100
NEAR = 0.002
LOOK = np.arange(12, dtype=np.float16).reshape(3, 4)
CONTENT = bytes(range(32))


@dataclass
class Scene:
    """A catalog with every kind of cache, sound, and what it answers then."""

    catalog: Path
    sound: Path
    older: Path
    """The caches of a generation before."""
    foreign: Path
    """The caches of another catalog, with the same file names where these say nothing of the content."""
    photo: Path
    truth: dict[str, Any]
    drawn: dict[str, Any]
    """What is answered where there is no map."""


class Hang(BaseException):
    """Not an `Exception`: what passes over files that cannot be read would take it for one."""


def run(ground: Ground, times: int, rng: random.Random) -> Outcome:
    """Damage a file of the caches `times` times; nothing may be answered otherwise than before."""
    outcome = Outcome("caches")
    cache.SETTLED_NS = artifacts.SETTLED_NS = int(TICK_SECONDS * 1e9) - 1_000_000
    scene = _scene(ground)
    for number in range(times):
        _restore(scene)
        if number % 6 == 5:
            what = _damage_models(ground, rng)
            outcome.wrong += [f"{what}: {wrong}" for wrong in _models(ground)]
        else:
            what = _damage(scene, rng)
            wrong = _compared(scene, ask=number % BY_COMMAND == 0, own_map=not what.startswith("the folder"))
            outcome.wrong += [f"{what}: {sentence}" for sentence in wrong]
            began = time.monotonic()
            left = [finding for finding in _examined(scene.catalog, fix=True) if not _told_only(finding)]
            outcome.recoveries.append(time.monotonic() - began)
            if left:
                outcome.wrong.append(f"{what}: the doctor leaves {left}")
            elif any(not _told_only(one) for one in _examined(scene.catalog, fix=False)):
                outcome.wrong.append(f"{what}: the doctor says that it mended, and did not")
        outcome.times += 1
    return outcome


def _scene(ground: Ground) -> Scene:
    photos = ground.photos(PICTURES)
    catalog = ground.calm(photos, "catalog")
    _fill(catalog)
    older = ground.place("older")
    shutil.copytree(catalog / "cache", older)
    extra = photos / "later"
    shutil.copytree(photos / "3", extra)
    for number, path in enumerate(sorted(extra.iterdir())):
        path.write_bytes(path.read_bytes() + bytes([number]))
    ground.index(catalog, photos)
    _fill(catalog)
    sound, foreign = ground.place("sound"), ground.place("foreign")
    shutil.copytree(catalog / "cache", sound)
    other = ground.calm(ground.photos(PICTURES, "others", size=(48, 64)), "other")
    _fill(other)
    shutil.copytree(other / "cache", foreign)
    photo = photos / "1" / "0001.png"
    scene = Scene(catalog, sound, older, foreign, photo, {}, {})
    scene.truth = _answers(scene)
    shutil.rmtree(catalog / "cache" / "map")
    scene.drawn = _answers(scene)
    return scene


def _fill(catalog: Path) -> None:
    """Have every kind of cache there, that of an index of faiss as well."""
    with Catalog(catalog) as opened:
        opened.texts.add(["a red picture", "something green", "the blue of the sea"])
        opened.rebuild(store="faiss")
        opened.tags.update()
        opened.atlas.make()
        opened.search("red")
        for hit in opened.search("red", limit=3, cutoff=False):
            opened.thumbnail(hit.image_id, 160)
        LookCache(opened.location.cache, "looker").put(CONTENT, LOOK)


def _restore(scene: Scene) -> None:
    """Sound caches, whose files were all looked at once before they are damaged."""
    place = scene.catalog / "cache"
    _remove(place)
    shutil.copytree(scene.sound, place)
    time.sleep(TICK_SECONDS)
    with Catalog(scene.catalog) as opened:
        opened.search("red")
        opened.match(scene.photo)
        opened.atlas.map()
    time.sleep(TICK_SECONDS)


def _answers(scene: Scene) -> dict[str, Any]:
    """What is asked of a catalog, and every answer."""
    found: dict[str, Any] = {}
    with Catalog(scene.catalog) as opened:
        for query in ("red", "green", "blue"):
            hits = opened.search(query, limit=ALL, cutoff=False)
            found[query] = {hit.image_id: hit.score for hit in hits}
            if query == "red":
                found["small"] = [opened.thumbnail(hit.image_id, 160) for hit in hits[:3]]
        found["similar"] = {hit.image_id: hit.score for hit in opened.similar(scene.photo, limit=ALL)}
        found["match"] = {hit.text_id: hit.score for hit in opened.match(scene.photo)}
        placed = opened.atlas.map()
        found["map"] = {
            f"{image_id} {axis}": place
            for image_id, both in zip(placed.image_ids.tolist(), placed.places.tolist(), strict=True)
            for axis, place in zip("xy", both, strict=True)
        }
        found["tags"] = [(one.tag, one.count) for one in opened.tags.list()]
        found["status"] = opened.status().images
        look = LookCache(opened.location.cache, "looker").get(CONTENT)
        found["look"] = look is None or bool((look == LOOK).all())
        find(opened.location, version="0")
    return found


def _compared(scene: Scene, *, ask: bool, own_map: bool) -> list[str]:
    try:
        found = _in_time(lambda: _answers(scene))
    except (Exception, Hang) as error:
        return [f"{type(error).__name__}: {error} {traceback.format_exc(limit=-3)}"]
    wrong = [
        f"another answer to '{name}'"
        for name, answer in found.items()
        if not (_same(answer, scene.truth[name]) or _same(answer, scene.drawn[name]))
        # An older map of this catalog is a map, with what is new beside what it is like.
        and (own_map or name != "map" or answer.keys() != scene.truth[name].keys())
    ]
    if ask:
        command = [
            sys.executable,
            "-m",
            "cli",
            "find",
            "red",
            "--all",
            "--json",
            "--no-server",
            "-k",
            str(ALL),
        ]
        ran = subprocess.run(
            [*command, "--catalog", str(scene.catalog)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        told = {row["image_id"]: row["score"] for row in map(json.loads, ran.stdout.splitlines())}
        if ran.returncode or not _same(told, scene.truth["red"]):
            wrong.append(f"the command ended with {ran.returncode} and {told}: {ran.stderr[-300:]}")
    return wrong


def _same(found: Any, wanted: Any) -> bool:
    """The same things with the same scores; vectors of half the precision differ in the fifth digit."""
    if not isinstance(found, dict):
        return bool(found == wanted)
    near = all(abs(score - wanted.get(key, 2)) < NEAR for key, score in found.items())
    return near and found.keys() == wanted.keys()


def _in_time(ask: Callable[[], Found]) -> Found:
    def late(*_: object) -> None:
        raise Hang(f"no answer within {ASKED_SECONDS} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(ASKED_SECONDS)
    try:
        return ask()
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def _examined(catalog: Path, *, fix: bool) -> list[Any]:
    return [finding for finding in examine(catalog, fix=fix) if not finding.mended]


def _told_only(finding: Any) -> bool:
    """A cache folder that is a file may be somebody's: it is told, and left."""
    return not finding.mends and "is no folder" in finding.detail


# --- how a file of the catalog's caches is damaged ---


def _damage(scene: Scene, rng: random.Random) -> str:
    place = scene.catalog / "cache"
    if rng.random() < 0.06:
        return _whole_folder(scene, rng)
    files = sorted(path for path in place.rglob("*") if path.is_file())
    names = sorted({_sort(path, place) for path in files})
    wanted = rng.choice(names)
    path = rng.choice([path for path in files if _sort(path, place) == wanted])
    before = path.stat()
    ways = [*_WAYS, *([_lies] * 6 if path.suffix == ".json" else [])]
    way = rng.choice(ways)
    way(path, scene, rng)
    if path.is_file() and not path.is_symlink() and rng.random() < 0.7:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    return f"{path.relative_to(place)} {way.__name__.strip('_')}"


def _sort(path: Path, place: Path) -> str:
    """Files of one kind, so that each kind is drawn equally often."""
    parts = path.relative_to(place).parts
    return f"{parts[0][:12]}/{path.name.split('-')[0][:12]}{path.suffix}"


def _whole_folder(scene: Scene, rng: random.Random) -> str:
    place = scene.catalog / "cache"
    way = rng.choice(("missing", "file", "dangling", "older", "foreign", "read-only"))
    if way == "read-only":
        for path in [*place.rglob("*"), place]:
            path.chmod(0o500 if path.is_dir() else 0o400)
        return "the folder read-only"
    shutil.rmtree(place)
    if way == "file":
        place.write_bytes(b"no folder")
    elif way == "dangling":
        place.symlink_to(scene.catalog / "nowhere")
    elif way in ("older", "foreign"):
        shutil.copytree(scene.older if way == "older" else scene.foreign, place)
    return f"the folder {way}"


def _flip(path: Path, _: Scene, rng: random.Random) -> None:
    data = bytearray(path.read_bytes())
    for _time in range(rng.choice((1, 1, 1, 20)) if data else 0):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    _written(path, data)


def _cut(path: Path, _: Scene, rng: random.Random) -> None:
    data = path.read_bytes()
    _written(path, data[: rng.randrange(len(data))] if data else data)


def _longer(path: Path, _: Scene, rng: random.Random) -> None:
    _written(path, path.read_bytes() + rng.randbytes(rng.randint(1, 5000)))


def _zeroed(path: Path, _: Scene, _rng: random.Random) -> None:
    _written(path, bytes(path.stat().st_size))


def _noise(path: Path, _: Scene, rng: random.Random) -> None:
    _written(path, rng.randbytes(path.stat().st_size))


def _swapped(path: Path, _: Scene, rng: random.Random) -> None:
    others = sorted(other for other in path.parent.rglob("*") if other.is_file() and other != path)
    same = [other for other in others if other.stat().st_size == path.stat().st_size]
    if others:
        _written(path, rng.choice(same or others).read_bytes())


def _from_older(path: Path, scene: Scene, rng: random.Random) -> None:
    _put_back(path, scene.older, rng)


def _from_foreign(path: Path, scene: Scene, rng: random.Random) -> None:
    _put_back(path, scene.foreign, rng)


def _put_back(path: Path, source: Path, rng: random.Random) -> None:
    stem = path.name.split("-")[0]
    likes = sorted(other for other in source.rglob(f"{stem}*{path.suffix}") if other.is_file())
    if likes:
        _written(path, rng.choice(likes).read_bytes())


def _gone(path: Path, _: Scene, _rng: random.Random) -> None:
    path.unlink()


def _folder(path: Path, _: Scene, _rng: random.Random) -> None:
    path.unlink()
    (path / "in it").mkdir(parents=True)


def _pipe(path: Path, _: Scene, _rng: random.Random) -> None:
    path.unlink()
    os.mkfifo(path)


def _link_to_pipe(path: Path, scene: Scene, _rng: random.Random) -> None:
    path.unlink()
    pipe = scene.sound.parent / "pipe"
    if not pipe.exists():
        os.mkfifo(pipe)
    path.symlink_to(pipe)


def _endless(path: Path, _: Scene, _rng: random.Random) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def _dangling(path: Path, _: Scene, _rng: random.Random) -> None:
    path.unlink()
    path.symlink_to(path.with_name("nowhere"))


def _circle(path: Path, _: Scene, _rng: random.Random) -> None:
    path.unlink()
    path.symlink_to(path)


def _lies(path: Path, scene: Scene, rng: random.Random) -> None:
    """A manifest, or a note of what was seen, edited by hand."""
    raw = json.loads(path.read_bytes())
    if not isinstance(raw, dict) or not raw:
        return _flip(path, scene, rng)
    values = [0, -1, 1, 2**31, 2**63, 2**70, float("nan"), 1e308, "", "../../../x", None, [], {}, True]
    inside = [key for key in raw if isinstance(raw[key], dict)]
    where = raw[rng.choice(inside)] if inside and rng.random() < 0.5 else raw
    if not where:
        where = raw
    key = rng.choice(list(where))
    value = where[key]
    if isinstance(value, list) and value and rng.random() < 0.7:
        value[rng.randrange(len(value))] = rng.choice(values)
    else:
        where[key] = rng.choice(values)
    _written(path, json.dumps(raw, indent=1).encode())
    return None


def _deep(path: Path, _: Scene, _rng: random.Random) -> None:
    _written(path, b"[" * 200_000)


_WAYS = (
    _flip, _flip, _flip, _cut, _longer, _zeroed, _noise, _swapped, _from_older, _from_foreign, _gone, _folder,
    _pipe, _link_to_pipe, _endless, _dangling, _circle, _deep,
)  # fmt: skip


def _written(path: Path, data: bytes | bytearray) -> None:
    """In place, as a disk or another program would: the file stays the same one."""
    with path.open("r+b") as file:
        file.write(data)
        file.truncate(len(data))


# --- the model cache ---

WEIGHTS = bytes(range(256)) * 40


def _models_folder() -> Path:
    return Path(os.environ["SEARCH_CACHE"]) / "models"


def _build(folder: Path) -> None:
    (folder / "weights.bin").write_bytes(WEIGHTS)
    (folder / "other.bin").write_bytes(WEIGHTS[::-1])


def _damage_models(ground: Ground, rng: random.Random) -> str:
    """A sound model cache that was looked at once, and then something of it is damaged."""
    os.environ["SEARCH_CACHE"] = str(ground.place("own-models"))
    folder = artifacts.artifact("made-up", _build)
    name = exports.parse_spec("open_clip:made-up/torture")
    with exports.new_folder(exports.export_folder(name)) as made:
        _build(made)
        source = {"kind": "tag", "files": []}
        exports.write_manifest(made, {"spec": name.spec, "id": "made-up", "dim": 4, "source": source})
    trials.remember("made-up", "onnx", trials.Outcome(speed=12.0))
    time.sleep(TICK_SECONDS)
    assert artifacts.artifact("made-up", _build) == folder
    assert exports.find_export(name) is not None
    time.sleep(TICK_SECONDS)
    files = sorted(path for path in _models_folder().rglob("*") if path.is_file() and path.suffix != ".lock")
    path = rng.choice(files)
    scene = Scene(ground.folder, _models_folder(), _models_folder(), _models_folder(), path, {}, {})
    way = rng.choice([*_WAYS, *([_lies] * 6 if path.suffix == ".json" else [])])
    before = path.stat()
    way(path, scene, rng)
    if path.is_file() and not path.is_symlink():
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    return f"models/{path.parent.name}/{path.name} {way.__name__.strip('_')}"


def _models(ground: Ground) -> list[str]:
    """What is used of a damaged model cache: the bytes that were written, or nothing."""

    def used() -> list[str]:
        wrong = []
        folder = artifacts.artifact("made-up", _build)
        if (folder / "weights.bin").read_bytes() != WEIGHTS:
            wrong.append("weights that are damaged are used")
        export = exports.find_export(exports.parse_spec("open_clip:made-up/torture"))
        if export is not None:
            wrong += [f"{name} of an export is damaged and used" for name in export.damages()]
            if (export.manifest["id"], export.manifest["dim"]) != ("made-up", 4):
                wrong.append("an export whose manifest lies is used")
        trials.choose(trials.recall("made-up"))
        trials.indexed()
        return wrong

    try:
        return _in_time(used)
    except (Exception, Hang) as error:
        return [f"{type(error).__name__}: {error} {traceback.format_exc(limit=-3)}"]


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
