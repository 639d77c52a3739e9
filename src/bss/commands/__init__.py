"""The commands of the library, one a file. Nothing heavy is imported before a command runs."""

from collections.abc import Iterator
from contextlib import contextmanager

import typer

from bss.files import FULL


@contextmanager
def refusals() -> Iterator[None]:
    """Say what is wrong with the input on stderr, and exit 2; 1 where a disk is full, 130 after Ctrl-C."""
    try:
        yield
    except (ValueError, OSError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1 if isinstance(error, OSError) and error.errno in FULL else 2) from None
    except KeyboardInterrupt:
        typer.echo("interrupted", err=True)
        raise typer.Exit(130) from None
