"""How a run suits itself to a small machine."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from indexer import means
from indexer.means import means_for
from retrieval import config

MIB = 1 << 20


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Say how many cores there are, and how much memory is free."""

    def say(count: int | None, *, cores: int = 4) -> None:
        monkeypatch.setattr(config, "free_memory", lambda: count)
        monkeypatch.setattr(config, "cores", lambda: cores)

    return say


def encoder(weights: int = 0) -> Any:
    files = {"image.onnx": {"size": 10}, "image.bin": {"size": weights}, "text.bin": {"size": 10**12}}
    return SimpleNamespace(export=SimpleNamespace(manifest={"files": files}))


def test_a_large_machine_gets_a_process_for_each_core_and_no_note(free: Any) -> None:
    free(16 << 30)
    assert means_for(encoder(350 * MIB)) == means.Means(4, config.default_memory())


def test_one_core_gets_one_process(free: Any) -> None:
    free(16 << 30, cores=1)
    assert means_for(encoder()).workers == 1


def test_little_memory_means_fewer_processes_and_a_word_about_it(free: Any) -> None:
    free(1229 * MIB)
    found = means_for(encoder(300 * MIB))
    assert (found.workers, found.memory >> 20) == (1, 89)
    assert found.note == (
        "Only 1.2 GB of memory is free: one loading process instead of 4, and 89 MB for pictures at work."
    )


def test_what_is_chosen_fits_beside_the_model(free: Any) -> None:
    for megabytes in range(900, 4000, 100):
        free(megabytes * MIB, cores=16)
        found = means_for(encoder(200 * MIB))
        taken = found.memory + found.workers * means.PROCESS_BYTES + means.REST_BYTES + 500 * MIB
        assert taken <= megabytes * MIB or found.workers == 1


def test_hardly_any_memory_still_works_with_one_process(free: Any) -> None:
    free(50 * MIB)
    found = means_for(encoder(300 * MIB))
    assert (found.workers, found.memory) == (1, config.LEAST_MEMORY)
    assert "Only 50 MB of memory is free" in found.note


def test_what_was_asked_for_is_not_argued_with(free: Any) -> None:
    free(50 * MIB)
    assert means_for(encoder(), workers=3, memory=MIB) == means.Means(3, MIB)


def test_a_machine_that_tells_nothing_is_taken_for_a_usual_one(free: Any) -> None:
    free(None)
    assert means_for(encoder(300 * MIB)).workers == 4
