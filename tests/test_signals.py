"""A signal ends any command soon, with its exit code and nothing left behind; a closed pipe is silent."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from indexer.loader import Loader
from tests import preparers
from tests.browsing import ROOT
from tests.conftest import draw
from tests.preparers import make_task
from tests.torture.hostile import family
from tests.torture.signals import DEAF, IN_SQLITE, IN_THREAD, LATEST, RUN

GIVEN = [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
PUTS_AWAY = """
from retrieval.catalog import Catalog
def half_done(*_, **__):
    import os, time
    try:
        os.write(2, b"busy\\n")
        time.sleep(60)
    finally:
        time.sleep(0.3)
        os.write(2, b"put away\\n")
Catalog.status = half_done
"""


@contextlib.contextmanager
def running(
    tmp_path: Path, before: str, *words: object, **options: object
) -> Iterator[subprocess.Popen[bytes]]:
    """The real program, in a group of its own, with code that is run before it."""
    command = [sys.executable, "-c", RUN, str(tmp_path / "ready"), before, *map(str, words)]
    given = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL, **options}
    with subprocess.Popen(command, cwd=ROOT, start_new_session=True, **given) as process:  # type: ignore[call-overload]
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def busy(process: subprocess.Popen[bytes]) -> None:
    assert process.stderr is not None
    assert process.stderr.readline() == b"busy\n", process.stderr.read()


@pytest.mark.parametrize(("number", "code"), GIVEN)
def test_a_signal_ends_a_command_with_its_code_and_one_word(
    catalog: Path, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    with running(tmp_path, PUTS_AWAY, "status", "--catalog", catalog) as process:
        busy(process)
        os.killpg(process.pid, number)
        out, err = process.communicate(timeout=30)
    # What was half done is put away first.
    assert (process.returncode, out, err) == (code, b"", b"put away\nInterrupted.\n")


def test_a_second_signal_ends_a_command_at_once(catalog: Path, tmp_path: Path) -> None:
    before = PUTS_AWAY.replace("0.3", "60").replace("finally:", 'finally:\n        os.write(2, b"busy\\n")')
    with running(tmp_path, before, "status", "--catalog", catalog) as process:
        busy(process)
        process.send_signal(signal.SIGINT)
        busy(process)
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (130, b"")
    assert time.monotonic() - began < 2


@pytest.mark.parametrize("before", [IN_SQLITE, IN_THREAD, DEAF], ids=["in C", "in a thread", "deaf"])
def test_what_does_not_listen_is_ended_all_the_same(catalog: Path, tmp_path: Path, before: str) -> None:
    before = before.replace("(*_, **__):", "(*_, **__):\n    import os; os.write(2, b'busy\\n')", 1)
    with running(tmp_path, before, "status", "--catalog", catalog) as process:
        busy(process)
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (143, b"Interrupted.\n")
    assert time.monotonic() - began < LATEST


def test_what_a_shell_has_the_program_ignore_stays_ignored(catalog: Path, tmp_path: Path) -> None:
    before = (
        "import signal\nsignal.signal(1, signal.SIG_IGN); signal.signal(2, signal.SIG_IGN)\n"
        "from indexer.stopping import StopSignals\nfrom retrieval.catalog import Catalog\n"
        "status = Catalog.status\n"
        "def signalled(*given):\n"
        "    for number in (1, 2):\n"
        "        os.kill(os.getpid(), number)\n"
        "        with StopSignals() as stop:\n"
        "            os.kill(os.getpid(), number)\n"
        "            assert not stop.is_set()\n"
        "    return status(*given)\n"
        "Catalog.status = signalled\n"
    )
    with running(tmp_path, before, "status", "--catalog", catalog) as process:
        _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (0, b"")


def test_an_interrupt_of_the_imports_is_quiet() -> None:
    code = (
        "import builtins, os, signal, sys\n"
        "real = builtins.__import__\n"
        "def late(name, *rest):\n"
        "    if name == 'click':\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "    return real(name, *rest)\n"
        "builtins.__import__ = late\n"
        "import cli\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=False)
    assert (ran.returncode, ran.stderr) == (-signal.SIGINT, b"")


def test_importing_the_command_line_changes_no_handler() -> None:
    code = (
        "import signal\n"
        "kinds = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]\n"
        "before = [signal.getsignal(kind) for kind in kinds]\n"
        "import cli\n"
        "assert [signal.getsignal(kind) for kind in kinds] == before"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_loading_processes_are_no_part_of_the_terminals_group(tmp_path: Path) -> None:
    """So that Ctrl-C in the moment of their start is not taken for one that cannot start."""
    picture = draw(tmp_path / "a.png", "red")
    with Loader(preparers.Plain(), workers=1, memory=64 << 20) as pool:
        (result,) = pool.load([make_task(picture)])
        pid = int(result.prepared.extra.split()[0])
        assert os.getpgid(pid) == pid != os.getpgid(0)


HANGING = """
import sys
from indexer.loader import Loader
from tests import preparers
from tests.preparers import make_task
pool = Loader(preparers.Telling(folder=sys.argv[2]), workers=1, memory=64 << 20, file_seconds=600)
list(pool.load([make_task(sys.argv[1])]))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere an alarm sees to it, later")
def test_a_decoder_that_hangs_does_not_outlive_a_killed_parent(tmp_path: Path) -> None:
    picture, told = draw(tmp_path / "a.png", "red"), tmp_path / "told"
    told.mkdir()
    command = [sys.executable, "-c", HANGING, str(picture), str(told)]
    with subprocess.Popen(command, cwd=ROOT) as parent:
        latest = time.monotonic() + 30
        while not (pids := list(told.iterdir())):
            assert time.monotonic() < latest
            time.sleep(0.01)
        parent.kill()
    latest = time.monotonic() + 5
    while _alive(int(pids[0].name)):
        assert time.monotonic() < latest, "the loading process is still there"
        time.sleep(0.01)


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc")
def test_a_run_that_was_stopped_and_goes_on_does_not_blame_the_file(tmp_path: Path) -> None:
    """Ctrl-Z, a while, and `fg`, or a machine that was suspended: the clock went on, and the file had no time of it."""
    picture = draw(tmp_path / "a.png", "red")
    code = (
        "import sys\nfrom indexer.loader import Loader\nfrom tests import preparers\n"
        "from tests.preparers import make_task\n"
        "pool = Loader(preparers.Slow(), workers=1, memory=64 << 20, file_seconds=2)\n"
        "list(pool.load([make_task(sys.argv[2])]))\nprint('ready', flush=True)\n"
        "print(*(result.reason for result in pool.load([make_task(sys.argv[1])])))"
    )
    warm = draw(tmp_path / "b.png", "blue")
    with subprocess.Popen(
        [sys.executable, "-c", code, str(picture), str(warm)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.3)
        everybody = family(process.pid)
        for number in (signal.SIGSTOP, signal.SIGCONT):
            for pid in everybody:
                os.kill(pid, number)
            time.sleep(2.5 if number == signal.SIGSTOP else 0)
        assert process.communicate(timeout=30)[0] == "None\n"


PIPED = [
    ("find", "red", "--all", "--json", "-k", "10000"),
    ("find", "red"),
    ("find", "red", "--paths"),
    ("find", "red", "--paths", "-0"),
    ("similar", "the picture"),
    ("ask", "how many red pictures"),
    ("describe", "the picture"),
    ("dupes",),
    ("status", "--json"),
    ("failures",),
    ("texts", "list"),
    ("doctor",),
    ("models",),
    ("--help",),
    ("find", "--help"),
]


@pytest.mark.parametrize("closed", ["reader gone", "both readers gone", "closed", "all closed"])
def test_an_output_that_nobody_reads_is_no_error(catalog: Path, tmp_path: Path, closed: str) -> None:
    # Every command with the one, some with the others: it is one place that sees to them.
    for words in PIPED if closed == "reader gone" else PIPED[:12:4]:
        place = () if words[0] == "models" or "--help" in words else ("--catalog", str(catalog))
        picture = str(catalog.parent / "photos" / "red.png")
        command = [
            sys.executable,
            "-m",
            "cli",
            *(picture if w == "the picture" else w for w in words),
            *place,
        ]
        error = (tmp_path / "error").open("w+b")
        reading, writing = os.pipe()
        os.close(reading)
        # As a shell does it with `| true`, `2>&1 | true`, `>&-` and `<&- >&- 2>&-`.
        shell = {
            "reader gone": "",
            "both readers gone": "2>&1",
            "closed": ">&-",
            "all closed": "<&- >&- 2>&-",
        }
        ran = subprocess.run(
            ["sh", "-c", f'exec "$@" {shell[closed]}', "sh", *command],
            cwd=ROOT, stdin=subprocess.DEVNULL, stdout=writing, stderr=error, check=False,
        )  # fmt: skip
        os.close(writing)
        error.seek(0)
        said = error.read()
        error.close()
        assert ran.returncode == 0, (words, ran.returncode, said)
        assert b"Error" not in said, (words, said)
        assert b"Traceback" not in said, (words, said)
        assert b"Exception" not in said, (words, said)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize("words", [("find", "red"), ("status", "--json"), ("--help",)])
def test_an_output_that_cannot_be_written_is_one_line_and_an_error(
    catalog: Path, words: tuple[str, ...]
) -> None:
    place = () if words == ("--help",) else ("--catalog", str(catalog))
    with open("/dev/full", "wb") as full:
        ran = subprocess.run(
            [sys.executable, "-m", "cli", *words, *place],
            cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    assert ran.returncode == 1
    assert ran.stderr.splitlines() == [line for line in ran.stderr.splitlines() if "No space left" in line]
    assert ran.stderr.count("\n") == 1
