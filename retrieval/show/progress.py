"""Telling a person how a long job goes: a bar on a terminal, plain notes elsewhere."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any, TextIO

from retrieval.show.table import safe_name

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


MODEL_STEPS = {
    "model-loading": "Loading {spec} ...",
    "model-exporting": "Exporting {spec}, once, so that queries need no torch ...",
    "model-checking": "Checking the export ...",
    "model-timing": "Trying what runs {spec} fastest here, once ...",
    "model-quantising": "Making {spec} ...",
    "model-measuring": "Measuring {spec} with {pictures} pictures ...",
}


class ProgressLine:
    """A `Progress` callback for long jobs: notes always, a bar with rate and time left on a terminal."""

    def __init__(self, stream: TextIO, *, doing: str = "Indexing") -> None:
        self._stream = stream
        self._doing = doing
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._begun = 0

    def __enter__(self) -> ProgressLine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, step: str, figures: dict[str, Any]) -> None:
        if step == "note":
            self._say(safe_name(str(figures["text"])))
        elif step in MODEL_STEPS:
            self._say(safe_name(MODEL_STEPS[step].format(**figures)))
        elif {"total", "done"} <= figures.keys() and self._stream.isatty():
            self._start(figures["total"], figures["done"])
            assert self._bar is not None
            assert self._task is not None
            failed = f"{figures['failed']} unreadable" if figures.get("failed") else ""
            self._bar.update(
                self._task, completed=figures["done"], total=figures["total"], failed=failed, refresh=False
            )

    def _say(self, text: str) -> None:
        if self._bar is not None:
            self._bar.console.print(text, markup=False, highlight=False)
        else:
            self._stream.write(text + "\n")
            self._stream.flush()

    def _start(self, total: int, done: int) -> None:
        if self._bar is not None:
            return
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            ProgressColumn,
            Task,
            TextColumn,
            TimeRemainingColumn,
        )
        from rich.text import Text

        class Rate(ProgressColumn):
            """Pictures a second."""

            def render(self, task: Task) -> Text:
                return Text(f"{task.speed:.1f}/s" if task.speed else "", style="dim")

        self._bar = Progress(
            TextColumn(self._doing),
            BarColumn(),
            MofNCompleteColumn(),
            Rate(),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[failed]}", style="yellow"),
            console=Console(file=self._stream),
            transient=True,
            speed_estimate_period=60,
        )
        self._task = self._bar.add_task("index", total=total, completed=done, failed="")
        self._bar.start()
