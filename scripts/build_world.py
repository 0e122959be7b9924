#!/usr/bin/env python3
"""Make the page's outline of the world from Natural Earth's land at 1:110 million.

    python scripts/build_world.py

It takes the npm package world-atlas, and writes retrieval/server/static/world.json: one ring
of `x, y, x, y ...` for each piece of land, in tenths of a degree. Natural Earth is in the public domain.
"""

from __future__ import annotations

import json
import subprocess
import tarfile
import tempfile
from itertools import accumulate, pairwise
from pathlib import Path

PACKAGE = "world-atlas@2.0.2"
PLACE = Path(__file__).parent.parent / "retrieval" / "server" / "static" / "world.json"
TOLERANCE = 0.25
"""Degrees by which a coast may be moved: less than a pixel where it is drawn."""
SMALLEST = 0.6
"""Degrees from end to end: what is smaller is left out."""
Point = tuple[float, float]


def land() -> dict[str, object]:
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            ["npm", "pack", "--silent", PACKAGE], cwd=folder, check=True, stdout=subprocess.DEVNULL
        )
        [packed] = Path(folder).glob("*.tgz")
        with tarfile.open(packed) as archive:
            member = archive.extractfile("package/land-110m.json")
            assert member is not None
            found: dict[str, object] = json.load(member)
            return found


def rings(topology: dict) -> list[list[Point]]:  # type: ignore[type-arg]
    """The outer and inner rings of a TopoJSON file's land."""
    (sx, sy), (tx, ty) = topology["transform"]["scale"], topology["transform"]["translate"]
    arcs = [
        [
            (x * sx + tx, y * sy + ty)
            for x, y in zip(
                accumulate(step[0] for step in arc), accumulate(step[1] for step in arc), strict=True
            )
        ]
        for arc in topology["arcs"]
    ]

    def joined(numbers: list[int]) -> list[Point]:
        points: list[Point] = []
        for number in numbers:
            arc = arcs[number] if number >= 0 else arcs[~number][::-1]
            points.extend(arc[1:] if points else arc)
        return points

    found = []
    for geometry in topology["objects"]["land"]["geometries"]:
        shapes = geometry["arcs"] if geometry["type"] == "MultiPolygon" else [geometry["arcs"]]
        found.extend(joined(ring) for shape in shapes for ring in shape)
    return found


def flat(ring: list[Point]) -> list[list[Point]]:
    """A ring of the globe as rings of a map: one that goes over its edge is drawn at both edges."""
    turn, line = 0, [ring[0]]
    for (before, _), (x, y) in pairwise(ring):
        turn += 360 * ((x - before < -180) - (x - before > 180))
        line.append((x + turn, y))
    if turn:
        # Around the pole: the map ends there.
        line += [(line[-1][0], -90.0), (line[0][0], -90.0), line[0]]
    shifts = [shift for shift in (-360, 0, 360) if any(-180 < x + shift < 180 for x, _ in line)]
    return [[(x + shift, y) for x, y in line] for shift in shifts]


def simpler(points: list[Point], tolerance: float) -> list[Point]:
    """Douglas and Peucker's line, kept within `tolerance` of the given one."""
    kept = {0, len(points) - 1}
    spans = [(0, len(points) - 1)]
    while spans:
        low, high = spans.pop()
        (ax, ay), (bx, by) = points[low], points[high]
        length = ((bx - ax) ** 2 + (by - ay) ** 2) ** 0.5
        farthest, at = 0.0, -1
        for place in range(low + 1, high):
            x, y = points[place]
            if length:
                away = abs((bx - ax) * (ay - y) - (ax - x) * (by - ay)) / length
            else:
                away = ((x - ax) ** 2 + (y - ay) ** 2) ** 0.5
            if away > farthest:
                farthest, at = away, place
        if farthest > tolerance:
            kept.add(at)
            spans += [(low, at), (at, high)]
    return [points[place] for place in sorted(kept)]


def main() -> None:
    drawn = []
    for ring in (part for whole in rings(land()) for part in flat(whole)):
        if max(max(axis) - min(axis) for axis in zip(*ring, strict=True)) < SMALLEST:
            continue
        line = simpler(ring, TOLERANCE)
        if len(line) >= 4:
            drawn.append([round(value * 10) for point in line[:-1] for value in point])
    told = "Natural Earth 1:110m land, public domain. Tenths of a degree: x, y, x, y ..."
    PLACE.write_text(json.dumps({"source": told, "rings": drawn}, separators=(",", ":")) + "\n", "utf-8")


if __name__ == "__main__":
    main()
