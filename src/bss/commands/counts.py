"""Options that count."""

from typing import Any

import typer


def counting(help: str) -> Any:
    """An option that takes a whole number of at least 1; another is refused with its value."""
    return typer.Option(metavar="COUNT", help=help, callback=_at_least_one)


def _at_least_one(number: int | None) -> int | None:
    if number is not None and number < 1:
        raise typer.BadParameter(f"{number}: expected a whole number of at least 1")
    return number
