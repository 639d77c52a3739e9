"""The stages of the pipeline, one verb a file: parameters -> one library call -> named artifacts."""

import sys
from collections.abc import Callable
from pathlib import Path

import typer

from bss.params import Params, load


def params() -> Params:
    """The parameters of this workspace."""
    return load(Path("params.yaml"))


def run(stage: Callable[..., None]) -> None:
    """Run a stage from the command line: its arguments are the options, a user's error is one line and exit 2."""
    try:
        typer.run(stage)
    except (ValueError, FileNotFoundError) as error:
        sys.exit(_failed(error))


def _failed(error: Exception) -> int:
    print(f"error: {error}", file=sys.stderr)
    return 2


def progress(done: int, total: int, values: dict[str, float]) -> None:
    """Print a line that a person and the flow can read."""
    print(f"progress {done}/{total}", *(f"{name}={value:.4f}" for name, value in values.items()), flush=True)
