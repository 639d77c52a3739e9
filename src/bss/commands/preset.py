"""`bss preset`."""

from pathlib import Path
from typing import Annotated

import typer

from bss.commands import completion
from bss.exits import exits


def preset(
    name: Annotated[str, typer.Argument(help="A file of presets/, by its name.", autocompletion=completion.presets)],
) -> None:
    """Lay presets/NAME.yaml over params.yaml, whose comments stay.

    Tells every value that has changed.

    Exit 0 it is done, 2 wrong input; then params.yaml is as it was.
    """
    with exits():
        from bss.preset import apply

        changed = apply(name, Path("params.yaml"))
    typer.echo("\n".join(changed or ["params.yaml: nothing has changed"]))
