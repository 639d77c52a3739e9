"""`bss doctor`."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer


def doctor(as_json: Annotated[bool, typer.Option("--json", help="The checks for a program.")] = False) -> None:
    """Tell what is in order here, what is not, and what to do.

    Exit 0 nothing is in the way of a run, 1 there is a problem.
    """
    from bss.health import checks

    found = []
    for check in checks(Path.cwd()):
        found.append(check)
        if not as_json:
            typer.echo(f"{check.state:<8} {check.what}" + (f"\n      -> {check.to_do}" if check.to_do else ""))
    if as_json:
        typer.echo(json.dumps([asdict(check) for check in found], indent=2))
    raise typer.Exit(1 if any(check.state == "problem" for check in found) else 0)
