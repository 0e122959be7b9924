"""Checkpoints: what counts as whole, how a fetch is resumed, and loading in silence from several threads."""

from __future__ import annotations

import json
import logging
import shutil
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from retrieval import checkpoints, hub
from retrieval.captioners.known import LOCAL_USE
from retrieval.errors import ModelUnavailable

REPO = "somebody/some-model"
SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
INDEX = json.dumps({"weight_map": {"a": SHARDS[0], "b": SHARDS[1], "c": SHARDS[0]}})
Remote = dict[str, str]


@pytest.fixture
def snapshot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(hub, "cache_folder", lambda: tmp_path)
    repo = tmp_path / f"models--{REPO.replace('/', '--')}"
    (repo / "refs").mkdir(parents=True)
    (repo / "refs" / "main").write_text("c" * 40)
    folder = repo / "snapshots" / ("c" * 40)
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def fetches(snapshot: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """A hub that has some files, and may be cut off before one of them; tells in what order it gave them."""
    from fnmatch import fnmatch

    import huggingface_hub

    def serve(remote: Remote, cut_before: str | None = None) -> list[str]:
        given: list[str] = []

        def download(
            name: str, *, allow_patterns: list[str], ignore_patterns: list[str], max_workers: int
        ) -> str:
            assert (name, max_workers) == (REPO, 2)
            for file, content in remote.items():
                wanted = any(fnmatch(file, pattern) for pattern in allow_patterns)
                if not wanted or any(fnmatch(file, pattern) for pattern in ignore_patterns):
                    continue
                if file == cut_before:
                    raise ConnectionError("the line was cut")
                if not (snapshot / file).exists():
                    (snapshot / file).write_text(content)
                    given.append(file)
            return str(snapshot)

        monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
        for variable in ("SEARCH_OFFLINE", "HF_HUB_OFFLINE"):
            monkeypatch.delenv(variable, raising=False)
        monkeypatch.setattr(hub, "answers", lambda: True)
        return given

    return serve


SHARDED: Remote = {
    "config.json": "{}",
    SHARDS[0]: "1",
    SHARDS[1]: "2",
    "model.safetensors.index.json": INDEX,
    "tokenizer.json": "{}",
}


@pytest.mark.parametrize("lost", SHARDS)
def test_a_fetch_that_was_cut_off_is_resumed(
    fetches: Callable[..., list[str]], snapshot: Path, lost: str
) -> None:
    fetches(SHARDED, cut_before=lost)
    with pytest.raises(ModelUnavailable, match=r"could not be fetched \(the line was cut\)\. Use the"):
        checkpoints.fetch(REPO, LOCAL_USE)
    assert (snapshot / "tokenizer.json").exists(), "what is small comes first"
    assert checkpoints.find(REPO, LOCAL_USE) is None, "a part of the weights is no model"
    again = fetches(SHARDED)
    found = checkpoints.fetch(REPO, LOCAL_USE)
    assert found.folder == snapshot
    assert again == list(SHARDS[SHARDS.index(lost) :])


def test_a_part_of_the_weights_is_no_model_where_the_hub_cannot_be_asked(
    fetches: Callable[..., list[str]], snapshot: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetches(SHARDED)
    (snapshot / "config.json").write_text("{}")
    (snapshot / "model.safetensors.index.json").write_text(INDEX)
    (snapshot / SHARDS[0]).write_text("1")
    monkeypatch.setenv("SEARCH_OFFLINE", "1")
    with pytest.raises(ModelUnavailable, match=r"switched off \(SEARCH_OFFLINE .*hf download somebody/some"):
        checkpoints.fetch(REPO, LOCAL_USE)
    monkeypatch.delenv("SEARCH_OFFLINE")
    monkeypatch.setattr(hub, "answers", lambda: False)
    with pytest.raises(ModelUnavailable, match="the model hub does not answer"):
        checkpoints.fetch(REPO, LOCAL_USE)


def test_pickled_weights_are_fetched_only_where_there_are_no_others(
    fetches: Callable[..., list[str]],
) -> None:
    both = {
        "config.json": "{}",
        "model.safetensors": "s",
        "pytorch_model.bin": "p",
        "x/model.safetensors": "",
    }
    given = fetches({**both, "consolidated.safetensors": "the same again"})
    assert checkpoints.fetch(REPO, LOCAL_USE).safe
    assert given == ["config.json", "model.safetensors"]


def test_a_repository_with_pickled_weights_alone_is_fetched(fetches: Callable[..., list[str]]) -> None:
    given = fetches({"config.json": "{}", "pytorch_model.bin": "p"})
    assert not checkpoints.fetch(REPO, LOCAL_USE).safe
    assert given == ["config.json", "pytorch_model.bin"]


def test_a_repository_without_weights_is_told(fetches: Callable[..., list[str]]) -> None:
    fetches({"config.json": "{}", "README.md": ""})
    with pytest.raises(ModelUnavailable, match="holds no weights for transformers"):
        checkpoints.fetch(REPO, LOCAL_USE)


def test_a_folder_that_lacks_a_part_of_its_weights_is_told_which(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors.index.json").write_text(INDEX)
    (tmp_path / SHARDS[0]).write_text("1")
    with pytest.raises(ModelUnavailable, match=rf"lacks a part of its weights, {SHARDS[1]}\. Use the"):
        checkpoints.find(str(tmp_path), LOCAL_USE)
    shutil.copy(tmp_path / SHARDS[0], tmp_path / SHARDS[1])
    assert checkpoints.find(str(tmp_path), LOCAL_USE) is not None


@pytest.mark.parametrize("kind", [None, 3, ["llava"], {}])
def test_a_kind_that_is_no_word_is_none(tmp_path: Path, kind: Any) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": kind}))
    assert checkpoints.model_type(checkpoints.Checkpoint("x", tmp_path, None)) == ""


@pytest.mark.parametrize("kind", ["local", "blip", "blip_itm"])
def test_the_host_is_not_silenced_for_as_long_as_a_fetch_takes(
    kind: str, snapshot: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("transformers")
    import huggingface_hub
    from huggingface_hub.utils import are_progress_bars_disabled
    from transformers.utils import logging as told

    from retrieval.captioners.blip import BlipCaptioner
    from retrieval.captioners.local.speaker import LocalSpeaker
    from retrieval.rerankers.blip_itm import BlipItm

    seen: list[object] = []

    def download(*_: object, **__: object) -> str:
        seen.append((told.get_verbosity(), warnings.filters[:], are_progress_bars_disabled()))
        raise ConnectionError("the line was cut")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    for variable in ("SEARCH_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(hub, "answers", lambda: True)
    before = (told.get_verbosity(), warnings.filters[:])
    model = {"local": LocalSpeaker, "blip": BlipCaptioner, "blip_itm": BlipItm}[kind](REPO)
    with pytest.raises(ModelUnavailable, match="the line was cut"):
        _ = model.id
    assert seen == [(*before, True)], "only the bars of the fetch itself are not drawn"
    assert not are_progress_bars_disabled()


def test_silence_in_one_thread_holds_up_no_other() -> None:
    """Loading or fetching a model takes minutes, and other models answer meanwhile within their time."""
    pytest.importorskip("transformers")
    from transformers.utils import logging as told

    from retrieval.checkpoints.loading import quiet

    before = (told.get_verbosity(), told.is_progress_bar_enabled(), warnings.filters[:])
    loading, answered = threading.Event(), threading.Event()
    seen: list[int] = []

    def load() -> None:
        with quiet():
            loading.set()
            answered.wait(20)
            seen.append(told.get_verbosity())

    def answer() -> None:
        with quiet():
            seen.append(told.get_verbosity())
        answered.set()

    threads = [threading.Thread(target=load), threading.Thread(target=answer)]
    threads[0].start()
    assert loading.wait(20)
    threads[1].start()
    in_time = answered.wait(5)
    answered.set()
    for thread in threads:
        thread.join(20)
    assert in_time
    assert seen == [logging.ERROR] * 2, "the one that is left is still silent"
    assert (told.get_verbosity(), told.is_progress_bar_enabled(), warnings.filters[:]) == before
