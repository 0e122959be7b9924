"""What was measured of models on this machine, remembered in the model cache.

    <model cache>/machines/<fingerprint>.json
        machine   what the fingerprint is of: processor, cores, versions, devices
        models    by encoder id and runtime: pictures a second, or why it is not used
        indexed   by spec: pictures a second of the last long indexing

A cache may be shared by several machines, or moved to another: each has a file of its own, and
one whose processor, cores, versions or devices change is another machine from then on.
Nothing here imports a runtime.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import math
import os
import platform
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from retrieval import config
from retrieval.regular_files import make_way, read_cached

FOLDER = "machines"
KEPT = 20
"""Machines remembered in one cache; the ones that measured last."""
CLEARLY_FASTER = 1.05
"""How much quicker than one that costs less to load a runtime has to be to take its place."""
RUNTIMES = ("onnxruntime", "openvino", "torch")
CPUINFO = Path("/proc/cpuinfo")
DEVICES = Path("/dev")
NAMES = {"onnx": "ONNX Runtime", "openvino": "OpenVINO", "torch": "torch"}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of trying a runtime: its speed, or why it cannot be used."""

    speed: float | None = None
    problem: str | None = None
    passing: bool = False
    """Whether the problem may be gone the next time, as with memory that others hold."""

    def as_dict(self) -> dict[str, Any]:
        values = {name: getattr(self, name) for name in self.__slots__}
        return {name: value for name, value in values.items() if value}


def recall(encoder_id: str) -> dict[str, Outcome]:
    """What is known of a model on this machine, by runtime."""
    try:
        found = _read()["models"][encoder_id]
        outcomes = {str(name): Outcome(**facts) for name, facts in found.items()}
    except (KeyError, TypeError, AttributeError):
        return {}
    return outcomes if all(_plain(outcome) for outcome in outcomes.values()) else {}


def _plain(outcome: Outcome) -> bool:
    """Whether what was read are values that are written here."""
    speed, problem = outcome.speed, outcome.problem
    number = speed is None or (type(speed) in (int, float) and math.isfinite(speed))
    return number and isinstance(problem, str | None) and isinstance(outcome.passing, bool)


def remember(encoder_id: str, runtime: str, outcome: Outcome | None) -> None:
    """Note what came of a trial, or with None forget it. A cache, so it may fail."""
    content = _read()
    model = content.setdefault("models", {}).setdefault(encoder_id, {})
    model.pop(runtime, None)
    if outcome is not None:
        model[runtime] = outcome.as_dict()
    _write(content)


def timed(outcomes: dict[str, Outcome]) -> list[str]:
    """The runtimes that have a speed, those first that cost least to load."""
    return [name for name in NAMES if name in outcomes and outcomes[name].speed]


def choose(outcomes: dict[str, Outcome]) -> str:
    """The name of the fastest runtime; one that costs more to load only where it is clearly faster."""
    best, speed = "onnx", 0.0
    for name in timed(outcomes):
        own = outcomes[name].speed or 0.0
        if own > speed * CLEARLY_FASTER:
            best, speed = name, own
    return best


def indexed() -> dict[str, float]:
    """Pictures a second of the last long indexing here, by spec."""
    try:
        return {str(spec): float(speed) for spec, speed in _read()["indexed"].items()}
    except (KeyError, TypeError, ValueError, AttributeError):
        return {}


def remember_indexing(spec: str, speed: float) -> None:
    content = _read()
    content.setdefault("indexed", {})[spec] = round(speed, 2)
    _write(content)


def fingerprint() -> str:
    return hashlib.sha256(json.dumps(machine(), sort_keys=True).encode()).hexdigest()[:12]


def machine() -> dict[str, Any]:
    """What the speeds of models depend on here, as far as it can be told without loading one."""
    return {
        "processor": _processor(),
        "cores": config.cores(),
        "versions": _versions(),
        "devices": devices(),
    }


def devices() -> list[str]:
    """Devices that torch may be able to use beside the processor; only torch itself can be sure."""
    found = [path.name for path in sorted(DEVICES.glob("nvidia[0-9]*"))]
    found += [name for name in ("kfd", "dxg") if (DEVICES / name).exists()]
    if os.environ.get("CUDA_VISIBLE_DEVICES", "0").strip() in {"", "-1"}:
        found = []
    if sys.platform == "win32" and Path(os.environ.get("SYSTEMROOT", ""), "System32", "nvcuda.dll").exists():
        found.append("nvidia")
    if sys.platform == "darwin" and platform.machine() == "arm64":
        found.append("mps")
    return found


@functools.cache
def _processor() -> str:
    """Its name and what it can do: one name may stand for several in a data centre."""
    with contextlib.suppress(OSError):
        facts: dict[str, str] = {}
        for line in CPUINFO.read_text("utf-8", "replace").splitlines():
            key, _, value = line.partition(":")
            facts.setdefault(key.strip().lower(), value.strip())
        name = facts.get("model name") or facts.get("cpu part") or ""
        abilities = facts.get("flags") or facts.get("features") or ""
        if name or abilities:
            return f"{name} {hashlib.sha256(abilities.encode()).hexdigest()[:8]}".strip()
    return f"{platform.machine()} {platform.processor()}".strip()


@functools.cache
def _versions() -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    found: dict[str, str] = {}
    for name in RUNTIMES:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def has_runtime(package: str) -> bool:
    return package in _versions()


def _file() -> Path:
    return config.model_cache() / FOLDER / f"{fingerprint()}.json"


def _read() -> dict[str, Any]:
    data = read_cached(_file())
    try:
        content = {} if data is None else json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return content if _is_ours(content) else {}


def _is_ours(content: Any) -> bool:
    """Whether a file has the shape that is written here; one that was damaged is as good as none."""
    if not isinstance(content, dict):
        return False
    tables = [content.get("models", {}), content.get("indexed", {})]
    return all(isinstance(table, dict) for table in tables) and all(
        isinstance(model, dict) for model in tables[0].values()
    )


def _write(content: dict[str, Any]) -> None:
    path = _file()
    part = path.with_name(f"{path.name}.{os.getpid()}")
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps({"machine": machine(), **content}, indent=1), "utf-8")
        make_way(path)
        part.replace(path)
        files = sorted(path.parent.glob("*.json"), key=lambda other: other.stat().st_mtime)
        for old in files[:-KEPT]:
            old.unlink(missing_ok=True)
