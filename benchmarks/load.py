"""How long a server keeps up: a steady load, many connections, a soak of half an hour, and an overload.

    python benchmarks/load.py [--quick] [--images N | --catalog C] [--rate R] [--steady MIN] [--soak MIN]
                              [NAME...]

The budget, on two cores with 100,000 pictures: 20 text queries a second for ten minutes with the 99th
percentile at most 500 ms and no error; 64 connections at once without one; half an hour of mixed requests
after whose fifth minute memory grows by less than 1 MB a minute and descriptors not at all; what is more
than can be done is answered 503 with `Retry-After`, what is let in is answered in a bearable time, /healthz
all the while, and five seconds later all is as before. Requests come when they are due, whether or not those
before are answered, and waiting counts. The client runs on the same machine: its work is part of the figures.
Forty minutes in all; `--steady 1 --soak 7` is a shorter look. NAMEs choose parts: steady connections soak
overload.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import http.client
import json
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import machine
import serving
from outcomes import Results
from serving import API, Client, Load, Told

RATE = 20.0
P99_MS = 500.0
GROWTH_MB = 1.0
"""Megabytes a minute, after the first `SETTLED` seconds."""
SETTLED = 300.0
CONNECTIONS = 64
CROWD = 200
"""Clients of the overload, each of whom asks again as soon as it is answered."""
ADMITTED_MS = 5_000.0
"""How long what is let in takes at the most while many more ask."""
RECOVERY = 5.0
EVERY = 10.0
"""Seconds from one look at the server's memory to the next."""
PARTS = ("steady", "connections", "soak", "overload")
MIXED = {
    "text, repeated": 20,
    "text, new": 40,
    "text, filtered": 10,
    "thumbnail": 20,
    "page of pictures": 5,
    "similar": 3,
    "status": 2,
}
NEW = {"text, new": 1}
MORE_WORDS = (
    "old", "small", "wooden", "winter", "sunny", "crowded", "blue", "green", "broken", "young", "stone",
    "wild", "garden", "harbour", "kitchen", "wedding", "festival", "airport", "desert", "forest", "rain",
    "smoke", "bread", "guitar", "lamp", "umbrella", "bicycle", "balloon", "statue", "ruin", "market",
    "cloud", "moon", "ice", "sand",
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="NAME", help=f"only these of {', '.join(PARTS)}")
    parser.add_argument("--quick", action="store_true", help="a trial of some seconds: 2,000 pictures")
    parser.add_argument("--images", type=int, help="pictures of the catalog that is made (default 100,000)")
    parser.add_argument("--catalog", type=Path, help="a catalog that is there, in place of a made one")
    parser.add_argument("--rate", type=float, default=RATE, help="requests a second (default 20)")
    parser.add_argument("--steady", type=float, metavar="MIN", help="minutes of text queries (default 10)")
    parser.add_argument("--soak", type=float, metavar="MIN", help="minutes of mixed requests (default 30)")
    options = parser.parse_args()
    unknown = sorted(set(options.parts) - set(PARTS))
    if unknown:
        parser.error(f"there is no part '{unknown[0]}'. There are: {', '.join(PARTS)}")
    chosen = options.parts or PARTS
    count = options.images or (2_000 if options.quick else 100_000)
    steady = 60 * (options.steady or (0.05 if options.quick else 10.0))
    soak = 60 * (options.soak or (0.1 if options.quick else 30.0))
    what = str(options.catalog) if options.catalog else f"{count:,} pictures"
    machine.title(f"A server of {what} under load: {', '.join(chosen)}")
    with (
        Results("load", "A server under load", command="python benchmarks/load.py") as results,
        machine.workplace() as folder,
    ):
        place = options.catalog
        if place is None:
            place = folder / "catalog"
            machine.apart(serving.fill, place, count)
        with serving.serving(place) as (port, pid):
            machine.apart(asked, port, Load(8, 5.0, options.rate, MIXED), 0)
            if "steady" in chosen:
                steadily(port, pid, Load(CONNECTIONS, steady, options.rate, NEW), results)
            if "connections" in chosen:
                together(port, 2.0 if options.quick else 20.0, results)
            if "soak" in chosen:
                soaked(port, pid, Load(CONNECTIONS, soak, options.rate, MIXED), results)
            if "overload" in chosen:
                overloaded(port, pid, 3.0 if options.quick else 20.0, options.rate, results)


def steadily(port: int, pid: int, load: Load, results: Results) -> None:
    """Text queries, all of them new, as they come due."""
    with watched(pid) as seen:
        told = machine.apart(asked, port, load, 1)
    judged(told, f"{load.rate:g} text queries a second for {minutes(load.seconds)}", results)
    (taken,) = told.taken.values()
    spread = serving.spread(taken)
    results.judge("of these, p50", spread["p50_ms"], unit="ms")
    results.judge("of these, p95", at(taken, 0.95), unit="ms")
    results.judge("of these, p99", spread["p99_ms"], at_most=P99_MS, unit="ms")
    results.judge("of these, the longest", spread["max_ms"], unit="ms")
    grown(seen, "meanwhile", len(taken), results)


def together(port: int, seconds: float, results: Results) -> None:
    """As many as may wait, each with a connection of its own, asking one thing after the other."""
    told = machine.apart(asked, port, Load(CONNECTIONS, seconds, None, MIXED), 2)
    judged(told, f"{CONNECTIONS} connections at once", results)
    answered = sum(map(len, told.taken.values()))
    results.judge("answers a second to these", answered / told.wall, unit="answers/s")


def soaked(port: int, pid: int, load: Load, results: Results) -> None:
    """What a page asks for, for long."""
    with watched(pid) as seen:
        told = machine.apart(asked, port, load, 3)
    judged(told, f"{load.rate:g} mixed requests a second for {minutes(load.seconds)}", results)
    taken = [one for kind in told.taken.values() for one in kind]
    results.judge("of these, p99", serving.spread(taken)["p99_ms"], at_most=P99_MS, unit="ms")
    grown(seen, "of the soak", len(taken), results)
    if len(seen) > 2:
        results.curve(
            "Memory of the server, MB",
            x=[round(one.at / 60, 2) for one in seen],
            lines={"resident": [round(one.memory / 1e6, 1) for one in seen]},
            x_label="minutes",
            y_label="MB",
        )


def overloaded(port: int, pid: int, seconds: float, rate: float, results: Results) -> None:
    """Many more than can be answered, somebody who asks whether it lives, and what comes after."""
    before = serving.held(pid)
    healthy: list[float] = []
    with repeatedly(lambda: healthy.append(lives(port)), 0.2):
        told = machine.apart(crowded, port, CROWD, seconds)
    after = machine.apart(recovering, port, rate, 2 * RECOVERY)
    refused = told["refused"]
    results.judge(f"refused with 503 of {CROWD} clients at once", refused, at_least=1)
    results.judge("of these without Retry-After, or in another shape", told["shapeless"], at_most=0)
    results.judge("answers that are neither 200 nor 503", len(told["errors"]), at_most=0)
    for said in told["errors"][:3]:
        print(f"  {said}")
    results.judge("answers a second while it lasts", len(told["taken"]) / seconds, unit="answers/s")
    admitted = serving.spread(told["taken"]) if told["taken"] else {"p99_ms": 0.0}
    results.judge("what was let in, p99", admitted["p99_ms"], at_most=ADMITTED_MS, unit="ms")
    results.judge("a refusal, p99", serving.spread(told["turned"])["p99_ms"] if refused else 0.0, unit="ms")
    results.judge("/healthz meanwhile, the longest", 1000 * max(healthy), at_most=2_000, unit="ms")
    results.judge("seconds until all is answered in time again", after, at_most=RECOVERY, unit="s")
    held = serving.held(pid)
    if held["descriptors"] is not None and before["descriptors"] is not None:
        results.judge("descriptors more than before", held["descriptors"] - before["descriptors"], at_most=8)


@dataclasses.dataclass(frozen=True, slots=True)
class Sample:
    """What the server holds at a moment: bytes of memory and open descriptors."""

    at: float
    memory: int
    descriptors: int


@contextlib.contextmanager
def watched(pid: int) -> Iterator[list[Sample]]:
    """Looks at the server now and then, and tells all that was seen."""
    seen: list[Sample] = []
    begun = time.monotonic()

    def look() -> None:
        held = serving.held(pid)
        memory, descriptors = held["memory"], held["descriptors"]
        if memory is not None and descriptors is not None:
            seen.append(Sample(time.monotonic() - begun, memory, descriptors))

    with repeatedly(look, EVERY):
        yield seen
    look()


@contextlib.contextmanager
def repeatedly(look: Callable[[], None], seconds: float) -> Iterator[None]:
    """Call it at once, and again every so many seconds, beside what goes on."""
    over = threading.Event()

    def looking() -> None:
        look()
        while not over.wait(seconds):
            look()

    thread = threading.Thread(target=looking)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def grown(seen: Sequence[Sample], when: str, requests: int, results: Results) -> None:
    """Judge what was kept: the slope of the memory once all is settled, and descriptors."""
    late = [one for one in seen if one.at >= SETTLED]
    if len(late) < 6:
        late = seen[len(seen) // 2 :]
        # Of a short run the slope is mostly what fills at the start.
        judge: dict[str, float] = {}
    else:
        judge = {"at_most": GROWTH_MB}
    if len(late) < 2:
        return
    slope = 60 * least_squares([(one.at, one.memory / 1e6) for one in late])
    results.judge(f"memory {when}, growth a minute", slope, unit="MB", **judge)
    a_minute = 60 * requests / seen[-1].at
    results.judge(f"memory {when}, growth a request", 1e6 * slope / max(1.0, a_minute), unit="B")
    results.judge(f"memory {when}, at the end", seen[-1].memory / 1e6, unit="MB")
    half = len(late) // 2
    earlier = max(one.descriptors for one in late[:half])
    later = max(one.descriptors for one in late[half:])
    results.judge(f"descriptors {when}, growth", later - earlier, at_most=0)
    results.judge(f"descriptors {when}, at the end", seen[-1].descriptors)


def least_squares(points: Sequence[tuple[float, float]]) -> float:
    """The slope of the line that lies nearest."""
    middle_x = sum(x for x, _ in points) / len(points)
    middle_y = sum(y for _, y in points) / len(points)
    wide = sum((x - middle_x) ** 2 for x, _ in points)
    return sum((x - middle_x) * (y - middle_y) for x, y in points) / wide if wide else 0.0


def judged(told: Told, what: str, results: Results) -> None:
    results.judge(f"{what}: answers", sum(map(len, told.taken.values())), at_least=1)
    results.judge(f"{what}: errors", len(told.errors), at_most=0)
    results.judge(f"{what}: answers of 503", told.refused, at_most=0)
    for said in told.errors[:3]:
        print(f"  {said}")


def at(taken: Sequence[float], share: float) -> float:
    """The time in milliseconds within which so many are answered."""
    ordered = sorted(taken)
    return round(1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))], 1)


def minutes(seconds: float) -> str:
    return f"{seconds / 60:g} min" if seconds >= 60 else f"{seconds:g} s"


def asked(port: int, load: Load, seed: int) -> Told:
    """Requests in this process; `serving.driven` with texts that were hardly ever asked."""
    serving.request = varied
    random.seed(seed)
    return serving.driven(port, load)


def varied(kind: str, draw: random.Random, pictures: list[int]) -> tuple[str, str, bytes | None]:
    if kind == "text, new":
        words = draw.sample((*serving.WORDS, *MORE_WORDS), draw.randrange(2, 7))
        random.shuffle(words)
        return "GET", f"{API}/search?q={quote(' '.join(words))}%20{random.randrange(10**6)}", None
    return _request(kind, draw, pictures)


_request = serving.request


def lives(port: int) -> float:
    """How long it takes to hear that the server lives; for ever where it does not say so."""
    begun = time.perf_counter()
    try:
        status, _ = Client(port).ask("GET", "/healthz")
    except (OSError, http.client.HTTPException):
        status = 0
    return time.perf_counter() - begun if status == 200 else sys.maxsize


def crowded(port: int, clients: int, seconds: float) -> dict[str, Any]:
    """So many clients, each of whom asks again at once; a refusal is not waited out."""
    told: dict[str, Any] = {"taken": [], "turned": [], "refused": 0, "shapeless": 0, "errors": []}
    lock, until = threading.Lock(), time.perf_counter() + seconds

    def client(number: int) -> None:
        draw = random.Random(number)
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        while (begun := time.perf_counter()) < until:
            try:
                connection.request("GET", varied("text, new", draw, [])[1])
                answer = connection.getresponse()
                status, said, headers = answer.status, answer.read(), answer.headers
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                with lock:
                    told["errors"].append(repr(error))
                continue
            taken = time.perf_counter() - begun
            with lock:
                if status == 200:
                    told["taken"].append(taken)
                elif status == 503:
                    told["refused"] += 1
                    told["turned"].append(taken)
                    told["shapeless"] += not well_refused(said, headers)
                else:
                    told["errors"].append(f"{status} {said[:200]!r}")

    threads = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return told


def well_refused(said: bytes, headers: http.client.HTTPMessage) -> bool:
    """Whether a 503 says when to come again, in the one form of every failure."""
    try:
        problem = json.loads(said)
    except ValueError:
        return False
    return bool(problem.get("status") == 503 and problem.get("detail") and headers["Retry-After"].isdigit())


def recovering(port: int, rate: float, seconds: float) -> float:
    """Seconds until every text query is answered, and in time; more than there are if none is."""
    begun, late, lock = time.perf_counter(), 0.0, threading.Lock()
    draw, tickets = random.Random(7), iter(range(int(rate * seconds)))

    def client() -> None:
        nonlocal late
        mine = Client(port)
        while True:
            with lock:
                ticket = next(tickets, None)
                path = varied("text, new", draw, [])[1]
            if ticket is None:
                return
            due = begun + ticket / rate
            time.sleep(max(0.0, due - time.perf_counter()))
            try:
                status, _ = mine.ask("GET", path)
            except (OSError, http.client.HTTPException):
                status = 0
            if status != 200 or time.perf_counter() - due > P99_MS / 1000:
                with lock:
                    late = max(late, time.perf_counter() - begun)

    threads = [threading.Thread(target=client) for _ in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return late


if __name__ == "__main__":
    main()
