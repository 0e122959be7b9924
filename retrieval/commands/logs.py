"""`--verbose` and `--log-file`: options of every command, before its name and after it."""

from __future__ import annotations

import functools
import os
import platform
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from retrieval.commands.options import Place
from retrieval.journal import Log

if TYPE_CHECKING:
    from retrieval.journal.keeping import Keeping

FLAGS = ("--verbose", "-v")
FILE = "--log-file"
VARIABLE = "SEARCH_LOG_FILE"
_KEY = "retrieval.commands.logs"
_log = Log("cli")


@dataclass
class Asked:
    """What a person wants to be told of one run, and how far the run is."""

    verbose: bool = False
    file: Path | None = None
    keeping: Keeping | None = None
    command: str = ""
    began: float = field(default_factory=time.monotonic)

    @property
    def help(self) -> str:
        """Where to look, or how to have it told."""
        if self.file is not None:
            return f"The log says where: {self.file}"
        if self.verbose:
            return "The lines above say where."
        return "Run it again with --verbose to see where, or with --log-file FILE to keep that."


def asked(ctx: click.Context) -> Asked:
    found = ctx.meta.setdefault(_KEY, Asked())
    assert isinstance(found, Asked)
    return found


def _verbose(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value:
        asked(ctx).verbose = True


def _file(ctx: click.Context, param: click.Parameter, value: Path | None) -> None:
    said = ctx.get_parameter_source(param.name or "") is click.core.ParameterSource.COMMANDLINE
    if value is not None and (said or asked(ctx).file is None):
        asked(ctx).file = value


def log_options(*, hidden: bool) -> list[click.Parameter]:
    return [
        click.Option(
            list(FLAGS), is_flag=True, hidden=hidden, expose_value=False, callback=_verbose,
            help="Tell on stderr what is done, and where it goes wrong. Fits every command.",
        ),
        click.Option(
            [FILE], metavar="FILE", type=Place(dir_okay=False), envvar=VARIABLE,
            show_envvar=True, hidden=hidden, expose_value=False, callback=_file,
            help="Keep a log there, a JSON object a line. Fits every command.",
        ),
    ]  # fmt: skip


def with_logs(command: click.Command) -> click.Command:
    """The command, its own commands too, with the options; what it does is told from start to end."""
    if any(option.name == "log_file" for option in command.params):
        return command
    if isinstance(command, click.Group):
        for one in command.commands.values():
            with_logs(one)
    command.params += log_options(hidden=True)
    run = command.callback
    if run is not None:

        @functools.wraps(run)
        def told(*given: Any, **options: Any) -> Any:
            _begin(click.get_current_context())
            return run(*given, **options)

        command.callback = told
    return command


def options_last(args: list[str], names: list[str]) -> list[str]:
    """`--verbose --catalog C index PATH` as the command has it: `index PATH --verbose --catalog C`."""
    first = 0
    while first < len(args):
        if args[first] in ("--catalog", FILE):
            first += 2
        elif args[first] in FLAGS or args[first].startswith(("--catalog=", f"{FILE}=")):
            first += 1
        else:
            break
    if not first or first >= len(args):
        return args
    rest = args[first:]
    if rest[0] in ("--help", "-h", "--version"):
        return rest
    if rest[0] not in names:
        return args
    end = rest.index("--") if "--" in rest else len(rest)
    return [*rest[:end], *args[:first], *rest[end:]]


def _begin(ctx: click.Context) -> None:
    """Set up what was asked for, once a run, and say what begins; nothing where nothing was asked."""
    found = asked(ctx)
    if found.keeping is not None or not (found.verbose or found.file):
        return
    import retrieval
    from retrieval.journal.keeping import Keeping

    found.keeping = Keeping(found.file, verbose=found.verbose, errors=sys.stderr)
    found.keeping.start()
    found.command = ctx.command_path.partition(" ")[2] or ctx.command_path
    # Their names alone: what they say may be a query, a token or a person's folder.
    given = [
        option.name
        for option in ctx.command.params
        if ctx.get_parameter_source(option.name or "") is click.core.ParameterSource.COMMANDLINE
    ]
    _log.info(
        "command started",
        command=found.command,
        options=given,
        version=retrieval.__version__,
        python=platform.python_version(),
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        cores=os.cpu_count(),
    )


def ended(ctx: click.Context, exit_code: int, error: BaseException | None = None) -> None:
    """Say how the run ended, and take down what was set up for it."""
    found = asked(ctx)
    if found.keeping is None:
        return
    fields: dict[str, Any] = {} if error is None else {"error": error}
    _log.info(
        "command ended",
        command=found.command,
        exit=exit_code,
        seconds=round(time.monotonic() - found.began, 3),
        **fields,
    )
    found.keeping.stop()
    found.keeping = None


def unexpected(ctx: click.Context, error: Exception) -> str:
    """Tell of a fault of the program itself; returns the one sentence for the person."""
    _log.failure(error, "command failed unexpectedly", command=asked(ctx).command, error=error)
    return (
        f"This went wrong in a way that is no fault of yours ({type(error).__name__}). {asked(ctx).help} "
        "Whether the catalog is sound tells: search doctor"
    )
