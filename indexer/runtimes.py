"""Which runtime a model is indexed by on this machine: tried for a second or two each, once.

ONNX Runtime is what the others are measured against: it runs every export, and queries too.
OpenVINO is tried where it is installed. torch is tried where it is loaded anyway, because it has
just exported the model, or where there may be a GPU: on a processor alone it has always been
slower (0.7 to 0.85 of ONNX Runtime), and loading it to hear that again costs eight seconds and
the model's weights twice.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from retrieval import config
from retrieval.encoders import trials
from retrieval.encoders.trials import Outcome
from retrieval.errors import ModelError
from retrieval.types import Prepared

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from retrieval.encoders.exports import Export
    from retrieval.encoders.onnx import OnnxEncoder
    from retrieval.encoders.open_clip import OpenClipEncoder
    from retrieval.protocols import Encoder, Progress

PARITY = 0.9999
TRIAL_SECONDS = 1.5
TURNS = 3
MEMORY = 3
"""How many times its weights a second runtime may take beside the first."""
PICTURES = 3
ENDED = "the program ended while it was being tried"


def fastest(
    found: Export, progress: Progress, *, torch: OpenClipEncoder | None = None, again: bool = False
) -> Encoder:
    """The export run by what is fastest here; tried now if that is not known, or if `again`.

    `torch` is the model loaded by torch, if it is. The encoder's `note` says why, where torch it is.
    """
    outcomes = try_runtimes(found, progress, torch=torch, again=again)
    best = trials.choose(outcomes)
    if best != "torch":
        return _by(best, found)
    try:
        encoder = torch or _load_torch(found.spec)
    except ModelError as error:
        # An export may be all that is left of a model.
        best = trials.choose({name: outcome for name, outcome in outcomes.items() if name != "torch"})
        spare = _by(best, found)
        spare.note = f"{found.spec} runs by {trials.NAMES[best]}, because torch cannot load it: {error}"
        return spare
    speeds = [f"{outcomes[name].speed:.1f} by {trials.NAMES[name]}" for name in trials.timed(outcomes)[:-1]]
    encoder.note = (
        f"{found.spec} runs by torch: {outcomes['torch'].speed:.1f} images a second, "
        f"against {' and '.join(speeds)}"
    )
    return encoder


def try_runtimes(
    found: Export, progress: Progress, *, torch: OpenClipEncoder | None = None, again: bool = False
) -> dict[str, Outcome]:
    """What is known of each runtime for this export here, after trying what is not known yet."""
    known = trials.recall(found.manifest["id"])
    rivals = [
        name
        for name in _rivals(found, torch)
        if again or name not in known or (known[name].passing and not _lack(found))
    ]
    if "onnx" in known and not rivals and not again:
        return known
    progress("model-timing", {"spec": found.spec})
    try:
        outcomes = _try(found, rivals, torch)
    except BaseException:
        for name in rivals:
            trials.remember(found.manifest["id"], name, None)
        raise
    for name, outcome in outcomes.items():
        trials.remember(found.manifest["id"], name, outcome)
        if outcome.problem is not None:
            text = f"{found.spec} is not run by {trials.NAMES[name]} here: {outcome.problem}."
            progress("note", {"text": text})
    return known | outcomes


def side_by_side(encoders: Mapping[str, Encoder]) -> dict[str, float | Exception]:
    """Pictures a second of each, with as many batches at once as indexing would run.

    They take turns and each one's best turn counts, so that whatever else the machine does meets
    all of them alike. One that fails has its error in the place of its speed.
    """
    found: dict[str, float | Exception] = dict.fromkeys(encoders, 0.0)
    spent = dict.fromkeys(encoders, -1.0)
    with ExitStack() as stack:
        turns = {
            name: _Turn(encoder, stack.enter_context(ThreadPoolExecutor(encoder.parallel)))
            for name, encoder in encoders.items()
        }
        while left := [name for name, seconds in spent.items() if seconds < TRIAL_SECONDS]:
            for name in left:
                try:
                    seconds, speed = turns[name].take()
                except Exception as error:  # each runtime raises kinds of its own
                    found[name], spent[name] = error, TRIAL_SECONDS
                    continue
                if spent[name] < 0:
                    spent[name] = 0.0  # the first turn was to get warm
                    continue
                found[name] = max(speed, cast("float", found[name]))
                spent[name] += seconds
    return found


@dataclass(slots=True)
class _Turn:
    encoder: Encoder
    pool: ThreadPoolExecutor

    def take(self) -> tuple[float, float]:
        """Encode for a moment; gives the seconds it took, and pictures a second."""
        batch = random_pictures(self.encoder, self.encoder.batch_size)
        done, start = 0, time.perf_counter()
        while (passed := time.perf_counter() - start) < TRIAL_SECONDS / TURNS:
            list(self.pool.map(self.encoder.encode_prepared, [batch] * self.encoder.parallel))
            done += len(batch) * self.encoder.parallel
        return passed, done / passed


def agreement(ours: Any, theirs: Any) -> float:
    """The lowest cosine of any two rows; not a number where either has one."""
    return float(np.sum(ours * theirs, axis=1).min())


def random_pictures(encoder: Encoder, count: int) -> list[Prepared]:
    draw = np.random.default_rng(0)
    shape = (1, getattr(encoder.preparer, "height"), getattr(encoder.preparer, "width"), 3)  # noqa: B009
    return [Prepared(draw.integers(0, 256, shape, dtype=np.uint8)) for _ in range(count)]


def _try(found: Export, rivals: Sequence[str], torch: OpenClipEncoder | None) -> dict[str, Outcome]:
    """Load each rival beside ONNX Runtime, which says what the right vectors are, and time them all."""
    judge = _by("onnx", found)
    pictures = random_pictures(judge, PICTURES)
    expected = judge.encode_prepared(pictures).vectors
    outcomes: dict[str, Outcome] = {}
    running: dict[str, Encoder] = {"onnx": judge}
    for name in rivals:
        loaded = torch if name == "torch" else None
        if loaded is None and (lack := _lack(found)):
            outcomes[name] = Outcome(problem=lack, passing=True)
            continue
        # A library that brings the whole program down is told by this mark in the next run.
        trials.remember(judge.id, name, Outcome(problem=ENDED))
        try:
            rival = loaded or _by(name, found)
            same = agreement(expected, rival.encode_prepared(pictures).vectors)
        except Exception as error:  # each runtime raises kinds of its own
            outcomes[name] = Outcome(problem=_told(error))
            continue
        if same >= PARITY:
            running[name] = rival
        else:
            outcomes[name] = Outcome(problem=f"its vectors differ from ONNX Runtime's (cosine {same:.5f})")
    for name, speed in side_by_side(running).items():
        if isinstance(speed, float):
            outcomes[name] = Outcome(speed=round(speed, 2))
        elif name == "onnx":
            raise speed
        else:
            outcomes[name] = Outcome(problem=_told(speed))
    return outcomes


def _told(error: Exception) -> str:
    return f"it failed ({type(error).__name__}: {' '.join(str(error).split())[:200]})"


def _rivals(found: Export, torch: OpenClipEncoder | None) -> list[str]:
    if "int8_of" in found.manifest:
        # torch has no such model, and OpenVINO runs these operations at a third of the speed.
        return []
    names = ["openvino"] if trials.has_runtime("openvino") else []
    return [*names, "torch"] if torch is not None or trials.devices() else names


def _lack(found: Export) -> str:
    """Why there is no room for a second runtime beside the first; nothing if there is."""
    free = config.free_memory()
    if free is None or free >= MEMORY * found.weights:
        return ""
    return f"too little memory is free to try it ({free >> 20} MiB, for weights of {found.weights >> 20} MiB)"


def _by(name: str, found: Export) -> OnnxEncoder | OpenClipEncoder:
    if name == "torch":
        return _load_torch(found.spec)
    if name == "openvino":
        from retrieval.encoders.openvino import OpenVinoEncoder

        return OpenVinoEncoder(found)
    from retrieval.encoders.onnx import OnnxEncoder

    return OnnxEncoder(found)


def _load_torch(spec: str) -> OpenClipEncoder:
    from retrieval.encoders.open_clip import OpenClipEncoder

    return OpenClipEncoder(spec)
