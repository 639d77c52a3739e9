"""The command `bss`, in the folder of params.yaml."""

import os
import sys
from pathlib import Path

import typer

from bss import paths

app = typer.Typer(no_args_is_help=True, add_completion=False)


@app.callback()
def main() -> None:
    """Balance-aware training of multimodal models."""


@app.command()
def check() -> None:
    """Look at the data that params.yaml names: every row that cannot be used, and why.

    Exit 0 all is well, 1 there are findings, 2 wrong input.
    """
    from bss.data.check import told
    from bss.params import load

    try:
        dataset = load(Path("params.yaml")).preprocess
        from bss.data.pack import examine

        findings = examine(dataset, paths.PACKED, len(os.sched_getaffinity(0)))
    except (ValueError, FileNotFoundError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from None
    typer.echo(told(dataset.name, findings))
    raise typer.Exit(1 if findings else 0)


@app.command()
def preset(name: str) -> None:
    """Lay presets/NAME.yaml over params.yaml, whose comments stay, and tell what has changed.

    Exit 0 it is done, 2 wrong input; then params.yaml is as it was.
    """
    from bss.preset import apply

    try:
        changed = apply(name, Path("params.yaml"))
    except (ValueError, OSError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from None
    typer.echo("\n".join(changed or ["params.yaml: nothing has changed"]))


if __name__ == "__main__":
    sys.exit(app())
