"""`search doctor`: the catalog examined, and mended."""

from __future__ import annotations

import click

from retrieval.commands.options import echo_json, json_option, reading_options, safe


@click.command()
@reading_options
@click.option("--fix", is_flag=True, help="Mend what can be mended.")
@json_option
def doctor(catalog: str | None, no_server: bool, fix: bool, as_json: bool) -> None:  # noqa: ARG001
    """Check the catalog: rows, caches and files against each other.

    Exits with 1 when something needs mending.

    \b
    search doctor
    search doctor --fix
    """
    from retrieval.doctor import examine

    found = examine(catalog, fix=fix)
    if as_json:
        echo_json(finding.as_dict() for finding in found)
    for finding in () if as_json else found:
        click.echo(f"{'mended' if finding.mended else finding.kind}: {safe(finding.detail)}")
        if not finding.mended:
            click.echo(f"  → {safe(finding.help)}")
    if not found and not as_json:
        click.echo("All is well.")
    if any(not finding.mended for finding in found):
        click.get_current_context().exit(1)
