"""Write docs/cli.md from the help texts of the command line.

python scripts/cli_docs.py           writes docs/cli.md
python scripts/cli_docs.py --check   writes nothing, and exits 1 when docs/cli.md differs
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "cli.md"
PROGRAM = "search"
WIDTH = 88

INTRODUCTION = f"""\
# The command line

What `{PROGRAM} --help` and the `--help` of every command say. This page is generated:
change the help texts in `cli.py`, then run `python scripts/cli_docs.py`.
"""


def commands(root: click.Command, name: str = PROGRAM) -> Iterator[click.Context]:
    """A context for the root and for every command below it, in the order in which help lists them."""
    yield from _below(root, name, None)


def _below(command: click.Command, name: str, parent: click.Context | None) -> Iterator[click.Context]:
    settings = {**command.context_settings, "terminal_width": WIDTH, "max_content_width": WIDTH}
    context = click.Context(command, info_name=name, parent=parent, **settings)
    yield context
    if isinstance(command, click.Group):
        for child_name in command.list_commands(context):
            child = command.get_command(context, child_name)
            if child is not None and not child.hidden:
                yield from _below(child, child_name, context)


def page(root: click.Command) -> str:
    """The whole page: what there is, then a section a command."""
    contexts = list(commands(root))
    contents = "\n".join(
        f"- [`{context.command_path}`](#{_anchor(context)}): {context.command.get_short_help_str(limit=200)}"
        for context in contexts
        if context.parent is not None
    )
    sections = "\n".join(_section(context) for context in contexts)
    return f"{INTRODUCTION}\n{contents}\n\n{sections}"


def _section(context: click.Context) -> str:
    lines = "\n".join(line.rstrip() for line in context.get_help().splitlines())
    return f"## {context.command_path}\n\n```text\n{lines}\n```\n"


def _anchor(context: click.Context) -> str:
    return context.command_path.replace(" ", "-")


def main(arguments: list[str]) -> int:
    if arguments not in ([], ["--check"]):
        print("usage: python scripts/cli_docs.py [--check]", file=sys.stderr)
        return 2
    sys.path.insert(0, str(ROOT))
    import cli

    text = page(cli.main)
    shown = PAGE.relative_to(ROOT)
    if not arguments:
        PAGE.parent.mkdir(exist_ok=True)
        PAGE.write_text(text, encoding="utf-8")
        print(f"wrote {shown}")
        return 0
    if PAGE.is_file() and PAGE.read_text(encoding="utf-8") == text:
        return 0
    print(f"{shown} is not what the help texts say: run python scripts/cli_docs.py", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
