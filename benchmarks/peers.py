"""The product against its peers on the same photos and the same weights, side by side in turns.

    python benchmarks/peers.py [--quick] [--part network|indexing|loop|memory|library]...

rclip comes from PyPI into an environment of its own. Both sides run ViT-B/32 of 256 pixels, which is
what rclip ships, with the very same random weights (speed does not depend on them): the product by
its own export, rclip by files that are put where it looks for them; rclip itself is not changed. That
both run the same network is checked first, through pictures whose pixels neither of them resizes.
An int8 model is made without the measurement that a person's would have to pass: there is nothing
to rank by random weights.

rclip answers a query with the command that indexes, so the product's figure is that of `search index`
and of one `search find`. Rates are told as a whole, and without what a run over 16 photos takes.
Memory is sampled from /proc over all processes, a shared page once. Against open_clip in a plain loop
(plain_loop.py), which neither answers nor keeps anything, loading its model is not counted.

Whole processes on files in the system's cache. A run of a part prints and keeps nothing.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import machine
import peer_rclip
from outcomes import Results
from peer_library import Library, catalog_rows, fill, write_files
from peer_rclip import Rclip
from peer_sides import Loop, Ours, Side, Theirs, in_turns, index, peak, rates, write_photos

PARTS = ("network", "indexing", "loop", "memory", "library")
SMALL, LARGE = "500 × 375", "12 megapixels"
SIZES = {SMALL: (500, 375), LARGE: (4000, 3000)}
OURS, OURS_INT8, RCLIP, LOOP = "this", "this, int8", "rclip", "open_clip loop"
AGAINST_RCLIP = {OURS: {SMALL: 1.15, LARGE: 2.3}, OURS_INT8: {SMALL: 1.65, LARGE: 2.9}}
AGAINST_LOOP = {OURS: {SMALL: 1.3, LARGE: 2.8}, OURS_INT8: {SMALL: 2.0, LARGE: 3.5}}
COLD = {1000: 0.4, 100_000: 0.25}
AGAIN = {100_000: 0.2}
MEMORY = 0.8
SAME = 0.999
"""The cosine of the two sides' vectors of the same pixels; the product stores them as float16."""


class Peers:
    """What the parts share: folders, models, and where figures go."""

    def __init__(self, folder: Path, results: Results, *, quick: bool, rounds: int | None) -> None:
        self.folder, self.results, self.quick = folder, results, quick
        self.rounds = rounds or (1 if quick else 3)
        self.counts = {SMALL: 48 if quick else 300, LARGE: 20 if quick else 100}
        self.rclip: Rclip | None = None
        try:
            self.rclip = peer_rclip.install()
        except peer_rclip.InstallError as error:
            print(f"{error}. What compares with it is left out.\n", flush=True)
            results.note("rclip", str(error))
        if self.rclip is not None:
            for package, version in self.rclip.versions().items():
                results.note(package if package == "rclip" else f"rclip's {package}", version)
        if quick:
            self.wide = machine.apart(peer_rclip.tiny_model, folder / "tiny-wide")
            self.usual = machine.apart(machine.tiny_model, folder)
        else:
            self.wide = machine.apart(machine.random_model, peer_rclip.ARCHITECTURE)
            self.usual = machine.apart(machine.random_model)
        self._photos: set[str] = set()
        self._int8: dict[str, str | None] = {}

    def judge(
        self, what: str, value: float, *, at_least: float | None = None, at_most: float | None = None
    ) -> None:
        """A trial's figures are told and not judged."""
        if self.quick:
            at_least = at_most = None
        self.results.judge(what, value, at_least=at_least, at_most=at_most)

    def photos(self, size: str) -> Path:
        folder = self.folder / f"photos-{SIZES[size][0]}"
        if size not in self._photos:
            machine.apart(write_photos, folder, self.counts[size], SIZES[size])
            self._photos.add(size)
        return folder

    def theirs(self) -> Theirs | None:
        if self.rclip is None:
            return None
        data = self.folder / "rclip"
        return Theirs(self.rclip, data if data.is_dir() else self.data(data))

    def data(self, place: Path) -> Path:
        from retrieval import config

        kept = self.folder if self.quick else config.model_cache().parent / "benchmarks"
        return peer_rclip.data_folder(place, machine.apart(peer_rclip.models_for, self.wide, kept))

    def ours(self, spec: str) -> dict[str, Side]:
        """The product with a model, and with its int8 variant where that is offered."""
        sides: dict[str, Side] = {OURS: Ours(spec, self.folder / "catalog")}
        if spec not in self._int8:
            reason = machine.apart(refusal, f"{spec}@int8")
            if reason is not None:
                print(f"int8 is not offered for {spec}: {reason}\n", flush=True)
                self.results.note("int8", f"not offered: {reason}")
            self._int8[spec] = reason
        if self._int8[spec] is None:
            sides[OURS_INT8] = Ours(f"{spec}@int8", self.folder / "catalog")
        return sides


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a trial of a minute with tiny models")
    parser.add_argument("--rounds", type=int, help="runs of indexing of each (default 3)")
    parser.add_argument("--part", action="append", choices=PARTS, help="only this; may be repeated")
    options = parser.parse_args()
    results = Results("peers", "Side by side with its peers", command="python benchmarks/peers.py")
    machine.title("Side by side with rclip and with a plain open_clip loop, whole processes in turns")
    with machine.workplace() as folder:
        peers = Peers(folder, results, quick=options.quick, rounds=options.rounds)
        for part, run in zip(PARTS, (network, indexing, loop, used, libraries), strict=True):
            if part in (options.part or PARTS):
                run(peers)
    if not options.part:
        results.close()


def refusal(spec: str) -> str | None:
    """Make an int8 model, whose rankings are not looked at: its weights are random; or why there is none."""
    from indexer.export import encoder_for_indexing, pull
    from retrieval.errors import RetrievalError

    try:
        pull(spec, untested=True)
        encoder_for_indexing(spec).encode_images([machine.draw_photo(0)])
    except RetrievalError as error:
        return str(error)
    return None


def network(peers: Peers) -> None:
    """That both sides run the same network: vectors of pictures that neither resizes, and of photos."""
    theirs = peers.theirs()
    if theirs is None:
        return
    ours = Ours(peers.wide, peers.folder / "catalog")
    for what, suffix in (("same pixels", ".png"), (SMALL, ".jpg")):
        photos = peers.folder / f"network{suffix}"
        machine.apart(draw, photos, suffix)
        for side in (ours, theirs):
            index(side, photos)
        least, centred = machine.apart(agreement, ours.place, theirs.data)
        if suffix == ".png":
            peers.results.judge("both run one network: least cosine on the same pixels", least, at_least=SAME)
        told = f"{least:.5f}; {centred:.5f} after their mean was taken from all"
        peers.results.note(f"least cosine of vectors, {what}", told)
        print(f"  least cosine of vectors, {what}: {told}", flush=True)
    print()


def draw(folder: Path, suffix: str) -> None:
    folder.mkdir()
    size = (peer_rclip.SIDE,) * 2 if suffix == ".png" else SIZES[SMALL]
    for number in range(24):
        machine.draw_photo(number, size).save(folder / f"{number:02}{suffix}")


def agreement(place: Path, data: Path) -> tuple[float, float]:
    """The least cosine of both sides' vectors, and the least after the mean was taken from all.

    A network with random weights gives all pictures similar vectors: what is common proves nothing.
    """
    import numpy as np

    (paths, ours), (named, theirs) = catalog_rows(place), peer_rclip.rows(data)
    if paths != named:
        raise SystemExit("The two sides did not index the same files.")

    def least(left: Any, right: Any) -> float:
        norms = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
        return float(((left * right).sum(1) / norms).min())

    return least(ours, theirs), least(ours - theirs.mean(0), theirs - theirs.mean(0))


def indexing(peers: Peers) -> None:
    theirs = peers.theirs()
    if theirs is not None:
        compare(peers, RCLIP, theirs, peers.wide, AGAINST_RCLIP, "ViT-B/32 of 256 pixels")


def loop(peers: Peers) -> None:
    from retrieval.encoders import exports

    name = exports.parse_spec(peers.usual)
    compare(peers, LOOP, Loop(name.arch, name.source), peers.usual, AGAINST_LOOP, "ViT-B/32")


def compare(
    peers: Peers, rival: str, side: Side, spec: str, bounds: dict[str, dict[str, float]], model: str
) -> None:
    """Indexing rates over small and large photos, in turns; the rival's is the measure."""
    bars: dict[str, dict[str, float]] = {}
    for size in SIZES:
        photos = peers.photos(size)
        sides = {rival: side, **peers.ours(spec)}
        found = rates(sides, photos / "few", photos / "many", peers.rounds)
        head = [f"{peers.counts[size]} photos, {size}", "whole /s", "steady /s", "fixed s"]
        cells = ((name, rate.whole, rate.steady, rate.fixed) for name, rate in found.items())
        machine.table(head, [[name, *(f"{figure:.2f}" for figure in figures)] for name, *figures in cells])
        for name, limits in bounds.items():
            if name not in found:
                continue
            label = f"{name} against {rival}, {size}"
            steady = found[name].steady / found[rival].steady
            peers.judge(f"{label}: steady rate", steady, at_least=limits[size])
            whole = found[name].whole / found[rival].whole
            # Loading torch takes a loop longer than its photos: that is no part of the comparison.
            peers.judge(f"{label}: whole run", whole, at_least=limits[size] if rival == RCLIP else None)
        bars[size] = {name: rate.steady for name, rate in found.items()}
        print()
    peers.results.bars(f"Indexing against {rival}, {model}", bars, unit="images/s")


def used(peers: Peers) -> None:
    """Peak memory of all processes while indexing and answering one query."""
    theirs = peers.theirs()
    if theirs is None:
        return
    if not Path("/proc/self/smaps_rollup").exists():
        print("Memory of a tree of processes is sampled from /proc, which this system does not have.\n")
        return
    bars: dict[str, dict[str, float]] = {}
    for size in SIZES:
        photos = peers.photos(size) / ("few" if peers.quick else "many")
        sides: dict[str, Side] = {RCLIP: theirs, **peers.ours(peers.wide)}
        found = {name: peak(side, photos) for name, side in sides.items()}
        machine.table(
            [f"peak of all processes, {size}", ""],
            [[name, machine.mebibytes(most)] for name, most in found.items()],
        )
        for name in sides:
            if name != RCLIP:
                share = found[name] / found[RCLIP]
                peers.judge(
                    f"{name} against rclip, {size}: peak memory while indexing", share, at_most=MEMORY
                )
        bars[size] = {name: most / (1 << 20) for name, most in found.items()}
        print()
    peers.results.bars("Peak memory while indexing, all processes", bars, unit="MiB")


def libraries(peers: Peers) -> None:
    """An unchanged second run with a query, and a cold query, over made libraries."""
    rclip = peers.rclip
    if rclip is None:
        return
    cold: dict[str, dict[str, float]] = {}
    again: dict[str, dict[str, float]] = {}
    for count in (200,) if peers.quick else (1000, 100_000):
        label = f"{count:,} images"
        place = peers.folder / f"library-{count}" / "catalog"
        place.parent.mkdir()
        root, data = place.with_name("pictures"), peers.data(place.with_name("rclip"))
        machine.apart(machine.fill_catalog, place, peers.wide, count)
        machine.apart(write_files, root, count)
        machine.apart(fill, rclip, data, place)
        library = Library(rclip, place, root, data)
        library.check(count)
        first = in_turns({RCLIP: library.their_query, OURS: library.our_query}, 3 if peers.quick else 9)
        second = in_turns({RCLIP: library.their_rerun, OURS: library.our_rerun}, 1 if count > 1000 else 3)
        library.check(count)
        for what, costs, limits, kept in (
            ("cold query", first, COLD, cold),
            ("unchanged second run with a query", second, AGAIN, again),
        ):
            rows = [
                [name, f"{cost.wall:.3f}", f"{cost.cpu:.3f}", machine.mebibytes(cost.peak)]
                for name, cost in costs.items()
            ]
            machine.table([f"{what}, {label}", "wall s", "CPU s", "peak"], rows)
            against = f"this against rclip, {label}: {what}"
            peers.judge(against, costs[OURS].wall / costs[RCLIP].wall, at_most=limits.get(count))
            peers.judge(f"{against}, peak memory", costs[OURS].peak / costs[RCLIP].peak, at_most=MEMORY)
            kept[label] = {name: cost.wall for name, cost in costs.items()}
            print()
    peers.results.bars("A cold query", cold, unit="s")
    peers.results.bars("An unchanged second run with a query", again, unit="s")


if __name__ == "__main__":
    main()
